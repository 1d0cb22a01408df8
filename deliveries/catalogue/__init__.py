"""The event types that each system documents: one line, a JSON Schema and an example for each.

    sigmagit = catalogue.of("sigmagit")          # a dialect's slug; see deliveries.dialects
    sigmagit.types["issues.opened"].example      # EventType: type, family, description, schema, example, actions
    sigmagit.knows("issues")                     # may a webhook's ``events`` list hold this word: True
    sigmagit.find("issues", {"action": "opened"})  # the EventType that an event as published is of, or None

There is a file of JSON beside this for each dialect, read on first use. ``definitions`` are what its schemas have in
common; ``families`` says whether the system lets a list name a family such as ``issues`` for ``issues.opened``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deliveries import compact_json
from deliveries.catalogue.references import inlined
from deliveries.dialects import DIALECTS
from deliveries.topics import EVERYTHING, families_of, joined


@dataclass(frozen=True, slots=True)
class EventType:
    """One type: its name, what makes it happen, and what its data looks like.

    Schema and example are kept as their text and read anew each time, so that nobody can change what others share.
    """

    type: str
    description: str
    schema_text: str | None = None
    example_text: str | None = None

    @classmethod
    def of(cls, name: str, description: str, *, schema: object = None, example: object = None) -> "EventType":
        """Make one of plain values; None stands for no schema and for no example."""
        schema_text = None if schema is None else compact_json.encode(schema).decode()
        return cls(name, description, schema_text, None if example is None else compact_json.encode(example).decode())

    @property
    def family(self) -> str:
        """Give the first word of its name, by which a webhook may ask for all of them."""
        return self.type.partition(".")[0]

    @property
    def schema(self) -> Any:
        """Give its JSON Schema, which refers to nothing outside itself, or None when it has none."""
        return None if self.schema_text is None else json.loads(self.schema_text)

    @property
    def example(self) -> Any:
        """Give an example of its data, or None when there is none."""
        return None if self.example_text is None else json.loads(self.example_text)

    @property
    def actions(self) -> tuple[str, ...]:
        """Give what its data may name as its ``action``, as far as the schema limits that."""
        schema = self.schema
        properties = schema.get("properties") if isinstance(schema, dict) else None
        limits = properties.get("action") if isinstance(properties, dict) else None
        listed = limits.get("enum", ()) if isinstance(limits, dict) else ()
        return tuple(action for action in listed if isinstance(action, str))


@dataclass(frozen=True)
class Catalogue:
    """What one system documents."""

    dialect: str
    types: Mapping[str, EventType]
    lists_families: bool

    @cached_property
    def families(self) -> frozenset[str]:
        """Give the words that stand for several types: ``issues`` for ``issues.opened`` and its like."""
        return frozenset(family for name in self.types for family in families_of(name)) - self.types.keys()

    @cached_property
    def joined(self) -> Mapping[str, EventType]:
        """Give the types that name their actions in the data, by type and action joined: ``issues.opened``."""
        return {
            name: event_type
            for event_type in self.types.values()
            for action in event_type.actions
            if (name := joined(event_type.type, {"action": action})) is not None and name not in self.types
        }

    def knows(self, name: str) -> bool:
        """Tell whether the system lets a webhook's ``events`` list hold this word: a type, a family, or ``*``."""
        return name == EVERYTHING or name in self.types or (self.lists_families and name in self.families)

    def find(self, event_type: str, data: object) -> EventType | None:
        """Give the type that an event as published is of, or None when the system documents none such.

        Who publishes ``issues.opened`` and who publishes ``issues`` with that action in the data mean the same.
        """
        found = self.types.get(event_type)
        if found is None and (name := joined(event_type, data)) is not None:
            found = self.types.get(name)
        return found or self.joined.get(event_type)


@cache
def of(dialect: str) -> Catalogue:
    """Give a dialect's catalogue; raises LookupError for a slug that is none's."""
    if dialect not in DIALECTS:
        raise LookupError(f"{dialect!r} is not a dialect; these are: {', '.join(DIALECTS)}")
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
