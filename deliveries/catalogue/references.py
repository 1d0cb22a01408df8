"""A schema's references to its own definitions, replaced by what they refer to, so that none is left to be followed."""

from collections.abc import Mapping
from typing import Any

# So many values a schema may hold when every reference in it is replaced: a few lines can refer to millions.
VALUES_MOST = 5000
# Where definitions are kept, and how a reference to one begins.
HOMES = ("definitions", "$defs")


class BadReference(ValueError):
    """A reference that cannot be replaced; the message is a sentence without its subject."""


def inlined(schema: Any, *, definitions: Mapping[str, Any] | None = None) -> Any:
    """Give the schema with the definition in the place of each ``#/definitions/…`` or ``#/$defs/…``.

    Definitions are the schema's own and the ones given. Raises BadReference for a reference to anything else, for one
    that comes back to itself, and where the whole would grow beyond VALUES_MOST values.
    """
    known = {"definitions": definitions or {}}
    if isinstance(schema, dict):
        for home in HOMES:
            if isinstance(own := schema.get(home), dict):
                known[home] = {**known.get(home, {}), **own}
        schema = {name: value for name, value in schema.items() if name not in HOMES}
    return _Inliner(known).replace(schema)


class _Inliner:
    """Counts what it gives while it replaces."""

    def __init__(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        self._known = known
        self._count = 0
        self._within: list[str] = []

    def replace(self, value: Any) -> Any:
        self._count += 1
        if self._count > VALUES_MOST:
            raise BadReference(f"has more than {VALUES_MOST:,} values when its references are followed")
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
            raise BadReference(f"refers to {shown!r}; only its own $defs can be referred to, as #/$defs/<name>")
        if reference in self._within:
            raise BadReference(f"{reference[:100]!r} comes back to itself")
        self._within.append(reference)
        found = self.replace(definition)
        self._within.pop()
        if not beside:
            return found
        # What stands beside a reference holds as well.
        held = self.replace(beside)
        return {**held, "allOf": [*held.get("allOf", []), found]}
