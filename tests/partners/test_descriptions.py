"""Independent programs find no fault in the API's descriptions: openapi-spec-validator, Spectral, AsyncAPI's parser."""

import json
from typing import Any

import pytest
from django.test import Client

from deliveries.event_types import catalogue
from deliveries.models import Organization
from deliveries.systems import SYSTEMS
from tests.api import Caller
from tests.partners import node

pytestmark = pytest.mark.django_db

# Formats with bodies of each kind: an envelope of attributes, data alone, data or a summary, a text for people.
SHAPES = ("cloudevents", "cloudevents-binary", "mcp-event", "slack")
# A schema with the words that AsyncAPI's schemas do not have, and a reference of its own.
MODERN = {
    "$id": "https://acme.example/modern",
    "type": "object",
    "properties": {
        "pair": {"prefixItems": [{"type": "string"}, {"$ref": "#/$defs/count"}], "items": False},
        "tags": {"type": "array", "contains": {"const": "a"}, "minContains": 0},
    },
    "dependentRequired": {"pair": ["tags"]},
    "dependentSchemas": {"pair": {"minProperties": 2}},
    "$defs": {"count": {"type": "integer"}},
}


def served(address: str) -> Any:
    return Client().get(address).json()


def test_the_openapi_document_is_one_of_version_3_1() -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator

    document = served("/v1/openapi.json")

    assert document["openapi"].startswith("3.1.")
    assert [f"{error.json_path}: {error.message}" for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_spectral_and_the_parser_of_asyncapi_find_no_fault(api: Caller, organization: Organization) -> None:
    example = {"pair": ["a", 1], "tags": []}
    for body in ({"type": "modern.thing", "schema": MODERN, "example": example}, {"type": "empty"}):
        assert api.post("/v1/event-types", body).status_code == 201
    addresses = [f"/v1/asyncapi.json?dialect={dialect}" for dialect in SYSTEMS]
    addresses += [f"/v1/asyncapi.json?wire_format={wire_format}" for wire_format in SHAPES]
    documents = [*map(served, addresses), api.get("/v1/asyncapi.json").json()]

    found = node.run(
        "descriptions.mjs", given={"openapi": served("/v1/openapi.json"), "asyncapi": documents}, seconds=120
    )

    assert found["openapi"] == []
    assert [each["faults"] for each in found["asyncapi"]] == [[]] * len(documents)
    assert {each["version"] for each in found["asyncapi"]} == {"3.0.0"}
    for read, dialect in zip(found["asyncapi"], SYSTEMS, strict=False):
        assert set(read["messages"]) == set(catalogue.of(dialect).types)
    custom = found["asyncapi"][-1]["messages"]
    assert set(custom) == {*catalogue.of("native").types, "modern.thing", "empty"}
    assert json.dumps(documents[-1]).count("prefixItems") == 0
