"""The OpenAPI document is correct: every operation is called, and every response, success or error, matches it."""

import json

import pytest

from hookhub.api.serializers.fields import StrictModelSerializer
from hookhub.http.fields import ModelSerializer
from tests.api import Caller
from tests.api_story import JSON, NDJSON, Exerciser, play
from tests.documents import Document, Operation
from tests.examples import FORM, LIKE_SCHEMAS, TOO_LONG, compare
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

MULTIPART = "multipart/form-data"
# The form is the same as in the other media type.
WITHOUT_EXAMPLE = {("POST /hub", MULTIPART), ("POST /api/v3/hub", MULTIPART)}
SHOWING_SECRETS = {
    Operation("POST", "/v1/api-keys"), Operation("POST", "/v1/api-keys/{key_id}/roll"),
    Operation("POST", "/v1/webhooks"), Operation("PATCH", "/v1/webhooks/{uid}"),
    Operation("POST", "/v1/webhooks/{uid}/rotate-secret"),
    Operation("POST", "/api/repositories/{owner}/{repo}/webhooks"), Operation("PATCH", "/api/webhooks/{webhook}"),
}  # fmt: skip


@pytest.fixture
def document(db: None) -> Document:
    return Document()


@pytest.fixture
def exerciser(document: Document, operator: Caller) -> Exerciser:
    return Exerciser(document, operator)


def test_every_operation_succeeds_as_the_document_says(
    document: Document, exerciser: Exerciser, receiver: Receiver
) -> None:
    play(exerciser, receiver)

    assert exerciser.faults == []
    compare(exerciser.recording.found)
    assert {operation for operation, _ in document.operations()} - exerciser.succeeded == set()
    # No proxy or browser may store a response that shows a secret.
    assert exerciser.may_be_stored & document.showing_secrets() == set()
    assert document.showing_secrets() >= SHOWING_SECRETS


def test_the_document_says_where_it_is_served_and_what_each_operation_is_for(document: Document) -> None:
    assert document.content["servers"][0]["url"] == "http://127.0.0.1:8000"
    summaries = {operation: said.get("summary", "") for operation, said in document.operations()}
    assert [operation for operation, summary in summaries.items() if not summary] == []
    assert all(summary[0].isupper() and not summary.endswith(".") for summary in summaries.values())
    names = [said["operationId"] for _, said in document.operations()]
    assert len(set(names)) == len(names)


def test_the_document_has_no_media_type_and_no_enum_that_generators_cannot_read(document: Document) -> None:
    read = {media for _, said in document.operations() for media in said.get("requestBody", {}).get("content", {})}

    assert read == {JSON, NDJSON, FORM, MULTIPART}
    assert {"enum": [None]} not in document.content["components"]["schemas"].values()
    assert "oneOf" not in json.dumps(document.content["paths"]["/v1/webhooks"])


def test_null_is_a_type_as_in_this_version_of_openapi(document: Document) -> None:
    assert '"nullable"' not in json.dumps(document.content)
    properties = document.content["components"]["schemas"]["Delivery"]["properties"]
    assert properties["last_status"]["type"] == ["integer", "null"]
    assert properties["finish_reason"]["oneOf"] == [
        {"$ref": "#/components/schemas/DeliveryFinishReason"}, {"type": "null"},
    ]  # fmt: skip
    assert document.content["components"]["schemas"]["DeliveryFinishReason"]["enum"][0] == "delivered"


def test_a_schema_is_described_by_what_it_is_and_not_by_how_it_is_made(document: Document) -> None:
    made_of = {str(ModelSerializer.__doc__), str(StrictModelSerializer.__doc__)}
    described = {name: schema.get("description") for name, schema in document.content["components"]["schemas"].items()}

    assert [name for name, text in described.items() if text in made_of] == []


def test_every_body_has_an_example_that_matches_its_schema(document: Document) -> None:
    missing, faults = set(), []
    for operation, said in document.operations():
        label = f"{operation.method} {operation.path}"
        bodies = [*said.get("requestBody", {}).get("content", {}).items()]
        for status, response in said["responses"].items():
            if status == "408":  # It takes seconds to provoke.
                continue
            is_shown = status.startswith("2") and label not in TOO_LONG | LIKE_SCHEMAS
            contents = document.resolved(response).get("content", {}).items()
            bodies += contents if is_shown or "$ref" in response else []
        for media_type, content in bodies:
            if media_type == "text/plain":
                continue
            if "example" not in content:
                missing.add((label, media_type))
            else:
                faults += [f"{label}: {error}" for error in document.errors_in(content["example"], content["schema"])]

    assert missing == WITHOUT_EXAMPLE
    assert faults == []


def test_native_operations_come_first_and_each_tag_is_described(document: Document) -> None:
    tags = [tag["name"] for tag in document.content["tags"]]
    used = [tag for _, said in document.operations() for tag in said["tags"]]

    assert list(dict.fromkeys(used)) == [tag for tag in tags if tag != "receivers"]
    assert [tag["name"] for tag in document.content["tags"] if not tag["description"].endswith(".")] == []
    dialects = [path.startswith(("/v1/", "/mcp")) for path in document.content["paths"]]
    assert dialects == sorted(dialects, reverse=True)


def test_schemas_have_names_for_types_and_none_is_described_twice(document: Document) -> None:
    schemas = document.content["components"]["schemas"]

    assert [name for name in schemas if name.endswith(("Enum", "List", "Serializer", "Shown"))] == ["EventTypeList"]
    shapes = [json.dumps({**schema, "description": ""}, sort_keys=True) for schema in schemas.values()]
    assert [name for name, shape in zip(schemas, shapes, strict=True) if shapes.count(shape) > 1] == []
    assert '"properties"' not in json.dumps([said["responses"] for _, said in document.operations()])
