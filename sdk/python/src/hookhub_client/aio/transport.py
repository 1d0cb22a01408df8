"""Sends requests to one HookHub without blocking the event loop, through ``httpx``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine, Generator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import httpx

from hookhub_client.client.attempts import Attempts
from hookhub_client.client.connection import (
    BROKEN_OFF,
    HEADERS,
    base_of,
    check_limits,
    clean_key,
    may_use_proxy,
    with_organization,
)
from hookhub_client.client.encoding import MAX_BODY, Json, Response, encode, query_of, with_times
from hookhub_client.client.responses import json_object, page_of


class _Bearer(httpx.Auth):
    """Sets the Authorization header, and keeps a ``.netrc`` entry from doing so."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request with the key."""
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        yield request


class AsyncTransport:
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
        self._timeout = timeout
        self._retries = retries
        self._deadline = deadline
        self._organization = organization
        self._auth = _Bearer(clean_key(api_key))
        self._session = self._opened()
        self._loop: asyncio.AbstractEventLoop | None = None

    def _opened(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(auth=self._auth, headers=HEADERS, trust_env=may_use_proxy(self._base))

    def _session_here(self) -> httpx.AsyncClient:
        """Return the session of the running event loop: connections cannot be used or closed in another one."""
        loop = asyncio.get_running_loop()
        if self._loop not in {None, loop}:
            self._session = self._opened()
        self._loop = loop
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        await self._session_here().aclose()

    async def publish(self, lines: Sequence[bytes]) -> Response:
        """Post events as NDJSON; safe to repeat, because every event has an idempotency key."""
        content = b"".join(line + b"\n" for line in lines)
        return await self.call("POST", "events", content=content, content_type="application/x-ndjson", repeatable=True)

    async def validate(self, lines: Sequence[bytes]) -> Json:
        """Post events as NDJSON to be checked only."""
        content = b"".join(line + b"\n" for line in lines)
        return json_object(
            await self.call(
                "POST", "events/validate", content=content, content_type="application/x-ndjson", repeatable=True
            )
        )

    async def json(
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
        response = await self.call(
            method, path, query=query_of(query or {}), content=content, repeatable=repeatable, waits=waits
        )
        return json_object(response)

    async def pages(self, path: str, filters: Mapping[str, object]) -> AsyncIterator[Json]:
        """Yield the results of a paginated list, fetching pages as needed."""
        query: list[tuple[str, str]] | None = query_of(filters)
        while query is not None:
            rows, query = page_of(await self.call("GET", path, query=query), before=query)
            for row in rows:
                yield row

    async def call(
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
        attempts = Attempts(
            base=self._base,
            retries=self._retries,
            deadline=self._deadline + waits,
            repeatable=repeatable or method != "POST",
            done_status=done_status,
        )
        session = self._session_here()
        while True:
            pause: timedelta | None
            try:
                request = session.build_request(
                    method,
                    f"{self._base}/{path}",
                    params=tuple(with_organization(query, path=path, organization=self._organization)),
                    content=content,
                    headers={"Content-Type": content_type} if content is not None else None,
                    timeout=attempts.limit(self._timeout + waits),
                )
                response = await _ending(_sent(session, request), seconds=attempts.left())
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                pause = attempts.pause_after_error(
                    error, is_transient=_is_transient(error), has_arrived=not _never_arrived(error)
                )
            else:
                pause = attempts.pause_after(response)
                if pause is None:
                    return response
            await asyncio.sleep(pause.total_seconds())


async def _sent(session: httpx.AsyncClient, request: httpx.Request) -> Response:
    """Send a request and return the response with its body; raise the exceptions of ``httpx``."""
    response = await session.send(request, stream=True, follow_redirects=False)
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) >= MAX_BODY:
                break
    finally:
        await response.aclose()
    return Response(response.status_code, response.headers, bytes(body[:MAX_BODY]), str(response.url))


async def _ending(request: Coroutine[Any, Any, Response], *, seconds: float) -> Response:
    """Return the response; raise httpx's timeout if it has not arrived in time: its own is for each part."""
    try:
        return await asyncio.wait_for(request, seconds)
    except asyncio.TimeoutError as error:
        raise httpx.ReadTimeout("the deadline has passed") from error


def _is_transient(error: Exception) -> bool:
    """Return whether an error may pass: a network error, but not an invalid certificate or request."""
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
        return False
    cause: BaseException | None = error
    while cause is not None:
        # A server that restarts, or a proxy without one, ends the connection in the middle of the handshake.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, BROKEN_OFF):
            return False
        cause = cause.__cause__ or cause.__context__
    return isinstance(error, httpx.TransportError)


def _never_arrived(error: Exception) -> bool:
    """Return whether the connection was never established, so that no byte can have reached the server."""
    return isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
