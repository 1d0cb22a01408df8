"""The commits of each change in a push, independent of the dialect of the events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hookhub.git.commits import Commit
from hookhub.git.listing import GitFailed
from hookhub.git.payloads import Change, Push, shown
from hookhub.git.repository import Repository, Walk

_NOTHING = Walk()


@dataclass(frozen=True)
class Moved:
    """The commits of one change: ``newest`` holds (id, first parent, is distinct), newest first.

    A commit is distinct if no branch contained it before the push, and no earlier change of the push includes it.
    ``size`` and ``distinct_size`` count all commits, also those beyond the limit of ``newest``.
    """

    newest: tuple[tuple[str, str, bool], ...]
    size: int
    distinct_size: int
    forced: bool


class History:
    """The history of one push; commits are read on demand and not cached."""

    def __init__(self, push: Push, *, repository: Repository, before: Mapping[str, str]) -> None:
        self._repository = repository
        self._reader = repository.reader()
        default = repository.default_branch()
        self._default_ref = f"refs/heads/{default}"
        self.default_branch = None if default is None else shown(default)
        self._tips, self._parents = self._find_tips(push)
        self._distinct = self._find_distinct(push, before)
        self._branches_on = _branches_on(push, before)

    def close(self) -> None:
        """Stop the git process that reads commits."""
        self._reader.close()

    def moved(self, change: Change) -> Moved:
        """Return the commits of a change, or none if git fails: that the ref moved is worth an event by itself."""
        # As on GitHub, the push of a tag lists no commits; they belong to the push of a branch.
        if change.deleted or change.kind != "branch":
            # Moving a tag always takes a forced push, even if the new commit descends from the old one.
            is_moved_tag = change.kind == "tag" and not change.created and not change.deleted
            return Moved((), size=0, distinct_size=0, forced=is_moved_tag)
        distinct = self._distinct.get(change.ref, _NOTHING)
        try:
            walk = distinct if change.created else self._repository.walk_update(change.old, change.new)
        except GitFailed:
            walk, distinct = _NOTHING, _NOTHING
        ours = frozenset(commit for commit, _ in distinct.newest)
        is_all_ours = distinct.size == walk.size
        newest = tuple((commit, parent, is_all_ours or commit in ours) for commit, parent in walk.newest)
        return Moved(newest, size=walk.size, distinct_size=distinct.size, forced=walk.forced)

    def commits(self, moved: Moved, *, oldest_first: bool = False) -> Iterator[tuple[Commit, bool]]:
        """Yield a change's commits, each with whether it is distinct; skip those that git cannot read."""
        for commit, parent, is_distinct in reversed(moved.newest) if oldest_first else moved.newest:
            try:
                read = self._reader.read(commit, parent)
            except GitFailed:
                continue
            if read is not None:
                yield read, is_distinct

    def head(self, change: Change, moved: Moved) -> tuple[Commit, bool] | None:
        """Return the commit that the ref points to after the push, and whether it is distinct, or None."""
        tip = self._tips.get(change.new)
        if tip is None:
            return None
        try:
            read = self._reader.read(tip, self._parents.get(tip, ""))
        except GitFailed:
            return None
        is_distinct = change.kind == "tag" or any(commit == tip and own for commit, _, own in moved.newest)
        return None if read is None else (read, is_distinct)

    def base_ref(self, change: Change) -> str | None:
        """Return a branch from which a new ref was created: one with the same tip, preferably the default branch."""
        tip = self._tips.get(change.new)
        if not change.created or tip is None:
            return None
        same = [ref for ref in self._branches_on.get(tip, ()) if ref != change.ref][:2]
        found = self._default_ref if self._is_on(tip, self._default_ref, change) else next(iter(same), None)
        return None if found is None else shown(found)

    def _is_on(self, tip: str, ref: str, change: Change) -> bool:
        return ref != change.ref and ref in self._branches_on.get(tip, {})

    def _find_tips(self, push: Push) -> tuple[dict[str, str], dict[str, str]]:
        """Return the commit of every new ref value, by value, and the first parent of each such commit.

        All refs are resolved by two git processes.
        """
        try:
            tips = self._repository.peel(
                change.new for change in push.changes if change.kind is not None and not change.deleted
            )
            return tips, self._repository.first_parents(set(tips.values()))
        except GitFailed:
            return {}, {}

    def _find_distinct(self, push: Push, before: Mapping[str, str]) -> dict[str, Walk]:
        """Return the commits that no branch contained before, by ref, from one walk for all branches.

        A commit shared by several new branches counts for the first of them only, so that a push of a thousand branches
        does not list the same history a thousand times.
        """
        moved = [change for change in push.changes if change.kind == "branch" and not change.deleted]
        try:
            walks = self._repository.walk_new([change.new for change in moved], hidden=set(before.values()))
        except GitFailed:
            return {}
        return {change.ref: walk for change, walk in zip(moved, walks)}


def _branches_on(push: Push, before: Mapping[str, str]) -> dict[str, dict[str, None]]:
    """Return the branches that point to each commit after a push, sorted by name."""
    after = dict(before)
    for change in push.changes:
        if change.kind == "branch":
            after[change.ref] = change.new
    found: dict[str, dict[str, None]] = {}
    for ref in sorted(after):
        found.setdefault(after[ref], {})[ref] = None
    return found
