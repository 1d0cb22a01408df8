"""Payload filters: equality of top-level fields, whatever JSON was published."""

import json
import re
from typing import Any

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


EVENT = {
    "action": "opened", "size": 3, "ratio": 0.5, "draft": False, "none": None, "labels": ["bug", "ui"],
    "commits": [{"id": "a1", "by": {"name": "ada"}}, {"id": "b2", "by": {"name": "bob"}}],
    "issue": {"title": "It fails", "user": {"login": "ada"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"action": "opened"}, True), ({"action": "closed"}, False), ({"action": "OPENED"}, False),
        ({"size": 3}, True), ({"size": 3.0}, True), ({"size": True}, False), ({"draft": False}, True),
        ({"draft": 0}, False), ({"none": None}, True), ({"absent": None}, False),
        ({"issue": {"user": {"login": "ada"}}}, True), ({"issue": {"user": {"login": "bob"}}}, False),
        ({"issue": "It fails"}, False), ({"action": {"x": 1}}, False),
        ({"labels": "ui"}, True), ({"labels": "u"}, False), ({"commits": {"by": {"name": "bob"}}}, True),
        ({"commits": {"id": "a1", "by": {"name": "bob"}}}, False),
        ({"size": {"$gt": 2}}, True), ({"size": {"$gt": 3}}, False), ({"size": {"$gte": 3, "$lt": 4}}, True),
        ({"size": {"$lte": 2.9}}, False), ({"action": {"$gt": "m"}}, True), ({"action": {"$gt": 1}}, False),
        ({"draft": {"$lt": 1}}, False), ({"absent": {"$lt": 1}}, False),
        ({"action": {"$in": ["closed", "opened"]}}, True), ({"action": {"$nin": ["closed"]}}, True),
        ({"labels": {"$in": ["ui", "x"]}}, True), ({"labels": {"$nin": ["ui"]}}, False),
        ({"absent": {"$nin": [1]}}, True),
        ({"action": {"$eq": "opened"}}, True), ({"labels": {"$eq": ["bug", "ui"]}}, True),
        ({"labels": {"$eq": ["ui"]}}, False),
        ({"action": {"$neq": "closed"}}, True), ({"labels": {"$neq": "ui"}}, False), ({"absent": {"$neq": 1}}, True),
        ({"action": {"$startsWith": "open"}}, True), ({"action": {"$endsWith": "ned"}}, True),
        ({"size": {"$startsWith": "3"}}, False), ({"action": {"$contains": "pen"}}, True),
        ({"labels": {"$contains": "bug"}}, True), ({"labels": {"$contains": "bu"}}, False),
        ({"absent": {"$exist": False}}, True), ({"none": {"$exist": True}}, True),
        ({"absent": {"$exist": True}}, False),
        ({"size": {"$or": [1, {"$gt": 2}]}}, True), ({"size": {"$and": [{"$gt": 2}, {"$lt": 3}]}}, False),
        ({"action": {"$not": "closed"}}, True), ({"size": {"$not": {"$gt": 2}}}, False),
        ({}, True),
    ],
)  # fmt: skip
def test_each_condition_of_an_owners_filter(condition: dict[str, Any], holds: bool) -> None:
    wanted = filters.stored(filters.check({"data": condition}))

    assert wanted is not None
    assert filters.accepts(wanted, EVENT) is holds
    negated = filters.stored(filters.check({"$not": {"data": condition}}))
    assert negated is not None
    assert filters.accepts(negated, EVENT) is not holds


def test_conditions_can_be_joined_above_the_data() -> None:
    wanted = filters.stored(filters.check({"$or": [{"data": {"size": 1}}, {"data": {"action": "opened"}}]}))

    assert wanted is not None
    assert filters.accepts(wanted, EVENT)
    assert not filters.accepts(wanted, {"size": 2})


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (None, "must be an object"), ([], "must be an object"), ({}, "must be an object"), ("x", "must be an object"),
        ({"type": "push"}, "'type' is not part of an event"),
        ({"data": {"a": [1]}}, "at data.a: must not be a list"),
        ({"data": {"a": {"$gt": 1, "b": 2}}}, "at data.a: must have either operators or fields"),
        ({"data": {"a": {"$regex": "x"}}}, "$regex is not an operator"),
        ({"data": {"a": {"$in": []}}}, "at data.a.$in: must be a list"),
        ({"data": {"a": {"$or": {}}}}, "at data.a.$or: must be"),
        ({"data": {"a": {"$exist": 1}}}, "at data.a.$exist: must be true or false"),
        ({"data": {"a": {"$startsWith": 1}}}, "at data.a.$startsWith: must be a text"),
        ({"data": {"a": {"$gt": True}}}, "at data.a.$gt: must be a number or a text"),
        ({"data": {"a": "x" * 501}}, "must be a text of up to 500 characters"),
        ({"data": {"a": "\0"}}, "without NUL"), ({"data": {"a\0": 1}}, "without NUL"),
        ({"data": {"a": "\ud800"}}, "NUL"),
        ({"data": {"a": float("nan")}}, "must be a number of JSON"),
        ({"data": {"a": 10**40}}, "must be a smaller number"),
        ({"data": {f"f{n}": 1 for n in range(101)}}, "at most 100 conditions"),
        ({"data": {"a": {"$in": list(range(101))}}}, "at most 100 conditions"),
        ({"data": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": 1}}}}}}}}}}}}, "10 levels deep"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_filter_is_said_with_its_place(wanted: object, error: str) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        filters.check(wanted)


def test_an_event_that_would_take_too_long_is_accepted() -> None:
    wanted = filters.stored(filters.check({"data": {"rows": {"x": {"y": "nothing"}}}}))

    assert wanted is not None
    assert not filters.accepts(wanted, {"rows": [{"x": {"y": n}} for n in range(100)]})
    assert filters.accepts(wanted, {"rows": [{"x": {"y": n}} for n in range(10_000)]})
