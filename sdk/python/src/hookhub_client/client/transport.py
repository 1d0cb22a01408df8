"""Sends requests to one HookHub, and repeats those that failed where that is safe.

urllib3's own Retry ends when the headers of a response have arrived; it would not repeat a request whose response body
breaks off.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import requests
from requests.auth import AuthBase
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError, SSLError

from .attempts import Attempts
from .connection import BROKEN_OFF, HEADERS, base_of, check_limits, clean_key, may_use_proxy, with_organization
from .deadline import Adapter, ending_in
from .encoding import MAX_BODY, Json, Response, encode, query_of, with_times
from .responses import json_object, page_of


class _Bearer(AuthBase):
    """Sets the Authorization header through ``requests.auth``: a ``.netrc`` entry would override a plain header."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class _Session(requests.Session):
    """A session that ignores redirects.

    ``requests`` parses the Location header even with ``allow_redirects=False``, and raises for some malformed ones.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None, so that no redirect target is parsed."""


class Transport:
    """Sends requests to one HookHub, retries those that are safe to repeat, and raises HookHubError for any failure."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout: timedelta,
        retries: int,
        deadline: timedelta,
        organization: str | None = None,
    ) -> None:
        check_limits(timeout=timeout, retries=retries, deadline=deadline)
        self._base = base_of(base_url)
        api_key = clean_key(api_key)
        self._timeout = timeout
        self._retries = retries
        self._deadline = deadline
        self._organization = organization
        self._session = _Session()
        self._session.trust_env = may_use_proxy(self._base)
        self._session.auth = _Bearer(api_key)
        self._session.headers.update(HEADERS)
        self._open()

    def _open(self) -> None:
        """Begin with no connections, those of this process."""
        self._process = os.getpid()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, Adapter())

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def publish(self, lines: Sequence[bytes]) -> Response:
        """Post events as NDJSON; safe to repeat, because every event has an idempotency key."""
        content = b"".join(line + b"\n" for line in lines)
        return self.call("POST", "events", content=content, content_type="application/x-ndjson", repeatable=True)

    def validate(self, lines: Sequence[bytes]) -> Json:
        """Post events as NDJSON to be checked only."""
        content = b"".join(line + b"\n" for line in lines)
        return json_object(
            self.call("POST", "events/validate", content=content, content_type="application/x-ndjson", repeatable=True)
        )

    def json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = False,
        waits: timedelta = timedelta(0),
    ) -> Json:
        """Send a request, which the API may let wait, and return the JSON object of the response."""
        content = None if body is None else encode(with_times(body))
        response = self.call(
            method, path, query=query_of(query or {}), content=content, repeatable=repeatable, waits=waits
        )
        return json_object(response)

    def pages(self, path: str, filters: Mapping[str, object]) -> Iterator[Json]:
        """Yield the results of a paginated list, fetching pages as needed."""
        query: list[tuple[str, str]] | None = query_of(filters)
        while query is not None:
            rows, query = page_of(self.call("GET", path, query=query), before=query)
            yield from rows

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        content: bytes | None = None,
        content_type: str = "application/json",
        repeatable: bool = False,
        done_status: int | None = None,
        waits: timedelta = timedelta(0),
    ) -> Response:
        """Send a request, retry where that is safe, and return the 2xx response; raise HookHubError.

        After an attempt that the API may have carried out, a response with ``done_status`` is returned as well.
        """
        # A POST that is not idempotent (repeating it might create a second webhook) is retried only if the first one
        # certainly had no effect: the connection was not established, or the response was 429.
        attempts = Attempts(
            base=self._base,
            retries=self._retries,
            deadline=self._deadline + waits,
            repeatable=repeatable or method != "POST",
            done_status=done_status,
        )
        # After a fork, two processes would read the responses of one connection.
        if self._process != os.getpid():
            self._open()
        while True:
            pause: timedelta | None
            try:
                with ending_in(attempts.left()):
                    arriving = self._session.request(
                        method,
                        f"{self._base}/{path}",
                        params=with_organization(query, path=path, organization=self._organization),
                        data=content,
                        headers={"Content-Type": content_type} if content is not None else None,
                        timeout=attempts.limit(self._timeout + waits),
                        # Following a redirect would turn POST into GET.
                        allow_redirects=False,
                        stream=True,
                    )
                    response = _arrived(arriving)
            # The libraries raise HTTPError, OSError and ValueError for responses that are not valid HTTP. A ValueError
            # cannot be about the request, which was validated before.
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                pause = attempts.pause_after_error(
                    error, is_transient=_is_transient(error), has_arrived=not _never_arrived(error)
                )
            else:
                pause = attempts.pause_after(response)
                if pause is None:
                    return response
            time.sleep(pause.total_seconds())


def _arrived(response: requests.Response) -> Response:
    """Return a response with its body; raise the exceptions of ``requests``."""
    body = bytearray()
    with response:
        for part in response.iter_content(1 << 16):
            body += part
            if len(body) >= MAX_BODY:
                break
    return Response(response.status_code, response.headers, bytes(body[:MAX_BODY]), response.url)


def _is_transient(error: Exception) -> bool:
    """Return whether an error may pass: a network error, but not an invalid certificate or request."""
    transient = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    if not isinstance(error, requests.exceptions.SSLError):
        return isinstance(error, transient)
    reason = _reason(error)
    # A server that restarts, or a proxy without one, ends the connection in the middle of the handshake.
    return bool(isinstance(reason, SSLError) and reason.args and isinstance(reason.args[0], BROKEN_OFF))


def _never_arrived(error: Exception) -> bool:
    """Return whether the connection was never established, so that no byte can have reached the server."""
    return isinstance(_reason(error), (NewConnectionError, ConnectTimeoutError))


def _reason(error: Exception) -> object:
    cause = error.args[0] if error.args else None
    return cause.reason if isinstance(cause, MaxRetryError) else cause
