"""Lists a repository's branches. The pusher waits for this, so the module imports very little."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

# Parsed by ``branches.parse``: the commit id, the ref name, and the target of a symbolic ref.
FORMAT = "%(objectname) %(refname) %(symref)"


class GitFailed(Exception):
    """A git process failed; the message names the command and the last line of its error output."""


def list_branches(git_dir: Path, *, environment: Mapping[str, str], prefix: str, timeout_seconds: float) -> bytes:
    """Return the current branches of a namespace, one per line in ``FORMAT``; raise GitFailed."""
    try:
        done = subprocess.run(
            ["git", "for-each-ref", f"--format={FORMAT}", f"{prefix}refs/heads/"],
            capture_output=True,
            env=environment,
            cwd=git_dir,
            timeout=timeout_seconds,
            check=False,
        )
    except OSError as error:
        raise GitFailed(f"cannot run git: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise GitFailed("git for-each-ref: timed out") from error
    if done.returncode:
        errors = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
        raise GitFailed(f"git for-each-ref: {errors[-1] if errors else f'exit status {done.returncode}'}")
    return done.stdout
