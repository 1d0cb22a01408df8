"""Reads and checks single values of JSON from requests."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

MAX_DEPTH = 200
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def is_deeper_than(most: int, value: object) -> bool:
    """Return whether a value is nested more than ``most`` deep: what is accepted must also be possible to render."""
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


def parse_timestamp(text: object) -> datetime | None:
    """Parse an RFC 3339 timestamp and return it in UTC, or None if it is not one."""
    if not isinstance(text, str) or not RFC_3339.fullmatch(text):
        return None
    try:
        # RFC 3339 allows t and z in either case, Python in upper case only.
        moment = datetime.fromisoformat(text.upper())
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
