"""The tolerances: which interruptions explain a delay, a second request, or a request that never came."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from chaos.history import Arrival, Attempt, History, Interruption, Kind

# Seconds. A time read by one process and compared in another may be off by one database query.
SLACK = 0.25
# Seconds within which an answered request is settled when nothing is disturbed.
SETTLED_WITHIN = 0.5
# Seconds after the answer at which every lease has expired.
MAX_KEPT = 10.0
# libcurl repeats a request at once when a reused connection breaks before the first byte of a response.
UNANSWERED = frozenset({"reset"})
REPEATED_WITHIN = 1.0
# The interruptions that can delay a delivery. Those of Redis and the web server cannot.
DELAYING: frozenset[Kind] = frozenset({"process", "database", "receiver", "machine"})
# A stream entry also waits for Redis.
DELAYING_ENTRIES: frozenset[Kind] = frozenset((*DELAYING, "redis"))


def interrupted_seconds(
    begun_at: float, ended_at: float, interruptions: Iterable[Interruption], *, kinds: Iterable[Kind] = DELAYING
) -> float:
    """Return for how many seconds of a span something was interrupted; overlapping interruptions count once."""
    total, reached = 0.0, begun_at
    for one in sorted(interruptions, key=lambda one: one.at):
        if one.kind in kinds:
            total += max(0.0, min(one.until, ended_at) - max(one.at, reached))
            reached = max(reached, min(one.until, ended_at))
    return total


def is_overlapped(
    begun_at: float, ended_at: float, interruptions: Iterable[Interruption], *, kinds: Iterable[Kind] = DELAYING
) -> bool:
    """Return whether anything was interrupted within a span."""
    return any(
        one.kind in kinds and one.at <= ended_at + SLACK and begun_at - SLACK <= one.until for one in interruptions
    )


def may_have_hit(
    one: Interruption,
    taken: Sequence[Arrival],
    attempts: Mapping[str, Sequence[Attempt]],
    interruptions: Sequence[Interruption],
) -> bool:
    """Return whether a request that was taken may have been in flight, or unsettled, when an interruption hit."""
    if one.leased is None:
        return any(_is_in_flight(arrival, one.at, one.until, interruptions) for arrival in taken)
    held = [arrival for arrival in taken if arrival.delivery in one.leased]
    # A process that is halted sent its requests shortly before.
    if any(_is_in_flight(arrival, one.at, one.at, interruptions) for arrival in held):
        return True
    # A process that is resumed may send what it had claimed only then.
    return not one.is_kill and any(
        one.until - SLACK <= arrival.at <= one.until + SETTLED_WITHIN + SLACK
        and _is_any_late(one, attempts.get(arrival.delivery, ()))
        for arrival in held
    )


def _is_in_flight(arrival: Arrival, begun_at: float, ended_at: float, interruptions: Sequence[Interruption]) -> bool:
    """Return whether a request may have been in flight, or its result unsettled, at some time within a span."""
    ago = begun_at - arrival.answered_at - SETTLED_WITHIN - SLACK
    if arrival.at > ended_at + SLACK or ago > MAX_KEPT:
        return False
    return ago <= 0 or ago <= interrupted_seconds(arrival.answered_at, begun_at, interruptions)


def _is_any_late(one: Interruption, attempts: Sequence[Attempt]) -> bool:
    """Return whether an attempt may have spanned the pause of a process, or was overtaken by a later attempt."""
    ordered = sorted(attempts, key=lambda attempt: attempt.number)
    is_overtaken = any(earlier.started_at > later.started_at for earlier, later in pairwise(ordered))
    return is_overtaken or any(
        attempt.started_at <= one.at + SLACK and (attempt.ended_at is None or attempt.ended_at >= one.until - SLACK)
        for attempt in ordered
    )


def may_have_been_repeated(requests: Sequence[Arrival], history: History) -> int:
    """Return how many of a delivery's requests libcurl may have repeated by itself: one for each request cut off."""
    longest = max((webhook.timeout for webhook in history.webhooks), default=0.0)
    count = 0
    for request, following in pairwise(sorted(requests, key=lambda request: request.at)):
        is_cut = is_overlapped(request.at, following.at, history.interruptions, kinds={"receiver"})
        is_reset = request.answer in UNANSWERED
        # A process that was paused notices the broken connection only when it is resumed.
        within = (
            longest
            if is_cut
            else REPEATED_WITHIN + interrupted_seconds(request.at, following.at, history.interruptions)
        )
        count += (is_cut or is_reset) and following.at - request.at <= within + SLACK
    return count
