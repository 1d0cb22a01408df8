"""Corrections of the OpenAPI document that drf-spectacular generates: null, empty choices, and what bodies may hold."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deliveries import plain_text
from hookhub.publishing.parse import MAX_EVENTS

NULL = {"type": "null"}
# Java clients of openapi-generator refuse null for a required array, also where it may be null.
NULLABLE_ARRAY = ["array", "null"]
# What drf-spectacular calls the schemas of null and of an empty string that it adds to an enumeration.
NULL_ENUM = {"$ref": "#/components/schemas/NullEnum"}
BLANK_ENUM = {"$ref": "#/components/schemas/BlankEnum"}
# These bodies must have at least one field; without one, there is nothing to do.
NOT_EMPTY = (("post", "/v1/replays"), ("patch", "/v1/webhooks/{uid}/headers"))

Document = dict[str, Any]


def rewritten(node: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a copy of a JSON value with each of its objects changed, the outer ones before the inner ones."""
    if isinstance(node, list):
        return [rewritten(inner, change) for inner in node]
    if not isinstance(node, dict):
        return node
    return {name: rewritten(inner, change) for name, inner in change(node).items()}


def objects_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value, the outer ones before the inner ones."""
    if isinstance(node, list):
        for inner in node:
            yield from objects_in(inner)
    elif isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from objects_in(inner)


def write_null_as_a_type(result: Document, **_: Any) -> Document:
    """Write what may be null as OpenAPI 3.1 does, also where a schema of ours says so in the manner of 3.0."""
    return dict(rewritten(result, _with_null))


def _with_null(node: dict[str, Any]) -> dict[str, Any]:
    if node.get("nullable") is True:
        node = {name: value for name, value in node.items() if name != "nullable"}
        # Without a type, null is allowed anyway.
        if isinstance(kind := node.get("type"), str):
            node = {**node, "type": [kind, "null"], **({"enum": [*node["enum"], None]} if "enum" in node else {})}
    choices = node.get("oneOf")
    if isinstance(choices, list) and (NULL_ENUM in choices or BLANK_ENUM in choices):
        kept = [NULL if each == NULL_ENUM else each for each in choices if each != BLANK_ENUM]
        rest = {name: value for name, value in node.items() if name != "oneOf"}
        node = {**rest, "oneOf": kept} if len(kept) > 1 else {**kept[0], **rest}
    if node.get("oneOf") == [{}, NULL]:
        # Anything, and null is among it.
        node = {name: value for name, value in node.items() if name != "oneOf"}
    return node


def drop_choices_of_nothing(result: Document, **_: Any) -> Document:
    """Replace the choice between a string with a pattern and an empty string by the first: our patterns allow both."""

    def change(node: dict[str, Any]) -> dict[str, Any]:
        choices = node.get("oneOf", [])
        if len(choices) == 2 and choices[1] == {"type": "string", "maxLength": 0}:
            return {**choices[0], **{name: value for name, value in node.items() if name != "oneOf"}}
        return node

    return dict(rewritten(result, change))


def state_restrictions(result: Document, **_: Any) -> Document:
    """Restrict the bodies under /v1 as no serializer can: no additional fields, and some must not be empty."""
    schemas = result["components"]["schemas"]
    for path, operations in result["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                for content in operation.get("requestBody", {}).get("content", {}).values():
                    _close(content["schema"], schemas)
    for method, path in NOT_EMPTY:
        body = result["paths"][path][method]["requestBody"]
        body["required"] = True
        [content] = body["content"].values()
        schemas[_name_of(content["schema"])]["minProperties"] = 1
    # Of the objects inside of others, the only one that may have no other members.
    _close(schemas["RateLimitRequest"], schemas)
    _forget_rules_of_requests(schemas)
    return result


def _close(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Forbid additional fields in a request's objects, and empty or overlong arrays of them."""
    if "$ref" in schema:
        _close(schemas[_name_of(schema)], schemas)
    for choice in schema.get("oneOf", []):
        _close(choice, schemas)
    if "properties" in schema:
        schema["additionalProperties"] = False
    if schema.get("type") == "array":
        schema |= {"minItems": 1, "maxItems": MAX_EVENTS}


def _forget_rules_of_requests(schemas: dict[str, Any]) -> None:
    """Remove the pattern for names from responses: what is stored may be older than the rule."""
    for name, schema in schemas.items():
        if not name.endswith("Request"):
            for field in schema.get("properties", {}).values():
                if field.get("pattern") == plain_text.PATTERN:
                    del field["pattern"]


# Members that some responses leave out, by the names that drf-spectacular gives the schemas; "*" for all members.
OPTIONAL: Mapping[str, frozenset[str]] = {
    "ChangedWebhook": frozenset({"secret"}),
    "WebhookWithSecret": frozenset({"secret"}),
    "Subscription": frozenset("*"),
    "PortalScope": frozenset("*"),
    "SigmagitWebhook": frozenset({"secret"}),
    "ConfigBody": frozenset({"secret"}),
    "GitHubError": frozenset({"errors", "documentation_url"}),
    "GitHubErrorRow": frozenset({"field", "message"}),
}
# They come from no serializer, and say themselves what is required.
WRITTEN = frozenset({"HubForm", "McpCall", "McpError", "McpErrorDetail", "McpResult"})


# Of GitHub's shapes, which have more members than are worth describing.
WITH_MORE = ("AccountInShort", "AccountShown", "OrganizationShown", "RateShown", "RepositoryShown")


def require_what_responses_have(result: Document, **_: Any) -> Document:
    """Require all members of responses, which are there: a serializer only knows what a request must have."""
    schemas = result["components"]["schemas"]
    for name in WITH_MORE:
        schemas[name]["additionalProperties"] = True
    for name, schema in schemas.items():
        left_out = OPTIONAL.get(name, frozenset())
        is_response = name not in WRITTEN and not name.endswith("Request")
        if is_response and "properties" in schema and "*" not in left_out:
            members = schema["properties"].items()
            schema["required"] = [
                member for member, said in members if member not in left_out and said.get("type") != NULLABLE_ARRAY
            ]
    return result


def drop_unused_components(result: Document, **_: Any) -> Document:
    """Remove the schemas that nothing refers to."""
    schemas = result["components"]["schemas"]
    used: set[str] = set()
    waiting = [result["paths"], result.get("webhooks"), result["components"].get("responses")]
    while waiting:
        for node in objects_in(waiting.pop()):
            name = _name_of(node)
            if name in schemas and name not in used:
                used.add(name)
                waiting.append(schemas[name])
    kept = {name: schema for name, schema in schemas.items() if name in used}
    return {**result, "components": {**result["components"], "schemas": kept}}


def _name_of(node: dict[str, Any]) -> str:
    """Return the name of the component that a schema refers to; an empty one if it is no reference."""
    reference = node.get("$ref")
    return reference.rpartition("/")[2] if isinstance(reference, str) else ""
