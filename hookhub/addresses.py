"""The URLs of this deployment, with the path prefix it is served under and absolute where they must be.

The prefix comes from the server as SCRIPT_NAME, or from the path of HOOKHUB_PUBLIC_URL. Paths in this module are
without it.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from django.contrib.staticfiles.storage import StaticFilesStorage
from django.urls import get_script_prefix

Environ = dict[str, Any]
Front = Callable[[Environ, Any, Any], Awaitable[None]]
Application = Callable[[Environ, Any], Iterable[bytes]]


class Asked(Protocol):
    """The part of a request that building an absolute URL needs."""

    def build_absolute_uri(self, location: str | None = None) -> str:
        """Return an absolute URL on the host that the request was sent to."""
        ...


def path_of(path: str) -> str:
    """Return a path of this deployment with the prefix prepended."""
    return f"{get_script_prefix().rstrip('/')}{path}"


def address_of(path: str, request: Asked) -> str:
    """Return the absolute URL of a path of this deployment, on the host that the client called."""
    return request.build_absolute_uri(path_of(path))


class PrefixedStaticFiles(StaticFilesStorage):
    """Static files with the prefix of the current request in their URLs; Django's storage keeps the first one."""

    def url(self, name: str | None) -> str:
        """Return the URL path of a static file."""
        return path_of(super().url(name))


def without_prefix(path: str, prefix: str) -> str:
    """Return a path without the prefix, unchanged if a proxy has stripped it already."""
    return (path.removeprefix(prefix) or "/") if prefix and f"{path}/".startswith(f"{prefix}/") else path


def mounted_front(front: Front, *, prefix: str) -> Front:
    """Wrap an ASGI application so that it gets the prefix as its ``root_path`` and strips it itself."""

    async def answer(scope: Environ, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "root_path": prefix}
        await front(scope, receive, send)

    return answer if prefix else front


def mounted(application: Application, *, prefix: str) -> Application:
    """Wrap a WSGI application so that it is served under a prefix, whether or not a proxy strips the prefix."""

    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        path = without_prefix(environ.get("PATH_INFO", ""), prefix)
        return application({**environ, "PATH_INFO": path}, start_response)

    return answer if prefix else application
