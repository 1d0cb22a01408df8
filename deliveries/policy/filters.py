"""Payload filters: which events a webhook gets, by the values of fields at the top level of their data."""

import json
from collections.abc import Mapping


def fields_of(payload: bytes) -> dict[str, object]:
    """Return the top-level fields of an event's data; none if it is not a JSON object."""
    try:
        data = json.loads(payload)
    # A number with thousands of digits, or nesting deeper than Python's recursion limit.
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def accepts(wanted: Mapping[str, object], fields: Mapping[str, object]) -> bool:
    """Return whether each field that a filter names is there and has the same value."""
    return all(name in fields and is_same(value, fields[name]) for name, value in wanted.items())


def is_same(value: object, other: object) -> bool:
    """Return whether two values from JSON are equal: 1 and 1.0 are, but 1 and true are not."""
    return isinstance(value, bool) is isinstance(other, bool) and value == other
