"""Errors before a dialect renders them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rest_framework import status
from rest_framework.response import Response

from hookhub.http import errors
from hookhub.http.refusals import Refusal

NOT_AN_OBJECT = "not_an_object"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in HookHub's terms: ``code`` as in hookhub.http.errors.CODES, ``fields`` maps each field to a message.

    ``headers`` are sent whatever the shape: WWW-Authenticate or Retry-After. ``error`` is the exception raised, for a
    dialect that defines additional errors.
    """

    error: Exception
    status: int
    code: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


# Renders a problem in a dialect's shape: the body, and the status where the dialect uses a different one.
RenderError = Callable[[Problem], Response]


def not_an_object() -> Refusal:
    """Return a 400: the body is JSON, but not an object."""
    return Refusal(status.HTTP_400_BAD_REQUEST, NOT_AN_OBJECT, "The body must be a JSON object.")


def problem_of(error: Exception, context: Mapping[str, Any]) -> Problem | None:
    """Return the problem for an exception raised by a view, or None for a bug, which Django reports."""
    answer = errors.answer(error, context)
    if answer is None:
        return None
    detail = answer.data["error"]
    return Problem(
        error=error,
        status=answer.status_code,
        code=detail["code"],
        message=detail["message"],
        fields={row["field"]: row["message"] for row in detail["fields"]},
        headers={name: value for name, value in answer.headers.items() if name != "Content-Type"},
    )


def error_response(error: Exception, context: Mapping[str, Any], *, render_error: RenderError) -> Response | None:
    """Return the response for an exception in a dialect's shape, or None for a bug, which Django reports."""
    problem = problem_of(error, context)
    if problem is None:
        return None
    response = render_error(problem)
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response
