"""Parses published events so that the bytes of each payload stay exactly as they were sent."""

import hashlib
import json
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import filterfalse
from typing import Any, cast

from django.conf import settings

from deliveries.event_types.topics import RESERVED, TYPE_RULE, is_reserved, is_type, topics_of
from deliveries.policy import hops, trace_context
from hookhub.http.json_texts import unreadable, without_bom
from hookhub.http.json_values import MAX_DEPTH, is_deeper_than, parse_timestamp
from hookhub.http.refusals import Refusal, bad_request, invalid, loop_detected, too_large
from hookhub.publishing import event_objects
from hookhub.publishing.event_objects import FIELDS, MAX_SHORT_FIELD, Member, TooLong

MAX_EVENTS = 1000
MAX_KEY_LENGTH = 255
UNKNOWN_FIELD = f"is not a known field of an event; known fields: {', '.join(FIELDS)}"
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

MAX_ERRORS = 100
MAX_NAME_SHOWN = 100
# Bytes of a request's event data that are also kept as parsed values, which take up to twenty times the memory of their
# text.
MAX_VALUES_KEPT = 1024 * 1024
# The key of a request's environment under which its parsed body is kept.
READ = "hookhub.intake"


class _Unread:
    """Stands for a parsed value that was not kept."""


UNREAD = _Unread()


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """One event as its publisher wrote it; ``payload`` is the text of ``data``, byte for byte."""

    type: str
    value: object
    payload: bytes
    topics: tuple[str, ...]
    repository: str | None
    organization: str | None
    key: str | None
    timestamp: datetime | None
    # Not in the fingerprint: a request that is repeated may be another span.
    trace: str | None = None

    @property
    def data(self) -> object:
        """Return the parsed ``data``, parsing ``payload`` again if the value was not kept."""
        return json.loads(self.payload) if self.value is UNREAD else self.value

    def fingerprint(self) -> bytes:
        """Return the SHA-256 of the event, which distinguishes a repeat of its idempotency key from a conflict."""
        moment = self.timestamp.isoformat() if self.timestamp else ""
        return hashlib.sha256(
            _fingerprint_prefix(self.type, self.repository, self.organization, moment) + self.payload
        ).digest()


@lru_cache(maxsize=1024)
def _fingerprint_prefix(*facts: str | None) -> bytes:
    """Return the start of a fingerprint's input, which a publisher's events often have in common."""
    return json.dumps(facts).encode() + b"\0"


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request's events in order; ``is_batch`` is true for an array or NDJSON, false for a single object."""

    events: tuple[ParsedEvent, ...]
    is_batch: bool

    def field_path(self, position: int, name: str) -> str:
        """Return the path by which errors name a field of one of the events."""
        return f"events[{position}].{name}" if self.is_batch else name


def read_once(environ: MutableMapping[str, Any], content: bytes, content_type: str) -> ParsedRequest:
    """Parse a request's body as ``read`` does, once: later calls return the same result or raise the same error."""
    known = environ.get(READ)
    if known is None:
        try:
            known = read(content, content_type)
        except Refusal as refusal:
            known = refusal
        environ[READ] = known
    if isinstance(known, Refusal):
        raise known
    return cast("ParsedRequest", known)


def read(content: bytes, content_type: str) -> ParsedRequest:
    """Parse a body of one object, an array or NDJSON; raise a 400, 413 or 422 that says what is wrong and where."""
    most: int = settings.HOOKHUB_PAYLOAD_LIMIT
    try:
        text = without_bom(content).decode()
        if content_type.partition(";")[0].strip().lower() in NDJSON:
            objects, is_batch = event_objects.lines(text, most=most), True
        else:
            objects, is_batch = event_objects.document(text, most=most)
        return ParsedRequest(tuple(_parse_events(objects, is_batch=is_batch, most=most)), is_batch)
    except UnicodeDecodeError as error:
        raise bad_request(f"The body is not valid UTF-8 at byte {error.start}.") from error
    except RecursionError as error:
        raise bad_request("The body is nested too deeply.") from error
    except ValueError as error:
        raise unreadable(error, text) from error


