"""The fault harness: real processes are killed, cut off and held up, and three independent records are compared."""
