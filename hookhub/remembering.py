"""A cache of database rows that is valid for a few seconds, so that not every request queries the database."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# While no connection listens for changes, a key that another process has revoked is accepted for this long at most.
SPAN = timedelta(seconds=5)
MAX_ENTRIES = 4096


class Memory(Generic[Question, Answer]):
    """A per-process cache of existing rows; misses are not cached, because the row may be created at any moment."""

    def __init__(self) -> None:
        # Incremented by every eviction: a row that was read before an eviction must not be cached after it.
        self.generation = 0
        self._known: dict[Question, tuple[datetime, Answer]] = {}
        self._learning = Lock()

    def recall(self, question: Question, *, now: datetime) -> Answer | None:
        """Return the cached answer, or None if there is none or it has expired."""
        found = self._known.get(question)
        # An entry from the future means that the clock was set back; it must not live longer for that.
        if found is None or not timedelta(0) <= now - found[0] < SPAN:
            return None
        return found[1]

    def learn(self, question: Question, answer: Answer, *, now: datetime, generation: int) -> None:
        """Cache an answer from ``now``, when the database was queried; evict the oldest beyond MAX_ENTRIES.

        ``generation`` is the value from before the query. If it has changed, the answer may predate the change that
        caused the eviction, and is not cached.
        """
        with self._learning:
            if generation != self.generation:
                return
            self._known.pop(question, None)
            if len(self._known) >= MAX_ENTRIES:
                del self._known[next(iter(self._known))]
            self._known[question] = (now, answer)

    def forget(self, question: Question) -> None:
        """Evict one entry."""
        with self._learning:
            self.generation += 1
            self._known.pop(question, None)

    def forget_where(self, concerns: Callable[[Question, Answer], bool]) -> None:
        """Evict the entries for which ``concerns`` returns true."""
        with self._learning:
            self.generation += 1
            for question in [question for question, (_, answer) in self._known.items() if concerns(question, answer)]:
                del self._known[question]

    def clear(self) -> None:
        """Evict all entries."""
        self.forget_where(lambda _question, _answer: True)
