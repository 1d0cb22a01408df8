"""Lists a repository's branches. The pusher waits for this, so it loads next to nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

# What ``branches.parse`` reads: the commit, the name, and for a symbolic ref the name that it stands for.
FORMAT = "%(objectname) %(refname) %(symref)"


class GitFailed(Exception):
    """Git could not answer; the message is its own last line."""


def list_branches(git_dir: Path, *, environment: Mapping[str, str], prefix: str, timeout_seconds: float) -> bytes:
    """Return every branch of a namespace as it is now, one a line; raise GitFailed."""
    try:
        asked = subprocess.run(
            ["git", "for-each-ref", f"--format={FORMAT}", f"{prefix}refs/heads/"],
            capture_output=True,
            env=environment,
            cwd=git_dir,
            timeout=timeout_seconds,
            check=False,
        )
    except OSError as error:
        raise GitFailed(f"git cannot be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise GitFailed("git for-each-ref: no answer in time") from error
    if asked.returncode:
        said = asked.stderr.decode("utf-8", errors="replace").strip().splitlines()
        raise GitFailed(f"git for-each-ref: {said[-1] if said else f'exit status {asked.returncode}'}")
    return asked.stdout
