"""Metrics of a scenario, computed from its history."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

from chaos.history import Arrival, Attempted, Published, Records, matches

Row = TypeVar("Row", Arrival, Attempted)


def taken_by_delivery(records: Records) -> dict[str, list[Arrival]]:
    """Return the requests that were answered with a 2xx, by delivery."""
    return by_delivery([arrival for arrival in records.arrivals if arrival.is_taken])


def delays(records: Records) -> list[float]:
    """Return, for each event and healthy webhook, the seconds from the publisher's answer to the first arrival.

    This is the part of the latency that HookHub causes; events that never arrived are left out.
    """
    said_at = {event.key: event.said_at for event in records.published if event.said == "acknowledged"}
    first = _first_arrivals(records)
    healthy = {hook.path for hook in records.hooks if hook.is_healthy}
    return [max(0.0, at - said_at[key]) for (key, path), at in first.items() if key in said_at and path in healthy]


def waits(records: Records) -> list[float]:
    """Return, for each accepted event and healthy webhook, the seconds from the first publish attempt to the arrival.

    This is the latency that the publisher sees, repeated requests included; infinite for an event that never arrived.
    """
    first = _first_arrivals(records)
    return [
        max(0.0, first.get((event.key, hook.path), math.inf) - event.at)
        for event in records.published
        if _is_accepted(event, records)
        for hook in records.hooks
        if hook.is_healthy and matches(hook.topics, event.type)
    ]


def longest_gap(records: Records) -> float:
    """Return the longest time in seconds without an arrival at any healthy webhook, while events were published."""
    healthy = {hook.path for hook in records.hooks if hook.is_healthy}
    tries = [event.at for event in records.published]
    if not healthy or not tries:
        return 0.0
    begun_at, over_at = min(tries), max(tries)
    arrived = [arrival.at for arrival in records.arrivals if arrival.path in healthy]
    times = sorted([begun_at, over_at, *(at for at in arrived if begun_at < at < over_at)])
    return max(later - sooner for sooner, later in pairwise(times))


def percentile(seconds: Sequence[float], percent: int) -> float:
    """Return a percentile of a list of seconds, 0 for an empty one."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def told(seconds: float) -> float | None:
    """Return seconds in a form valid in JSON: rounded to the millisecond, and None for infinity."""
    return round(seconds, 3) if math.isfinite(seconds) else None


def by_delivery(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group rows by delivery, keeping their order."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.delivery].append(row)
    return found


def _first_arrivals(records: Records) -> dict[tuple[str, str], float]:
    """Return when each event first arrived, by its key and the webhook's path."""
    first: dict[tuple[str, str], float] = {}
    for arrival in records.arrivals:
        first.setdefault((arrival.key, arrival.path), arrival.at)
    return first


def _is_accepted(event: Published, records: Records) -> bool:
    """Return whether HookHub accepted an event: answered so itself, or stored it.

    An acknowledgement by Redis alone does not count.
    """
    return event.key in records.stored or (event.said == "acknowledged" and event.door != "stream")
