"""What benchmarks, the fault harness and acceptance tests run on: a HookHub of real servers and processes."""
