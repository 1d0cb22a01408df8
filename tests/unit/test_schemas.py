"""Untrusted JSON Schemas: which may be registered, which errors they find, and that none can block a server."""

import json
import time
from functools import reduce
from typing import Any
from unittest import mock

import pytest

from deliveries.event_types import catalogue
from hookhub.event_types.schemas import KEYWORDS, schema_error
from hookhub.event_types.validation import MAX_STEPS, TOO_MANY_STEPS, Budget, errors_in

GOOD: dict[str, Any] = {
    "an object": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
    "empty": {},
    "with notes": {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "T", "$comment": "c"},
    "with an id": {"$id": "https://example.org/schema"},
    "with definitions": {"$defs": {"a": {"type": "integer"}}, "items": {"$ref": "#/$defs/a"}},
    "with conditions": {"if": {"type": "string"}, "then": {"minLength": 1}, "else": True},
    "a property named pattern": {"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}},
    "allowed values": {"enum": ["a", 1, None, True]},
    "a format": {"type": "string", "format": "date-time"},
}


@pytest.mark.parametrize("schema", GOOD.values(), ids=GOOD)
def test_an_ordinary_schema_may_be_registered(schema: object) -> None:
    assert schema_error(schema) is None


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


BAD: dict[str, tuple[object, str]] = {
    "no object": ([], "must be a JSON Schema object"),
    "a text": ("{}", "must be a JSON Schema object"),
    "a regular expression": ({"pattern": "(a+)+$"}, "at pattern: is not supported, because regular expressions"),
    "one deep inside": (
        {"properties": {"a": {"items": {"anyOf": [True, {"pattern": "a"}]}}}},
        "at properties.a.items.anyOf[1].pattern: is not supported, because regular expressions",
    ),
    "one in a definition": (
        {"$defs": {"a": {"pattern": "a"}}},
        "at $defs.a.pattern: is not supported, because regular expressions",
    ),
    "one for names": (
        {"patternProperties": {"(a+)+$": {}}},
        "at patternProperties: is not supported, because regular expressions",
    ),
    "comparing all with all": ({"uniqueItems": True}, "at uniqueItems: is not supported, because comparing all items"),
    "the network": ({"$ref": "http://127.0.0.1:1/x"}, "refers to 'http://127.0.0.1:1/x'"),
    "a file": ({"items": {"$ref": "file:///etc/passwd"}}, "refers to 'file:///etc/passwd'"),
    "the network by another name": (
        {"$dynamicRef": "http://127.0.0.1:1/x"},
        "at $dynamicRef: is not a supported keyword",
    ),
    "another base": ({"items": {"$id": "http://127.0.0.1:1/"}}, "at items.$id: is allowed at the top level only"),
    "another vocabulary": ({"$vocabulary": {}}, "at $vocabulary: is not a supported keyword"),
    "an anchor": ({"$anchor": "a"}, "at $anchor: is not a supported keyword"),
    "itself": ({"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "is circular"),
    "what earlier words did": (
        {"unevaluatedProperties": False},
        "at unevaluatedProperties: is not a supported keyword",
    ),
    "a misspelt word": ({"requird": ["a"]}, "at requird: is not a supported keyword"),
    "large values": ({"enum": [{"a": 1}]}, "at enum: must contain only strings, numbers, booleans and null"),
    "a large value": ({"const": []}, "at const: must contain only strings, numbers, booleans and null"),
    "too deep": (nested(33), "is nested more than 32 levels deep"),
    "far too deep": (nested(5_000), "is nested too deeply"),
    "a default too deep": ({"default": reduce(lambda inner, _: [inner], range(900), 0)}, "is nested too deeply"),
    "too long": ({"description": "x" * 65_536}, "must be at most 65,536 characters long as JSON"),
    "a number beyond numbers": ({"minimum": float("inf")}, "contains a number that is too large"),
    "no type": ({"properties": {"a": {"type": "text"}}}, "is not a valid JSON Schema, at properties.a.type"),
    "a length below nothing": ({"minLength": -1}, "is not a valid JSON Schema, at minLength: must be at least 0"),
    "no list": ({"required": "a"}, "is not a valid JSON Schema, at required: must be of type array"),
    "no schema": ({"items": 5}, "at items: must be a schema: an object, true or false"),
    "no schemas": ({"allOf": {}}, "is not a valid JSON Schema, at allOf: must be of type array"),
    "a reference that is no text": ({"$ref": 5}, 'is not a valid JSON Schema, at ["$ref"]: must be of type string'),
}


@pytest.mark.parametrize(("schema", "why"), BAD.values(), ids=BAD)
def test_a_schema_that_could_do_harm_or_says_nothing_is_refused(schema: object, why: str) -> None:
    started_at = time.monotonic()

    with mock.patch("socket.socket", side_effect=AssertionError("nothing is fetched")):
        fault = schema_error(schema)

    assert fault is not None
    assert why in fault
    assert time.monotonic() - started_at < 10


FOUND: dict[str, tuple[object, object, dict[str, str]]] = {
    "nothing": ({"type": "object"}, {}, {}),
    "another type": ({"type": "object"}, [], {"data": "must be of type object"}),
    "one of several types": ({"type": ["string", "null"]}, 5, {"data": "must be of type string or null"}),
    "true is no number": ({"type": "integer"}, True, {"data": "must be of type integer"}),
    "what is missing": (
        {"required": ["a", "b", "c"]},
        {"b": 1},
        {"data.a": "is required", "data.c": "is required"},
    ),
    "deep inside": (
        {"properties": {"a": {"items": {"properties": {"b": {"type": "integer"}}}}}},
        {"a": [{"b": 1}, {"b": "x"}]},
        {"data.a[1].b": "must be of type integer"},
    ),
    "a strange name": ({"required": ['a "b".c']}, {}, {'data["a \\"b\\".c"]': "is required"}),
    "half a pair": ({"required": ["\ud800"]}, {}, {'data["\\ud800"]': "is required"}),
    "a member too many": (
        {"properties": {"a": True}, "additionalProperties": False},
        {"a": 1, "b": 2},
        {"data.b": "is not defined in the schema"},
    ),
    "a member of the wrong kind": (
        {"additionalProperties": {"type": "integer"}},
        {"a": "x"},
        {"data.a": "must be of type integer"},
    ),
    "another value": ({"enum": ["open", None]}, "shut", {"data": 'must be one of: "open", null'}),
    "not the value": ({"const": "opened"}, "closed", {"data": 'must be "opened"'}),
    "what is not to be": ({"properties": {"a": False}}, {"a": 1}, {"data.a": "is not allowed"}),
    "a property of that name": (
        {"properties": {"properties": {"properties": {"a": False}}}},
        {"properties": {"a": 1}},
        {"data.properties.a": "is not allowed"},
    ),
    "too small": ({"minimum": 0}, -1, {"data": "must be at least 0"}),
    "too short": ({"minLength": 2}, "a", {"data": "must have at least 2 characters"}),
    "too many": ({"maxItems": 1}, [1, 2], {"data": "must have at most 1 items"}),
    "the branch that was meant": (
        {"anyOf": [{"type": "null"}, {"properties": {"id": {"type": "string"}}}]},
        {"id": 5},
        {"data.id": "must be of type string"},
    ),
    "no branch": (
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        5,
        {"data": "must match at least one schema of anyOf"},
    ),
    "ruled out": ({"not": {"type": "integer"}}, 5, {"data": "must not match the schema of not"}),
    "a word that goes with another": (
        {"dependentRequired": {"a": ["b"]}},
        {"a": 1},
        {"data": "lacks a property that another property requires"},
    ),
    "beyond all numbers": (
        {"multipleOf": 0.1},
        float("inf"),
        {"data": "contains a number that is too large, or is nested too deeply, to validate against its schema"},
    ),
    "long beyond all numbers": (
        {"multipleOf": 0.1},
        10**400,
        {"data": "contains a number that is too large, or is nested too deeply, to validate against its schema"},
    ),
}


@pytest.mark.parametrize(("schema", "data", "faults"), FOUND.values(), ids=FOUND)
def test_what_breaks_a_schema_is_named_by_its_path(schema: object, data: object, faults: dict[str, str]) -> None:
    assert schema_error(schema) is None
    assert errors_in(data, json.dumps(schema), budget=Budget()) == faults


def test_no_more_than_twenty_faults_are_told() -> None:
    assert len(errors_in(["x"] * 1000, '{"items": {"type": "integer"}}', budget=Budget())) == 20


LARGE = {f"x{n}": "y" * 80 for n in range(11_000)}
BOMBS: dict[str, tuple[dict[str, Any], object]] = {
    "many words for many items": ({"items": {"allOf": [{"type": "integer"}] * 1000}}, list(range(200_000))),
    "many empty schemas": ({"items": {"allOf": [{}] * 1000}}, list(range(200_000))),
    "branches of branches": ({"anyOf": [{"anyOf": [{"type": "string"}, {"not": {}}] * 30}] * 30}, LARGE),
    "the same megabyte at fault": ({"anyOf": [{"type": "string"}] * 1000}, LARGE),
    "every item at fault in a branch": ({"anyOf": [{"items": {"type": "string"}}]}, [1] * 400_000),
    "many properties": ({"items": {"properties": {f"a{n}": {} for n in range(1000)}}}, [{"a1": 1}] * 30_000),
    "many values": ({"items": {"not": {"enum": list(range(2000))}}}, [-1] * 300_000),
    "conditions": ({"items": {"allOf": [{"if": {"type": "string"}, "then": False}] * 1000}}, [1] * 30_000),
}


@pytest.mark.parametrize(("schema", "data"), BOMBS.values(), ids=BOMBS)
def test_a_check_that_would_take_minutes_is_given_up_within_seconds(schema: dict[str, Any], data: object) -> None:
    budget = Budget()
    started_at = time.process_time()

    faults = errors_in(data, json.dumps(schema), budget=budget)

    assert schema_error(schema) is None
    assert faults == {"data": TOO_MANY_STEPS}
    assert budget.steps < 0
    # It takes from 0.1 to 3 seconds on a slow machine.
    assert time.process_time() - started_at < 20


def test_what_one_event_has_used_up_the_next_has_no_longer() -> None:
    budget = Budget(steps=10)

    assert errors_in({"a": 1}, '{"type": "object"}', budget=budget) == {}
    assert errors_in(list(range(20)), '{"items": {}}', budget=budget) == {"data": TOO_MANY_STEPS}
    assert errors_in({"a": 1}, '{"type": "object"}', budget=budget) == {"data": TOO_MANY_STEPS}


def test_a_push_of_as_many_commits_as_the_hook_tells_is_well_within_the_budget() -> None:
    push = catalogue.of("social-gateway").types["push"]
    budget = Budget()

    data = {**push.example, "commits": push.example["commits"] * 2048}
    faults = errors_in(data, str(push.schema_text), budget=budget)

    assert faults == {}
    assert budget.steps > 0
    assert Budget.of(1000).steps == MAX_STEPS + 1_000_000


def test_the_words_of_every_catalogue_are_among_those_that_may_be_registered() -> None:
    for dialect in ("native", "coregit", "code-storage", "sigmagit", "social-gateway", "codmir"):
        for entry in catalogue.of(dialect).types.values():
            assert schema_error(entry.schema) is None, entry.type


def test_no_word_that_may_be_used_is_one_that_the_library_follows_or_searches_with() -> None:
    assert KEYWORDS.isdisjoint(
        {"pattern", "patternProperties", "uniqueItems", "$dynamicRef", "$recursiveRef", "$anchor", "$vocabulary",
         "unevaluatedItems", "unevaluatedProperties", "contentSchema", "propertyDependencies", "dependencies"}
    )  # fmt: skip
