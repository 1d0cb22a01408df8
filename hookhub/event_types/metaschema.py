"""Checks that a JSON Schema is one, subschema by subschema, in a tenth of the time that the library takes.

The library follows references through seven documents for each subschema, which took seconds for a thousand of them.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from deliveries.event_types.catalogue.references import inlined
from hookhub.event_types.validation_messages import message_of, path_of

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

SUBSCHEMA = frozenset({"items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"})
SUBSCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
SUBSCHEMA_MAPS = frozenset({"properties", "dependentSchemas", "$defs", "definitions"})


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
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # noqa: PLC0415

    known: dict[str, Any] = {}
    for part in Draft202012Validator.META_SCHEMA["allOf"]:
        vocabulary: Any = REGISTRY[f"https://json-schema.org/draft/2020-12/{part['$ref']}"].contents
        known |= inlined(_without_schemas(vocabulary))["properties"]
    shape = {"type": ["object", "boolean"], "properties": known}
    made: type[Validator] = validators.extend(Draft202012Validator, {"uniqueItems": _repetitions})  # type: ignore[no-untyped-call]
    return made(shape, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _repetitions(validator: object, value: object, instance: object, schema: object) -> Iterator[Any]:
    """Check a list that is to hold different strings; the library compares what is none with all others."""
    del validator, value, schema
    from jsonschema import ValidationError  # noqa: PLC0415 - as above.

    if isinstance(instance, list):
        texts = [each for each in instance if isinstance(each, str)]
        if len(set(texts)) < len(texts):
            yield ValidationError("has non-unique elements")


def _without_schemas(value: Any) -> Any:
    """Return a part of the metaschema in which a schema is anything that could be one."""
    if isinstance(value, list):
        return [_without_schemas(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$dynamicRef"), str):
        return {"type": ["object", "boolean"]}
    return {name: _without_schemas(inner) for name, inner in value.items()}
