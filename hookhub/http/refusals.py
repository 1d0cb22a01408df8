"""Errors to raise: refusals of requests, which also come through the stream, without what renders responses."""

from collections.abc import Mapping

from rest_framework import exceptions, status

from deliveries.policy import hops


class Refusal(exceptions.APIException):
    """An error response; ``fields`` maps each invalid field to a message."""

    def __init__(
        self,
        status_code: int,
        code: str,
        message: str,
        *,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code)
        self.status_code = status_code
        self.code = code
        self.message = message
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})


def bad_request(message: str) -> Refusal:
    """Return a 400: the request is malformed."""
    return Refusal(status.HTTP_400_BAD_REQUEST, "malformed", message)


def invalid(fields: Mapping[str, str]) -> Refusal:
    """Return a 422 for invalid fields; ``fields`` maps each of them to a message."""
    named = ", ".join(list(fields)[:5])
    return Refusal(status.HTTP_422_UNPROCESSABLE_ENTITY, "invalid", f"Invalid fields: {named}.", fields=fields)


def conflict(message: str, *, fields: Mapping[str, str] | None = None) -> Refusal:
    """Return a 409: the request conflicts with what is stored."""
    return Refusal(status.HTTP_409_CONFLICT, "conflict", message, fields=fields)


def too_large(message: str, *, fields: Mapping[str, str] | None = None) -> Refusal:
    """Return a 413: the request, or a part of it, is too long."""
    return Refusal(status.HTTP_413_REQUEST_ENTITY_TOO_LARGE, "too_large", message, fields=fields)


def loop_detected(message: str) -> Refusal:
    """Return a 422: the event has come back to HookHub too often."""
    return Refusal(status.HTTP_422_UNPROCESSABLE_ENTITY, "loop_detected", message, fields={hops.HEADER: message})
