"""Locates the repository's directory for the hook, ``--flush`` and ``--install`` alike, without running git.

Git refuses to open another user's repository, and optionally a bare one, unless it is configured to. Here the
administrator has named the directory, so there is nothing to discover and no reason for distrust.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class NoRepository(Exception):
    """The directory is not a git repository; the message names it and what was expected."""


def of_hook(environment: Mapping[str, str]) -> Path:
    """Return the repository for which git runs a hook: GIT_DIR, or else the current directory."""
    return common(Path(environment.get("GIT_DIR") or ".").resolve())


def find(named: Path) -> Path:
    """Return the common git directory of the repository at a path, bare or not; raise NoRepository."""
    if not named.exists():
        raise NoRepository(f"{named} does not exist")
    for candidate in (named, named / ".git"):
        directory = _linked(candidate) if candidate.is_file() else candidate
        if _is_repository(directory):
            return common(directory.resolve())
    raise NoRepository(f"{named} is not a git repository: neither it nor {named / '.git'} has HEAD, objects and refs")


def common(git_dir: Path) -> Path:
    """Return the directory that all worktrees of a repository share, which holds its refs, objects and hooks."""
    try:
        shared = os.fsdecode((git_dir / "commondir").read_bytes().rstrip(b"\n"))
    except OSError:
        return git_dir
    return (git_dir / shared).resolve()


def _linked(file: Path) -> Path:
    """Return the directory to which a ``.git`` file points, in linked worktrees and submodules."""
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
