"""The fault harness: injects faults into real HookHub processes and compares three independent histories."""
