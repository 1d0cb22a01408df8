"""The rule about the time between two attempts."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from uuid import UUID

from chaos.checkers.metrics import by_delivery
from chaos.checkers.tolerances import SLACK, interrupted_seconds
from chaos.history import Arrival, Attempt, History
from deliveries.policy.retry import POISON_SPREAD

# Seconds within which a worker's parent makes a delivery of a dead process due again (docs/durability.md).
RESCUED_WITHIN = 2.0


def off_schedule(history: History) -> Iterator[str]:
    """Yield each retry that is off schedule.

    A retry is early before its step of the schedule is over. It is late after that step, its jitter and the faults in
    between. An attempt with an unknown outcome is repeated when its lease expires at the latest, and uses up no step.
    """
    webhooks = {webhook.path: webhook for webhook in history.webhooks}
    paths = {one.id: one.path for one in history.deliveries}
    requests = by_delivery(history.arrivals)
    for delivery, attempts in by_delivery(history.attempts).items():
        webhook = webhooks.get(paths.get(delivery, ""))
        if webhook is None:
            continue
        for one, following, (step, longest) in steps(attempts, webhook.schedule, lease=history.lease):
            gap = following.started_at - (one.ended_at or 0)
            # The receiver does not know HookHub's clocks: it sees only when each request arrived.
            seen = _seen_gap(requests.get(delivery, ()), one, following)
            is_early = gap < step - SLACK / 10 or (seen is not None and seen < step - SLACK)
            # A worker that held the delivery for longer than its lease had lost it, so the next attempt was due at
            # once.
            if is_early and following.started_at < one.started_at + history.lease - SLACK:
                yield (
                    f"{delivery} ({webhook.path}): attempt {following.number} came {min(gap, seen or gap):.3f} s after "
                    f"attempt {one.number}, before the scheduled {step:g} s"
                )
            yield from _too_late(delivery, one, following, since=one.ended_at or 0, wait=longest * 1.1, history=history)
        losses = 0
        for one, following in pairwise(sorted(attempts, key=lambda one: one.number)):
            if one.outcome == "unknown":
                wait = max(history.lease, RESCUED_WITHIN + spread(delivery, losses=losses))
                yield from _too_late(delivery, one, following, since=one.started_at, wait=wait, history=history)
            losses = losses + 1 if one.outcome == "unknown" else 0


def spread(delivery: str, *, losses: int) -> float:
    """Return for how many seconds a delivery that is lost once more waits; the first loss delays nothing."""
    return losses * UUID(delivery).bytes[15] * POISON_SPREAD.total_seconds() if losses else 0.0


def _too_late(
    delivery: str, one: Attempt, following: Attempt, *, since: float, wait: float, history: History
) -> Iterator[str]:
    gap = following.started_at - since
    latest = wait + history.late_allowed + interrupted_seconds(since, following.started_at, history.interruptions)
    if gap > latest:
        yield (
            f"{delivery}: attempt {following.number} came {gap:.3f} s after attempt {one.number}; "
            f"the limit is {latest:.1f} s"
        )


def steps(
    attempts: Sequence[Attempt], schedule: Sequence[float], *, lease: float
) -> Iterator[tuple[Attempt, Attempt, tuple[float, float]]]:
    """Yield each failed attempt with its successor, and the shortest and longest allowed wait between them in seconds.

    An attempt with an unknown outcome uses up no step. Where two attempts overlap, or may overlap because a lease
    expired, it is uncertain from there on which step applies.
    """
    ordered = sorted(attempts, key=lambda one: one.number)
    is_clear, failures = True, 0
    for one, following in pairwise(ordered):
        if one.outcome == "unknown":
            continue
        if not one.is_failure or one.ended_at is None or following.started_at < one.ended_at:
            is_clear = False
            continue
        is_clear = is_clear and following.started_at < one.started_at + lease - SLACK
        step = schedule[failures : failures + 1] if is_clear else schedule
        failures += 1
        yield one, following, (min(step, default=0), max(step, default=0))


def _seen_gap(requests: Sequence[Arrival], one: Attempt, following: Attempt) -> float | None:
    """Return the seconds between two attempts' requests as the receiver saw them, counted from the end of the first."""
    times = [request.at for request in requests]
    place = bisect_left(times, following.started_at - SLACK)
    if one.ended_at is None or place == 0 or place == len(times) or times[place - 1] < one.started_at - SLACK:
        return None
    return times[place] - max(requests[place - 1].answered_at, one.ended_at)
