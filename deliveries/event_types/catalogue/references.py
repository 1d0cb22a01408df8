"""Inlining of a JSON Schema's references to its own definitions, so that validators have no references to resolve."""

from collections.abc import Mapping
from typing import Any

# The maximum number of values in an inlined schema: a few lines with nested references can expand to millions.
MAX_VALUES = 5000
# The keywords that contain definitions.
HOMES = ("definitions", "$defs")


class BadReference(ValueError):
    """A reference cannot be inlined; the message is a sentence without its subject."""


def inlined(schema: Any, *, definitions: Mapping[str, Any] | None = None) -> Any:
    """Return the schema with each ``#/definitions/…`` or ``#/$defs/…`` reference replaced by its definition.

    ``definitions`` are additional to the schema's own, which take precedence. Raise BadReference for a reference to
    anything else, for a circular one, and if the result has more than MAX_VALUES values.
    """
    known = {"definitions": definitions or {}}
    if isinstance(schema, dict):
        for home in HOMES:
            if isinstance(own := schema.get(home), dict):
                known[home] = {**known.get(home, {}), **own}
        schema = {name: value for name, value in schema.items() if name not in HOMES}
    return _Inliner(known).replace(schema)


class _Inliner:
    """Replaces references recursively and counts the values of the result."""

    def __init__(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        self._known = known
        self._count = 0
        self._within: list[str] = []

    def replace(self, value: Any) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise BadReference(f"has more than {MAX_VALUES:,} values after its references are expanded")
        if isinstance(value, list):
            return [self.replace(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        if isinstance(reference := value.get("$ref"), str):
            return self._followed(reference, {name: inner for name, inner in value.items() if name != "$ref"})
        return {name: self.replace(inner) for name, inner in value.items()}

    def _followed(self, reference: str, beside: dict[str, Any]) -> Any:
        home, _, name = reference.removeprefix("#/").partition("/")
        definition = self._known.get(home, {}).get(name.replace("~1", "/").replace("~0", "~"))
        if not reference.startswith("#/") or definition is None:
            shown = reference[:100]
            raise BadReference(f"refers to {shown!r}; only references to its own $defs are allowed, as #/$defs/<name>")
        if reference in self._within:
            raise BadReference(f"{reference[:100]!r} is circular")
        self._within.append(reference)
        found = self.replace(definition)
        self._within.pop()
        if not beside:
            return found
        # Keywords next to a reference apply as well.
        held = self.replace(beside)
        return {**held, "allOf": [*held.get("allOf", []), found]}
