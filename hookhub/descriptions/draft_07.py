"""Writes a JSON Schema of draft 2020-12 in the words of draft 07, which AsyncAPI's schemas have."""

from collections.abc import Mapping
from typing import Any

from hookhub.event_types.metaschema import SUBSCHEMA, SUBSCHEMA_LISTS, SUBSCHEMA_MAPS

# Without a counterpart; what they say is left out.
DROPPED = frozenset({"$schema", "$id", "minContains", "maxContains", "dependentRequired", "dependentSchemas"})


def as_draft_07(schema: Any) -> Any:
    """Return a schema without references in the words of draft 07: it allows the same values, or a few more."""
    if not isinstance(schema, dict):
        return schema
    found = {name: _inner(name, value) for name, value in schema.items()}
    written = {name: value for name, value in found.items() if name not in DROPPED}
    if "prefixItems" in found:
        del written["prefixItems"]
        written |= {"items": found["prefixItems"]} | ({"additionalItems": found["items"]} if "items" in found else {})
    if found.get("minContains") == 0:
        written.pop("contains", None)
    if dependencies := _dependencies(found):
        written["dependencies"] = dependencies
    return written


def _inner(name: str, value: Any) -> Any:
    """Return the value of a keyword, with the schemas in it rewritten."""
    if name in SUBSCHEMA:
        return as_draft_07(value)
    if name in SUBSCHEMA_LISTS and isinstance(value, list):
        return [as_draft_07(each) for each in value]
    if name in SUBSCHEMA_MAPS and isinstance(value, dict):
        return {key: as_draft_07(each) for key, each in value.items()}
    return value


def _dependencies(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what draft 07 has for the two keywords about members that need others."""
    found: dict[str, Any] = dict(schema.get("dependentSchemas", {}))
    for name, needed in schema.get("dependentRequired", {}).items():
        found[name] = {"allOf": [found[name], {"required": needed}]} if name in found else needed
    return found
