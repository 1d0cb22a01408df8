"""From one push to its events, with payloads in the shape GitHub gives them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hookhub.git.repository import Commit, GitFailed, Repository, Walk, is_zero

# Below the API's 1 MiB per event, measured as escaped ASCII so that no re-encoding on the way can exceed it.
MAX_PUSH_BYTES = 900_000
MAX_COMMIT_BYTES = 300_000

_NOTHING = Walk((), size=0, forced=False)


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

    def as_json(self) -> dict[str, Any]:
        """Give the form in which the spool keeps it."""
        return {
            "nonce": self.nonce,
            "pushed_at": self.pushed_at,
            "pusher_name": self.pusher_name,
            "pusher_email": self.pusher_email,
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

    def as_json(self, *, default_branch: str | None) -> dict[str, Any]:
        """Give GitHub's ``repository`` object."""
        owner = self.name.rpartition("/")[0] or None
        return {
            "name": self.name.rpartition("/")[2],
            "full_name": self.name,
            "owner": {"name": owner, "login": owner},
            "private": self.private,
            "html_url": self.html_url,
            "url": self.html_url,
            "clone_url": self.clone_url,
            "default_branch": default_branch,
        }


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


def build_events(push: Push, *, repository: Repository, identity: Identity, before: dict[str, str]) -> Iterator[str]:
    """Yield the events of a push in order, each as one line of JSON ready for the API.

    A ref's creation comes before its push and its deletion after it, so that a consumer that makes and drops things
    never sees a push to something it has not heard of.
    """
    builder = _Builder(push, repository, identity, before)
    for change in push.changes:
        if change.kind is None:
            continue
        if change.created:
            yield builder.event(change, f"{change.kind}.created", builder.created(change))
        yield builder.event(change, "push", builder.pushed(change))
        if change.deleted:
            yield builder.event(change, f"{change.kind}.deleted", builder.deleted(change))


