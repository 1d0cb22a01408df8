"""Answers health checks apart from the threads that requests wait for, at a cost that a flood does not raise."""

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

# A probe a second is what load balancers do; more learn nothing new.
FRESH_FOR = timedelta(seconds=1)
# Probes give up after a second or two themselves.
ANSWERS_WITHIN = timedelta(seconds=2)


class Known(NamedTuple):
    """A report, and when it was made by the event loop's clock."""

    report: Report
    at: float


class Readiness:
    """Looks whether events can be accepted, in a thread of its own, one look at a time for all that ask."""

    def __init__(self, look: Callable[[], Report], *, otherwise: Report) -> None:
        self._look = look
        self._otherwise = otherwise
        self._known: Known | None = None
        self._look_under_way: asyncio.Future[Report] | None = None
        self._asked: SimpleQueue[asyncio.AbstractEventLoop] = SimpleQueue()
        self._is_started = False

    async def report(self) -> Report:
        """Return a report that is a second old at most; the one for an unavailable database if none comes in time."""
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
        # The look goes on, and while it does probes do not wait for it again.
        self._known = Known(self._otherwise, loop.time())
        return self._otherwise

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            # One for good, because it keeps its connection to the database. A daemon, because that may not answer.
            Thread(target=self._work, name="readiness", daemon=True).start()

    def _work(self) -> None:
        while True:
            loop = self._asked.get()
            try:
                report = self._look()
            except Exception:
                log.exception("The look whether events can be accepted failed.")
                report = self._otherwise
            try:
                loop.call_soon_threadsafe(self._learn, report)
            except RuntimeError:
                # The web server stops, and no probe waits any more.
                return

    def _learn(self, report: Report) -> None:
        self._known = Known(report, asyncio.get_running_loop().time())
        under_way, self._look_under_way = self._look_under_way, None
        if under_way is not None:
            under_way.set_result(report)


def as_json(body: dict[str, Any]) -> bytes:
    """Return a report's body as bytes."""
    return json.dumps(body).encode()