def _parse_events(objects: Iterator[dict[str, Member]], *, is_batch: bool, most: int) -> list[ParsedEvent]:
    """Validate every event while parsing; return all of them, or raise a single error for all that are invalid."""
    found: list[ParsedEvent] = []
    errors: dict[str, str] = {}
    position, kept = 0, 0
    try:
        for position, members in enumerate(objects, 1):
            if position > MAX_EVENTS:
                raise too_large(f"A request may contain at most {MAX_EVENTS:,} events.")
            payload = members["data"][1].encode() if "data" in members else b""
            if len(payload) > most:
                raise _too_long("data", position - 1, is_batch=is_batch, most=most)
            # A field that is null counts as left out, except for the data.
            given = {name: value for name, (value, _) in members.items() if value is not None}
            if event_errors := _errors_of(members, given, payload):
                errors |= {_field(name, position - 1, is_batch=is_batch): text for name, text in event_errors.items()}
                if len(errors) >= MAX_ERRORS:
                    break
            else:
                kept += len(payload)
                found.append(_parsed_event(given, payload, is_kept=kept <= MAX_VALUES_KEPT))
    except TooLong as error:
        raise _too_long(error.name, position, is_batch=is_batch, most=most) from error
    if errors:
        raise invalid(dict(list(errors.items())[:MAX_ERRORS]))
    if not found:
        raise bad_request("The body contains no event; send an object, an array of objects, or one object per line.")
    return found


def _too_long(name: str, position: int, *, is_batch: bool, most: int) -> Refusal:
    most = most if name == "data" else min(most, MAX_SHORT_FIELD)
    fields = {_field(name, position, is_batch=is_batch): f"must be at most {most:,} bytes"}
    return too_large(f"An event's {name[:100]} is too large.", fields=fields)


def _field(name: str, position: int, *, is_batch: bool) -> str:
    """Return the path by which errors name a field; a name invented by the client is truncated."""
    name = name if len(name) <= MAX_NAME_SHOWN else f"{name[:MAX_NAME_SHOWN]}…"
    return f"events[{position}].{name}" if is_batch else name


def _type_error(given: Mapping[str, Any]) -> str | None:
    if "type" not in given:
        return "is required"
    event_type = given["type"]
    if not isinstance(event_type, str) or not is_type(event_type):
        return TYPE_RULE
    if event_type.startswith(RESERVED):
        return f"must not start with {RESERVED!r}, which is reserved for HookHub's system events"
    return "is reserved for HookHub's system events" if is_reserved(event_type) else None


def _errors_of(members: Mapping[str, Member], given: Mapping[str, Any], payload: bytes) -> dict[str, str]:
    errors = dict.fromkeys(filterfalse(FIELDS.__contains__, members), UNKNOWN_FIELD)
    if error := _type_error(given):
        errors["type"] = error
    if "data" not in members:
        errors["data"] = "is required; any JSON value is allowed"
    elif payload.count(b"[") + payload.count(b"{") > MAX_DEPTH and is_deeper_than(MAX_DEPTH, members["data"][0]):
        errors["data"] = f"is nested more than {MAX_DEPTH} levels deep"
    for name in ("repository", "organization"):
        if name in given and not is_name(given[name]):
            errors[name] = "must be a string of at most 255 printable characters"
    if "id" in given and (error := key_error(given["id"])):
        errors["id"] = error
    if "timestamp" in given and parse_timestamp(given["timestamp"]) is None:
        errors["timestamp"] = "must be a timestamp with a time zone, such as 2026-03-04T12:00:00Z"
    return errors


def trace_of(environ: Mapping[str, Any]) -> str | None:
    """Return the trace of a request, as it is stored; None without a header, or with an invalid one."""
    traceparent = environ.get("HTTP_TRACEPARENT")
    return None if traceparent is None else trace_context.read(traceparent, environ.get("HTTP_TRACESTATE"))


def hops_of(header: str | None) -> str | None:
    """Return the hop counts to store for a HookHub-Hops header, or None; raise a 422 for an invalid header or loop."""
    if header is None:
        return None
    try:
        return hops.validate(header, deployment=settings.HOOKHUB_DEPLOYMENT_ID, limit=settings.HOOKHUB_MAX_HOPS)
    except hops.TooManyHops as error:
        raise loop_detected(str(error)) from error
    except hops.InvalidHops as error:
        raise invalid({hops.HEADER: str(error)}) from error


def key_error(key: object) -> str | None:
    """Return what is wrong with an idempotency key, or None."""
    if isinstance(key, str) and 1 <= len(key) <= MAX_KEY_LENGTH and key.isprintable():
        return None
    return f"must be a string of 1 to {MAX_KEY_LENGTH} printable characters"


def is_name(value: object) -> bool:
    """Return whether a value can be the name of a stored object."""
    return isinstance(value, str) and len(value) <= 255 and value.isprintable()


def _parsed_event(given: Mapping[str, Any], payload: bytes, *, is_kept: bool) -> ParsedEvent:
    """Return the event of these fields, which have been validated."""
    get = given.get
    data = get("data")
    return ParsedEvent(
        type=given["type"],
        value=data if is_kept else UNREAD,
        payload=payload,
        topics=topics_of(given["type"], data),
        repository=get("repository"),
        organization=get("organization"),
        key=get("id"),
        timestamp=parse_timestamp(get("timestamp")) if "timestamp" in given else None,
        trace=trace_context.read_fields(given["trace"]) if "trace" in given else None,
    )
