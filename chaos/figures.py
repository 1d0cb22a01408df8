"""Figures that are told of a scenario, from its records."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

from chaos.records import Arrival, Attempted, Records

Row = TypeVar("Row", Arrival, Attempted)


def taken_by_delivery(records: Records) -> dict[str, list[Arrival]]:
    """Give the requests that were answered with a 2xx, by delivery."""
    return by_delivery([arrival for arrival in records.arrivals if arrival.is_taken])


def delays(records: Records) -> list[float]:
    """Give how long each event took from its publisher's answer to its first arrival at each healthy webhook."""
    said_at = {event.key: event.said_at for event in records.published if event.said == "acknowledged"}
    healthy = {hook.path for hook in records.hooks if hook.is_healthy}
    first: dict[tuple[str, str], float] = {}
    for arrival in records.arrivals:
        if arrival.path in healthy and arrival.key in said_at:
            first.setdefault((arrival.key, arrival.path), arrival.at)
    return [max(0.0, at - said_at[key]) for (key, _), at in first.items()]


def longest_gap(records: Records) -> float:
    """Give the longest time without an arrival at any healthy webhook while events were published, in seconds."""
    healthy = {hook.path for hook in records.hooks if hook.is_healthy}
    over_at = max((event.said_at for event in records.published), default=0.0)
    times = sorted(arrival.at for arrival in records.arrivals if arrival.path in healthy)
    return max((later - sooner for sooner, later in pairwise(times) if sooner <= over_at), default=0.0)


def percentile(seconds: Sequence[float], percent: int) -> float:
    """Give a percentile, 0 when there is nothing."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def by_delivery(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Sort rows under their deliveries, in the order they are in."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.delivery].append(row)
    return found
