"""What git told the hook, and what the administrator told it of the repository.

The hook imports this before the push is in the spool, so it imports nothing that a minimal Python may lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def is_zero(oid: str) -> bool:
    """Return whether an object id is git's "nothing" (all zeros, of either hash)."""
    return not oid.strip("0")


def as_name(raw: bytes) -> str:
    """Return bytes as text from which they can be had back: two refs never become one."""
    return raw.decode("utf-8", errors="surrogateescape")


def as_text(raw: bytes) -> str:
    """Return bytes as text to show; what is not UTF-8 becomes U+FFFD, for JSON has no other bytes."""
    return raw.decode("utf-8", errors="replace")


def shown(name: str) -> str:
    """Return a name from ``as_name``, the environment or a file as text to show, the same way."""
    try:
        return name.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")
    except UnicodeEncodeError:
        # JSON can spell half of a surrogate pair, which stands for no byte.
        return name.encode("utf-8", errors="replace").decode("utf-8")


@dataclass(frozen=True)
class Change:
    """One ref, moved from one object id to another (all zeros: it was not there, or is no longer)."""

    old: str
    new: str
    # As ``as_name`` has it; what receivers read is ``shown``.
    ref: str

    @property
    def created(self) -> bool:
        """Return whether the ref is new."""
        return is_zero(self.old)

    @property
    def deleted(self) -> bool:
        """Return whether the ref is gone."""
        return is_zero(self.new)

    @property
    def kind(self) -> str | None:
        """Return "branch" or "tag"; None is for the refs that no event is about (notes, reviews)."""
        if self.ref.startswith("refs/heads/"):
            return "branch"
        return "tag" if self.ref.startswith("refs/tags/") else None

    @property
    def shown(self) -> str:
        """Return the ref's full name to show."""
        return shown(self.ref)

    @property
    def short(self) -> str:
        """Return the ref's name to show, without its namespace."""
        return self.shown.split("/", 2)[-1]


@dataclass(frozen=True)
class Push:
    """What git told the hook, with the time, the pusher and a nonce that makes this push unlike any other."""

    nonce: str
    pushed_at: str
    pusher_name: str
    pusher_email: str | None
    changes: tuple[Change, ...]
    # The fields from here on are not in what a hook of an earlier version has left in the spool.
    pusher_id: str | None = None
    # Settings about the repository that the push's own environment named; never an address or a key.
    named: Mapping[str, str] = field(default_factory=dict)
    # Where git finds this push's refs and objects, when the server's environment said so.
    git: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the form in which the spool keeps it."""
        return {
            "nonce": self.nonce,
            "pushed_at": self.pushed_at,
            "pusher_name": self.pusher_name,
            "pusher_email": self.pusher_email,
            "pusher_id": self.pusher_id,
            "changes": [[change.old, change.new, change.ref] for change in self.changes],
            "named": dict(self.named),
            "git": dict(self.git),
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Push:
        """Read it back from the spool."""
        return cls(**{**kept, "changes": tuple(Change(*change) for change in kept["changes"])})


@dataclass(frozen=True)
class Identity:
    """What events say about the repository; None is for what the git host does not know."""

    name: str
    html_url: str | None = None
    clone_url: str | None = None
    private: bool = True
    # What some systems call the repository and whose it is; its name does where there is none.
    id: str | None = None
    customer_id: str | None = None

    @property
    def owner(self) -> str | None:
        """Return what stands before the repository's own name."""
        return self.name.rpartition("/")[0] or None

    @property
    def short(self) -> str:
        """Return the repository's name without its owner."""
        return self.name.rpartition("/")[2]
