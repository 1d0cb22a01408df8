"""The limits for HookHub behind any WSGI server, as far as an application can hold a server to them."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from hookhub.http.environ import add_body, drop_charset, head_of
from hookhub.http.limits import REFUSAL_HEADERS, Limits, Refusal, max_body, refusal_of, too_large, written

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LENGTH_REQUIRED = Refusal(
    411, "length_required", "Send the body with a Content-Length; this web server does not take bodies in chunks."
)


class Limited:
    """A WSGI application that is called only for requests within the limits.

    How slowly a body may come, and how many may come at once, is up to the server: it reads them.
    """

    def __init__(self, application: Application, *, limits: Limits) -> None:
        self._application = application
        self._limits = limits

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        head = head_of(environ)
        refusal = refusal_of(head, limits=self._limits)
        if refusal is None and head.is_unmeasured:
            refusal = self._measure(environ, max_body(head, limits=self._limits))
        if refusal is None:
            drop_charset(environ)
            return self._application(environ, start_response)
        content_type, content = written(refusal, accept=environ.get("HTTP_ACCEPT", ""))
        status = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
        start_response(
            status, [("Content-Type", content_type), ("Content-Length", str(len(content))), *REFUSAL_HEADERS]
        )
        return [content]

    def _measure(self, environ: dict[str, Any], most: int) -> Refusal | None:
        """Read a body without a length, and put it back with one; return why that cannot be done, or None."""
        if not environ.get("wsgi.input_terminated"):
            # Nothing tells where it ends, and reading on would wait for ever.
            return LENGTH_REQUIRED
        content: bytes = environ["wsgi.input"].read(most + 1)
        if len(content) > most:
            return too_large(head_of(environ), most)
        add_body(environ, content)
        return None
