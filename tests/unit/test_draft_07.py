"""JSON Schemas of draft 2020-12 in the words of draft 07: the same values are valid."""

from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from deliveries.event_types import catalogue
from deliveries.systems import SYSTEMS
from hookhub.descriptions.draft_07 import as_draft_07

PAIR = {"prefixItems": [{"type": "string"}, {"type": "integer"}]}


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        pytest.param(PAIR, [["a"], ["a", 1], ["a", 1, None], [1], ["a", "b"]], id="a tuple"),
        pytest.param({**PAIR, "items": False}, [["a", 1], ["a", 1, 2]], id="a closed tuple"),
        pytest.param({**PAIR, "items": {"type": "null"}}, [["a", 1, None], ["a", 1, 2]], id="a tuple and a rest"),
        pytest.param({"items": PAIR}, [[["a", 1]], [["a", "b"]]], id="tuples in a list"),
        pytest.param({"dependentRequired": {"a": ["b"]}}, [{"a": 1}, {"a": 1, "b": 1}, {}], id="a member needs one"),
        pytest.param({"dependentSchemas": {"a": {"minProperties": 2}}}, [{"a": 1}, {"a": 1, "b": 1}], id="a schema"),
        pytest.param(
            {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"a": {"required": ["c"]}}},
            [{"a": 1}, {"a": 1, "b": 1}, {"a": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}],
            id="both of one member",
        ),
        pytest.param({"contains": {"const": 1}, "minContains": 0}, [[], [1], [2]], id="contains nothing"),
        pytest.param({"contains": {"const": 1}}, [[], [1], [2]], id="contains"),
        pytest.param({"properties": {"prefixItems": {"type": "null"}}}, [{"prefixItems": 1}], id="a member's name"),
        pytest.param({"enum": [{"prefixItems": [1]}]}, [{"prefixItems": [1]}, {"items": [1]}], id="a value"),
        pytest.param({"allOf": [{"not": PAIR}]}, [["a", 1], [1]], id="inside of others"),
        pytest.param({"additionalProperties": PAIR}, [{"a": ["a", 1]}, {"a": [1]}], id="of other members"),
    ],
)
def test_the_same_values_are_valid(schema: dict[str, Any], values: list[Any]) -> None:
    modern, old = Draft202012Validator(schema), Draft7Validator(as_draft_07(schema))

    assert [old.is_valid(value) for value in values] == [modern.is_valid(value) for value in values]


@pytest.mark.parametrize("value", [True, False, {}, {"$schema": "https://json-schema.org/draft/2020-12/schema"}])
def test_what_says_nothing_stays_nothing(value: Any) -> None:
    assert as_draft_07(value) in (True, False, {})


@pytest.mark.parametrize("dialect", SYSTEMS)
def test_examples_of_the_catalogues_stay_valid(dialect: str) -> None:
    for each in catalogue.of(dialect).types.values():
        written = as_draft_07(each.schema)
        Draft7Validator.check_schema(written)
        assert Draft7Validator(written).is_valid(each.example), each.type
