"""Published events, read so that each payload's bytes stay exactly as they were sent."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

from django.conf import settings

from deliveries import hops
from deliveries.topics import RESERVED, TYPE_RULE, is_type, topics_of
from hookhub.api import event_objects
from hookhub.api.errors import Refusal, bad_request, invalid, loop_detected, too_large
from hookhub.api.event_objects import FIELDS, MAX_SHORT_FIELD, Member, TooLong
from hookhub.api.parsers import unreadable, without_bom

EVENTS_MOST = 1000
KEY_LONGEST = 255
DEPTH_MOST = 200
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

MAX_FAULTS = 100
MAX_NAME_SHOWN = 100
# Of the data read, so many bytes are kept as values too, which take up to twenty times as much memory as their text.
MAX_VALUES_KEPT = 1024 * 1024
# Where a request's environment holds what its body was read as.
READ = "hookhub.intake"


class _Unread:
    """In place of a value that is not kept."""


UNREAD = _Unread()


@dataclass(frozen=True, slots=True)
class Published:
    """One event as its publisher wrote it; ``payload`` is the text of ``data``, byte for byte."""

    type: str
    value: object
    payload: bytes
    topics: tuple[str, ...]
    repository: str | None
    organization: str | None
    key: str | None
    timestamp: datetime | None

    @property
    def data(self) -> object:
        """Return its data, read again unless that is kept."""
        return json.loads(self.payload) if self.value is UNREAD else self.value

    def fingerprint(self) -> bytes:
        """Give what its idempotency key stands for."""
        moment = self.timestamp.isoformat() if self.timestamp else ""
        return hashlib.sha256(_head(self.type, self.repository, self.organization, moment) + self.payload).digest()


@lru_cache(maxsize=1024)
def _head(*facts: str | None) -> bytes:
    """Give the part of a fingerprint that a publisher's events have in common."""
    return json.dumps(facts).encode() + b"\0"


@dataclass(frozen=True, slots=True)
class Intake:
    """A request's events in order; ``is_batch`` tells an array or NDJSON from a single object."""

    events: tuple[Published, ...]
    is_batch: bool


def read_once(environ: MutableMapping[str, Any], content: bytes, content_type: str) -> Intake:
    """Read a request's body as ``read`` does, and the next time return the same, or raise the same refusal."""
    known = environ.get(READ)
    if known is None:
        try:
            known = read(content, content_type)
        except Refusal as refusal:
            known = refusal
        environ[READ] = known
    if isinstance(known, Refusal):
        raise known
    return cast("Intake", known)


def read(content: bytes, content_type: str) -> Intake:
    """Read a body of one object, an array, or NDJSON; raises a 400, 413 or 422 that says what and where."""
    most: int = settings.HOOKHUB_PAYLOAD_LIMIT
    try:
        text = without_bom(content).decode()
        if content_type.partition(";")[0].strip().lower() in NDJSON:
            objects, is_batch = event_objects.lines(text, most=most), True
        else:
            objects, is_batch = event_objects.document(text, most=most)
        return Intake(tuple(_all_or_none(objects, is_batch=is_batch, most=most)), is_batch)
    except UnicodeDecodeError as error:
        raise bad_request(f"The body is not UTF-8, at byte {error.start}.") from error
    except RecursionError as error:
        raise bad_request("The body is nested too deeply.") from error
    except ValueError as error:
        raise unreadable(error, text) from error


def _all_or_none(objects: Iterator[dict[str, Member]], *, is_batch: bool, most: int) -> list[Published]:
    """Check every event as it is read, and raise with the faults of all of them if there are any."""
    found: list[Published] = []
    faults: dict[str, str] = {}
    position, kept = 0, 0
    try:
        for position, members in enumerate(objects, 1):
            if position > EVENTS_MOST:
                raise too_large(f"There are more than {EVENTS_MOST:,} events in one request; send at most that many.")
            payload = members["data"][1].encode() if "data" in members else b""
            if len(payload) > most:
                raise _too_long("data", position - 1, is_batch=is_batch, most=most)
            if own := _faults(members, payload):
                faults |= {_field(name, position - 1, is_batch=is_batch): fault for name, fault in own.items()}
                if len(faults) >= MAX_FAULTS:
                    break
            else:
                kept += len(payload)
                found.append(_published(members, payload, is_kept=kept <= MAX_VALUES_KEPT))
    except TooLong as error:
        raise _too_long(error.name, position, is_batch=is_batch, most=most) from error
    if faults:
        raise invalid(dict(list(faults.items())[:MAX_FAULTS]))
    if not found:
        raise bad_request("There is no event in the body; send an object, an array of them, or one a line.")
    return found


