"""Metrics of a scenario, computed from its history."""

import math
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

from chaos.history import Arrival, Attempt, History, Published, matches

Row = TypeVar("Row", Arrival, Attempt)


def taken_by_delivery(history: History) -> dict[str, list[Arrival]]:
    """Return the requests that were answered with a 2xx, by delivery."""
    return by_delivery([arrival for arrival in history.arrivals if arrival.is_taken])


def delays(history: History) -> list[float]:
    """Return, for each event and healthy webhook, the seconds from the publisher's answer to the first arrival.

    This is the part of the latency that HookHub causes; events that never arrived are left out.
    """
    answered_at = {event.key: event.answered_at for event in history.published if event.outcome == "acknowledged"}
    first = _first_arrivals(history)
    healthy = {webhook.path for webhook in history.webhooks if webhook.is_healthy}
    return [
        max(0.0, at - answered_at[key]) for (key, path), at in first.items() if key in answered_at and path in healthy
    ]


def waits(history: History) -> list[float]:
    """Return, for each accepted event and healthy webhook, the seconds from the first publish attempt to the arrival.

    This is the latency that the publisher sees, repeated requests included; infinite for an event that never arrived.
    """
    first = _first_arrivals(history)
    return [
        max(0.0, first.get((event.key, webhook.path), math.inf) - event.at)
        for event in history.published
        if _is_accepted(event, history)
        for webhook in history.webhooks
        if webhook.is_healthy and matches(webhook.topics, event.type)
    ]


def longest_gap(history: History) -> float:
    """Return the longest time in seconds without an arrival at any healthy webhook, while events were published."""
    healthy = {webhook.path for webhook in history.webhooks if webhook.is_healthy}
    tries = [event.at for event in history.published]
    if not healthy or not tries:
        return 0.0
    begun_at, over_at = min(tries), max(tries)
    arrived = [arrival.at for arrival in history.arrivals if arrival.path in healthy]
    times = sorted([begun_at, over_at, *(at for at in arrived if begun_at < at < over_at)])
    return max(later - sooner for sooner, later in pairwise(times))


def rounded(seconds: float) -> float | None:
    """Return seconds in a form valid in JSON: rounded to the millisecond, and None for infinity."""
    return round(seconds, 3) if math.isfinite(seconds) else None


def by_delivery(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group rows by delivery, keeping their order."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.delivery].append(row)
    return found


def _first_arrivals(history: History) -> dict[tuple[str, str], float]:
    """Return when each event first arrived, by its key and the webhook's path."""
    first: dict[tuple[str, str], float] = {}
    for arrival in history.arrivals:
        first.setdefault((arrival.key, arrival.path), arrival.at)
    return first


def _is_accepted(event: Published, history: History) -> bool:
    """Return whether HookHub accepted an event: answered so itself, or stored it.

    An acknowledgement by Redis alone does not count.
    """
    return event.key in history.stored or (event.outcome == "acknowledged" and event.route != "stream")
