"""JSON Schemas from users: which may be registered, and validation in a bounded number of steps.

Keywords that could fetch something, run without end or evaluate a regular expression are not allowed. The steps of the
others are counted while they run.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from deliveries.event_types.catalogue.references import BadReference, inlined

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_TEXT_LENGTH = 64 * 1024
MAX_DEPTH = 32
MAX_ERRORS = 20
# The budget of a validation, and a little more for each of several events (docs/decisions/0013-schemas.md).
MAX_STEPS = 300_000
STEPS_AN_EVENT = 1000
# jsonschema creates an object for each error, even for one that turns out not to matter, and formats the invalid data
# into its message. The first constant charges for the memory, the second for the time that formatting takes.
STEPS_PER_ERROR = 20
CHARACTERS_PER_STEP = 200

NOTES = frozenset(
    {"$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
     "format"}
)  # fmt: skip
PLAIN = frozenset(
    {
        "type", "required", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
        "maxLength", "minItems", "maxItems", "minContains", "maxContains", "minProperties", "maxProperties",
        "dependentRequired", "$ref",
    }
)  # fmt: skip
ONE_SCHEMA = frozenset({"items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"})
LISTED_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
NAMED_SCHEMAS = frozenset({"properties", "dependentSchemas", "$defs", "definitions"})
VALUES = frozenset({"enum", "const"})
AT_THE_TOP_ONLY = frozenset({"$id", "$defs", "definitions"})
WORDS = NOTES | PLAIN | ONE_SCHEMA | LISTED_SCHEMAS | NAMED_SCHEMAS | VALUES | AT_THE_TOP_ONLY
WHY_NOT = {
    "pattern": "is not supported, because regular expressions can take forever; use enum, minLength or maxLength",
    "patternProperties": "is not supported, because regular expressions can take forever; use properties or "
    "additionalProperties",
    "uniqueItems": "is not supported, because comparing all items can take forever",
}


# Which schemas may be registered -------------------------------------------------------------------------------------


def schema_error(schema: object) -> str | None:
    """Return why a schema from a user is invalid, or None if it is valid."""
    if not isinstance(schema, dict):
        return "must be a JSON Schema object"
    if message := size_error(schema, most=MAX_TEXT_LENGTH):
        return message
    try:
        for path, message in _keyword_errors(schema, "", depth=0):
            return f"at {path}: {message}" if path else message
        return _meta_schema_error(inlined(schema))
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
        for word, value in schema.items():
            here = f"{path}.{word[:100]}".removeprefix(".")
            if message := _keyword_error(word, value, is_top=not path):
                yield here, message
            for step, inner in _schemas_in(word, value):
                yield from _keyword_errors(inner, f"{here}{step}", depth=depth + 1)
    elif not isinstance(schema, bool):
        yield path, "must be a schema: an object, true or false"


def _keyword_error(word: str, value: object, *, is_top: bool) -> str | None:
    if word in AT_THE_TOP_ONLY and not is_top:
        return "is allowed at the top level only"
    if word in VALUES:
        listed = value if word == "enum" and isinstance(value, list) else [value]
        # Comparing large values repeatedly would not be counted.
        is_plain = not any(isinstance(each, dict | list) for each in listed)
        return None if is_plain else "must contain only strings, numbers, booleans and null"
    if word in WORDS:
        return None
    return WHY_NOT.get(word, "is not a supported keyword; docs/events.md lists them")


def _schemas_in(word: str, value: object) -> Iterable[tuple[str, object]]:
    """Return a keyword's subschemas, each with its path step; a malformed keyword is left to the metaschema."""
    if word in ONE_SCHEMA:
        return [("", value)]
    if word in LISTED_SCHEMAS and isinstance(value, list):
        return [(f"[{position}]", inner) for position, inner in enumerate(value)]
    if word in NAMED_SCHEMAS and isinstance(value, dict):
        return [(f".{name[:100]}", inner) for name, inner in value.items()]
    return ()


def _meta_schema_error(schema: Any) -> str | None:
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 - for the reason given in _bounded.

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = _path(error.absolute_path).removeprefix(".")
        return f"is not a valid JSON Schema{f', at {where}' if where else ''}: {_sentence(error)}"
    return None


# Checking data -------------------------------------------------------------------------------------------------------


TOO_MANY_STEPS = "is too complex to validate against its schema; publish fewer events per request, or smaller events"


class TooManySteps(Exception):
    """The validation was abandoned, because its budget is used up."""


