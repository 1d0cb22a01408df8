"""A cache of database rows that is valid for a few seconds, so that not every request queries the database."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

# While no connection listens for changes, a key that another process has revoked is accepted for this long at most.
TTL = timedelta(seconds=5)
MAX_ENTRIES = 4096


# Not cachetools.TTLCache: its reads need a lock, which all threads of a process would share, and its entries live from
# when they are stored instead of when the query began, and longer if the clock is set back.
class RowCache(Generic[Key, Value]):
    """A per-process cache of existing rows; misses are not cached, because the row may be created at any moment."""

    def __init__(self) -> None:
        # Incremented by every eviction: a row that was read before an eviction must not be cached after it.
        self.generation = 0
        self._entries: dict[Key, tuple[datetime, Value]] = {}
        self._writing = Lock()

    def get(self, key: Key, *, now: datetime) -> Value | None:
        """Return the cached value, or None if there is none or it has expired."""
        found = self._entries.get(key)
        # An entry from the future means that the clock was set back; it must not live longer for that.
        if found is None or not timedelta(0) <= now - found[0] < TTL:
            return None
        return found[1]

    def put(self, key: Key, value: Value, *, now: datetime, generation: int) -> None:
        """Cache a value from ``now``, when the database was queried; evict the oldest beyond MAX_ENTRIES.

        ``generation`` is the cache's from before the query. If it has changed, the value may predate the change that
        caused the eviction, and is not cached.
        """
        with self._writing:
            if generation != self.generation:
                return
            self._entries.pop(key, None)
            if len(self._entries) >= MAX_ENTRIES:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = (now, value)

    def evict(self, key: Key) -> None:
        """Evict one entry."""
        with self._writing:
            self.generation += 1
            self._entries.pop(key, None)

    def evict_where(self, concerns: Callable[[Key, Value], bool]) -> None:
        """Evict the entries for which ``concerns`` returns true."""
        with self._writing:
            self.generation += 1
            for key in [key for key, (_, value) in self._entries.items() if concerns(key, value)]:
                del self._entries[key]

    def clear(self) -> None:
        """Evict all entries."""
        self.evict_where(lambda _key, _value: True)
