"""The OpenAPI document of `/v1`: its summaries, and corrections of what drf-spectacular generates."""

from collections.abc import Mapping
from typing import Any, ClassVar

from deliveries import plain_text
from hookhub.http.openapi import DescribedSchema
from hookhub.publishing.parse import MAX_EVENTS

SUMMARIES: Mapping[str, str] = {
    "GET /v1/meta": "Get the deployment's configuration",
    "GET /v1/event-types": "List event types",
    "POST /v1/event-types": "Register an event type",
    "GET /v1/event-types/{name}": "Get an event type",
    "PATCH /v1/event-types/{name}": "Change an event type",
    "DELETE /v1/event-types/{name}": "Delete an event type",
    "GET /v1/organizations": "List organizations",
    "POST /v1/organizations": "Create an organization",
    "GET /v1/organizations/{slug}": "Get an organization",
    "PATCH /v1/organizations/{slug}": "Change an organization",
    "GET /v1/audit": "List audit log entries",
    "GET /v1/api-keys": "List API keys",
    "POST /v1/api-keys": "Create an API key",
    "GET /v1/api-keys/{key_id}": "Get an API key",
    "PATCH /v1/api-keys/{key_id}": "Change an API key",
    "POST /v1/api-keys/{key_id}/roll": "Roll an API key",
    "DELETE /v1/api-keys/{key_id}": "Revoke an API key",
    "GET /v1/repositories": "List repositories",
    "POST /v1/repositories": "Create a repository",
    "GET /v1/repositories/{name}": "Get a repository",
    "PATCH /v1/repositories/{name}": "Change a repository",
    "DELETE /v1/repositories/{name}": "Delete a repository",
    "GET /v1/webhooks": "List webhooks",
    "POST /v1/webhooks": "Create a webhook",
    "GET /v1/webhooks/{uid}": "Get a webhook",
    "PATCH /v1/webhooks/{uid}": "Change a webhook",
    "DELETE /v1/webhooks/{uid}": "Delete a webhook",
    "PATCH /v1/webhooks/{uid}/headers": "Change a webhook's headers",
    "POST /v1/webhooks/{uid}/enable": "Enable a webhook",
    "POST /v1/webhooks/{uid}/disable": "Disable a webhook",
    "POST /v1/webhooks/{uid}/rotate-secret": "Rotate a webhook's secret",
    "POST /v1/webhooks/{uid}/ping": "Ping a webhook",
    "POST /v1/webhooks/{uid}/verify": "Verify a webhook's URL",
    "POST /v1/webhooks/{uid}/test": "Send a test event to a webhook",
    "GET /v1/webhooks/{uid}/replay-missing": "Count the events that a webhook never got",
    "POST /v1/webhooks/{uid}/replay-missing": "Deliver the events that a webhook never got",
    "GET /v1/webhooks/{uid}/poll": "Fetch the events of a polling webhook",
    "GET /v1/webhooks/{uid}/consumers": "List the consumers of a polling webhook",
    "PUT /v1/webhooks/{uid}/consumers/{name}": "Commit how far a consumer has read",
    "DELETE /v1/webhooks/{uid}/consumers/{name}": "Delete a consumer",
    "GET /v1/alert-channels": "List alert channels",
    "POST /v1/alert-channels": "Create an alert channel",
    "GET /v1/alert-channels/{uid}": "Get an alert channel",
    "PATCH /v1/alert-channels/{uid}": "Change an alert channel",
    "DELETE /v1/alert-channels/{uid}": "Delete an alert channel",
    "POST /v1/alert-channels/{uid}/test": "Send a test alert",
    "POST /v1/alert-channels/{uid}/rotate-secret": "Rotate an alert channel's secret",
    "GET /v1/alerts": "List alerts",
    "GET /v1/alerts/{uid}": "Get an alert",
    "GET /v1/portal-sessions": "List portal sessions",
    "POST /v1/portal-sessions": "Create a portal session",
    "GET /v1/portal-sessions/{uid}": "Get a portal session",
    "DELETE /v1/portal-sessions/{uid}": "Revoke a portal session",
    "GET /v1/webhooks/{uid}/stats": "Get a webhook's statistics",
    "GET /v1/webhooks/{uid}/timeseries": "Retrieve a webhook's statistics by hour or day",
    "GET /v1/organizations/{slug}/timeseries": "Retrieve an organization's statistics by hour or day",
    "GET /v1/organizations/{slug}/portal": "Retrieve the look of an organization's portal",
    "PATCH /v1/organizations/{slug}/portal": "Change the look of an organization's portal",
    "GET /v1/events": "List events",
    "POST /v1/events": "Publish events",
    "POST /v1/events/validate": "Validate events without publishing them",
    "GET /v1/events/{uid}": "Get an event",
    "GET /v1/deliveries": "List deliveries",
    "GET /v1/deliveries/{uid}": "Get a delivery with its attempts",
    "POST /v1/deliveries/{uid}/redeliver": "Redeliver a delivery",
    "POST /v1/deliveries/{uid}/cancel": "Cancel a delivery",
    "GET /v1/replays": "List replays",
    "POST /v1/replays": "Start a replay",
    "GET /v1/replays/{uid}": "Get a replay",
    "POST /v1/replays/{uid}/cancel": "Cancel a replay",
}


