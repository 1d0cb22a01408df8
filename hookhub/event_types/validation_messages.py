"""The messages of validation errors, each with the path of the value that is invalid."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

# A schema that no value matches, and whose errors have a path.
NEVER: dict[str, Any] = {"not": {}}
MESSAGES = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "items": "has too many items",
    "minContains": "must have at least {} items that match the schema of contains",
    "maxContains": "must have at most {} items that match the schema of contains",
    "contains": "must have an item that matches the schema of contains",
    "minProperties": "must have at least {} properties",
    "maxProperties": "must have at most {} properties",
    "dependentRequired": "lacks a property that another property requires",
    "anyOf": "must match at least one schema of anyOf",
    "oneOf": "must match exactly one schema of oneOf",
    "not": "must not match the schema of not",
}


def located_messages(error: Any) -> Iterable[tuple[str, str]]:
    """Return the paths and messages of an error; a missing or forbidden member is reported at its own path."""
    path, value, instance = path_of(error.absolute_path), error.validator_value, error.instance
    if error.validator == "required":
        return [(path + _step(name), "is required") for name in value if name not in instance]
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
        return [(path + _step(name), "is not defined in the schema") for name in instance if name not in known]
    if error.validator in {"anyOf", "oneOf"} and error.context:
        # The branch that failed deepest is most likely the intended one: of “null or a commit”, the commit.
        deepest = max(error.context, key=lambda inner: len(inner.absolute_path))
        if len(deepest.absolute_path) > len(error.absolute_path):
            return located_messages(deepest)
    return [(path, message_of(error))]


def message_of(error: Any) -> str:
    """Return the message of an error, without its path."""
    value = error.validator_value
    match error.validator:
        case None:
            return "is not allowed"
        case "not" if value == {}:
            return "is not allowed"
        case "type":
            return f"must be of type {' or '.join(value if isinstance(value, list) else [value])}"
        case "enum":
            return f"must be one of: {', '.join(_brief(each) for each in value[:20])}{', …' if len(value) > 20 else ''}"
        case "const":
            return f"must be {_brief(value)}"
    return MESSAGES.get(str(error.validator), "does not match the schema").format(_brief(value))


def _brief(value: object) -> str:
    return json.dumps(value)[:100]


def path_of(steps: Iterable[object]) -> str:
    """Return a path as one text, such as ``.issue.labels[3]``."""
    return "".join(_step(step) for step in steps)


def _step(step: object) -> str:
    """Return one step of a path: ``.name``, ``[3]``, or a quoted name that is not an identifier."""
    if isinstance(step, int):
        return f"[{step}]"
    name = str(step)[:100]
    return f".{name}" if name.isidentifier() and name.isascii() else f"[{json.dumps(name)}]"
