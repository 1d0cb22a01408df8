"""The intake of `POST /v1/events`: it prepares each request on the event loop and stores them in groups.

It does what the middleware and the fast path do, in the same order, and answers with 202 only. Whatever it cannot
accept from memory takes the way of all other requests: a thread, Django, and the database.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections
from django.http.request import split_domain_port, validate_host

from deliveries import telemetry, timezone
from deliveries.db import sql
from deliveries.events import Batch
from deliveries.log_lines import chunk
from deliveries.rates import TooMany
from hookhub.http import access_log, errors, rate_limits
from hookhub.http.access_log import line_without_django
from hookhub.http.client_address import address_of
from hookhub.publishing import fast_path
from hookhub.publishing.fast_path import LEFT_TO_THE_VIEW, NotRemembered, Publication
from hookhub.publishing.publish import as_json, headers_of
from hookhub.server.front import Answer
from hookhub.server.group_commit import GroupCommit, NotStored, Receipts
from hookhub.server.lock_waits import LockWaits
from hookhub.server.pool import Pool, Turn

# Longer bodies are parsed in a thread, because nothing else happens on the event loop meanwhile.
MAX_PARSED_HERE = 32 * 1024
PATH = "/v1/events"
CONTENT_TYPE = (b"content-type", b"application/json")


class EventIntake:
    """Publishes events without a thread for each request."""

    def __init__(
        self, *, pool: Pool, groups: GroupCommit, lock_waits: LockWaits, turn_of: Callable[[Mapping[str, Any]], Turn]
    ) -> None:
        """Long bodies are parsed in ``pool``; ``turn_of`` returns what a waiting request is queued under."""
        self._pool = pool
        self._groups = groups
        self._lock_waits = lock_waits
        self._turn_of = turn_of
        # Lines for the access log that are not written yet.
        self._lines: list[str] = []

    async def accept(self, environ: dict[str, Any], content: bytes) -> Answer | None:
        """Store published events and return the 202, or None for a request that Django must handle.

        Only an unavailable database (503) is answered here. Raise Full if too many requests wait.
        """
        started = time.perf_counter()
        if not _is_ordinary(environ):
            return None
        access_log.assign_id(environ)
        address = address_of(environ)
        try:
            rate_limits.require_address(address)
            found = await self._prepare(environ, content)
            events = found.batch.events
            with rate_limits.taking_events(
                len(events), caller=found.caller, organization=found.organization
            ) as standings:
                receipts = await self._store(found.batch, environ)
        except (TooMany, NotRemembered, NotStored, *LEFT_TO_THE_VIEW):
            return None
        except (OperationalError, InterfaceError) as error:
            # Only the caller may retry: the events may have been stored.
            return self._answer(environ, address, *_unavailable(error), started=started)
        telemetry.end_accept(found.span, events=len(events))
        content, headers = as_json(receipts, found.parsed), headers_of(receipts, standings=standings)
        return self._answer(environ, address, 202, content, headers, started=started)

    async def _store(self, batch: Batch, environ: Mapping[str, Any]) -> Receipts:
        """Return the receipts of a batch: with its group, unless it has to wait for another transaction."""
        if not self._lock_waits.waits_for_key_of(batch):
            try:
                return await self._groups.add(batch, turn=self._turn_of(environ))
            except OperationalError as error:
                if not sql.is_lock_timeout(error):
                    raise
        return await self._lock_waits.store(batch)

    async def _prepare(self, environ: dict[str, Any], content: bytes) -> Publication:
        now = timezone.now()
        if len(content) <= MAX_PARSED_HERE:
            return fast_path.prepare(environ, content, may_query=False, now=now)
        call = partial(_prepare_in_thread, environ, content, now=now)
        found: Publication = await self._pool.run(call, turn=partial(self._turn_of, environ))
        return found

    def _answer(
        self,
        environ: dict[str, Any],
        address: str,
        status: int,
        content: bytes,
        headers: Mapping[str, str],
        *,
        started: float,
    ) -> Answer:
        """Return a JSON response, and log it."""
        if settings.HOOKHUB_ACCESS_LOG:
            took, path = time.perf_counter() - started, environ["SCRIPT_NAME"] + PATH
            self._log(
                line_without_django(environ, address=address, path=path, status=status, size=len(content), took=took)
            )
        sent = [CONTENT_TYPE, (b"content-length", b"%d" % len(content))]
        sent += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        sent.append((b"x-request-id", environ["HTTP_X_REQUEST_ID"].encode()))
        return Answer(status, sent, content)

    def _log(self, line: str) -> None:
        """Write a line to the access log, together with those of the other requests that are answered now."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write_log)
        self._lines.append(line)

    def _write_log(self) -> None:
        lines, self._lines = self._lines, []
        for record in chunk(lines):
            access_log.write(record)

    async def close(self) -> None:
        """Return once all that was taken in is stored."""
        await self._groups.drained()


def _prepare_in_thread(environ: dict[str, Any], content: bytes, *, now: datetime) -> Publication:
    # As Django does before each request: discard a connection of this thread that PostgreSQL has closed.
    close_old_connections()
    return fast_path.prepare(environ, content, may_query=True, now=now)


def _is_ordinary(environ: Mapping[str, Any]) -> bool:
    """Return whether a request is one that the fast path may accept, to a host that is served here."""
    return (
        fast_path.is_plain(environ)
        and "HTTP_COOKIE" not in environ
        and _is_served(environ.get("HTTP_HOST", ""), tuple(settings.ALLOWED_HOSTS))
    )


@lru_cache(maxsize=256)
def _is_served(host: str, served: tuple[str, ...]) -> bool:
    domain = split_domain_port(host)[0]
    return bool(domain) and validate_host(domain, served)


def _unavailable(error: OperationalError | InterfaceError) -> tuple[int, bytes, dict[str, str]]:
    answered = errors.as_plain(errors.unavailable(error))
    headers = {name: value for name, value in answered.headers.items() if name != "Content-Type"}
    return answered.status_code, answered.content, headers
