"""The types of one HTTP exchange: the request, the response, and the result of both."""

from datetime import timedelta
from typing import NamedTuple

from deliveries.policy.outcomes import NoResponse


class Request(NamedTuple):
    """One request to send. ``timeout`` covers all of it, from the look-up of the name to the response's last byte."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout: timedelta
    verify_ssl: bool = True
    method: str = "POST"


class Response(NamedTuple):
    """A complete response; a long body is truncated."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of the first header with this name, which must be lower-case, or None."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class Timing(NamedTuple):
    """How long each phase of a request took, in microseconds; None for a phase that was not needed, or not completed.

    A request on a kept connection only waits for the first byte of the response.
    """

    dns: int | None = None
    connect: int | None = None
    tls: int | None = None
    first_byte: int | None = None


class Exchange(NamedTuple):
    """The result of one request: a complete response, or the reason why there is none."""

    duration: timedelta
    result: Response | NoResponse
    timing: Timing = Timing()
