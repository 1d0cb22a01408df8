"""Which JSON Schemas from users may be registered: those whose keywords can be validated in a bounded number of steps.

Keywords that could fetch something, run without end or evaluate a regular expression are not allowed.
"""

import json
from collections.abc import Iterator

from deliveries.event_types.catalogue.references import BadReference, inlined
from hookhub.event_types import metaschema
from hookhub.event_types.metaschema import SUBSCHEMA, SUBSCHEMA_LISTS, SUBSCHEMA_MAPS

MAX_TEXT_LENGTH = 64 * 1024
MAX_DEPTH = 32

ANNOTATIONS = frozenset(
    {"$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
     "format"}
)  # fmt: skip
ASSERTIONS = frozenset(
    {
        "type", "required", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
        "maxLength", "minItems", "maxItems", "minContains", "maxContains", "minProperties", "maxProperties",
        "dependentRequired", "$ref",
    }
)  # fmt: skip
VALUES = frozenset({"enum", "const"})
TOP_LEVEL_ONLY = frozenset({"$id", "$defs", "definitions"})
KEYWORDS = ANNOTATIONS | ASSERTIONS | SUBSCHEMA | SUBSCHEMA_LISTS | SUBSCHEMA_MAPS | VALUES | TOP_LEVEL_ONLY
UNSUPPORTED = {
    "pattern": "is not supported, because regular expressions can take forever; use enum, minLength or maxLength",
    "patternProperties": "is not supported, because regular expressions can take forever; use properties or "
    "additionalProperties",
    "uniqueItems": "is not supported, because comparing all items can take forever",
}


def schema_error(schema: object) -> str | None:
    """Return why a schema from a user is invalid, or None if it is valid."""
    if not isinstance(schema, dict):
        return "must be a JSON Schema object"
    if message := size_error(schema, most=MAX_TEXT_LENGTH):
        return message
    try:
        for path, message in _keyword_errors(schema, "", depth=0):
            return f"at {path}: {message}" if path else message
        return metaschema.error_in(inlined(schema))
    except BadReference as error:
        return str(error)
    except RecursionError:
        # In a ``default`` or ``examples``, which are not checked here and may be anything by the standard.
        return "is nested too deeply"


def size_error(value: object, *, most: int) -> str | None:
    """Return why a value cannot be stored as JSON of at most ``most`` characters, or None if it can."""
    try:
        length = len(json.dumps(value, allow_nan=False))
    except ValueError:
        return "contains a number that is too large"
    except RecursionError:
        return "is nested too deeply"
    return None if length <= most else f"must be at most {most:,} characters long as JSON"


def _keyword_errors(schema: object, path: str, *, depth: int) -> Iterator[tuple[str, str]]:
    """Yield the path of each keyword that a schema may not use, with the error."""
    if depth > MAX_DEPTH:
        yield path, f"is nested more than {MAX_DEPTH} levels deep"
    elif isinstance(schema, dict):
        for keyword, value in schema.items():
            here = f"{path}.{keyword[:100]}".removeprefix(".")
            if message := _keyword_error(keyword, value, is_top=not path):
                yield here, message
            for steps, inner in metaschema.parts_of(keyword, value):
                there = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:100]}" for step in steps)
                yield from _keyword_errors(inner, f"{here}{there}", depth=depth + 1)
    elif not isinstance(schema, bool):
        yield path, "must be a schema: an object, true or false"


def _keyword_error(keyword: str, value: object, *, is_top: bool) -> str | None:
    if keyword in TOP_LEVEL_ONLY and not is_top:
        return "is allowed at the top level only"
    if keyword in VALUES:
        listed = value if keyword == "enum" and isinstance(value, list) else [value]
        # Comparing large values repeatedly would not be counted.
        is_plain = not any(isinstance(each, dict | list) for each in listed)
        return None if is_plain else "must contain only strings, numbers, booleans and null"
    if keyword in KEYWORDS:
        return None
    return UNSUPPORTED.get(keyword, "is not a supported keyword; docs/events.md lists them")
