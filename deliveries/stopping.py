"""The word that it is time to stop, heard by this process and every process forked from it."""

import mmap

# One byte of memory that stays shared across forks: a worker's parent gets the signal, its children do the sending.
_flag = mmap.mmap(-1, 1)


def set_stopping() -> None:
    """Ask every drain of this process and its children to begin nothing new."""
    _flag[0] = 1


def is_set() -> bool:
    """Tell whether it is time to stop."""
    return _flag[0] == 1


def clear() -> None:
    """Take the word back, before a new start."""
    _flag[0] = 0
