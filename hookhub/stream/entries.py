"""Entries of the stream as their producers wrote them, read into events; the same bytes always read the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from django.conf import settings

from hookhub.api import intake
from hookhub.api.errors import Refusal
from hookhub.api.intake import Intake
from hookhub.api.parsers import without_bom

FIELDS = ("event", "events", "organization", "hops")
JSON, NDJSON = "application/json", "application/x-ndjson"
# Redis makes ids of its clock, but a producer may bring its own, and then they need not be times at all.
OLDEST = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its id, and its fields as Redis gives them, name after value, for a name may be there twice.

    Without any field it is one that was deleted from the stream while a worker had it in hand.
    """

    id: str
    fields: Sequence[bytes]

    @property
    def size(self) -> int:
        """The bytes of its fields."""
        return sum(map(len, self.fields))


@dataclass(frozen=True, slots=True)
class Readable:
    """An entry that could be read; ``organization`` is the slug it names, or None when it names none.

    Every one of its events has an idempotency key. ``hops`` is the header HookHub-Hops of the delivery that made the
    producer publish, or None.
    """

    entry: Entry
    organization: str | None
    taken: Intake
    hops: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that will not do, and why: a sentence for its producer that names the field."""

    entry: Entry
    error: str


def read(entry: Entry) -> Readable | Refused:
    """Read an entry's one event, or its several."""
    names = entry.fields[::2]
    given = dict(zip(names, entry.fields[1::2], strict=True))
    if len(given) < len(names):
        return Refused(entry, "A field is given twice; to publish several events write them as `events`.")
    if fault := _fault_in(given):
        return Refused(entry, fault)
    try:
        taken, content = _events(given)
        passed = intake.hops_of(given[b"hops"].decode(errors="replace") if b"hops" in given else None)
    except Refusal as refusal:
        return Refused(entry, told(refusal))
    named = {event.organization for event in taken.events if event.organization is not None}
    if slug := _slug(given.get(b"organization", b"")):
        named.add(slug)
    if len(named) > 1:
        return Refused(entry, f"organization: all of an entry is of one, and not of {' and '.join(sorted(named))}")
    taken = _with_keys(taken, entry, content)
    if len({event.key for event in taken.events}) < len(taken.events):
        return Refused(entry, "id: is used by two events of the entry")
    return Readable(entry, named.pop() if named else None, taken, passed)


def told(refusal: Refusal) -> str:
    """Give what the HTTP API would answer as one text."""
    text = "; ".join(f"{name}: {message}" for name, message in refusal.fields.items()) or refusal.message
    # A name in it may hold half of a surrogate pair, which no log and no stream can take.
    return text.encode(errors="backslashreplace").decode()


def moment_of(entry_id: str, *, now: datetime) -> datetime:
    """Give when Redis took an entry, which its id tells; now, when the id cannot be a time of the past."""
    try:
        moment = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return now
    return moment if now - OLDEST <= moment <= now else now


def _fault_in(given: Mapping[bytes, bytes]) -> str | None:
    """Say what is wrong with an entry's fields, before anybody looks into them."""
    for name in given:
        shown = name[:100].decode(errors="backslashreplace")
        if shown not in FIELDS:
            return f"{shown}: is not a field of an entry; these are: {', '.join(FIELDS)}"
    if (b"event" in given) == (b"events" in given):
        return "An entry has either `event`, one JSON object, or `events`, a JSON array of them or one a line."
    size, most = sum(map(len, given.values())), settings.HOOKHUB_REQUEST_LIMIT
    if size > most:
        return f"The entry is {size:,} bytes long; at most {most:,} are taken."
    if b"organization" in given and _slug(given[b"organization"]) is None:
        return "organization: must be the slug of an organization"
    return None


def _slug(content: bytes) -> str | None:
    """Read a slug, or give None when it cannot be one."""
    try:
        slug = content.decode()
    except UnicodeDecodeError:
        return None
    return slug if slug and intake.is_name(slug) else None


def _events(given: Mapping[bytes, bytes]) -> tuple[Intake, bytes]:
    """Give the events of an entry and the text they were read from; raises a Refusal."""
    if b"event" in given:
        content = given[b"event"]
        taken = intake.read(content, JSON)
        if taken.is_batch:
            raise Refusal(400, "malformed", "event: must be one JSON object; several are published as `events`")
    else:
        content = given[b"events"]
        taken = intake.read(content, JSON if without_bom(content[:64]).lstrip()[:1] == b"[" else NDJSON)
    return taken, content


def _with_keys(taken: Intake, entry: Entry, content: bytes) -> Intake:
    """Give the events without an id one made of the entry's, so that storing the entry twice publishes it once."""
    if all(event.key is not None for event in taken.events):
        return taken
    # With what it says in it: in a Redis that was emptied or replaced an id may come again, for another entry.
    made = f"stream:{entry.id}:{sha256(content).hexdigest()[:16]}"
    events = tuple(
        event if event.key is not None else replace(event, key=f"{made}:{position}" if taken.is_batch else made)
        for position, event in enumerate(taken.events)
    )
    return replace(taken, events=events)
