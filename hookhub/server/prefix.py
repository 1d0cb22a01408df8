"""The path prefix that this deployment is served under.

It comes from the path of HOOKHUB_PUBLIC_URL; the application gets it as SCRIPT_NAME.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from django.contrib.staticfiles.storage import StaticFilesStorage

from hookhub.http.links import path_of

Environ = dict[str, Any]
Front = Callable[[Environ, Any, Any], Awaitable[None]]
Application = Callable[[Environ, Any], Iterable[bytes]]


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