def _too_long(name: str, position: int, *, is_batch: bool, most: int) -> Refusal:
    most = most if name == "data" else min(most, MAX_SHORT_FIELD)
    fields = {_field(name, position, is_batch=is_batch): f"is longer than {most:,} bytes"}
    return too_large(f"An event's {name[:100]} is too long.", fields=fields)


def _field(name: str, position: int, *, is_batch: bool) -> str:
    """Return how an error names a field; what a client made up is cut."""
    name = name if len(name) <= MAX_NAME_SHOWN else f"{name[:MAX_NAME_SHOWN]}…"
    return f"events[{position}].{name}" if is_batch else name


def _faults(members: Mapping[str, Member], payload: bytes) -> dict[str, str]:
    faults = {
        name: f"is not a field of an event; these are: {', '.join(FIELDS)}" for name in members if name not in FIELDS
    }
    given = {name: value for name, (value, _) in members.items() if value is not None}
    if "type" not in given:
        faults["type"] = "is required"
    elif not isinstance(given["type"], str) or not is_type(given["type"]):
        faults["type"] = TYPE_RULE
    elif given["type"].startswith(RESERVED):
        faults["type"] = f"{RESERVED}* is kept for HookHub's own events"
    if "data" not in members:
        faults["data"] = "is required; it may be any JSON value"
    elif payload.count(b"[") + payload.count(b"{") > DEPTH_MOST and is_deeper_than(DEPTH_MOST, members["data"][0]):
        faults["data"] = f"is nested more than {DEPTH_MOST} deep"
    for name in ("repository", "organization"):
        if name in given and not is_name(given[name]):
            faults[name] = "must be a name"
    if "id" in given and (fault := fault_in_key(given["id"])):
        faults["id"] = fault
    if "timestamp" in given and read_moment(given["timestamp"]) is None:
        faults["timestamp"] = "must be a date and time with a zone, like 2026-03-04T12:00:00Z"
    return faults


def hops_of(header: str | None) -> str | None:
    """Return what to remember of a request's HookHub-Hops, or raise a 422 that ends the loop."""
    try:
        return hops.require_few(header, deployment=settings.HOOKHUB_DEPLOYMENT_ID, limit=settings.HOOKHUB_MAX_HOPS)
    except hops.TooManyHops as error:
        raise loop_detected(str(error)) from error
    except hops.InvalidHops as error:
        raise invalid({hops.HEADER: str(error)}) from error


def fault_in_key(key: object) -> str | None:
    """Say what is wrong with an idempotency key, or None."""
    if isinstance(key, str) and 1 <= len(key) <= KEY_LONGEST and key.isprintable():
        return None
    return f"must be a text of 1 to {KEY_LONGEST} printable characters"


def is_name(value: object) -> bool:
    """Tell whether a value can be the name of something that is stored."""
    return isinstance(value, str) and len(value) <= 255 and value.isprintable()


def is_deeper_than(most: int, value: object) -> bool:
    """Tell whether a value is nested deeper: what is taken in must also be possible to show."""
    level = [value]
    for _ in range(most + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def read_moment(text: object) -> datetime | None:
    """Read an RFC 3339 moment as UTC, or None when it is not one."""
    if not isinstance(text, str) or not RFC_3339.fullmatch(text):
        return None
    try:
        # RFC 3339 has t and z in either case, and Python in capitals only.
        moment = datetime.fromisoformat(text.upper())
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _published(members: Mapping[str, Member], payload: bytes, *, is_kept: bool) -> Published:
    """Give the event that these members, found to be without fault, are."""

    def given(name: str) -> Any:
        return members[name][0] if name in members else None

    data = given("data")
    return Published(
        type=given("type"),
        value=data if is_kept else UNREAD,
        payload=payload,
        topics=topics_of(given("type"), data),
        repository=given("repository"),
        organization=given("organization"),
        key=given("id"),
        timestamp=read_moment(given("timestamp")),
    )
