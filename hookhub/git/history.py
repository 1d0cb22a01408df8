"""What the changes of one push brought, whatever shape it is told in."""

from __future__ import annotations

from dataclasses import dataclass

from hookhub.git.payloads import Change, Push
from hookhub.git.repository import Commit, GitFailed, Repository, Walk, is_zero

_NOTHING = Walk((), size=0, forced=False)


@dataclass(frozen=True)
class Moved:
    """One change with its commits: the newest, newest first, each with whether no branch had it before."""

    change: Change
    newest: tuple[tuple[Commit, bool], ...]
    size: int
    distinct_size: int
    forced: bool
    head: Commit | None
    is_head_distinct: bool


class History:
    """The changes of one push, to be asked about in their order."""

    def __init__(self, push: Push, *, repository: Repository, before: dict[str, str]) -> None:
        self._push = push
        self._repository = repository
        self.default_branch = repository.default_branch()
        # Grows with every branch told: what two new branches share is told with the first of them only, so that a push
        # of a thousand branches does not tell the same history a thousand times.
        self._known = set(before.values())
        moved = {change.ref: change.new for change in push.changes if change.kind == "branch"}
        self._after = {ref: oid for ref, oid in {**before, **moved}.items() if not is_zero(oid)}
        self._tips, self._tip_parents = self._find_tips()

    def moved(self, change: Change) -> Moved:
        """Tell what a change brought."""
        try:
            walk, distinct = self._walk(change)
            details = self._details(change, walk)
        except GitFailed:
            # The news that the ref moved is worth more than its list of commits, and must not wait for a repair.
            walk, distinct, details = _NOTHING, _NOTHING, {}
        ours = frozenset(commit for commit, _ in distinct.newest)
        tip = self._tips.get(change.new)
        newest = (
            (details[commit], distinct.size == walk.size or commit in ours)
            for commit, _ in walk.newest
            if commit in details
        )
        return Moved(
            change=change,
            newest=tuple(newest),
            size=walk.size,
            distinct_size=distinct.size,
            forced=walk.forced,
            head=details.get(tip) if tip is not None else None,
            is_head_distinct=tip in ours or change.kind == "tag",
        )

    def base_ref(self, change: Change) -> str | None:
        """Name the branch that a new ref was made from, when one stands on the very same commit."""
        tip = self._tips.get(change.new)
        if not change.created or tip is None:
            return None
        same = sorted(ref for ref, oid in self._after.items() if oid == tip and ref != change.ref)
        master = f"refs/heads/{self.default_branch}"
        return master if master in same else next(iter(same), None)

    def _find_tips(self) -> tuple[dict[str, str], dict[str, str]]:
        """Find the commit behind every new value, and that commit's first parent, for all refs at once."""
        try:
            tips = self._repository.peel(change.new for change in self._push.changes if not change.deleted)
            return tips, self._repository.first_parents(set(tips.values()))
        except GitFailed:
            return {}, {}

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
