"""A shop that tells its customers' programs about their orders."""

import atexit
import gc

# As HookHub's own processes: what is loaded stays until the end, and to search it for garbage took a third of a start.
gc.set_threshold(20_000, 10, 10)
atexit.register(gc.freeze)
