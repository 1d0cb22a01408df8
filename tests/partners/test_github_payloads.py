"""GitHub's own payloads, as collected by the makers of its clients, match the catalogue."""

import json
from typing import Any

import pytest

from deliveries.event_types import catalogue
from deliveries.event_types.topics import topics_of
from hookhub.event_types import validation
from hookhub.event_types.validation import Budget
from tests.partners import node

COLLECTED = node.MODULES / "@octokit" / "webhooks-examples" / "api.github.com" / "index.json"


@pytest.fixture(scope="module")
def collected() -> list[dict[str, Any]]:
    node.require()
    return list(json.loads(COLLECTED.read_text()))


def test_every_payload_that_github_sends_satisfies_the_schema_of_its_event(collected: list[dict[str, Any]]) -> None:
    types = catalogue.of("social-gateway").types

    faults = {
        (event["name"], number): found
        for event in collected
        for number, payload in enumerate(event["examples"])
        if (found := validation.errors_in(payload, str(types[event["name"]].schema_text), budget=Budget()))
    }

    assert faults == {}
    assert (len(collected), sum(len(event["examples"]) for event in collected)) == (58, 329)


def test_every_action_that_github_names_is_in_the_catalogue_and_can_be_asked_for(
    collected: list[dict[str, Any]],
) -> None:
    github = catalogue.of("social-gateway")

    for event in collected:
        # The action of a repository_dispatch is chosen by the calling program.
        if event["name"] != "repository_dispatch":
            assert set(event["actions"]) <= set(github.types[event["name"]].actions), event["name"]
        for payload in event["examples"]:
            found = github.find(event["name"], payload)
            assert found is not None
            assert event["name"] in topics_of(event["name"], payload)
            if "action" in payload:
                assert f"{event['name']}.{payload['action']}" in topics_of(event["name"], payload)


def test_a_payload_that_lacks_what_every_event_of_its_kind_has_is_found(collected: list[dict[str, Any]]) -> None:
    types = catalogue.of("social-gateway").types

    for event in collected:
        payload, schema = event["examples"][0], types[event["name"]].schema
        for name in schema["required"]:
            lacking = {key: value for key, value in payload.items() if key != name}
            text = str(types[event["name"]].schema_text)
            assert validation.errors_in(lacking, text, budget=Budget()) == {f"data.{name}": "is required"}
