"""The event types as AsyncAPI and as JSON Schemas: an organization's for its callers, a dialect's for everybody."""

import json
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft202012Validator
from pytest_django import Settings

from deliveries.event_types import catalogue
from deliveries.formats import FORMATS
from deliveries.models import Organization
from hookhub.models import Scope
from tests.api import Caller, faults

pytestmark = pytest.mark.django_db

SCHEMA = {"type": "object", "properties": {"ok": {"$ref": "#/$defs/flag"}}, "$defs": {"flag": {"type": "boolean"}}}
EXPORTS = ("/v1/asyncapi.json", "/v1/schemas.json", "/v1/event-types/build.finished/schema")


@pytest.fixture
def build(api: Caller) -> None:
    fields = {"type": "build.finished", "description": "A build ended.", "schema": SCHEMA, "example": {"ok": True}}
    assert api.post("/v1/event-types", fields).status_code == 201


def served(address: str, caller: Caller | None = None) -> Any:
    answer = (caller or Client()).get(address)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_schema_is_the_types_own_with_its_address_its_description_and_its_example(
    api: Caller, build: None, settings: Settings
) -> None:
    answer = api.get("/v1/event-types/build.finished/schema")

    assert answer.headers["Content-Type"] == "application/schema+json"
    assert answer.json() == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{settings.HOOKHUB_PUBLIC_URL}/v1/event-types/build.finished/schema",
        "title": "build.finished",
        "description": "A build ended.",
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "examples": [{"ok": True}],
    }


def test_all_schemas_are_in_one_file_the_organizations_before_the_dialects(api: Caller, build: None) -> None:
    found = served("/v1/schemas.json", api)

    assert list(found["$defs"]) == ["build.finished", *catalogue.of("native").types]
    Draft202012Validator.check_schema(found)
    finished = Draft202012Validator({**found, "$ref": "#/$defs/build.finished"})
    assert [finished.is_valid(data) for data in ({"ok": True}, {"ok": 1})] == [True, False]


def test_a_custom_type_replaces_the_dialects(api: Caller) -> None:
    assert api.post("/v1/event-types", {"type": "push"}).status_code == 201

    found = served("/v1/event-types/push/schema", api)

    assert "properties" not in found
    assert "dialect" not in found["$id"]
    assert served("/v1/asyncapi.json", api)["components"]["messages"]["push"]["payload"]["properties"]["data"] == {}
    assert "properties" in served("/v1/event-types/push/schema?dialect=native", api)


def test_a_message_is_what_a_receiver_gets(api: Caller, build: None) -> None:
    document = served("/v1/asyncapi.json", api)

    message = document["components"]["messages"]["build.finished"]
    assert message["payload"]["properties"]["data"] == {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    [example] = message["examples"]
    assert example["payload"]["type"] == "build.finished"
    assert example["payload"]["data"] == {"ok": True}
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} < example["headers"].keys()
    assert document["info"]["title"] == "Events of acme"


@pytest.mark.parametrize("wire_format", FORMATS)
def test_it_is_in_the_organizations_format_or_the_one_that_is_asked_for(
    api: Caller, organization: Organization, build: None, wire_format: str
) -> None:
    Organization.objects.update(default_format=wire_format)

    document = served("/v1/asyncapi.json", api)

    assert FORMATS[wire_format].title in document["info"]["description"]
    assert served(f"/v1/asyncapi.json?wire_format={wire_format}", api) == document


def test_strangers_get_the_documented_types_alone(build: None) -> None:
    for address in EXPORTS[:2]:
        assert "build.finished" not in json.dumps(served(address))
    assert Client().get(EXPORTS[2]).status_code == 404
    assert "pull_request" in served("/v1/schemas.json?dialect=social-gateway")["$defs"]
    assert served("/v1/event-types/push/schema?dialect=sigmagit")["$id"].endswith("/push/schema?dialect=sigmagit")


def test_another_organizations_types_are_not_exported(other: Caller, build: None) -> None:
    assert "build.finished" not in json.dumps(served("/v1/schemas.json", other))
    assert other.get("/v1/schemas.json?organization=acme").status_code == 404
    assert other.get(EXPORTS[2]).status_code == 404


@pytest.mark.parametrize("scope", [Scope.PUBLISH, Scope.READ])
def test_a_publisher_may_read_them_too(organization: Organization, build: None, scope: Scope) -> None:
    for address in EXPORTS:
        assert "build.finished" in json.dumps(served(address, Caller.of(organization, scope)))


@pytest.mark.parametrize(
    ("query", "field"),
    [("dialect=x", "dialect"), ("dialect=", "dialect"), ("wire_format=x", "wire_format"), ("other=1", "other")],
)
def test_parameters_are_checked(query: str, field: str) -> None:
    answer = Client().get(f"/v1/asyncapi.json?{query}")

    assert (answer.status_code, list(faults(answer))) == (422, [field])
