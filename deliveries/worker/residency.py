"""Which process of a worker stays in its loop when there is nothing to do, so that the next event finds it ready.

One is enough: the others return to Celery, which can then wake them while this one is busy. The processes share a few
bytes of memory. Two that write at the same moment may both stay for a second, which is harmless.
"""

import mmap
import os
import struct
import time
from datetime import timedelta

# A process that has not renewed its stay for this long has died or hangs.
VALID_FOR = timedelta(seconds=3)
_FORMAT = struct.Struct("<qd")

# The process that stays, and until when that is valid by the steady clock of the machine; shared across forks.
_seat: mmap.mmap | None = None


def open_seat() -> None:
    """Allow one process, of this one and those forked from it, to stay."""
    global _seat  # noqa: PLW0603 - one seat for each worker
    _seat = mmap.mmap(-1, _FORMAT.size)


def close_seat() -> None:
    """Let no process stay."""
    global _seat  # noqa: PLW0603 - as above
    _seat = None


def take_seat() -> bool:
    """Take or renew the seat, and return whether this process may stay."""
    if _seat is None:
        return False
    holder, valid_until = _FORMAT.unpack(_seat[:])
    if holder != os.getpid() and time.monotonic() < valid_until:
        return False
    _seat[:] = _FORMAT.pack(os.getpid(), time.monotonic() + VALID_FOR.total_seconds())
    return True


def leave_seat() -> None:
    """Leave the seat to another process, if this one has it."""
    if _seat is not None and _FORMAT.unpack(_seat[:])[0] == os.getpid():
        _seat[:] = _FORMAT.pack(0, 0.0)
