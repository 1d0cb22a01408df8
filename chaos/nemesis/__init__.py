"""The nemesis: every fault that the harness can inject, and the context on which they act."""
