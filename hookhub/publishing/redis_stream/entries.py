"""Parses stream entries into events; deterministic, so that an entry read twice yields the same events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from django.conf import settings

from deliveries.policy import trace_context
from hookhub.http.json_texts import without_bom
from hookhub.http.refusals import Refusal
from hookhub.publishing import parse
from hookhub.publishing.parse import ParsedRequest

FIELDS = ("event", "events", "organization", "hops", "traceparent", "tracestate")
JSON, NDJSON = "application/json", "application/x-ndjson"
# Redis generates ids from its clock, but a producer may choose its own, which need not be timestamps.
OLDEST = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its id, and its fields as a flat list of names and values, since a name may be repeated.

    An entry without fields was deleted from the stream while it was pending.
    """

    id: str
    fields: Sequence[bytes]

    @property
    def size(self) -> int:
        """The length of its fields in bytes."""
        return sum(map(len, self.fields))


@dataclass(frozen=True, slots=True)
class ParsedEntry:
    """A parsed entry; each of its events has an idempotency key.

    ``organization`` is the slug that the entry names, or None. ``hops`` is the HookHub-Hops header of the delivery in
    response to which the producer published, or None, and ``trace`` the producer's trace.
    """

    entry: Entry
    organization: str | None
    parsed: ParsedRequest
    hops: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class InvalidEntry:
    """An invalid entry, with an error message for its producer that names the field.

    ``status`` is what the HTTP API answers to the same mistake.
    """

    entry: Entry
    error: str
    status: int = 422

    @classmethod
    def of(cls, entry: Entry, refusal: Refusal) -> "InvalidEntry":
        """Return an entry that the HTTP API would refuse."""
        return cls(entry, error_text(refusal), refusal.status_code)


def read(entry: Entry) -> ParsedEntry | InvalidEntry:
    """Parse an entry's event or events."""
    names = entry.fields[::2]
    given = dict(zip(names, entry.fields[1::2], strict=True))
    if len(given) < len(names):
        return InvalidEntry(entry, "A field is repeated; use `events` to publish several events.", 400)
    size, most = sum(map(len, given.values())), settings.HOOKHUB_REQUEST_LIMIT
    if size > most:
        return InvalidEntry(entry, f"The entry is {size:,} bytes long; the limit is {most:,}.", 413)
    if error := _fields_error(given):
        return InvalidEntry(entry, error)
    try:
        parsed, content = _events(given)
        passed = parse.hops_of(given[b"hops"].decode(errors="replace") if b"hops" in given else None)
    except Refusal as refusal:
        return InvalidEntry.of(entry, refusal)
    named = {event.organization for event in parsed.events if event.organization is not None}
    if slug := _slug(given.get(b"organization", b"")):
        named.add(slug)
    if len(named) > 1:
        several = " and ".join(sorted(named))
        error = f"organization: all events of an entry must belong to the same organization, not to {several}"
        return InvalidEntry(entry, error)
    parsed = _with_keys(parsed, entry, content)
    if len({event.key for event in parsed.events}) < len(parsed.events):
        return InvalidEntry(entry, "id: is used by two events of this entry")
    return ParsedEntry(entry, named.pop() if named else None, parsed, passed, _trace(given))


def _trace(given: Mapping[bytes, bytes]) -> str | None:
    """Return the trace that the producer names, as it is stored, or None."""
    if b"traceparent" not in given:
        return None
    traceparent, tracestate = (
        given.get(name, b"").decode(errors="replace") for name in (b"traceparent", b"tracestate")
    )
    return trace_context.read(traceparent, tracestate)


def error_text(refusal: Refusal) -> str:
    """Return the error that the HTTP API would answer as one line of text."""
    text = "; ".join(f"{name}: {message}" for name, message in refusal.fields.items()) or refusal.message
    # A field name may hold a lone surrogate, which cannot be encoded in a log or a stream.
    return text.encode(errors="backslashreplace").decode()


def moment_of(entry_id: str, *, now: datetime) -> datetime:
    """Return the time at which Redis accepted an entry, from its id, or ``now`` if that is no time of the last year."""
    try:
        moment = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return now
    return moment if now - OLDEST <= moment <= now else now


def _fields_error(given: Mapping[bytes, bytes]) -> str | None:
    """Return the error in an entry's fields, apart from the events in them, or None."""
    for name in given:
        shown = name[:100].decode(errors="backslashreplace")
        if shown not in FIELDS:
            return f"{shown}: is not a known field of an entry; known fields: {', '.join(FIELDS)}"
    if (b"event" in given) == (b"events" in given):
        return "An entry must have either `event` (a JSON object) or `events` (a JSON array, or one object per line)."
    if b"organization" in given and _slug(given[b"organization"]) is None:
        return "organization: must be the slug of an organization"
    return None


def _slug(content: bytes) -> str | None:
    """Decode a slug; return None for what cannot be one."""
    try:
        slug = content.decode()
    except UnicodeDecodeError:
        return None
    return slug if slug and parse.is_name(slug) else None


def _events(given: Mapping[bytes, bytes]) -> tuple[ParsedRequest, bytes]:
    """Return the events of an entry, and the bytes from which they were parsed; raise Refusal."""
    if b"event" in given:
        content = given[b"event"]
        parsed = parse.read(content, JSON)
        if parsed.is_batch:
            raise Refusal(400, "malformed", "event: must be a JSON object; use `events` to publish several")
    else:
        content = given[b"events"]
        parsed = parse.read(content, JSON if without_bom(content[:64]).lstrip()[:1] == b"[" else NDJSON)
    return parsed, content


def _with_keys(parsed: ParsedRequest, entry: Entry, content: bytes) -> ParsedRequest:
    """Derive a key from the entry for each event without one, so that storing an entry twice publishes it once."""
    if all(event.key is not None for event in parsed.events):
        return parsed
    # Include a hash of the content: after a flush or replacement of Redis, another entry may get the same id.
    made = f"stream:{entry.id}:{sha256(content).hexdigest()[:16]}"
    events = tuple(
        event if event.key is not None else replace(event, key=f"{made}:{position}" if parsed.is_batch else made)
        for position, event in enumerate(parsed.events)
    )
    return replace(parsed, events=events)
