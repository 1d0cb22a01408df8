"""Group commit: one statement and one COMMIT for all requests that came while the previous group was being stored."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from deliveries.events import Batch, Receipt
from hookhub.server.pool import FairQueue, Full, Turn

log = logging.getLogger("hookhub.http")

# A group takes no further request once it has this many events or bytes of payload: one statement must stay short.
MAX_EVENTS = 1000
MAX_BYTES = 4 * 1024 * 1024
# After a group of so many requests the next one is gathered for a moment: the clients that are answered now send their
# next requests meanwhile, and larger groups cost less. A lone request never waits.
BUSY_FROM = 2
GATHER_SECONDS = 0.001

Receipts = list[Receipt]
Store = Callable[[Sequence[Batch]], Awaitable[Sequence[Receipts | Exception | None]]]


class NotStored(Exception):
    """Nothing of a batch was stored: it must be decided alone."""


class Entry(NamedTuple):
    """A request's batch, and the future for its receipts."""

    batch: Batch
    size: int
    done: "asyncio.Future[Receipts]"


class GroupCommit:
    """Stores batches in groups, one group at a time, on the event loop."""

    def __init__(self, store: Store, *, max_waiting: int) -> None:
        """``store`` returns the receipts of each batch, None for NotStored, or an exception."""
        self._store = store
        self._waiting: FairQueue[Entry] = FairQueue(limit=max_waiting)
        self._storing: asyncio.Task[None] | None = None

    def add(self, batch: Batch, *, turn: Turn) -> "asyncio.Future[Receipts]":
        """Return the future receipts of a batch; it raises NotStored, Full, or the database's error."""
        loop = asyncio.get_running_loop()
        entry = Entry(batch, sum([len(event.payload) for event in batch.events]), loop.create_future())
        evicted = self._waiting.add(entry, turn)
        if evicted is not None and not evicted.done.done():
            evicted.done.set_exception(Full())
        if self._storing is None:
            # It begins after the callbacks that are ready now: requests that were read together are stored together.
            self._storing = loop.create_task(self._store_all())
        return entry.done

    @property
    def waiting(self) -> int:
        """How many batches wait for the next group."""
        return len(self._waiting)

    async def drained(self) -> None:
        """Return once all batches are stored."""
        while self._storing is not None:
            await self._storing

    async def _store_all(self) -> None:
        while self._waiting:
            group = self._take()
            try:
                results = await self._store([entry.batch for entry in group])
            except Exception as error:  # noqa: BLE001 - it is handed to the requests, which answer 500
                results = [error] * len(group)
            for entry, result in zip(group, results, strict=True):
                _finish(entry.done, result)
            if len(group) >= BUSY_FROM:
                await asyncio.sleep(GATHER_SECONDS)
        self._storing = None

    def _take(self) -> list[Entry]:
        """Take the next group; a client that has disconnected gets no response, but its events were read and count."""
        group: list[Entry] = []
        events = size = 0
        while self._waiting and events < MAX_EVENTS and size < MAX_BYTES:
            entry = self._waiting.take()
            group.append(entry)
            events += len(entry.batch.events)
            size += entry.size
        return group


def _finish(done: "asyncio.Future[Receipts]", result: Receipts | Exception | None) -> None:
    if done.done():
        return
    if result is None:
        done.set_exception(NotStored())
    elif isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)
