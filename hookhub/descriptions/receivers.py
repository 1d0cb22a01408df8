"""The `webhooks` of the OpenAPI document: what receivers get in each wire format, and the answers expected of them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from inspect import getdoc
from typing import Any

from deliveries.event_types import catalogue
from deliveries.formats import FORMATS, Format, Message, Rendered
from deliveries.policy import hops
from deliveries.policy.outcomes import verdict_on
from deliveries.systems import DEFAULT, SYSTEMS
from hookhub.descriptions.corrections import Document
from hookhub.descriptions.verifications import verifications

TAG = {"name": "receivers", "description": "What the receivers of deliveries get, in each wire format."}
JSON_TYPE, FORM_TYPE = "application/json", "application/x-www-form-urlencoded"
# They are described by the body and by `security`, and OpenAPI ignores parameters of these names.
NO_PARAMETERS = frozenset({"content-type", "accept", "authorization"})
NOTES: Mapping[str, str] = {"User-Agent": "Name of the sender."}
HOPS: dict[str, Any] = {
    "name": hops.HEADER,
    "in": "header",
    "required": True,
    "schema": {"type": "string"},
    "description": "Send it along with the events that you publish because of this one: it ends loops.",
}
# What the samples are signed with; an example in the documentation of Standard Webhooks.
SAMPLE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - it signs nothing else
SAMPLE = Message(
    delivery_id="019cb8b8-1e00-753a-a23d-b63dc6d7ef09",
    attempt=1,
    event_id="019cb8b8-1e00-753a-8f00-0a1b2c3d4e5f",
    event_type="push",
    payload=b"{}",
    occurred_at=datetime(2026, 3, 4, 12, 0, 0, 123000, tzinfo=UTC),
    sent_at=datetime(2026, 3, 4, 12, 0, 1, tzinfo=UTC),
    organization="acme",
    repository="widgets",
    webhook_id="019cb8b8-0000-7000-8000-0000000000ff",
    webhook_number=292430182,
    scope="repository",
    scope_number=79929171,
    content_type="json",
    secrets=(SAMPLE_SECRET,),
    subscription={
        "topic": "https://hooks.example.com/acme/widgets/events/push.json",
        "hub": "https://hooks.example.com/hub",
        "algorithm": "sha256",
        "id": "sub_2f7c",
    },
)
# What becomes of a delivery, by the verdict on an answer.
MEANINGS = {
    "delivered": "The delivery is delivered. The body is recorded, and not read.",
    "retry": "The attempt has failed, and is repeated on the schedule of the webhook.",
    "reject": "This delivery has failed for good; others follow.",
    "gone": "The receiver wants no more: the webhook is disabled.",
}
RETRY_AFTER = {
    "Retry-After": {
        "schema": {"type": "string"},
        "description": "Seconds, or a date: no attempt is made before. It is kept for up to 24 hours.",
    }
}


def describe_receivers(result: Document, **_: Any) -> Document:
    """Add to a document what receivers get: a `webhook` for each wire format, and one for each way to verify a URL."""
    schemas = dict(result["components"]["schemas"])
    webhooks = {slug: {"post": operation(wire_format, schemas)} for slug, wire_format in FORMATS.items()}
    webhooks |= verifications(tag=TAG["name"])
    components = {**result["components"], "schemas": dict(sorted(schemas.items()))}
    return {**result, "components": components, "tags": [*result["tags"], TAG], "webhooks": webhooks}


def operation(wire_format: Format, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a request in a wire format; the schema of its body is added to ``schemas``."""
    message = sample_for(wire_format)
    rendered = wire_format.render(message)
    return {
        "operationId": f"receive_{wire_format.slug.replace('-', '_')}",
        "summary": f"Receive an event in the format {wire_format.title}",
        "description": getdoc(type(wire_format)) or wire_format.title,
        "tags": [TAG["name"]],
        # The signature proves who the sender is.
        "security": [],
        "parameters": parameters_of(wire_format, message, rendered),
        "requestBody": {"required": True, "content": contents_of(wire_format, message, rendered, schemas)},
        "responses": expected_of(wire_format),
    }


def sample_for(wire_format: Format) -> Message:
    """Return a message that webhooks of a format could get: a push, as the system of the format documents it."""
    systems = [system.slug for system in SYSTEMS.values() if system.wire_format == wire_format.slug]
    # GitHub's payloads are SocialGateway's.
    source = catalogue.of("social-gateway" if wire_format.slug == "github" else systems[0] if systems else DEFAULT)
    found = source.types.get("push") or next(iter(source.types.values()))
    payload = json.dumps(found.example, ensure_ascii=False, separators=(",", ":")).encode()
    secrets = SAMPLE.secrets if wire_format.secret_policy.allows_secret else ()
    return SAMPLE._replace(event_type=found.type, payload=payload, secrets=secrets)


def parameters_of(wire_format: Format, message: Message, rendered: Rendered) -> list[dict[str, Any]]:
    """Return the headers of a request as parameters: those that a webhook may have to do without are not required."""
    least = message._replace(subscription=None)
    if wire_format.secret_policy.allows_none:
        least = least._replace(secrets=())
    always = {name for name, _ in wire_format.render(least).headers}
    notes = {**NOTES, **wire_format.header_notes}
    found = [
        {
            "name": name,
            "in": "header",
            "required": name in always,
            "schema": {"type": "string"},
            "example": value,
            **({"description": notes[name]} if name in notes else {}),
        }
        for name, value in rendered.headers
        if name.lower() not in NO_PARAMETERS
    ]
    return [*found, HOPS]


def contents_of(
    wire_format: Format, message: Message, rendered: Rendered, schemas: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the bodies of a request by media type, as JSON, and as a form if the format has one."""
    found = {}
    if "json" in wire_format.content_types:
        media_type = dict(rendered.headers)["Content-Type"]
        schema = dict(wire_format.body_schema({}))
        if schema:
            name = f"{''.join(word.capitalize() for word in wire_format.slug.split('-'))}Body"
            schemas[name] = {"description": f"The body of a delivery in the format {wire_format.title}.", **schema}
            schema = {"$ref": f"#/components/schemas/{name}"}
        else:
            schema = {"description": "The event's data, as it was published."}
        found[media_type] = {"schema": schema, "example": json.loads(rendered.body)}
    if "form" in wire_format.content_types:
        found[FORM_TYPE] = {
            "schema": {
                "type": "object",
                "properties": {"payload": {"type": "string", "contentMediaType": JSON_TYPE}},
                "required": ["payload"],
            },
            "example": {"payload": message.payload.decode()},
        }
    return found


def expected_of(wire_format: Format) -> dict[str, dict[str, Any]]:
    """Return what becomes of a delivery, by the status of the receiver's answer."""
    found: dict[str, dict[str, Any]] = {"2XX": {"description": MEANINGS["delivered"]}}
    # Chats say in the body of a 200 what became of the message.
    if wire_format.verdict_on(200, b"") not in {None, "delivered"}:
        found["2XX"] = {"description": "The delivery is delivered if the body says so; otherwise it is repeated."}
    for status in HTTPStatus:
        verdict = wire_format.verdict_on(status, b"") or verdict_on(status)
        if status >= 400 and verdict in {"gone", "reject"}:
            found[str(status.value)] = {"description": MEANINGS[verdict]}
    for status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        waits = {"description": f"{MEANINGS['retry']} Retry-After can delay it.", "headers": RETRY_AFTER}
        found.setdefault(str(status.value), waits)
    ordered = dict(sorted(found.items()))
    return {**ordered, "default": {"description": f"{MEANINGS['retry']} Redirects are not followed."}}
