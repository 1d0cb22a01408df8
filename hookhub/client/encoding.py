"""JSON, timestamps and paths as the API writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]

# RFC 3339, as the API writes times. ``fromisoformat`` of Python 3.9 rejects the "Z".
RFC3339 = re.compile(r"([0-9-]{10}[Tt][0-9:]{8})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})")


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
    """Return the path of a resource below ``/v1/``; a part cannot leave its place."""
    return "/".join(quote(part, safe="") for part in parts)
