"""Enforces the limits behind any WSGI server, as far as an application can."""

import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from hookhub.http.early_refusals import REFUSAL_HEADERS, EarlyRefusal, render_refusal
from hookhub.server.environ import add_body, drop_charset, head_of
from hookhub.server.limits import Head, Limits, max_body, refusal_of, too_large

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# Called with the method, path, status and seconds of each response.
Responded = Callable[[str, str, int, float], None]

LENGTH_REQUIRED = EarlyRefusal(
    411, "length_required", "Send a Content-Length; this web server does not support chunked bodies."
)


class Limited:
    """A WSGI application that calls another one only for requests within the limits.

    The minimum rate of a body, and how many bodies arrive at once, are up to the server, because it reads them.
    """

    def __init__(self, application: Application, *, limits: Limits, responded: Responded | None = None) -> None:
        """``responded`` is called after each response."""
        self._application = application
        self._limits = limits
        self._responded = responded

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Handle one request."""
        head = head_of(environ)
        if self._responded is not None:
            start_response = _reporting(self._responded, head, start_response)
        refusal = refusal_of(head, limits=self._limits)
        if refusal is None and head.is_unmeasured:
            refusal = self._measure(environ, max_body(head, limits=self._limits))
        if refusal is None:
            drop_charset(environ)
            return self._application(environ, start_response)
        content_type, content = render_refusal(refusal, accept=environ.get("HTTP_ACCEPT", ""))
        status = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
        start_response(
            status, [("Content-Type", content_type), ("Content-Length", str(len(content))), *REFUSAL_HEADERS]
        )
        return [content]

    def _measure(self, environ: dict[str, Any], most: int) -> EarlyRefusal | None:
        """Read a body without a length and put it back with one; return the refusal if that is impossible, or None."""
        if not environ.get("wsgi.input_terminated"):
            # Nothing marks the end of the body, so reading could block forever.
            return LENGTH_REQUIRED
        content: bytes = environ["wsgi.input"].read(most + 1)
        if len(content) > most:
            return too_large(head_of(environ), most)
        add_body(environ, content)
        return None


def _reporting(responded: Responded, head: Head, start_response: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``start_response`` that also reports the response."""
    began_at = time.perf_counter()

    def start_and_report(status: str, *rest: Any) -> Any:
        responded(head.method, head.path, int(status[:3]), time.perf_counter() - began_at)
        return start_response(status, *rest)

    return start_and_report
