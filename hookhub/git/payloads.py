"""The data model: a push as git reports it to the hook, and the repository as the administrator describes it.

The hook imports this module before the push is in the spool, so it imports nothing that a minimal Python may lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def is_zero(oid: str) -> bool:
    """Return whether an object id is git's null id (all zeros, in SHA-1 or SHA-256)."""
    return not oid.strip("0")


def as_name(raw: bytes) -> str:
    """Decode bytes reversibly (surrogateescape), so that two different refs never become equal."""
    return raw.decode("utf-8", errors="surrogateescape")


def as_text(raw: bytes) -> str:
    """Decode bytes for display or JSON; what is not valid UTF-8 becomes U+FFFD."""
    return raw.decode("utf-8", errors="replace")


def shown(name: str) -> str:
    """Return a name from ``as_name``, the environment or a file for display; what is not UTF-8 becomes U+FFFD."""
    try:
        return name.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")
    except UnicodeEncodeError:
        # A JSON escape can produce a lone surrogate that stands for no byte.
        return name.encode("utf-8", errors="replace").decode("utf-8")


@dataclass(frozen=True)
class Change:
    """The update of one ref from one object id to another; all zeros mean that it did not exist, or was deleted."""

    old: str
    new: str
    # From ``as_name``; use ``shown`` in events.
    ref: str

    @property
    def created(self) -> bool:
        """Return whether the ref was created."""
        return is_zero(self.old)

    @property
    def deleted(self) -> bool:
        """Return whether the ref was deleted."""
        return is_zero(self.new)

    @property
    def kind(self) -> str | None:
        """Return "branch" or "tag", or None for a ref without events (notes, reviews)."""
        if self.ref.startswith("refs/heads/"):
            return "branch"
        return "tag" if self.ref.startswith("refs/tags/") else None

    @property
    def shown(self) -> str:
        """Return the ref's full name for display."""
        return shown(self.ref)

    @property
    def short(self) -> str:
        """Return the ref's name for display without ``refs/heads/`` or ``refs/tags/``."""
        return self.shown.split("/", 2)[-1]


@dataclass(frozen=True)
class Push:
    """A push: the ref updates from git, the time (RFC 3339), the pusher, and a nonce that makes event ids unique."""

    nonce: str
    pushed_at: str
    pusher_name: str
    pusher_email: str | None
    changes: tuple[Change, ...]
    # The fields from here on may be missing in a spool written by an earlier version of the hook.
    pusher_id: str | None = None
    # Repository settings from the environment of this push; never the URL or the API key.
    named: Mapping[str, str] = field(default_factory=dict)
    # The ``GIT_*`` variables with which git finds the refs and objects of this push, if the server set any.
    git: Mapping[str, str] = field(default_factory=dict)
    # The trace of the process that ran git, if it names one.
    trace: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form that is stored in the spool."""
        return {
            "nonce": self.nonce,
            "pushed_at": self.pushed_at,
            "pusher_name": self.pusher_name,
            "pusher_email": self.pusher_email,
            "pusher_id": self.pusher_id,
            "changes": [[change.old, change.new, change.ref] for change in self.changes],
            "named": dict(self.named),
            "git": dict(self.git),
            "trace": dict(self.trace),
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Push:
        """Create a push from the JSON form in the spool."""
        return cls(**{**kept, "changes": tuple(Change(*change) for change in kept["changes"])})


@dataclass(frozen=True)
class Identity:
    """The repository as described in events; None for what the git host does not know."""

    name: str
    html_url: str | None = None
    clone_url: str | None = None
    private: bool = True
    # The ids of the repository and its owner in dialects that have them; without them, the name is used.
    id: str | None = None
    customer_id: str | None = None

    @property
    def owner(self) -> str | None:
        """Return the part of the name before the last slash, or None."""
        return self.name.rpartition("/")[0] or None

    @property
    def short(self) -> str:
        """Return the repository's name without its owner."""
        return self.name.rpartition("/")[2]
