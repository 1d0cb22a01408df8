"""The event types of a catalogue as JSON Schemas: one for each type's data, and all of them in one file."""

from collections.abc import Iterable
from typing import Any

from deliveries.event_types.catalogue import EventType
from deliveries.event_types.catalogue.references import inlined

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MEDIA_TYPE = "application/schema+json"


def schema_of(event_type: EventType, *, address: str) -> dict[str, Any]:
    """Return the JSON Schema of a type's data with its address as its id; a type without a schema allows any data."""
    return {"$schema": DIALECT, "$id": address, **_described(event_type)}


def bundle_of(types: Iterable[EventType], *, address: str) -> dict[str, Any]:
    """Return one JSON Schema that defines the data of each type under its name, as ``#/$defs/issues.opened``."""
    definitions = {each.type: _described(each) for each in types}
    return {"$schema": DIALECT, "$id": address, "title": "The data of events, by type", "$defs": definitions}


def _described(event_type: EventType) -> dict[str, Any]:
    schema = event_type.schema
    # Its own references would not lead anywhere from within a larger file.
    found = inlined(schema) if isinstance(schema, dict) else {}
    rest = {name: value for name, value in found.items() if name not in {"$schema", "$id"}}
    about = {"title": event_type.type, "description": event_type.description}
    examples = [] if event_type.example_text is None else [event_type.example]
    return {
        **{name: text for name, text in about.items() if text},
        **rest,
        **({"examples": examples} if examples and "examples" not in rest else {}),
    }
