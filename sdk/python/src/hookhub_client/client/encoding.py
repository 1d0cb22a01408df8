"""JSON, timestamps and paths as the API writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]


# Far more than the API answers. The rest of a longer response is not read.
MAX_BODY = 64 << 20


@dataclass(frozen=True)
class Response:
    """A response of ``requests`` or ``httpx`` that has arrived; of a body above ``MAX_BODY`` only the beginning."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes
    url: str


# RFC 3339, as the API writes times. ``fromisoformat`` of Python 3.9 rejects the "Z".
RFC3339 = re.compile(r"([0-9-]{10}[Tt][0-9:]{8})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})")

NO_PARTS = frozenset({"", ".", ".."})


def encode(value: Mapping[str, Any]) -> bytes:
    """Return compact JSON; raise ValueError or TypeError for a value that JSON does not have."""
    written = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate (os.fsdecode makes one of a byte that is not UTF-8) is written as a JSON escape.
    return written.encode(errors="backslashreplace")


def rfc3339(at: datetime | None) -> str | None:
    """Return a time as the API takes it; raise ValueError for one without a time zone, which would be ambiguous."""
    if at is not None and at.utcoffset() is None:
        raise ValueError("a timestamp must have a time zone, for example datetime.now(timezone.utc)")
    return at.isoformat() if at is not None else None


def parse_rfc3339(value: object) -> datetime:
    """Return the time that the API wrote; raise TypeError or ValueError if it is none."""
    found = RFC3339.fullmatch(text(value))
    if found is None:
        raise ValueError("not a timestamp")
    clock, decimals, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else zone
    return datetime.fromisoformat(f"{clock}.{(decimals or '')[:6]:0<6}{zone}")


def text(value: object) -> str:
    """Return a value that is a string; raise TypeError for any other."""
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def path_of(*parts: str) -> str:
    """Return the path of a resource below ``/v1/``; raise ValueError for a part that would leave its place."""
    for part in parts:
        # Even if encoded, the libraries below and proxies resolve dots: "repositories/.." would be "/v1/". They may
        # merge the slashes around an empty part, too.
        if part in NO_PARTS:
            raise ValueError(f"{part!r} is not an id or a name")
    return "/".join(quote(part, safe="") for part in parts)


def query_of(filters: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return filters as a query, without those that are None; one with several values is repeated."""
    query: list[tuple[str, str]] = []
    for name, value in filters.items():
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        query += [(name, _written(each)) for each in values if each is not None]
    return query


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return rfc3339(value) or "" if isinstance(value, datetime) else str(value)


def given(fields: Mapping[str, Any]) -> Json:
    """Return the fields of a request that are not None, with times as the API takes them."""
    return with_times({name: value for name, value in fields.items() if value is not None})


def with_times(fields: Mapping[str, Any]) -> Json:
    """Return the fields of a request with times as the API takes them."""
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in fields.items()}


def states(state: str | Sequence[str] | None) -> str | list[str] | None:
    """Return a filter by state; raise ValueError for an empty one."""
    # An empty list would drop the filter from a query, and select the deliveries in every state.
    if state is not None and not state:
        raise ValueError("state must not be empty")
    return state if state is None or isinstance(state, str) else list(state)
