"""SocialGateway's errors: a message, and for invalid fields a list of errors with GitHub's codes."""

from collections.abc import Mapping

from rest_framework import status
from rest_framework.exceptions import NotAuthenticated
from rest_framework.response import Response

from hookhub.http.problems import NOT_AN_OBJECT, Problem
from hookhub.http.refusals import Refusal

RESOURCE = "Hook"
MISSING = "missing_field"
INVALID = "invalid"

MESSAGES = {
    "unauthenticated": "Bad credentials",
    "malformed": "Problems parsing JSON",
    NOT_AN_OBJECT: "Body should be a JSON object",
    "not_found": "Not Found",
    # A path does not exist for a method that it does not support.
    "method_not_allowed": "Not Found",
}


class ValidationFailed(Refusal):
    """Some fields are invalid; ``errors`` are rows in GitHub's shape."""

    def __init__(self, *errors: Mapping[str, str]) -> None:
        super().__init__(status.HTTP_422_UNPROCESSABLE_ENTITY, "invalid", "Validation Failed")
        self.errors = [dict(error) for error in errors]


class MalformedForm(Refusal):
    """The body of a request to the hub cannot be parsed as the form that it is said to be."""

    def __init__(self, reason: str) -> None:
        super().__init__(status.HTTP_400_BAD_REQUEST, "malformed", f"Problems parsing the form: {reason}")


class InvalidEvent(Refusal):
    """The topic of a request to the hub has an event that does not exist, in the words of GitHub's hub."""

    def __init__(self, event: str) -> None:
        super().__init__(status.HTTP_422_UNPROCESSABLE_ENTITY, "invalid", f'Invalid event: "{event[:100]}"')


def missing(field: str) -> dict[str, str]:
    """Return the row for a required field that is missing."""
    return {"resource": RESOURCE, "field": field, "code": MISSING}


def invalid(field: str, message: str) -> dict[str, str]:
    """Return the row for an invalid field, with the reason."""
    return {"resource": RESOURCE, "field": field, "code": INVALID, "message": message}


def custom(message: str) -> dict[str, str]:
    """Return a row for an error that has no code."""
    return {"resource": RESOURCE, "code": "custom", "message": message}


def render_error(problem: Problem) -> Response:
    """Return an error response in GitHub's shape."""
    match problem.error:
        case ValidationFailed() as error:
            return Response({"message": error.message, "errors": error.errors}, status=422)
        case InvalidEvent() | MalformedForm() as error:
            return Response({"message": error.message}, status=error.status_code)
        case NotAuthenticated():
            return Response({"message": "Requires authentication"}, status=401)
    if problem.status == 422:
        errors = [invalid(field, sentence) for field, sentence in problem.fields.items()]
        return Response({"message": "Validation Failed", "errors": errors}, status=422)
    message = MESSAGES.get(problem.code, problem.message)
    return Response({"message": message}, status=404 if problem.status == 405 else problem.status)
