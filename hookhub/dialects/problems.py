"""What can go wrong with a request, before a dialect puts it in its own words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rest_framework import status
from rest_framework.response import Response

from hookhub.api import errors
from hookhub.api.errors import Refusal

NOT_AN_OBJECT = "not_an_object"


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal in HookHub's own terms: ``code`` as in hookhub.api.errors.CODES, ``fields`` a sentence for each.

    ``headers`` are to be sent whatever the shape: they ask for a key, or for patience. ``error`` is what was raised,
    for a dialect that has errors of its own.
    """

    error: Exception
    status: int
    code: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


# A dialect's own shape: the body, and the status where the dialect has another one for it.
Tell = Callable[[Problem], Response]


def not_an_object() -> Refusal:
    """The body is JSON, but not an object."""
    return Refusal(status.HTTP_400_BAD_REQUEST, NOT_AN_OBJECT, "The body must be a JSON object.")


def problem_of(error: Exception, context: Mapping[str, Any]) -> Problem | None:
    """Give the problem behind what a view raised, or None for a bug, which Django reports."""
    answer = errors.answer(error, context)
    if answer is None:
        return None
    told = answer.data["error"]
    return Problem(
        error=error,
        status=answer.status_code,
        code=told["code"],
        message=told["message"],
        fields={row["field"]: row["message"] for row in told["fields"]},
        headers={name: value for name, value in answer.headers.items() if name != "Content-Type"},
    )
