"""Answers health checks outside of the request threads, at a cost that does not grow with the number of probes."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

log = logging.getLogger("hookhub.http")

Report = tuple[int, dict[str, Any]]

# Load balancers probe about once a second; a fresher report would be of no use.
FRESH_FOR = timedelta(seconds=1)
# Probes give up after a second or two themselves.
ANSWERS_WITHIN = timedelta(seconds=2)


class Known(NamedTuple):
    """A report, and the event loop's time in seconds at which it was made."""

    report: Report
    at: float


class Readiness:
    """Checks whether events can be accepted, in a dedicated thread, with one check at a time shared by all probes."""

    def __init__(self, look: Callable[[], Report], *, otherwise: Report) -> None:
        self._look = look
        self._otherwise = otherwise
        self._known: Known | None = None
        self._look_under_way: asyncio.Future[Report] | None = None
        self._asked: SimpleQueue[asyncio.AbstractEventLoop] = SimpleQueue()
        self._is_started = False

    async def report(self) -> Report:
        """Return a report no older than ``FRESH_FOR``, or ``otherwise`` if the check exceeds ``ANSWERS_WITHIN``."""
        loop = asyncio.get_running_loop()
        if self._known and loop.time() - self._known.at < FRESH_FOR.total_seconds():
            return self._known.report
        if self._look_under_way is None:
            self._look_under_way = loop.create_future()
            self._start()
            self._asked.put(loop)
        done, _ = await asyncio.wait([self._look_under_way], timeout=ANSWERS_WITHIN.total_seconds())
        if done:
            return next(iter(done)).result()
        # The check goes on. For as long as this report is fresh, probes get it at once instead of waiting for the
        # check.
        self._known = Known(self._otherwise, loop.time())
        return self._otherwise

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            # One permanent thread, because it keeps its database connection; a daemon, because the database may not
            # respond.
            Thread(target=self._work, name="readiness", daemon=True).start()

    def _work(self) -> None:
        while True:
            loop = self._asked.get()
            try:
                report = self._look()
            except Exception:
                log.exception("The readiness check failed.")
                report = self._otherwise
            try:
                loop.call_soon_threadsafe(self._learn, report)
            except RuntimeError:
                # The event loop has closed, so no probe is waiting.
                return

    def _learn(self, report: Report) -> None:
        self._known = Known(report, asyncio.get_running_loop().time())
        under_way, self._look_under_way = self._look_under_way, None
        if under_way is not None:
            under_way.set_result(report)


def as_json(body: dict[str, Any]) -> bytes:
    """Return the body of a report as JSON bytes."""
    return json.dumps(body).encode()
