"""The JSON Schemas of bodies, of which formats describe theirs."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]
TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}


def object_of(**properties: Schema) -> Schema:
    """Return the JSON Schema of an object that has all of these members."""
    return {"type": "object", "properties": properties, "required": list(properties)}
