"""What an agent can subscribe to: the organization's event types, and the arguments by which it may filter."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from deliveries import compact_json
from deliveries.event_types.catalogue import EventType
from deliveries.formats.mcp_event import SUMMARY_SCHEMA
from deliveries.models import Organization
from deliveries.policy import filters
from deliveries.webhooks.fields import UNSTORABLE
from hookhub.event_types import registry, validation
from hookhub.event_types.validation import Budget
from hookhub.mcp.jsonrpc import invalid_params

REPOSITORY = "repository"
REPOSITORY_SCHEMA: Mapping[str, object] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "The name of a repository; without it, events of all repositories are sent.",
}
SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})
# What an argument keeps of the schema of its field.
KEPT = (
    "type", "enum", "const", "title", "description", "format", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "maxLength",
)  # fmt: skip
# They are in a column of the webhook.
MAX_ARGUMENTS = 4096


class Definition(NamedTuple):
    """An event type as agents see it."""

    name: str
    description: str
    input_schema: dict[str, Any]
    payload_schema: dict[str, Any]

    def shown(self) -> dict[str, Any]:
        """Return it as events/list does."""
        return {
            "name": self.name,
            "description": self.description,
            "delivery": ["webhook"],
            "inputSchema": self.input_schema,
            "payloadSchema": self.payload_schema,
        }


def definitions(organization: Organization) -> dict[str, Definition]:
    """Return what can be subscribed to: the organization's own event types, then those that its dialect documents."""
    return {name: definition_of(each) for name, each in registry.types_of(organization).items()}


def find(name: str, *, organization: Organization) -> Definition | None:
    """Return one of the definitions, or None if there is no event of this name."""
    found = registry.types_of(organization).get(name)
    return None if found is None else definition_of(found)


def definition_of(each: EventType) -> Definition:
    """Return an event type as agents see it."""
    schema = each.schema
    return Definition(
        each.type,
        each.description,
        input_schema_of(schema),
        {} if schema is None else {"anyOf": [schema, SUMMARY_SCHEMA]},
    )


def input_schema_of(schema: object) -> dict[str, Any]:
    """Return the schema of the arguments: the repository, and the fields at the top of the data that are scalars."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    fields = properties if isinstance(properties, dict) else {}
    # The names of which something else is stored, or would be taken for an owner's filter.
    others = {REPOSITORY, filters.OWNERS}
    scalars = {name: _kept(field) for name, field in fields.items() if is_scalar(field) and name not in others}
    return {
        "type": "object",
        "properties": {REPOSITORY: dict(REPOSITORY_SCHEMA), **scalars},
        "additionalProperties": False,
    }


def is_scalar(schema: object) -> bool:
    """Return whether a schema allows no object and no list."""
    if not isinstance(schema, dict):
        return False
    listed = schema.get("type")
    if listed is None:
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        return isinstance(values, list) and not any(isinstance(each, dict | list) for each in values)
    return SCALARS.issuperset(listed if isinstance(listed, list) else [listed])


def _kept(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {keyword: schema[keyword] for keyword in KEPT if keyword in schema}


def require_short(arguments: Mapping[str, Any]) -> None:
    """Raise RpcError if arguments are too long, or have numbers that are."""
    try:
        text = compact_json.encode(arguments)
    except ValueError as error:
        raise invalid_params("arguments contains a number that is too large.") from error
    if len(text) > MAX_ARGUMENTS:
        raise invalid_params(f"arguments must be at most {MAX_ARGUMENTS:,} bytes long as JSON.")


def require_valid(arguments: Mapping[str, Any], definition: Definition) -> None:
    """Raise RpcError unless the arguments are valid, and can be stored."""
    schema = compact_json.encode(definition.input_schema).decode()
    errors = validation.errors_in(arguments, schema, budget=Budget())
    if errors:
        problems = "; ".join(f"arguments{path.removeprefix('data')} {error}" for path, error in errors.items())
        allowed = ", ".join(definition.input_schema["properties"])
        raise invalid_params(f"{problems}. The arguments of {definition.name} are: {allowed}.")
    for name, value in arguments.items():
        if isinstance(value, str) and UNSTORABLE.search(value):
            raise invalid_params(f"arguments.{name} must not contain NUL or unpaired surrogates.")
