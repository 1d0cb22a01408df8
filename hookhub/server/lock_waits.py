"""Requests that wait for another transaction, which has stored one of their keys: they keep no thread and no group."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

from deliveries.db import sql
from deliveries.events import Batch
from hookhub.server.group_commit import NotStored, Receipts
from hookhub.server.pool import Full

# Seconds after which such a request gets 503, and between two attempts to store its events.
WAIT_SECONDS = 10.0
PAUSE_SECONDS = 0.25

StoreAlone = Callable[[Batch], Awaitable[Receipts | Exception | None]]


class LockWaits:
    """Tries to store batches until the other transaction has ended; on the event loop."""

    def __init__(self, store: StoreAlone, *, max_waiting: int) -> None:
        """``store`` returns a batch's receipts, None for NotStored, or an exception; it waits for no lock itself."""
        self._store = store
        self._max_waiting = max_waiting
        self._waiting = 0
        # How many batches wait for each key.
        self._keys: Counter[tuple[int, str]] = Counter()

    def waits_for_key_of(self, batch: Batch) -> bool:
        """Return whether one of the batch's keys is waited for, so that a group with it would wait, too."""
        return bool(self._keys) and any(key in self._keys for key in _keys_of(batch))

    async def store(self, batch: Batch) -> Receipts:
        """Return the receipts of a batch that waits; raise NotStored, Full, or the database's error."""
        if self._waiting >= self._max_waiting:
            raise Full
        until = asyncio.get_running_loop().time() + WAIT_SECONDS
        self._waiting += 1
        self._keys.update(_keys_of(batch))
        try:
            while True:
                await asyncio.sleep(PAUSE_SECONDS)
                result = await self._store(batch)
                if result is None:
                    raise NotStored
                if not isinstance(result, Exception):
                    return result
                if not sql.is_lock_timeout(result) or asyncio.get_running_loop().time() > until:
                    raise result
        finally:
            self._waiting -= 1
            self._forget_keys_of(batch)

    def _forget_keys_of(self, batch: Batch) -> None:
        for key in _keys_of(batch):
            self._keys[key] -= 1
            if not self._keys[key]:
                del self._keys[key]


def _keys_of(batch: Batch) -> Iterator[tuple[int, str]]:
    return ((each.organization_id, each.idempotency_key) for each in batch.events if each.idempotency_key is not None)
