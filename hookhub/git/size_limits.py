"""Limits the size of an event's list of commits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

# Below the API's 1 MiB per event. Measured as escaped ASCII, so that no re-encoding in transit can exceed it.
MAX_PUSH_BYTES = 900_000
MAX_COMMIT_BYTES = 300_000


def size_of(data: dict[str, Any]) -> int:
    """Return the bytes that an object takes in a JSON list."""
    return len(json.dumps(data)) + len(", ")


def truncate_paths(commit: dict[str, Any]) -> dict[str, Any]:
    """Halve a commit's lists of paths until it is within ``MAX_COMMIT_BYTES``, and set ``truncated`` if any was cut."""
    keep = max(len(commit[name]) for name in ("added", "removed", "modified"))
    while size_of(commit) > MAX_COMMIT_BYTES and keep:
        keep //= 2
        cut = {name: commit[name][:keep] for name in ("added", "removed", "modified")}
        commit = {**commit, **cut, "truncated": True}
    return commit


def newest_within(newest: Iterable[dict[str, Any]], *, max_bytes: int) -> list[dict[str, Any]]:
    """Return the newest commits that fit into ``max_bytes``, oldest first."""
    fitting: list[dict[str, Any]] = []
    size = 0
    for commit in newest:
        size += size_of(commit)
        if size > max_bytes:
            break
        fitting.append(commit)
    return fitting[::-1]
