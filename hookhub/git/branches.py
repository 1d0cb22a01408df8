"""Where the branches stood before a push: what it brought is what none of them had."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

from hookhub.git.payloads import Push, as_name

# Asking git whether one commit contains another costs a process each.
MAX_QUESTIONS = 64


def parse(listing: bytes, *, prefix: str = "") -> dict[str, str]:
    """Read ``for-each-ref``'s listing of branches: the names without their namespace, each with its commit's id.

    Symbolic refs are left out: what such a name stands on moves with another branch.
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
    """Return where the branches stood before a push.

    ``seen`` is where they stood when its hook ran, or later. By then pushes that came ``later`` may have moved them, or
    something that runs no hook. A branch that contains the push's commits and stood elsewhere in ``announced``, which
    is where the branches were seen last, has got them from the push, and is put back there.
    """
    stood = dict(seen)
    for each in reversed(later):
        for change in each.changes:
            has_moved = stood.get(change.ref) == (None if change.deleted else change.new)
            if change.kind == "branch" and has_moved:
                _undo(change.ref, change.old, stood, was_there=not change.created)
    for change in push.changes:
        if change.kind == "branch":
            _undo(change.ref, change.old, stood, was_there=not change.created)
    if announced is not None:
        _put_back_followers(push, stood, announced, contains)
    return stood


def _undo(ref: str, old: str, stood: dict[str, str], *, was_there: bool) -> None:
    if was_there:
        stood[ref] = old
    else:
        stood.pop(ref, None)


def _put_back_followers(
    push: Push, stood: dict[str, str], announced: Mapping[str, str], contains: Callable[[str, str], bool]
) -> None:
    tips = {change.new for change in push.changes if change.kind == "branch" and not change.deleted}
    own = {change.ref for change in push.changes}
    moved = [ref for ref, oid in stood.items() if ref not in own and announced.get(ref) != oid]
    may_ask = len(moved) * len(tips) <= MAX_QUESTIONS
    for ref in moved:
        if stood[ref] in tips or (may_ask and any(contains(stood[ref], tip) for tip in tips)):
            _undo(ref, announced.get(ref, ""), stood, was_there=ref in announced)
