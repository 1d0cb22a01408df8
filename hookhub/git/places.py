"""Which directory is the repository: one answer for the hook, ``--flush`` and ``--install``, without asking git.

Git itself refuses to look at another user's repository, or at a bare one, unless it is configured to; here the
administrator has named the directory, so there is nothing to discover and nothing to distrust.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class NoRepository(Exception):
    """The directory is not a git repository; the message says which and what was expected."""


def of_hook(environment: Mapping[str, str]) -> Path:
    """Return the repository that git runs a hook for, which is the current directory unless it says otherwise."""
    return common(Path(environment.get("GIT_DIR") or ".").resolve())


def find(named: Path) -> Path:
    """Return the directory with the refs of the repository at a path, bare or not; raise NoRepository."""
    if not named.exists():
        raise NoRepository(f"{named} does not exist")
    for candidate in (named, named / ".git"):
        directory = _linked(candidate) if candidate.is_file() else candidate
        if _is_repository(directory):
            return common(directory.resolve())
    raise NoRepository(f"{named} is not a git repository: neither it nor {named / '.git'} has HEAD, objects and refs")


def common(git_dir: Path) -> Path:
    """Return the directory that the working trees of a repository share: the one with the refs, objects and hooks."""
    try:
        shared = os.fsdecode((git_dir / "commondir").read_bytes().rstrip(b"\n"))
    except OSError:
        return git_dir
    return (git_dir / shared).resolve()


def _linked(file: Path) -> Path:
    """Follow the file that stands for ``.git`` in linked worktrees and submodules."""
    content = file.read_bytes()[:4096].rstrip(b"\n")
    if not content.startswith(b"gitdir: "):
        return file
    return file.parent / os.fsdecode(content[len(b"gitdir: ") :])


def _is_repository(directory: Path) -> bool:
    head = directory / "HEAD"
    if not (head.is_file() or head.is_symlink()):
        return False
    shared = common(directory)
    return (shared / "objects").is_dir() and (shared / "refs").is_dir()
