"""What benchmarks, the fault harness and acceptance tests run on: real servers, processes, proxies and samples."""
