"""What git told the hook, and what the administrator told it of the repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hookhub.git.repository import is_zero


@dataclass(frozen=True)
class Change:
    """One ref, moved from one object id to another (all zeros: it was not there, or is no longer)."""

    old: str
    new: str
    ref: str

    @property
    def created(self) -> bool:
        """Tell whether the ref is new."""
        return is_zero(self.old)

    @property
    def deleted(self) -> bool:
        """Tell whether the ref is gone."""
        return is_zero(self.new)

    @property
    def kind(self) -> str | None:
        """Name the ref "branch" or "tag"; None is for the refs nobody is told about (notes, reviews)."""
        if self.ref.startswith("refs/heads/"):
            return "branch"
        return "tag" if self.ref.startswith("refs/tags/") else None

    @property
    def short(self) -> str:
        """Give the ref's name without its namespace."""
        return self.ref.split("/", 2)[-1]


@dataclass(frozen=True)
class Push:
    """What git told the hook, with the time, the pusher and a nonce that makes this push unlike any other."""

    nonce: str
    pushed_at: str
    pusher_name: str
    pusher_email: str | None
    changes: tuple[Change, ...]
    # Not in what a hook of an earlier version has left in the spool.
    pusher_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Give the form in which the spool keeps it."""
        return {
            "nonce": self.nonce,
            "pushed_at": self.pushed_at,
            "pusher_name": self.pusher_name,
            "pusher_email": self.pusher_email,
            "pusher_id": self.pusher_id,
            "changes": [[change.old, change.new, change.ref] for change in self.changes],
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Push:
        """Read it back from the spool."""
        return cls(**{**kept, "changes": tuple(Change(*change) for change in kept["changes"])})


@dataclass(frozen=True)
class Identity:
    """What events say about the repository; None is for what the git host was not told."""

    name: str
    html_url: str | None = None
    clone_url: str | None = None
    private: bool = True
    # What some systems call the repository and whose it is; its name does where they are not told.
    id: str | None = None
    customer_id: str | None = None

    @property
    def owner(self) -> str | None:
        """Give what stands before the repository's own name."""
        return self.name.rpartition("/")[0] or None

    @property
    def short(self) -> str:
        """Give the repository's name without its owner."""
        return self.name.rpartition("/")[2]


def branches_before(push: Push, *, later: Sequence[Push], now: dict[str, str]) -> dict[str, str]:
    """Reconstruct where the branches stood before a push, from where they stand now and the pushes since."""
    before = dict(now)
    for undone in (*reversed(later), push):
        for change in undone.changes:
            if change.kind != "branch":
                continue
            if change.created:
                before.pop(change.ref, None)
            else:
                before[change.ref] = change.old
    return before
