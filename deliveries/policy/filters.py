"""Payload filters: which events a webhook gets, by the values in their data.

A subscriber by MCP names fields at the top level that must be equal. An owner's ``filter`` has conditions, stored under
OWNERS: of objects within objects, with operators.
"""

import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Under which an owner's filter is stored. No field of a subscription can have this name.
OWNERS = "$filter"
# Values of an event that one filter looks at. An event for which that is not enough is delivered.
MAX_STEPS = 1000
# Of a filter: conditions, levels, and characters of one text.
MAX_CONDITIONS, MAX_DEPTH, MAX_TEXT = 100, 10, 500
OPERATORS = (
    "$eq", "$neq", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$startsWith", "$endsWith", "$contains", "$exist",
    "$or", "$and", "$not",
)  # fmt: skip


class _Missing:
    """The value of a field that is not there."""


class _TooMany(Exception):
    """The steps are used up."""


MISSING = _Missing()


def fields_of(payload: bytes) -> dict[str, object]:
    """Return the top-level fields of an event's data; none if it is not a JSON object."""
    try:
        data = json.loads(payload)
    # A number with thousands of digits, or nesting deeper than Python's recursion limit.
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def accepts(payload_filter: Mapping[str, Any], fields: Mapping[str, object]) -> bool:
    """Return whether an event's fields meet a filter; also if it would take more than MAX_STEPS to know."""
    if OWNERS in payload_filter:
        try:
            return _Evaluation().holds(payload_filter[OWNERS], {"data": fields})
        except (_TooMany, RecursionError):
            return True
    return has_values(payload_filter, fields)


def has_values(values: Mapping[str, Any], fields: Mapping[str, object]) -> bool:
    """Return whether an event's fields have the values that a subscriber by MCP names."""
    return all(name in fields and is_same(value, fields[name]) for name, value in values.items())


def stored(owners: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an owner's filter as it is stored, None for none."""
    return None if owners is None else {OWNERS: owners}


def is_same(value: object, other: object) -> bool:
    """Return whether two values from JSON are equal: 1 and 1.0 are, but 1 and true are not."""
    return isinstance(value, bool) is isinstance(other, bool) and value == other


class _Evaluation:
    """Evaluates conditions on values, and counts the steps."""

    def __init__(self) -> None:
        self.steps = 0

    def holds(self, condition: object, value: object) -> bool:
        """Return whether a condition holds for a value; for a list, whether it does for one of its elements."""
        self._step()
        if not isinstance(condition, dict):
            return self._of_any(value, lambda each: is_same(condition, each))
        if any(name.startswith("$") for name in condition):
            return all(self._applies(name, operand, value) for name, operand in condition.items())
        return self._of_any(value, lambda each: self._of_object(condition, each))

    def _of_object(self, condition: Mapping[str, object], value: object) -> bool:
        if not isinstance(value, Mapping):
            return False
        return all(self.holds(inner, value.get(name, MISSING)) for name, inner in condition.items())

    def _applies(self, name: str, operand: Any, value: object) -> bool:
        self._step()
        match name:
            case "$or":
                return any(self.holds(each, value) for each in operand)
            case "$and":
                return all(self.holds(each, value) for each in operand)
            case "$not":
                return not self.holds(operand, value)
            case "$exist":
                return (value is not MISSING) is operand
            case "$neq" | "$nin":
                return not self._is_any_of([operand] if name == "$neq" else operand, value)
            case "$eq" | "$in":
                return self._is_any_of([operand] if name == "$eq" else operand, value)
        if name == "$contains" and isinstance(value, list):
            return self._is_any_of([operand], value)
        return self._of_any(value, lambda each: compares(name, each, operand))

    def _is_any_of(self, operands: Sequence[object], value: object) -> bool:
        """Return whether a value, or an element of a list, is one of the operands."""
        return any(is_same(one, value) for one in operands) or self._of_any(
            value, lambda each: any(is_same(one, each) for one in operands)
        )

    def _of_any(self, value: object, holds: Any) -> bool:
        if not isinstance(value, list):
            return bool(holds(value))
        for each in value:
            self._step()
            if holds(each):
                return True
        return False

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise _TooMany


def compares(name: str, value: object, operand: Any) -> bool:
    """Return whether an operator that looks into a text, or compares texts or numbers, holds between two values."""
    if isinstance(value, str) and isinstance(operand, str):
        return TEXTS[name](value, operand)
    # Booleans are numbers in Python, but not in JSON.
    return name in ORDERS and is_number(value) and is_number(operand) and bool(ORDERS[name](value, operand))


ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le
}  # fmt: skip
TEXTS: Mapping[str, Callable[[str, str], bool]] = {
    **ORDERS, "$startsWith": str.startswith, "$endsWith": str.endswith, "$contains": operator.contains
}  # fmt: skip