class ApiSchema(DescribedSchema):
    """Describes the operations of `/v1`."""

    summaries: ClassVar[Mapping[str, str]] = SUMMARIES


def inline_nullable_references(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Inline each nullable reference: in OpenAPI 3.0 a reference cannot be null."""
    schemas = result["components"]["schemas"]

    def visit(node: Any) -> Any:
        if isinstance(node, list):
            return [visit(inner) for inner in node]
        if not isinstance(node, dict):
            return node
        choices = node.get("allOf") or node.get("oneOf") or []
        if node.get("nullable") and len(choices) == 1 and "$ref" in choices[0]:
            meant = schemas[choices[0]["$ref"].rpartition("/")[2]]
            rest = {name: value for name, value in node.items() if name not in {"allOf", "oneOf"}}
            node = {**meant, **rest, **({"enum": [*meant["enum"], None]} if "enum" in meant else {})}
        return {name: visit(inner) for name, inner in node.items()}

    return {name: visit(inner) for name, inner in result.items()}


def drop_nullable_of_anything(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Remove ``nullable`` from schemas without a type: they allow null anyway, and linters report it as an error."""

    def visit(node: Any) -> Any:
        if isinstance(node, list):
            return [visit(inner) for inner in node]
        if not isinstance(node, dict):
            return node
        says_nothing = node.get("nullable") is True and "type" not in node
        return {name: visit(inner) for name, inner in node.items() if not (says_nothing and name == "nullable")}

    return {name: visit(inner) for name, inner in result.items()}


def state_restrictions(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Restrict the bodies under /v1 as no serializer can: no additional fields, and some must not be empty."""
    schemas = result["components"]["schemas"]
    for path, operations in result["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _close(content["schema"], schemas)
    for name in ("NewReplayRequest", "PatchedHeaderChangesRequest"):
        schemas[name]["minProperties"] = 1
    # Without a body there is nothing to do.
    for method, path in (("post", "/v1/replays"), ("patch", "/v1/webhooks/{uid}/headers")):
        result["paths"][path][method]["requestBody"]["required"] = True
    _forget_rules_of_requests(schemas)
    return result


def _forget_rules_of_requests(schemas: dict[str, Any]) -> None:
    """Remove the pattern for names from responses: what is stored may be older than the rule."""
    for name, schema in schemas.items():
        if not name.endswith("Request"):
            for field in schema.get("properties", {}).values():
                if field.get("pattern") == plain_text.PATTERN:
                    del field["pattern"]


def _close(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Forbid additional fields in a request's objects, and empty or overlong arrays of them."""
    if "$ref" in schema:
        _close(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for choice in schema.get("oneOf", []):
        _close(choice, schemas)
    if "properties" in schema:
        schema["additionalProperties"] = False
    if schema.get("type") == "array":
        schema |= {"minItems": 1, "maxItems": MAX_EVENTS}


def drop_choices_of_nothing(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Replace the choice between a string with a pattern and an empty string by the first: our patterns allow both."""

    def visit(node: Any) -> Any:
        if isinstance(node, list):
            return [visit(inner) for inner in node]
        if not isinstance(node, dict):
            return node
        choices = node.get("oneOf", [])
        if len(choices) == 2 and choices[1] == {"type": "string", "maxLength": 0}:
            node = {**choices[0], **{name: value for name, value in node.items() if name != "oneOf"}}
        return {name: visit(inner) for name, inner in node.items()}

    return {name: visit(inner) for name, inner in result.items()}


def drop_unused_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Remove the schemas that nothing refers to, such as those of inlined references."""
    schemas = result["components"]["schemas"]
    used: set[str] = set()
    waiting: list[Any] = [result["paths"]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name in schemas and name not in used:
                used.add(name)
                waiting.append(schemas[name])
            waiting.extend(node.values())
    kept = {name: schema for name, schema in schemas.items() if name in used}
    return {**result, "components": {**result["components"], "schemas": kept}}
