"""The check that a schema is one agrees with the library's, and costs a fraction of it."""

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from deliveries.event_types.catalogue.references import inlined
from hookhub.event_types.metaschema import error_in
from hookhub.event_types.schemas import KEYWORDS, schema_error

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 3), st.just(1.5), st.sampled_from(["string", "null", "x", "http://h/#a"])
)
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(sorted(KEYWORDS)), inner, max_size=4),
        st.fixed_dictionaries({"type": st.lists(st.sampled_from(["string", "null", "array"]), max_size=3)}),
        st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from(["a", "$ref", "type"]), inner)}),
    ),
    max_leaves=12,
)


@given(SCHEMAS)
def test_it_finds_what_the_library_finds(schema: Any) -> None:
    try:
        whole = inlined(schema)
    except ValueError:
        return
    try:
        Draft202012Validator.check_schema(whole)
    except SchemaError:
        assert error_in(whole) is not None
    else:
        assert error_in(whole) is None


@pytest.mark.parametrize(
    ("schema", "error"),
    [
        ({"type": ["string", "string"]}, "at type: must match at least one schema of anyOf"),
        ({"required": ["a", "a"]}, "at required: does not match the schema"),
        ({"allOf": []}, "at allOf: must have at least 1 items"),
        ({"properties": {"a b": {"minItems": -1}}}, 'at properties["a b"].minItems: must be at least 0'),
        ({"$id": "http://h/#a"}, 'at ["$id"]: does not match the schema'),
    ],
)
def test_it_names_the_place(schema: object, error: str) -> None:
    assert error_in(schema) == f"is not a valid JSON Schema, {error}"


@pytest.mark.parametrize(
    ("schema", "is_valid"),
    [
        pytest.param(
            {"properties": {f"p{n}": {"type": "string", "minLength": 1} for n in range(1000)}}, True, id="wide"
        ),
        pytest.param({"allOf": [{}] * 4000}, True, id="empty schemas"),
        pytest.param({"type": [{"a": n} for n in range(1600)]}, False, id="dictionaries that must differ"),
    ],
)
def test_a_large_schema_costs_some_calls_for_each_of_its_values(schema: Any, is_valid: bool) -> None:
    schema_error({"type": "string"})
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        error = schema_error(schema)
    finally:
        sys.setprofile(before)

    assert (error is None) is is_valid
    # The library needs a thousand and more for each subschema, and compares each of the dictionaries with all others.
    assert calls < 500_000