class _Builder:
    """What the events of one push share."""

    def __init__(self, push: Push, repository: Repository, identity: Identity, before: dict[str, str]) -> None:
        self._push = push
        self._repository = repository
        self._identity = identity
        self._master = repository.default_branch()
        self._repository_json = identity.as_json(default_branch=self._master)
        self._sender = {"login": push.pusher_name, "type": "User"}
        # Grows with every branch told: what two new branches share is told with the first of them only, so that a push
        # of a thousand branches does not tell the same history a thousand times.
        self._known = set(before.values())
        moved = {change.ref: change.new for change in push.changes if change.kind == "branch"}
        self._after = {ref: oid for ref, oid in {**before, **moved}.items() if not is_zero(oid)}
        self._tips, self._tip_parents = self._find_tips()

    def _find_tips(self) -> tuple[dict[str, str], dict[str, str]]:
        """Find the commit behind every new value, and that commit's first parent, for all refs at once."""
        try:
            tips = self._repository.peel(change.new for change in self._push.changes if not change.deleted)
            return tips, self._repository.first_parents(set(tips.values()))
        except GitFailed:
            return {}, {}

    def event(self, change: Change, kind: str, data: dict[str, Any]) -> str:
        parts = (self._identity.name, change.old, change.new, change.ref, kind, self._push.nonce)
        event = {
            "id": hashlib.sha256("\n".join(parts).encode()).hexdigest(),
            "type": kind,
            "timestamp": self._push.pushed_at,
            "repository": self._identity.name,
            "data": data,
        }
        return json.dumps(event, ensure_ascii=False, separators=(",", ":"))

    def created(self, change: Change) -> dict[str, Any]:
        return {
            "ref": change.short,
            "ref_type": change.kind,
            "master_branch": self._master,
            "description": None,
            "pusher_type": "user",
            "repository": self._repository_json,
            "sender": self._sender,
        }

    def deleted(self, change: Change) -> dict[str, Any]:
        return {
            "ref": change.short,
            "ref_type": change.kind,
            "pusher_type": "user",
            "repository": self._repository_json,
            "sender": self._sender,
        }

    def pushed(self, change: Change) -> dict[str, Any]:
        try:
            walk, distinct = self._walk(change)
            details = self._details(change, walk)
        except GitFailed:
            # The news that the ref moved is worth more than its list of commits, and must not wait for a repair.
            walk, distinct, details = _NOTHING, _NOTHING, {}
        ours = frozenset(commit for commit, _ in distinct.newest)
        tip = self._tips.get(change.new)
        head = self._commit(details[tip], distinct=tip in ours or change.kind == "tag") if tip in details else None
        newest = (
            self._commit(details[commit], distinct=distinct.size == walk.size or commit in ours)
            for commit, _ in walk.newest
            if commit in details
        )
        return {
            "ref": change.ref,
            "before": change.old,
            "after": change.new,
            "created": change.created,
            "deleted": change.deleted,
            "forced": walk.forced,
            "base_ref": self._base_ref(change),
            "compare": self._compare(change),
            "size": walk.size,
            "distinct_size": distinct.size,
            "commits": _fitting(newest, room=MAX_PUSH_BYTES - (_size(head) if head else 0)),
            "head_commit": head,
            "repository": self._repository_json,
            "pusher": {"name": self._push.pusher_name, "email": self._push.pusher_email},
            "sender": self._sender,
        }

    def _walk(self, change: Change) -> tuple[Walk, Walk]:
        """Walk the commits of a change, and those of them that no branch had before."""
        # A tag's push carries no commits, at GitHub and here: the branch's push has told them.
        if change.deleted or change.kind != "branch":
            return _NOTHING, _NOTHING
        distinct = self._repository.walk_new(change.new, hidden=self._known)
        walk = distinct if change.created else self._repository.walk_update(change.old, change.new)
        self._known.add(change.new)
        return walk, distinct

    def _details(self, change: Change, walk: Walk) -> dict[str, Commit]:
        pairs = list(walk.newest)
        tip = self._tips.get(change.new)
        if tip is not None and all(commit != tip for commit, _ in pairs):
            pairs.append((tip, self._tip_parents.get(tip, "")))
        return self._repository.commits(pairs)

    def _commit(self, commit: Commit, *, distinct: bool) -> dict[str, Any]:
        page = self._identity.html_url
        shown = {
            "id": commit.id,
            "tree_id": commit.tree_id,
            "distinct": distinct,
            "message": commit.message,
            "timestamp": commit.timestamp,
            "url": f"{page}/commit/{commit.id}" if page else None,
            "author": {"name": commit.author.name, "email": commit.author.email},
            "committer": {"name": commit.committer.name, "email": commit.committer.email},
            "added": list(commit.added),
            "removed": list(commit.removed),
            "modified": list(commit.modified),
        }
        return _trimmed({**shown, "truncated": True} if commit.truncated else shown)

    def _base_ref(self, change: Change) -> str | None:
        """Name the branch that a new ref was made from, when one stands on the very same commit."""
        tip = self._tips.get(change.new)
        if not change.created or tip is None:
            return None
        same = sorted(ref for ref, oid in self._after.items() if oid == tip and ref != change.ref)
        master = f"refs/heads/{self._master}"
        return master if master in same else next(iter(same), None)

    def _compare(self, change: Change) -> str | None:
        page = self._identity.html_url
        return f"{page}/compare/{change.old[:12]}...{change.new[:12]}" if page else None


def _size(shown: dict[str, Any]) -> int:
    return len(json.dumps(shown)) + len(", ")


def _trimmed(shown: dict[str, Any]) -> dict[str, Any]:
    """Halve a commit's lists of paths until it fits its share, and say so with ``truncated``."""
    keep = max(len(shown[name]) for name in ("added", "removed", "modified"))
    while _size(shown) > MAX_COMMIT_BYTES and keep:
        keep //= 2
        cut = {name: shown[name][:keep] for name in ("added", "removed", "modified")}
        shown = {**shown, **cut, "truncated": True}
    return shown


def _fitting(newest: Iterable[dict[str, Any]], *, room: int) -> list[dict[str, Any]]:
    """Keep the newest commits that fit into ``room`` bytes, oldest first; ``size`` tells how many there were."""
    kept: list[dict[str, Any]] = []
    for shown in newest:
        room -= _size(shown)
        if room < 0:
            break
        kept.append(shown)
    return kept[::-1]
