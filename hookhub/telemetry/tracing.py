"""Spans of accepting, fanning out, claiming, attempting and settling, sent to a collector by OTLP over HTTP.

A span is made once what it describes is over, with ids that are known before: that of an attempt follows from its
delivery and its number, because the receiver is sent it first. Nothing is kept meanwhile, so a process that dies loses
only its spans.
"""

import logging
import os
import secrets
import threading
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from deliveries import telemetry
from deliveries.pipeline.settling import OUTCOMES
from deliveries.policy import trace_context
from deliveries.policy.outcomes import Delivered, NoResponse
from deliveries.policy.trace_context import SAMPLED, Parent
from deliveries.telemetry import AcceptSpan
from deliveries.version import VERSION

log = logging.getLogger("hookhub.tracing")

# How long a span waits for others, so that one request has many of them, and how many may wait.
DELAY_MS = 1000
MAX_BATCH = 512
MAX_WAITING = 8192
# A collector that does not answer holds the thread that exports for so long, and nothing else.
TIMEOUT_SECONDS = 5
# The traces that a span of a batch names.
MAX_LINKS = 32


class ChosenIds(IdGenerator):
    """Gives the ids chosen for the next span of this thread, and random ones otherwise."""

    def __init__(self) -> None:
        self._chosen = threading.local()

    def choose(self, *, trace_id: str = "", span_id: str = "") -> None:
        """Choose ids, in hexadecimal digits, for the next span."""
        self._chosen.trace_id, self._chosen.span_id = trace_id, span_id

    def generate_span_id(self) -> int:
        """Return the chosen id of a span, or a random one."""
        return int(getattr(self._chosen, "span_id", "") or secrets.token_hex(8), 16)

    def generate_trace_id(self) -> int:
        """Return the chosen id of a trace, or a random one."""
        return int(getattr(self._chosen, "trace_id", "") or secrets.token_hex(16), 16)


class Rarely(logging.Handler):
    """Passes on one message a minute: a collector that is away is no reason to write a line for each batch."""

    INTERVAL_SECONDS = 60.0

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._passed_at: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record as HookHub's own, unless another one was a moment ago."""
        now = time.monotonic()
        if self._passed_at is None or now - self._passed_at >= self.INTERVAL_SECONDS:
            self._passed_at = now
            log.warning("Spans are lost or late: %s", record.getMessage())


