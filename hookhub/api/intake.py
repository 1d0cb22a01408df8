"""Published events, read so that each payload's bytes stay exactly as they were sent."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.conf import settings

from deliveries import hops
from deliveries.topics import RESERVED, TYPE_RULE, is_type
from hookhub.api.errors import bad_request, invalid, loop_detected, too_large
from hookhub.api.parsers import refuse_constant

EVENTS_MOST = 1000
FIELDS = ("type", "data", "repository", "organization", "id", "timestamp")
KEY_LONGEST = 255
DEPTH_MOST = 200
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

_decoder = json.JSONDecoder(parse_constant=refuse_constant)
_space = re.compile(r"[ \t\r\n]*")
# A member's name as everybody writes it, with its colon; and what comes after a value. One look each, where going
# character by character would cost more than reading the values.
_plain_name = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\r\n]*:[ \t\r\n]*')
_after_value = re.compile(r"[ \t\r\n]*(?:(})|,[ \t\r\n]*)")


@dataclass(frozen=True, slots=True)
class Published:
    """One event as its publisher wrote it; ``payload`` is the text of ``data``, byte for byte."""

    type: str
    data: object
    payload: bytes
    repository: str | None
    organization: str | None
    key: str | None
    timestamp: datetime | None

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


def read(content: bytes, content_type: str) -> Intake:
    """Read a body of one object, an array, or NDJSON; raises a 400, 413 or 422 that says what and where."""
    try:
        text = content.decode()
        if content_type.partition(";")[0].strip().lower() in NDJSON:
            objects, is_batch = list(_lines(text)), True
        else:
            objects, is_batch = _document(text)
    except UnicodeDecodeError as error:
        raise bad_request(f"The body is not UTF-8, at byte {error.start}.") from error
    except RecursionError as error:
        raise bad_request("The body is nested too deeply.") from error
    except ValueError as error:
        raise bad_request(f"The body is not JSON: {error}.") from error
    if not objects:
        raise bad_request("There is no event in the body; send an object, an array of them, or one a line.")
    if len(objects) > EVENTS_MOST:
        raise too_large(f"{len(objects):,} events are too many for one request; send at most {EVENTS_MOST:,}.")
    return Intake(tuple(_all_or_none(objects, is_batch=is_batch)), is_batch)


Member = tuple[object, str]
"""A member's value and the text it was written as."""


def _document(text: str) -> tuple[list[dict[str, Member]], bool]:
    start = _skip(text, 0)
    if text[start : start + 1] == "[":
        objects, end = _array(text, start)
        is_batch = True
    else:
        found, end = _object(text, start)
        objects, is_batch = [found], False
    _expect_end(text, end)
    return objects, is_batch


def _lines(text: str) -> Iterator[dict[str, Member]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip(" \t\r"):
            try:
                found, end = _object(line, _skip(line, 0))
                _expect_end(line, end)
            except ValueError as error:
                raise ValueError(f"in line {number}: {error}") from error
            yield found


def _array(text: str, start: int) -> tuple[list[dict[str, Member]], int]:
    """Read an array of objects from its bracket on."""
    objects: list[dict[str, Member]] = []
    at = _skip(text, start + 1)
    if text[at : at + 1] == "]":
        return objects, at + 1
    while True:
        found, at = _object(text, at)
        objects.append(found)
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            return objects, at + 1
        at = _skip(text, _expect(text, at, ","))


def _object(text: str, start: int) -> tuple[dict[str, Member], int]:
    """Read an object from its brace on, keeping the text of each member's value."""
    found: dict[str, Member] = {}
    at = _skip(text, _expect(text, start, "{"))
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        plain = _plain_name.match(text, at)
        name, begin = (plain[1], plain.end()) if plain else _name(text, at)
        value, at = _decoder.raw_decode(text, begin)
        if name in found:
            raise ValueError(f'"{name}" is given twice')
        found[name] = (value, text[begin:at])
        after = _after_value.match(text, at)
        if after is None:
            raise json.JSONDecodeError("expected ','", text, _skip(text, at))
        at = after.end()
        if after[1]:
            return found, at


def _name(text: str, start: int) -> tuple[str, int]:
    """Read a member's name however it is written, and give it with where its value begins."""
    _expect(text, start, '"')
    name, at = _decoder.raw_decode(text, start)
    return name, _skip(text, _expect(text, _skip(text, at), ":"))


def _skip(text: str, at: int) -> int:
    matched = _space.match(text, at)
    return matched.end() if matched else at


def _expect(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise json.JSONDecodeError(f"expected {character!r}", text, at)
    return at + 1


def _expect_end(text: str, at: int) -> None:
    at = _skip(text, at)
    if at < len(text):
        raise json.JSONDecodeError("there is more after the end", text, at)


def _all_or_none(objects: list[dict[str, Member]], *, is_batch: bool) -> list[Published]:
    """Check every event, and raise with the faults of all of them if there are any."""
    found: list[Published] = []
    faults: dict[str, str] = {}
    most = settings.HOOKHUB_PAYLOAD_LIMIT
    for position, members in enumerate(objects):
        prefix = f"events[{position}]." if is_batch else ""
        payload = members["data"][1].encode() if "data" in members else b""
        if len(payload) > most:
            message = f"is {len(payload):,} bytes long; at most {most:,} are taken"
            raise too_large("An event's data is too long.", fields={f"{prefix}data": message})
        own = _faults(members, payload)
        if own:
            faults |= {f"{prefix}{name}": fault for name, fault in own.items()}
        else:
            found.append(_published(members, payload))
    if faults:
        raise invalid(dict(list(faults.items())[:100]))
    return found


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


def _published(members: Mapping[str, Member], payload: bytes) -> Published:
    """Give the event that these members, found to be without fault, are."""

    def given(name: str) -> Any:
        return members[name][0] if name in members else None

    return Published(
        type=given("type"),
        data=given("data"),
        payload=payload,
        repository=given("repository"),
        organization=given("organization"),
        key=given("id"),
        timestamp=read_moment(given("timestamp")),
    )
