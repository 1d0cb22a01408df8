"""Validates data against JSON Schemas from users, in a bounded number of steps that are counted as they are done."""

import json
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from deliveries.event_types.catalogue.references import inlined
from hookhub.event_types.validation_messages import NEVER, located_messages

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_ERRORS = 20
# The budget of a validation, and a little more for each of several events (docs/decisions/0013-schemas.md).
MAX_STEPS = 300_000
STEPS_PER_EVENT = 1000
# jsonschema creates an object for each error, even for one that turns out not to matter, and formats the invalid data
# into its message. The first constant charges for the memory, the second for the time that formatting takes.
STEPS_PER_ERROR = 20
CHARACTERS_PER_STEP = 200

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
        return cls(MAX_STEPS + STEPS_PER_EVENT * events)

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
            for path, message in located_messages(error):
                found.setdefault(f"data{path}", message)
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
    found = {keyword: _with_paths(value) for keyword, value in schema.items()}
    members = found.get("properties")
    if isinstance(members, dict):
        found["properties"] = {name: NEVER if inner is False else inner for name, inner in members.items()}
    return found


@cache
def _bounded() -> "type[Validator]":
    # Importing the library takes a tenth as long as importing Django, and a process that does not validate never needs
    # it.
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415

    counted = {keyword: _counted(check) for keyword, check in Draft202012Validator.VALIDATORS.items()}
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