class Tracing(telemetry.Observer):
    """Makes the spans of one process; the exporter's thread is its own."""

    def __init__(self, *, role: str) -> None:
        self._ids = ChosenIds()
        name = os.environ.get("OTEL_SERVICE_NAME") or "hookhub"
        facts: dict[str, str | int] = {"hookhub.role": role, "process.pid": os.getpid()}
        resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: VERSION, **facts})
        # Ended by ``close``; an exit handler would wait for a collector that is away.
        self._provider = TracerProvider(id_generator=self._ids, resource=resource, shutdown_on_exit=False)
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(timeout=TIMEOUT_SECONDS),
            max_queue_size=MAX_WAITING,
            schedule_delay_millis=DELAY_MS,
            max_export_batch_size=MAX_BATCH,
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("hookhub", VERSION)
        of_library = logging.getLogger("opentelemetry")
        of_library.propagate = False
        of_library.handlers = [Rarely()]

    def close(self, *, seconds: float) -> None:
        """Send what waits, for so many seconds at most."""
        closing = threading.Thread(target=self._processor.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(timeout=seconds)

    # Accepting

    def begin_accept(self, parent: str | None) -> AcceptSpan:
        """Begin the span of a request to publish: part of the publisher's trace, or a new one."""
        given = trace_context.parent_of(parent) if parent is not None else None
        trace_id = given.trace_id if given else secrets.token_hex(16)
        flags = SAMPLED if self._is_sampled(given, trace_id) else 0
        own = Parent(trace_id, secrets.token_hex(8), flags, given.state if given else "")
        return AcceptSpan(parent, str(own), time.time_ns())

    def end_accept(self, span: AcceptSpan, *, events: int) -> None:
        """Make the span of a request whose events are stored."""
        own = trace_context.parent_of(span.own or "")
        self._make(
            "accept",
            own,
            parent=span.parent,
            kind=SpanKind.SERVER,
            began_at=span.began_at,
            ended_at=time.time_ns(),
            attributes={"hookhub.events": events},
        )

    # Attempting

    def headers_of(self, claim: Any) -> tuple[tuple[str, str], ...]:
        """Return the headers of an attempt, with its span as the parent of what the receiver does."""
        return trace_context.headers_of(str(self._span_of_attempt(claim)))

    def _span_of_attempt(self, claim: Any) -> Parent:
        """Return the span of an attempt; an event that was stored without a trace has one with the event's id."""
        given = trace_context.parent_of(claim.trace) if claim.trace is not None else None
        trace_id = given.trace_id if given else claim.event_id.replace("-", "")
        flags = SAMPLED if self._is_sampled(given, trace_id) else 0
        span_id = trace_context.span_id_of_attempt(claim.delivery_id, claim.number)
        return Parent(trace_id, span_id, flags, given.state if given else "")

    def settled(self, results: Sequence[Any], *, applied: AbstractSet[Any], began_at: float) -> None:
        """Make the spans of the attempts, and that of their settlement."""
        ended_at = time.time_ns()
        spans = []
        for result in results:
            own = self._span_of_attempt(result.claim)
            if own.is_sampled:
                spans.append(own)
                self._make_attempt(result, own, is_applied=result.claim.delivery_id in applied)
        self._make_batch("settle", spans, began_at=began_at, ended_at=ended_at, attempts=len(results))

    def _make_attempt(self, result: Any, own: Parent, *, is_applied: bool) -> None:
        claim, destination = result.claim, result.claim.destination
        response = result.exchange.result
        attributes: dict[str, Any] = {
            "http.request.method": "POST",
            "hookhub.delivery": str(claim.delivery_id),
            "hookhub.event": claim.event_id,
            "hookhub.event_type": claim.event_type,
            "hookhub.webhook": destination.webhook_uid,
            "hookhub.organization": destination.organization,
            "hookhub.format": destination.format,
            "hookhub.attempt": claim.number,
            "hookhub.outcome": OUTCOMES[type(result.outcome)],
            "hookhub.lease_lost": not is_applied,
        }
        if isinstance(response, NoResponse):
            attributes["error.type"] = response.cause or response.kind
        else:
            attributes["http.response.status_code"] = response.status
        self._make(
            "attempt",
            own,
            parent=claim.trace,
            kind=SpanKind.CLIENT,
            began_at=_nanoseconds(result.started_at),
            ended_at=_nanoseconds(result.started_at + result.exchange.duration),
            attributes=attributes,
            is_error=not isinstance(result.outcome, Delivered),
        )

    # Batches

    def fanned_out(self, *, events: int, deliveries: int, claims: Sequence[Any], began_at: float) -> None:
        """Make the span of a fan-out, which names the traces of what it claimed at once."""
        if events:
            parents = [self._span_of_attempt(claim) for claim in claims[:MAX_LINKS]]
            ended_at = time.time_ns()
            self._make_batch(
                "fan out", parents, began_at=began_at, ended_at=ended_at, events=events, deliveries=deliveries
            )

    def claimed(self, claims: Sequence[Any], *, began_at: float) -> None:
        """Make the span of a claim, which names the traces of what it claimed."""
        if claims:
            parents = [self._span_of_attempt(claim) for claim in claims[:MAX_LINKS]]
            self._make_batch("claim", parents, began_at=began_at, ended_at=time.time_ns(), deliveries=len(claims))

    def _make_batch(
        self, name: str, linked: Sequence[Parent], *, began_at: float, ended_at: int, **counts: int
    ) -> None:
        """Make a span in a trace of its own, because a batch is part of many, with links to these."""
        own = Parent(secrets.token_hex(16), secrets.token_hex(8))
        if not self._is_sampled(None, own.trace_id):
            return
        self._make(
            name,
            own,
            parent=None,
            kind=SpanKind.INTERNAL,
            began_at=ended_at - int((time.perf_counter() - began_at) * 1e9),
            ended_at=ended_at,
            attributes={f"hookhub.{key}": count for key, count in counts.items()},
            links=[Link(_context_of(each)) for each in linked[:MAX_LINKS]],
        )

    def _is_sampled(self, parent: Parent | None, trace_id: str) -> bool:
        """Return what the sampler of OTEL_TRACES_SAMPLER says; by default it is as the parent, and yes without one."""
        context = None if parent is None else set_span_in_context(NonRecordingSpan(_context_of(parent)))
        decided = self._tracer.sampler.should_sample(context, int(trace_id, 16), "hookhub")  # type: ignore[attr-defined]
        return bool(decided.decision.is_sampled())

    def _make(
        self,
        name: str,
        own: Parent,
        *,
        parent: str | None,
        kind: SpanKind,
        began_at: int,
        ended_at: int,
        attributes: dict[str, Any],
        links: Sequence[Link] = (),
        is_error: bool = False,
    ) -> None:
        """Make a span with these ids, if it is sampled."""
        if not own.is_sampled:
            return
        above = None if parent is None else _context_of(trace_context.parent_of(parent))
        context = set_span_in_context(NonRecordingSpan(above or SpanContext(0, 0, is_remote=False)))
        self._ids.choose(trace_id=own.trace_id, span_id=own.span_id)
        try:
            span = self._tracer.start_span(
                name, context=context, kind=kind, attributes=attributes, links=links, start_time=began_at
            )
        finally:
            self._ids.choose()
        if is_error:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=max(began_at, ended_at))


def _context_of(parent: Parent) -> SpanContext:
    return SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(parent.flags),
        trace_state=TraceState.from_header([parent.state]) if parent.state else None,
    )


def _nanoseconds(moment: datetime) -> int:
    # In two parts, because a float has no nanoseconds.
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
