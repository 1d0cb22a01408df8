"""Sends requests to one HookHub, and repeats those that failed where that is safe.

urllib3's own Retry ends when the headers of a response have arrived; it would not repeat a request whose response body
breaks off.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from hookhub.client.encoding import Json, encode
from hookhub.client.responses import json_object, no_response, not_hookhub, rejection
from hookhub.client.retry import MAX_RETRY_AFTER, RETRIED_STATUSES, backoff, is_transient, never_arrived, retry_after

# Visible ASCII. Only the server can tell whether it is a valid key.
KEY = re.compile(r"[\x21-\x7e]{1,1000}")


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

    def __init__(self, base_url: str, api_key: str, *, timeout: timedelta, retries: int) -> None:
        # The message does not quote the value: it may hold a password, or be the key if the arguments were swapped.
        if not _is_base_url(base_url):
            raise ValueError(
                "base_url must look like https://hooks.example.org, without credentials, query or fragment"
            )
        api_key = clean_key(api_key)
        self._base = f"{base_url.rstrip('/').removesuffix('/v1')}/v1"
        self._timeout = timeout.total_seconds()
        self._retries = retries
        self.session = _Session()
        # A proxy from the environment cannot reach this machine's loopback interface.
        self.session.trust_env = urlsplit(base_url).hostname not in {"127.0.0.1", "localhost", "::1"}
        self.session.auth = _Bearer(api_key)
        self.session.headers.update({"User-Agent": "HookHub-Python/1", "Accept": "application/json"})
        # Some organizations get another vendor's JSON at the same URLs; this client understands only the native one.
        self.session.headers["HookHub-Dialect"] = "native"

    def publish(self, lines: Sequence[bytes]) -> requests.Response:
        """Post events as NDJSON; safe to repeat, because every event has an idempotency key."""
        content = b"".join(line + b"\n" for line in lines)
        return self.call("POST", "events", content=content, content_type="application/x-ndjson", repeatable=True)

    def json(self, method: str, path: str, *, body: Mapping[str, Any] | None = None, repeatable: bool = False) -> Json:
        """Send a request and return the JSON object of the response."""
        content = None if body is None else encode(body)
        return json_object(self.call(method, path, content=content, repeatable=repeatable))

    def pages(self, path: str, filters: Mapping[str, str | Sequence[str] | None]) -> Iterator[Json]:
        """Yield the results of a paginated list; a filter with several values is repeated in the query."""
        query: list[tuple[str, str]] = []
        for name, value in filters.items():
            query += [(name, each) for each in ([value] if isinstance(value, str) else value or ())]
        while True:
            response = self.call("GET", path, query=query)
            page = json_object(response)
            rows, following = page.get("results"), page.get("next")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise not_hookhub(response)
            yield from rows
            if not following:
                return
            if not isinstance(following, str):
                raise not_hookhub(response)
            # Take only the query from the link: behind a proxy the server may not know its public address, and the key
            # must not be sent to any other host.
            before = query
            query = parse_qsl(following.partition("#")[0].partition("?")[2])
            if query == before:
                # A link back to the same page would loop forever.
                raise not_hookhub(response)

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
    ) -> requests.Response:
        """Send a request, retry where that is safe, and return the 2xx response; raise HookHubError.

        ``done_status`` is the API's answer to a request that it has carried out before. After an attempt that it may
        have carried out, a response with this status is returned as well.
        """
        # A POST that is not idempotent (repeating it might create a second webhook) is retried only if the first one
        # certainly had no effect: the connection was not established, or the response was 429.
        repeatable = repeatable or method != "POST"
        may_be_done = False
        for attempt in range(1, self._retries + 2):
            last = attempt > self._retries
            asked = timedelta(0)
            try:
                response = self._send(method, path, query=query, content=content, content_type=content_type)
            # The libraries raise HTTPError, OSError and ValueError for responses that are not valid HTTP. A ValueError
            # cannot be about the request, which was validated before.
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                if last or not (is_transient(error) and (repeatable or never_arrived(error))):
                    raise no_response(error, base=self._base, attempts=attempt) from error
                may_be_done = may_be_done or not never_arrived(error)
            else:
                status = response.status_code
                if 200 <= status < 300 or (may_be_done and status == done_status):
                    return response
                asked = retry_after(response.headers.get("Retry-After"), now=datetime.now(timezone.utc))
                again = status in RETRIED_STATUSES and (repeatable or status == 429)
                if last or not again or asked > MAX_RETRY_AFTER:
                    raise rejection(response, may_repeat=repeatable)
                may_be_done = may_be_done or status != 429
            pause = max(asked, backoff(attempt, jitter=random.random()))  # noqa: S311 - jitter needs no cryptography.
            time.sleep(pause.total_seconds())
        raise AssertionError("the last attempt returns or raises")

    def _send(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]], content: bytes | None, content_type: str
    ) -> requests.Response:
        return self.session.request(
            method,
            f"{self._base}/{path}",
            params=list(query),
            data=content,
            headers={"Content-Type": content_type} if content is not None else None,
            timeout=self._timeout,
            # Following a redirect would turn POST into GET.
            allow_redirects=False,
        )


def _is_base_url(url: object) -> bool:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc) and port != 0
    return bool(parts.scheme in {"http", "https"} and host and plain)


def clean_key(api_key: str) -> str:
    """Return an API key without surrounding white space.

    Raise ValueError if it cannot be a key (empty, longer than 1,000 characters, or not visible ASCII); the message does
    not contain it.
    """
    # A key read from a file ends in a line break.
    key = api_key.strip() if isinstance(api_key, str) else ""
    if not KEY.fullmatch(key):
        raise ValueError("api_key is empty, too long or contains invalid characters; copy it again")
    return key
