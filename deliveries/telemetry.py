"""Where the engine reports what it does. Metrics and traces listen here; without them, nothing is imported or kept.

Durations are in seconds. Results and claims are passed as the steps of the pipeline have them.
"""

import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Protocol


class Observer:
    """Does nothing with each report; metrics and traces override what they need. No method may raise or block."""

    def accepted(self, events: int) -> None:
        """``events`` were stored and committed."""

    def repeated(self, events: int) -> None:
        """``events`` had been stored before, by requests with the same idempotency keys."""

    def stream_stored(self, waits: Sequence[float]) -> None:
        """Entries of the stream were stored, so many seconds after Redis had accepted each."""

    def stream_refused(self, statuses: Sequence[int]) -> None:
        """Entries of the stream were refused, each for what the HTTP API refuses with this status."""

    def fanned_out(self, *, events: int, deliveries: int, claims: Sequence[Any], began_at: float) -> None:
        """One fan-out created ``deliveries``; ``claims`` are those of them claimed at once."""

    def claimed(self, claims: Sequence[Any], *, began_at: float) -> None:
        """One claim took ``claims``."""

    def settled(self, results: Sequence[Any], *, applied: AbstractSet[Any], began_at: float) -> None:
        """One settlement recorded ``results``; those of the deliveries ``applied`` still held their lease."""

    def rescued(self, deliveries: int) -> None:
        """The leases of ``deliveries`` were taken back from dead workers."""

    def in_flight(self, requests: int) -> None:
        """So many ``requests`` of this process are in flight."""


class AcceptSpan(NamedTuple):
    """The time in which events are accepted, as a span of their publisher's trace.

    ``parent`` is the publisher's span and ``own`` the one to store with the events, both as ``trace_context`` has them.
    """

    parent: str | None
    own: str | None
    began_at: int = 0


class Tracer(Protocol):
    """Makes spans."""

    def begin_accept(self, parent: str | None) -> AcceptSpan:
        """Begin the span of a request to publish."""

    def end_accept(self, span: AcceptSpan, *, events: int) -> None:
        """End it, with the number of events stored."""

    def headers_of(self, claim: Any) -> tuple[tuple[str, str], ...]:
        """Return the headers of a claim's attempt, which name its span as the parent."""


_observers: list[Observer] = []
# None while traces are off: the publisher's trace is then passed on as it came.
tracer: Tracer | None = None


def observe(observer: Observer) -> None:
    """Report to ``observer`` from now on."""
    _observers.append(observer)


def forget_all() -> None:
    """Report to no observer any more."""
    trace_with(None)
    _observers.clear()


def trace_with(new: Tracer | None) -> None:
    """Make spans with this tracer from now on."""
    global tracer  # noqa: PLW0603 - one for each process
    tracer = new


def begin_accept(parent: str | None) -> AcceptSpan:
    """Return the span of a request to publish that begins now; without traces, its own is the parent."""
    return AcceptSpan(parent, parent) if tracer is None else tracer.begin_accept(parent)


def end_accept(span: AcceptSpan, *, events: int) -> None:
    """End the span of a request whose events are stored."""
    if tracer is not None:
        tracer.end_accept(span, events=events)


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


def stream_stored(waits: Sequence[float]) -> None:
    for each in _observers:
        each.stream_stored(waits)


def stream_refused(statuses: Sequence[int]) -> None:
    for each in _observers:
        each.stream_refused(statuses)


def fanned_out(*, events: int, deliveries: int, claims: Sequence[Any], began_at: float) -> None:
    for each in _observers:
        each.fanned_out(events=events, deliveries=deliveries, claims=claims, began_at=began_at)


def claimed(claims: Sequence[Any], *, began_at: float) -> None:
    for each in _observers:
        each.claimed(claims, began_at=began_at)


def settled(results: Sequence[Any], *, applied: AbstractSet[Any], began_at: float) -> None:
    for each in _observers:
        each.settled(results, applied=applied, began_at=began_at)


def rescued(deliveries: int) -> None:
    for each in _observers:
        each.rescued(deliveries)


def in_flight(requests: int) -> None:
    for each in _observers:
        each.in_flight(requests)
