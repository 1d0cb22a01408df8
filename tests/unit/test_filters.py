"""Payload filters: equality of top-level fields, whatever JSON was published."""

import json

import pytest

from deliveries.policy import filters

# label: (filter, data, whether it is accepted)
CASES: dict[str, tuple[dict[str, object], object, bool]] = {
    "an empty filter": ({}, {"a": 1}, True),
    "the same text": ({"a": "x"}, {"a": "x", "b": 2}, True),
    "another text": ({"a": "x"}, {"a": "X"}, False),
    "a missing field": ({"a": None}, {"b": None}, False),
    "null": ({"a": None}, {"a": None}, True),
    "one of two": ({"a": "x", "b": "y"}, {"a": "x", "b": "z"}, False),
    "both": ({"a": "x", "b": "y"}, {"b": "y", "a": "x"}, True),
    "an integer as a decimal": ({"a": 1}, {"a": 1.0}, True),
    "an integer as text": ({"a": 1}, {"a": "1"}, False),
    "one and true": ({"a": 1}, {"a": True}, False),
    "true and one": ({"a": True}, {"a": 1}, False),
    "false and zero": ({"a": False}, {"a": 0}, False),
    "true": ({"a": True}, {"a": True}, True),
    "large integers that are equal as decimals": ({"a": 2**53}, {"a": 2**53 + 1}, False),
    "a field inside": ({"a": "x"}, {"inner": {"a": "x"}}, False),
    "an object": ({"a": "x"}, {"a": {"a": "x"}}, False),
    "a list of objects": ({"a": "x"}, [{"a": "x"}], False),
    "a scalar": ({"a": "x"}, "x", False),
}


@pytest.mark.parametrize(("wanted", "data", "is_accepted"), CASES.values(), ids=CASES)
def test_a_filter_accepts_data_whose_fields_are_equal(
    wanted: dict[str, object], data: object, *, is_accepted: bool
) -> None:
    assert filters.accepts(wanted, filters.fields_of(json.dumps(data).encode())) is is_accepted


# label: (payload, its fields)
PAYLOADS = {
    "a NUL, which PostgreSQL cannot store in jsonb": (b'{"a": "\\u0000", "b": "x"}', {"a": "\0", "b": "x"}),
    "a lone surrogate": (b'{"a": "\\ud800"}', {"a": "\ud800"}),
    "an escaped name": (b'{"\\u0061": "x"}', {"a": "x"}),
    "a name twice: the last counts": (b'{"a": "x", "a": "y"}', {"a": "y"}),
    "a number beyond any float": (b'{"a": 1e999}', {"a": float("inf")}),
    "an integer of many digits": (b'{"a": ' + b"9" * 5000 + b"}", {}),
    "deep nesting": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", {}),
    "not JSON": (b"{", {}),
    "nothing": (b"", {}),
}


@pytest.mark.parametrize(("payload", "fields"), PAYLOADS.values(), ids=PAYLOADS)
def test_odd_payloads_have_the_fields_that_can_be_read(payload: bytes, fields: dict[str, object]) -> None:
    assert filters.fields_of(payload) == fields
