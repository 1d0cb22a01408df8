"""Checks that a JSON Schema is one, subschema by subschema, in a tenth of the time that the library takes.

The library follows references through seven documents for each subschema, which took seconds for a thousand of them.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from hookhub.event_types.validation_messages import message_of, path_of

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

SUBSCHEMA = frozenset({"items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"})
SUBSCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
SUBSCHEMA_MAPS = frozenset({"properties", "dependentSchemas", "$defs", "definitions"})

TEXT, NUMBER, FLAG, LIST = [{"type": name} for name in ("string", "number", "boolean", "array")]
COUNT = {"type": "integer", "minimum": 0}
SCHEMA = {"type": ["object", "boolean"]}
SCHEMAS = {**LIST, "minItems": 1, "items": SCHEMA}
NAMED_SCHEMAS = {"type": "object", "additionalProperties": SCHEMA}
NAMES = {**LIST, "items": TEXT, "uniqueItems": True}
TYPE = {"enum": ["array", "boolean", "integer", "null", "number", "object", "string"]}
# What the metaschema says of the keywords that are allowed, with any schema as one in it.
SHAPE: dict[str, Any] = {
    **SCHEMA,
    "properties": {
        "$id": {**TEXT, "format": "uri-reference", "pattern": "^[^#]*#?$"},
        "$schema": {**TEXT, "format": "uri"},
        "$ref": {**TEXT, "format": "uri-reference"},
        "type": {"anyOf": [TYPE, {**LIST, "items": TYPE, "minItems": 1, "uniqueItems": True}]},
        "enum": LIST,
        "examples": LIST,
        "required": NAMES,
        "dependentRequired": {"type": "object", "additionalProperties": NAMES},
        "multipleOf": {**NUMBER, "exclusiveMinimum": 0},
        **dict.fromkeys(("$comment", "title", "description", "format"), TEXT),
        **dict.fromkeys(("deprecated", "readOnly", "writeOnly"), FLAG),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), NUMBER),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), COUNT),
        **dict.fromkeys(("minProperties", "maxProperties"), COUNT),
        # In order, because the first error is told.
        **dict.fromkeys(sorted(SUBSCHEMA), SCHEMA),
        **dict.fromkeys(sorted(SUBSCHEMA_LISTS), SCHEMAS),
        **dict.fromkeys(sorted(SUBSCHEMA_MAPS), NAMED_SCHEMAS),
    },
}


def error_in(schema: object) -> str | None:
    """Return why something is no JSON Schema, or None; its references to itself must have been replaced."""
    for steps, inner in _subschemas(schema, ()):
        error = next(_keywords().iter_errors(inner), None)
        if error is not None:
            where = path_of([*steps, *error.absolute_path]).removeprefix(".")
            return f"is not a valid JSON Schema{f', at {where}' if where else ''}: {message_of(error)}"
    return None


def _subschemas(schema: Any, steps: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield a schema and those within it, each with its path, before those within that."""
    yield steps, schema
    if isinstance(schema, dict):
        for keyword, value in schema.items():
            for step, inner in parts_of(keyword, value):
                yield from _subschemas(inner, (*steps, keyword, *step))


def parts_of(keyword: str, value: object) -> list[tuple[tuple[str | int, ...], object]]:
    """Return the subschemas that are a keyword's value or in it, each with its path there; none in a malformed one."""
    if keyword in SUBSCHEMA:
        return [((), value)]
    if keyword in SUBSCHEMA_LISTS and isinstance(value, list):
        return [((position,), inner) for position, inner in enumerate(value)]
    if keyword in SUBSCHEMA_MAPS and isinstance(value, dict):
        return [((name,), inner) for name, inner in value.items()]
    return []


@cache
def _keywords() -> "Validator":
    """Return a validator of one schema's own keywords, whatever the schemas in it are."""
    # Here for the reason given in validation._bounded.
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415

    made: type[Validator] = validators.extend(Draft202012Validator, {"uniqueItems": _repetitions})  # type: ignore[no-untyped-call]
    return made(SHAPE, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _repetitions(validator: object, value: object, instance: object, schema: object) -> Iterator[Any]:
    """Check a list that is to hold different strings; the library compares what is none with all others."""
    del validator, value, schema
    from jsonschema import ValidationError  # noqa: PLC0415 - as above.

    if isinstance(instance, list):
        texts = [each for each in instance if isinstance(each, str)]
        if len(set(texts)) < len(texts):
            yield ValidationError("has non-unique elements")
