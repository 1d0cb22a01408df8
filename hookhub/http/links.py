"""Links to this deployment, with the path prefix it is served under, and absolute where they must be.

The prefix comes from the server as SCRIPT_NAME. Paths given here are without it.
"""

from typing import Protocol

from django.urls import get_script_prefix


class HasAbsoluteURI(Protocol):
    """The part of a request that building an absolute URL needs."""

    def build_absolute_uri(self, location: str | None = None) -> str:
        """Return an absolute URL on the host that the request was sent to."""
        ...


def path_of(path: str) -> str:
    """Return a path of this deployment with the prefix prepended."""
    return f"{get_script_prefix().rstrip('/')}{path}"


def url_of(path: str, request: HasAbsoluteURI) -> str:
    """Return the absolute URL of a path of this deployment, on the host that the client called."""
    return request.build_absolute_uri(path_of(path))
