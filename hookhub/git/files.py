"""Atomic, durable file writes, with the files owned by the repository's owner."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path


def write(path: Path, content: bytes, *, owner_of: Path, durably: bool = True) -> None:
    """Write a file atomically, with the owner of ``owner_of``; ``durably`` also syncs it and its directory."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            chown_like(owner_of, file.fileno())
            file.write(content)
            file.flush()
            if durably:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durably:
        sync(path.parent)


def sync(directory: Path) -> None:
    """Sync a directory, which makes a rename or removal in it durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def locked(descriptor: int) -> bool:
    """Try to lock an open file exclusively without waiting; return whether that succeeded."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def chown_like(directory: Path, descriptor: int) -> None:
    """Change the owner of what root created to the owner of ``directory``, so that the owner can delete it."""
    if os.geteuid() == 0:
        owner, given = directory.stat(), os.fstat(descriptor)
        # A file with several hard links may be one of root's that the repository's owner has linked here.
        if given.st_uid == 0 and (stat.S_ISDIR(given.st_mode) or given.st_nlink == 1):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
