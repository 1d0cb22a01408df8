"""Benchmarks of a real HookHub on this machine: `python -m bench NAME`."""
