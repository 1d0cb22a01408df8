"""Publish events from the code of a Django project, in the transaction of the change that they are about."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

from asgiref.sync import sync_to_async
from django.core.serializers.json import DjangoJSONEncoder

from deliveries import compact_json, pipeline, telemetry, timezone
from deliveries.db import sql
from deliveries.events import IdempotencyConflict, Receipt
from deliveries.models import Organization
from deliveries.policy import trace_context
from hookhub.http.refusals import Refusal
from hookhub.publishing import parse
from hookhub.publishing.publish import KEY_REUSED
from hookhub.publishing.translate import translate, with_keys
from hookhub.publishing.validate import validate_data

# An event as a mapping, with the fields that it has in the API.
Written = Mapping[str, object]
# ``traceparent`` and ``tracestate`` of W3C Trace Context, as a propagator fills a mapping, or ``traceparent`` alone.
Trace = Mapping[str, str] | str
# Writes dates, decimals and UUIDs as Django's serializers do.
_default = DjangoJSONEncoder().default
NOT_JSON = (TypeError, ValueError, RecursionError)


class InvalidEvent(ValueError):
    """Nothing was published; ``fields`` maps each invalid field to what is wrong with it.

    The fields of a batch are named with their position, as in ``events[3].type``.
    """

    def __init__(self, message: str, fields: Mapping[str, str]) -> None:
        super().__init__(" ".join([message, *(f"{name}: {error}." for name, error in fields.items())]))
        self.fields = dict(fields)


class UnknownOrganization(InvalidEvent):
    """There is no organization with this slug."""


class IdempotencyKeyReused(InvalidEvent):
    """A key was used before, for other content."""


def publish(
    type: str,
    data: object,
    *,
    organization: str | Organization,
    repository: str | None = None,
    id: str | None = None,
    timestamp: datetime | str | None = None,
    idempotency_key: str | None = None,
    trace: Trace | None = None,
) -> Receipt:
    """Store an event in the current transaction; it is delivered once that is committed, and without one at once.

    ``organization`` is a slug or a row, and ``data`` what Django's JSON encoder can write. A repetition of an ``id`` or
    an ``idempotency_key`` stores nothing and returns the receipt of the first event. ``trace`` is the trace that
    receivers are sent; by default that of the span of OpenTelemetry in which this is called. Rate limits do not apply.
    Raises InvalidEvent, and the errors of ``django.db``.
    """
    event = {"type": type, "data": data, "repository": repository, "id": id, "timestamp": timestamp}
    [receipt] = _publish([event], is_batch=False, organization=organization, key=idempotency_key, trace=trace)
    return receipt


def publish_batch(
    events: Iterable[Written],
    *,
    organization: str | Organization,
    idempotency_key: str | None = None,
    trace: Trace | None = None,
) -> list[Receipt]:
    """Store up to a thousand events, all or none, as ``publish`` does; return their receipts in the same order.

    Each is a mapping with ``type`` and ``data``, and may have ``repository``, ``id``, ``timestamp`` and a ``trace`` of
    its own.
    """
    listed = list(events)
    if not listed:
        return []
    return _publish(listed, is_batch=True, organization=organization, key=idempotency_key, trace=trace)


# For asynchronous code, outside of a transaction: Django's cannot span an ``await``.
apublish = sync_to_async(publish)
apublish_batch = sync_to_async(publish_batch)


def _publish(
    events: Sequence[Written],
    *,
    is_batch: bool,
    organization: str | Organization,
    key: str | None,
    trace: Trace | None,
) -> list[Receipt]:
    now = timezone.now()
    acts_for = _organization(organization)
    content = _encoded(events, is_batch=is_batch)
    try:
        parsed = parse.read(content, "application/json")
        if others := {event.organization for event in parsed.events} - {None, acts_for.slug}:
            raise InvalidEvent("Invalid organization.", {"organization": f"{others.pop()} is not {acts_for.slug}"})
        validate_data(parsed, organization=acts_for)
        span = telemetry.begin_accept(_current_trace() if trace is None else trace_context.read_fields(trace))
        new = translate(
            parsed,
            organization=acts_for,
            finish=lambda found: with_keys(found, parsed, header=key, content=content),
            trace=span.own,
            now=now,
        )
        receipts = pipeline.accept(new, now=now)
    except Refusal as refusal:
        raise InvalidEvent(refusal.message, refusal.fields) from refusal
    except IdempotencyConflict as error:
        fields = {parsed.field_path(position, "id"): KEY_REUSED for position in error.positions}
        raise IdempotencyKeyReused("An idempotency key was already used.", fields) from error
    # A rollback takes the events with it.
    sql.after_commit(partial(telemetry.end_accept, span, events=len(new)))
    return receipts


def _current_trace() -> str | None:
    """Return the trace of the span of OpenTelemetry that is current, or of the request that HookHub is handling.

    Nothing is imported: a project that makes spans has done so.
    """
    api = sys.modules.get("opentelemetry.trace")
    span = None if api is None else api.get_current_span().get_span_context()
    if span is None or not span.is_valid:
        return trace_context.current()
    parent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    return trace_context.read(parent, span.trace_state.to_header())


def _organization(given: str | Organization) -> Organization:
    """Return an organization as it is now; raise UnknownOrganization for a slug or a row that is not stored."""
    found = None
    if isinstance(given, Organization):
        # It may have been deleted since it was read, and an event without an organization is delivered to no webhook.
        found = Organization.objects.filter(pk=given.pk).first()
    # PostgreSQL refuses NUL, and psycopg half a surrogate pair.
    elif parse.is_name(given):
        found = Organization.objects.filter(slug=given).first()
    if found is None:
        raise UnknownOrganization("Unknown organization.", {"organization": f"there is none with the slug {given!r}"})
    return found


def _encoded(events: Sequence[object], *, is_batch: bool) -> bytes:
    """Return the body of the request that would publish these events; raise InvalidEvent for what is not JSON."""
    written: list[bytes] = []
    errors: dict[str, str] = {}
    for position, event in enumerate(events):
        if not isinstance(event, Mapping):
            errors[f"events[{position}]"] = "must be a mapping with type and data"
            continue
        try:
            written.append(_as_json(_without_blanks(event)))
        except NOT_JSON as error:
            name = _unwritable_field(event)
            errors[f"events[{position}].{name}" if is_batch else name] = f"cannot be written as JSON: {error}"
    if errors:
        raise InvalidEvent("Invalid fields.", errors)
    return b"[" + b",".join(written) + b"]" if is_batch else written[0]


def _as_json(value: object) -> bytes:
    return compact_json.encode(value, default=_default)


def _unwritable_field(event: Written) -> str:
    """Return the first field of an event whose value is not JSON; its data if the fault is elsewhere."""
    for name, value in _without_blanks(event).items():
        try:
            _as_json(value)
        except NOT_JSON:
            return str(name)
    return "data"


def _without_blanks(event: Written) -> Written:
    """Return an event without the fields that are None, apart from its data, and with a timestamp that has a zone."""
    found = {name: value for name, value in event.items() if value is not None or name == "data"}
    moment = found.get("timestamp")
    if isinstance(moment, datetime):
        found["timestamp"] = timezone.aware(moment).isoformat()
    return found