@dataclass
class Budget:
    """What validation may still cost; one step is about one keyword applied to one value."""

    steps: int = MAX_STEPS

    @classmethod
    def of(cls, events: int) -> "Budget":
        """Return the budget for validating that many events together."""
        return cls(MAX_STEPS + STEPS_AN_EVENT * events)

    def spend(self, steps: int) -> None:
        """Deduct steps before they are done; raise TooManySteps if the budget does not cover them."""
        self.steps -= steps
        if self.steps < 0:
            raise TooManySteps


def errors_in(data: Any, schema_text: str, *, budget: Budget) -> dict[str, str]:
    """Return the errors in data by path, such as ``data.issue.number``; empty if it is valid.

    At most MAX_ERRORS errors, or a single one, at ``data``, if validation would exceed the budget.
    """
    found: dict[str, str] = {}
    token = _budget.set(budget)
    try:
        for error in _validator(schema_text).iter_errors(data):
            for path, sentence in _messages(error):
                found.setdefault(f"data{path}", sentence)
            if len(found) >= MAX_ERRORS:
                break
    except TooManySteps:
        return {"data": TOO_MANY_STEPS}
    except (OverflowError, RecursionError):
        return {"data": "contains a number that is too large, or is nested too deeply, to validate against its schema"}
    finally:
        _budget.reset(token)
    return dict(list(found.items())[:MAX_ERRORS])


_budget: ContextVar[Budget] = ContextVar("budget")


@lru_cache(maxsize=512)
def _validator(schema_text: str) -> "Validator":
    from referencing import Registry  # noqa: PLC0415 - for the reason given in _bounded.

    # With an explicit, empty registry the library cannot fetch anything.
    return _bounded()(_with_paths(inlined(json.loads(schema_text))), registry=Registry())


def _with_paths(schema: Any) -> Any:
    """Return the schema with ``{"not": {}}`` for forbidden members: for ``false`` the library reports no path."""
    if isinstance(schema, list):
        return [_with_paths(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {word: _with_paths(value) for word, value in schema.items()}
    members = found.get("properties")
    if isinstance(members, dict):
        found["properties"] = {name: NEVER if inner is False else inner for name, inner in members.items()}
    return found


@cache
def _bounded() -> "type[Validator]":
    # Importing the library takes a tenth as long as importing Django, and a process that does not validate never needs
    # it.
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415

    counted = {word: _counted(check) for word, check in Draft202012Validator.VALIDATORS.items()}
    bounded: type[Validator] = validators.extend(Draft202012Validator, counted)  # type: ignore[no-untyped-call]
    return bounded


def _counted(check: Any) -> Any:
    """Wrap the check of a keyword, so that its cost is deducted before it runs."""

    def pay_and_check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        budget = _budget.get()
        budget.spend(1 + _size(value) + _size(instance))
        for error in check(validator, value, instance, schema) or ():
            budget.spend(STEPS_PER_ERROR + len(error.message) // CHARACTERS_PER_STEP)
            # A schema can report the same invalid megabyte a thousand times.
            error.message = error.message[:CHARACTERS_PER_STEP]
            yield error

    return pay_and_check


def _size(value: object) -> int:
    return len(value) if isinstance(value, dict | list) else 0


# Error messages ------------------------------------------------------------------------------------------------------

NEVER: dict[str, Any] = {"not": {}}
SENTENCES = {
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


def _messages(error: Any) -> Iterable[tuple[str, str]]:
    """Return the paths and messages of an error; a missing or forbidden member is reported at its own path."""
    path, value, instance = _path(error.absolute_path), error.validator_value, error.instance
    if error.validator == "required":
        return [(path + _step(name), "is required") for name in value if name not in instance]
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
        return [(path + _step(name), "is not defined in the schema") for name in instance if name not in known]
    if error.validator in {"anyOf", "oneOf"} and error.context:
        # The branch that failed deepest is most likely the intended one: of “null or a commit”, the commit.
        deepest = max(error.context, key=lambda inner: len(inner.absolute_path))
        if len(deepest.absolute_path) > len(error.absolute_path):
            return _messages(deepest)
    return [(path, _sentence(error))]


def _sentence(error: Any) -> str:
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
    return SENTENCES.get(str(error.validator), "does not match the schema").format(_brief(value))


def _brief(value: object) -> str:
    return json.dumps(value)[:100]


def _path(steps: Iterable[object]) -> str:
    return "".join(_step(step) for step in steps)


def _step(step: object) -> str:
    """Return one step of a path: ``.name``, ``[3]``, or a quoted name that is not an identifier."""
    if isinstance(step, int):
        return f"[{step}]"
    name = str(step)[:100]
    return f".{name}" if name.isidentifier() and name.isascii() else f"[{json.dumps(name)}]"
