"""The shutdown flag, shared by a process and every process forked from it."""

import mmap
import os

# A byte of memory shared across forks: a worker's parent gets the signal, and its children send the requests.
_flag = mmap.mmap(-1, 1)
# Readable once shutdown is requested, in every process, because its byte is never read.
_reader, _writer = os.pipe()
os.set_blocking(_reader, False)
# The process that created the flag: in a worker's children, that is their parent. ``getppid`` would be too late if the
# parent has died before a child calls it.
_creator = os.getpid()
# The parent whose death counts as a shutdown request, if any.
_parent: int | None = None


def request() -> None:
    """Request shutdown: worker loops in this process and its children start no further requests."""
    if not _flag[0]:
        _flag[0] = 1
        os.write(_writer, b"!")


def fileno() -> int:
    """Return a descriptor that becomes readable when shutdown is requested; it must not be read."""
    return _reader


def follow_parent() -> None:
    """Treat the death of this process's parent as a shutdown request."""
    global _parent  # noqa: PLW0603 - a process has one parent
    _parent = _creator if _creator != os.getpid() else os.getppid()


def is_orphaned() -> bool:
    """Return whether the parent has died; always False unless ``follow_parent`` was called."""
    # The kernel reparents an orphaned process at once.
    return _parent is not None and os.getppid() != _parent


def is_requested() -> bool:
    """Return whether shutdown is requested."""
    return _flag[0] == 1 or is_orphaned()


def reset() -> None:
    """Reset the request, before a new start."""
    global _parent  # noqa: PLW0603 - as above
    if _flag[0]:
        _flag[0] = 0
        os.read(_reader, 1)
    _parent = None
