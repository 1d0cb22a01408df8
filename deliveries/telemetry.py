"""Where the engine reports what it does. Metrics and traces listen here; without them, nothing is imported or kept.

Durations are in seconds. Results and claims are passed as the steps of the pipeline have them.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any


class Observer:
    """Does nothing with each report; metrics and traces override what they need. No method may raise or block."""

    def accepted(self, events: int) -> None:
        """``events`` were stored and committed."""

    def repeated(self, events: int) -> None:
        """``events`` had been stored before, by requests with the same idempotency keys."""

    def refused(self, entries: int) -> None:
        """``entries`` of the stream were refused."""

    def fanned_out(self, *, events: int, deliveries: int, claims: Sequence[Any], began_at: float) -> None:
        """One fan-out created ``deliveries``; ``claims`` are those of them claimed at once."""

    def claimed(self, claims: Sequence[Any], *, began_at: float) -> None:
        """One claim took ``claims``."""

    def settled(self, results: Sequence[Any], *, applied: frozenset[Any], began_at: float) -> None:
        """One settlement recorded ``results``; those of the deliveries ``applied`` still held their lease."""

    def rescued(self, deliveries: int) -> None:
        """The leases of ``deliveries`` were taken back from dead workers."""

    def in_flight(self, requests: int) -> None:
        """So many ``requests`` of this process are in flight."""


_observers: list[Observer] = []
# What makes the trace headers of an attempt, given its claim; None passes the event's own on.
trace_headers: Callable[[Any], tuple[tuple[str, str], ...]] | None = None


def observe(observer: Observer) -> None:
    """Report to ``observer`` from now on."""
    _observers.append(observer)


def forget_all() -> None:
    """Report to no observer any more."""
    global trace_headers  # noqa: PLW0603 - one for each process
    _observers.clear()
    trace_headers = None


def is_observed() -> bool:
    """Return whether there is an observer."""
    return bool(_observers)


def clock() -> float:
    """Return the time to pass as ``began_at``, in seconds of a steady clock."""
    return time.perf_counter()


def accepted(events: int) -> None:
    for each in _observers:
        each.accepted(events)


def repeated(events: int) -> None:
    for each in _observers:
        each.repeated(events)


def refused(entries: int) -> None:
    for each in _observers:
        each.refused(entries)


def fanned_out(*, events: int, deliveries: int, claims: Sequence[Any], began_at: float) -> None:
    for each in _observers:
        each.fanned_out(events=events, deliveries=deliveries, claims=claims, began_at=began_at)


def claimed(claims: Sequence[Any], *, began_at: float) -> None:
    for each in _observers:
        each.claimed(claims, began_at=began_at)


def settled(results: Sequence[Any], *, applied: set[Any], began_at: float) -> None:
    for each in _observers:
        each.settled(results, applied=frozenset(applied), began_at=began_at)


def rescued(deliveries: int) -> None:
    for each in _observers:
        each.rescued(deliveries)


def in_flight(requests: int) -> None:
    for each in _observers:
        each.in_flight(requests)
