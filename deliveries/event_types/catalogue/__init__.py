"""The event types that each vendor system documents, each with a description, a JSON Schema and an example.

    sigmagit = catalogue.of("sigmagit")          # a dialect's slug; see deliveries.systems
    sigmagit.types["issues.opened"].example      # EventType: type, family, description, schema, example, actions
    sigmagit.knows("issues")                     # whether a webhook's ``events`` list may contain this topic: True
    sigmagit.find("issues", {"action": "opened"})  # the EventType of a published event, or None

Each dialect has a JSON file in this directory, which is read on first use. Its ``definitions`` are shared by its
schemas. ``families`` says whether the system allows a family such as ``issues``, which stands for ``issues.opened``
and others, in an ``events`` list.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deliveries import compact_json
from deliveries.event_types.catalogue.references import inlined
from deliveries.event_types.topics import EVERYTHING, families_of, joined
from deliveries.systems import SYSTEMS


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type: its name, the description of its cause, and the JSON Schema and an example of its data.

    Schema and example are stored as text and parsed on each access, so that no caller can modify a shared object.
    """

    type: str
    description: str
    schema_text: str | None = None
    example_text: str | None = None

    @classmethod
    def of(cls, name: str, description: str, *, schema: object = None, example: object = None) -> "EventType":
        """Return an EventType made of plain values; None means no schema or no example."""
        schema_text = None if schema is None else compact_json.encode(schema).decode()
        return cls(name, description, schema_text, None if example is None else compact_json.encode(example).decode())

    @property
    def family(self) -> str:
        """Return the first word of the name, the topic for all types of the family."""
        return self.type.partition(".")[0]

    @property
    def schema(self) -> Any:
        """Return its JSON Schema, which contains no references, or None if it has none."""
        return None if self.schema_text is None else json.loads(self.schema_text)

    @property
    def example(self) -> Any:
        """Return an example of its data, or None if there is none."""
        return None if self.example_text is None else json.loads(self.example_text)

    @property
    def actions(self) -> tuple[str, ...]:
        """Return the values that the schema allows for ``action`` in its data; () if it does not restrict them."""
        schema = self.schema
        properties = schema.get("properties") if isinstance(schema, dict) else None
        limits = properties.get("action") if isinstance(properties, dict) else None
        listed = limits.get("enum", ()) if isinstance(limits, dict) else ()
        return tuple(action for action in listed if isinstance(action, str))


@dataclass(frozen=True)
class Catalogue:
    """The event types of one vendor system."""

    dialect: str
    types: Mapping[str, EventType]
    lists_families: bool

    @cached_property
    def families(self) -> frozenset[str]:
        """Return the families that are not types themselves, such as ``issues`` for ``issues.opened``."""
        return frozenset(family for name in self.types for family in families_of(name)) - self.types.keys()

    @cached_property
    def joined(self) -> Mapping[str, EventType]:
        """Return the types whose data contains an action, keyed by type and action joined (``issues.opened``)."""
        return {
            name: event_type
            for event_type in self.types.values()
            for action in event_type.actions
            if (name := joined(event_type.type, {"action": action})) is not None and name not in self.types
        }

    def knows(self, name: str) -> bool:
        """Return whether a webhook's ``events`` list may contain ``name``: a type, a family if allowed, or ``*``."""
        return name == EVERYTHING or name in self.types or (self.lists_families and name in self.families)

    def find(self, event_type: str, data: object) -> EventType | None:
        """Return the type of a published event, or None if the system documents none for it.

        ``issues.opened``, and ``issues`` with the action "opened" in its data, have the same type.
        """
        found = self.types.get(event_type)
        if found is None and (name := joined(event_type, data)) is not None:
            found = self.types.get(name)
        return found or self.joined.get(event_type)


@cache
def of(dialect: str) -> Catalogue:
    """Return a dialect's catalogue. Raise LookupError for an unknown slug."""
    if dialect not in SYSTEMS:
        raise LookupError(f"{dialect!r} is not a known dialect; known dialects: {', '.join(SYSTEMS)}")
    content = json.loads(Path(__file__).with_name(f"{dialect}.json").read_bytes())
    shared = content.get("definitions", {})
    types = {
        name: EventType.of(
            name,
            entry["description"],
            schema=inlined(entry["schema"], definitions=shared),
            example=entry["example"],
        )
        for name, entry in content["events"].items()
    }
    return Catalogue(dialect, MappingProxyType(types), lists_families=content["families"])
