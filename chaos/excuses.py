"""What was in the way: which interruptions explain a delay, a second request, or one that never came."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from chaos.records import Arrival, Attempted, Interruption, Kind, Records

# A clock that is read in one process and compared in another may be off by a look at the database.
SLACK = 0.25
# What was answered is settled within so many seconds where nothing is in the way.
SETTLED_WITHIN = 0.5
# Nobody has the lease any more of what was answered so long ago.
KEPT_MOST = 10.0
# libcurl repeats a request by itself, at once, when a kept connection breaks before the first byte of an answer.
UNANSWERED = frozenset({"reset"})
REPEATED_WITHIN = 1.0
# Of what can be in the way of a delivery. Redis and the web server cannot.
DELAYING: frozenset[Kind] = frozenset({"process", "database", "receiver", "machine"})
# An entry of the stream waits for Redis, too.
DELAYING_ENTRIES: frozenset[Kind] = frozenset((*DELAYING, "redis"))


def held_up(
    begun_at: float, ended_at: float, interruptions: Iterable[Interruption], *, kinds: Iterable[Kind] = DELAYING
) -> float:
    """Give for how long something was in the way within a span; where several things were, it counts once."""
    total, reached = 0.0, begun_at
    for one in sorted(interruptions, key=lambda one: one.at):
        if one.kind in kinds:
            total += max(0.0, min(one.until, ended_at) - max(one.at, reached))
            reached = max(reached, min(one.until, ended_at))
    return total


def is_overlapped(
    begun_at: float, ended_at: float, interruptions: Iterable[Interruption], *, kinds: Iterable[Kind] = DELAYING
) -> bool:
    """Tell whether anything was in the way within a span."""
    return any(
        one.kind in kinds and one.at <= ended_at + SLACK and begun_at - SLACK <= one.until for one in interruptions
    )


def may_have_met(
    one: Interruption,
    taken: Sequence[Arrival],
    attempts: Mapping[str, Sequence[Attempted]],
    interruptions: Sequence[Interruption],
) -> bool:
    """Tell whether a request that was taken can have been in the hands that an interruption cut off."""
    if one.in_hand is None:
        return any(_is_in_hand(arrival, one.at, one.until, interruptions) for arrival in taken)
    held = [arrival for arrival in taken if arrival.delivery in one.in_hand]
    # What a process holds when it is halted was sent shortly before.
    if any(_is_in_hand(arrival, one.at, one.at, interruptions) for arrival in held):
        return True
    # What one that goes on later held may be sent only then.
    return not one.is_kill and any(
        one.until - SLACK <= arrival.at <= one.until + SETTLED_WITHIN + SLACK
        and _is_any_late(one, attempts.get(arrival.delivery, ()))
        for arrival in held
    )


def _is_in_hand(arrival: Arrival, begun_at: float, ended_at: float, interruptions: Sequence[Interruption]) -> bool:
    """Tell whether a request may have been on its way, or its result not yet written down, at some time of a span."""
    ago = begun_at - arrival.answered_at - SETTLED_WITHIN - SLACK
    if arrival.at > ended_at + SLACK or ago > KEPT_MOST:
        return False
    return ago <= 0 or ago <= held_up(arrival.answered_at, begun_at, interruptions)


def _is_any_late(one: Interruption, attempts: Sequence[Attempted]) -> bool:
    """Tell whether an attempt that began before a process was held up can have ended after it, or was overtaken."""
    ordered = sorted(attempts, key=lambda attempt: attempt.number)
    is_overtaken = any(earlier.started_at > later.started_at for earlier, later in pairwise(ordered))
    return is_overtaken or any(
        attempt.started_at <= one.at + SLACK and (attempt.ended_at is None or attempt.ended_at >= one.until - SLACK)
        for attempt in ordered
    )


def may_have_been_repeated(requests: Sequence[Arrival], records: Records) -> int:
    """Give how many of a delivery's requests libcurl may have made by itself: after each that was cut off, one."""
    longest = max((hook.timeout for hook in records.hooks), default=0.0)
    count = 0
    for request, following in pairwise(sorted(requests, key=lambda request: request.at)):
        is_cut = is_overlapped(request.at, following.at, records.interruptions, kinds={"receiver"})
        is_reset = request.answer in UNANSWERED
        # Whoever was held up learns of it when it goes on.
        within = longest if is_cut else REPEATED_WITHIN + held_up(request.at, following.at, records.interruptions)
        count += (is_cut or is_reset) and following.at - request.at <= within + SLACK
    return count