def is_number(value: object) -> bool:
    """Return whether a value is a number of JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check(given: object) -> dict[str, Any]:
    """Return a filter as an owner has written it; raise ValueError with what is wrong, and where."""
    if not isinstance(given, dict) or not given:
        raise ValueError('must be an object such as {"data": {"action": "opened"}}')
    unknown = given.keys() - {"data", "$or", "$and", "$not"}
    if unknown:
        raise ValueError(f"{str(min(unknown))[:100]!r} is not part of an event; use data, $or, $and or $not")
    _Check().condition(given, "", depth=0)
    return given


class _Check:
    """Checks the conditions of a filter, and counts them."""

    def __init__(self) -> None:
        self.conditions = 0

    def condition(self, found: object, path: str, *, depth: int) -> None:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise ValueError(f"must have at most {MAX_CONDITIONS} conditions")
        if depth > MAX_DEPTH:
            raise ValueError(f"must be at most {MAX_DEPTH} levels deep")
        if isinstance(found, list):
            raise ValueError(f"at {path}: must not be a list; write an operator, such as $in")  # noqa: TRY004 - ValueErrors only
        if not isinstance(found, dict):
            self.value(found, path)
            return
        operators = [name for name in found if name.startswith("$")]
        if operators and len(operators) < len(found):
            raise ValueError(f"at {path or 'the top'}: must have either operators or fields, not both")
        for name, inner in found.items():
            where = f"{path}.{name}" if path else name
            if operators:
                self.operator(name, inner, where, depth=depth)
            else:
                self.text(name, where)
                self.condition(inner, where, depth=depth + 1)

    def operator(self, name: str, operand: object, path: str, *, depth: int) -> None:
        if name not in OPERATORS:
            raise ValueError(f"{name[:100]} is not an operator; use one of: {', '.join(OPERATORS)}")
        if name in {"$or", "$and", "$in", "$nin"} and not (isinstance(operand, list) and operand):
            raise ValueError(f"at {path}: must be a list of at least one element")
        if name in {"$or", "$and"}:
            for place, each in enumerate(operand if isinstance(operand, list) else ()):
                self.condition(each, f"{path}[{place}]", depth=depth + 1)
        elif name == "$not":
            self.condition(operand, path, depth=depth + 1)
        elif name == "$exist" and not isinstance(operand, bool):
            raise ValueError(f"at {path}: must be true or false")
        elif name in {"$startsWith", "$endsWith"} and not isinstance(operand, str):
            raise ValueError(f"at {path}: must be a text")
        elif name in {"$gt", "$gte", "$lt", "$lte"} and not (isinstance(operand, str) or is_number(operand)):
            raise ValueError(f"at {path}: must be a number or a text")
        else:
            self.value(operand, path)

    def value(self, found: object, path: str) -> None:
        """Check a value that is compared: what PostgreSQL cannot store, and what is too long."""
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise ValueError(f"must have at most {MAX_CONDITIONS} conditions")
        match found:
            case str():
                self.text(found, path)
            case float() if not math.isfinite(found):
                raise ValueError(f"at {path}: must be a number of JSON")
            case int() if abs(found) >= 10**30:
                raise ValueError(f"at {path}: must be a smaller number")
            case list():
                for place, each in enumerate(found):
                    self.value(each, f"{path}[{place}]")
            case dict():
                for name, each in found.items():
                    self.text(name, path)
                    self.value(each, f"{path}.{name}")

    def text(self, found: str, path: str) -> None:
        if len(found) > MAX_TEXT or "\0" in found or any("\ud800" <= letter <= "\udfff" for letter in found):
            raise ValueError(f"at {path[:100]!r}: must be a text of up to {MAX_TEXT} characters, without NUL")
