"""What the OpenAPI document says of receivers is what each wire format sends, and what its answers mean."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from deliveries.formats import FORMATS, Format
from deliveries.policy.outcomes import Delivered, Failed, Gone, classify
from deliveries.proofs import PROOFS
from hookhub.descriptions.receivers import HOPS, SAMPLE_SECRET, describe_receivers
from tests.documents import closed, validator_of
from tests.golden.messages import messages_for

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
OPEN: dict[str, Any] = {"components": {"schemas": {}}, "tags": []}
DOCUMENT = describe_receivers(OPEN)
WEBHOOKS: dict[str, Any] = DOCUMENT["webhooks"]
every_format = pytest.mark.parametrize("wire_format", FORMATS.values(), ids=FORMATS)


def names_of(parameters: list[dict[str, Any]], *, required: bool) -> set[str]:
    return {each["name"] for each in parameters if each["required"] or not required}


@every_format
def test_every_message_has_the_headers_that_are_documented(wire_format: Format) -> None:
    parameters = WEBHOOKS[wire_format.slug]["post"]["parameters"]

    for message in messages_for(wire_format).values():
        sent = {name for name, _ in wire_format.render(message).headers} - {"Content-Type", "Accept"}
        assert names_of(parameters, required=True) - {HOPS["name"]} <= sent <= names_of(parameters, required=False)


@every_format
def test_every_header_but_the_senders_name_says_what_it_is_for(wire_format: Format) -> None:
    parameters = WEBHOOKS[wire_format.slug]["post"]["parameters"]

    assert [each["name"] for each in parameters if not each.get("description")] == []
    assert wire_format.header_notes.keys() <= names_of(parameters, required=False)


@every_format
def test_every_body_matches_the_schema_that_is_documented(wire_format: Format) -> None:
    contents = WEBHOOKS[wire_format.slug]["post"]["requestBody"]["content"]
    schemas = {name: closed(schema) for name, schema in DOCUMENT["components"]["schemas"].items()}

    for message in messages_for(wire_format).values():
        rendered = wire_format.render(message)
        content = contents[dict(rendered.headers)["Content-Type"]]
        if message.content_type == "form":
            assert rendered.body.startswith(b"payload=")
            continue
        schema = {**content["schema"], "components": {"schemas": schemas}}
        errors = validator_of(schema).iter_errors(json.loads(rendered.body))
        assert [error.message for error in errors] == []


@every_format
@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 410, 413, 429, 500, 503])
def test_an_answer_means_what_is_documented(wire_format: Format, status: int) -> None:
    responses = WEBHOOKS[wire_format.slug]["post"]["responses"]
    said = responses.get(str(status)) or (responses["2XX"] if status < 300 else responses["default"])

    match classify(status, retry_after=None, wire_format=wire_format, now=NOW):
        case Delivered() | Failed(is_final=False) if status < 300:
            assert said["description"].startswith("The delivery is delivered")
        case Gone():
            assert "is disabled" in said["description"]
        case Failed(is_final=True):
            assert "failed for good" in said["description"]
        case _:
            assert "is repeated" in said["description"]


def test_the_sample_is_really_signed() -> None:
    operation = WEBHOOKS["standard-webhooks"]["post"]
    headers = {each["name"]: each["example"] for each in operation["parameters"] if "example" in each}
    example = operation["requestBody"]["content"]["application/json"]["example"]
    body = json.dumps(example, ensure_ascii=False, separators=(",", ":"))

    verifier = Verifier(SAMPLE_SECRET)
    assert headers["webhook-signature"] == verifier.sign(
        headers["webhook-id"], datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC), body
    )


@pytest.mark.parametrize("slug", PROOFS)
def test_each_way_to_verify_a_url_is_described_with_its_answer(slug: str) -> None:
    [(method, operation)] = WEBHOOKS[f"verification-{slug}"].items()

    assert method in {"get", "post", "options"}
    assert operation["responses"]["2XX"]["description"] != "The URL is verified."
    assert [each["name"] for each in operation["parameters"] if not each.get("description")] == []
