"""Figures that are told of a scenario, from its records."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

from chaos.records import Arrival, Attempted, Published, Records, matches

Row = TypeVar("Row", Arrival, Attempted)


def taken_by_delivery(records: Records) -> dict[str, list[Arrival]]:
    """Give the requests that were answered with a 2xx, by delivery."""
    return by_delivery([arrival for arrival in records.arrivals if arrival.is_taken])


def delays(records: Records) -> list[float]:
    """Give how long each event took from its publisher's answer to its first arrival at each healthy webhook.

    It is HookHub's own part of the way; what never arrived is left out.
    """
    said_at = {event.key: event.said_at for event in records.published if event.said == "acknowledged"}
    first = _first_arrivals(records)
    healthy = {hook.path for hook in records.hooks if hook.is_healthy}
    return [max(0.0, at - said_at[key]) for (key, path), at in first.items() if key in said_at and path in healthy]


def waits(records: Records) -> list[float]:
    """Give how long each accepted event took from its publisher's first try to its arrival at each healthy webhook.

    It is the whole way as the publisher sees it, with what had to be repeated; infinite for what never arrived.
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
    """Give the longest time without an arrival at any healthy webhook between the first try to publish and the last."""
    healthy = {hook.path for hook in records.hooks if hook.is_healthy}
    tries = [event.at for event in records.published]
    if not healthy or not tries:
        return 0.0
    begun_at, over_at = min(tries), max(tries)
    arrived = [arrival.at for arrival in records.arrivals if arrival.path in healthy]
    times = sorted([begun_at, over_at, *(at for at in arrived if begun_at < at < over_at)])
    return max(later - sooner for sooner, later in pairwise(times))


def percentile(seconds: Sequence[float], percent: int) -> float:
    """Give a percentile, 0 when there is nothing."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def told(seconds: float) -> float | None:
    """Give seconds as JSON can tell them: to the millisecond, and None for what never came."""
    return round(seconds, 3) if math.isfinite(seconds) else None


def by_delivery(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Sort rows under their deliveries, in the order they are in."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.delivery].append(row)
    return found


def _first_arrivals(records: Records) -> dict[tuple[str, str], float]:
    """Give when each event first arrived, by its key and the webhook's path."""
    first: dict[tuple[str, str], float] = {}
    for arrival in records.arrivals:
        first.setdefault((arrival.key, arrival.path), arrival.at)
    return first


def _is_accepted(event: Published, records: Records) -> bool:
    """Tell whether HookHub has taken an event: said so itself, or stored it; Redis alone says nothing for HookHub."""
    return event.key in records.stored or (event.said == "acknowledged" and event.door != "stream")
