"""Reconstructs the branch tips before a push: the commits that none of them contains are new with it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

from hookhub.git.payloads import Push, as_name

# Each query whether one commit contains another starts a git process.
MAX_QUERIES = 64


def parse(listing: bytes, *, prefix: str = "") -> dict[str, str]:
    """Parse a listing of branches from ``for-each-ref``; return commit ids by ref name, without the ``prefix``.

    Symbolic refs are left out: they only follow another branch.
    """
    found = {}
    for line in listing.splitlines():
        oid, _, rest = line.partition(b" ")
        name, _, symbolic = rest.partition(b" ")
        if name and not symbolic:
            found[as_name(name)[len(prefix) :]] = as_name(oid)
    return found


def before(
    push: Push,
    *,
    seen: Mapping[str, str],
    later: Sequence[Push] = (),
    announced: Mapping[str, str] | None = None,
    contains: Callable[[str, str], bool] = operator.eq,
) -> dict[str, str]:
    """Return the branch tips (ref name to commit id) before a push.

    ``seen`` holds the tips when the push's hook ran, or later. By then they may have been moved by a push in ``later``,
    or by a command that runs no hook, such as ``git branch -f``. ``announced`` holds the tips after the previous push
    that was processed. A branch that contains commits of this push, and had another tip in ``announced``, got them from
    this push and is set back to that tip.
    """
    tips_before = dict(seen)
    for each in reversed(later):
        for change in each.changes:
            has_moved = tips_before.get(change.ref) == (None if change.deleted else change.new)
            if change.kind == "branch" and has_moved:
                _undo(change.ref, change.old, tips_before, existed=not change.created)
    for change in push.changes:
        if change.kind == "branch":
            _undo(change.ref, change.old, tips_before, existed=not change.created)
    if announced is not None:
        _put_back_followers(push, tips_before, announced, contains)
    return tips_before


def _undo(ref: str, old: str, tips_before: dict[str, str], *, existed: bool) -> None:
    if existed:
        tips_before[ref] = old
    else:
        tips_before.pop(ref, None)


def _put_back_followers(
    push: Push, tips_before: dict[str, str], announced: Mapping[str, str], contains: Callable[[str, str], bool]
) -> None:
    tips = {change.new for change in push.changes if change.kind == "branch" and not change.deleted}
    own = {change.ref for change in push.changes}
    moved = [ref for ref, oid in tips_before.items() if ref not in own and announced.get(ref) != oid]
    can_query = len(moved) * len(tips) <= MAX_QUERIES
    for ref in moved:
        if tips_before[ref] in tips or (can_query and any(contains(tips_before[ref], tip) for tip in tips)):
            _undo(ref, announced.get(ref, ""), tips_before, existed=ref in announced)
