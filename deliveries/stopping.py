"""The word that it is time to stop, heard by this process and every process forked from it."""

import mmap
import os

# One byte of memory that stays shared across forks: a worker's parent gets the signal, its children do the sending.
_flag = mmap.mmap(-1, 1)
# Who made it: in a worker's children that is their parent, which may have died before they come to ask for it.
_maker = os.getpid()
# The process that this one is not to outlive, if there is one.
_parent: int | None = None


def set_stopping() -> None:
    """Ask every drain of this process and its children to begin nothing new."""
    _flag[0] = 1


def stop_without_parent() -> None:
    """Count it as time to stop as soon as this process's parent is gone."""
    global _parent  # noqa: PLW0603 - a process has one parent
    _parent = _maker if _maker != os.getpid() else os.getppid()


def is_orphaned() -> bool:
    """Tell whether the parent is gone that this process is to stop without."""
    # Who loses its parent is given another one at that moment.
    return _parent is not None and os.getppid() != _parent


def is_set() -> bool:
    """Tell whether it is time to stop."""
    return _flag[0] == 1 or is_orphaned()


def clear() -> None:
    """Take the word back, before a new start."""
    global _parent  # noqa: PLW0603 - as above
    _flag[0] = 0
    _parent = None
