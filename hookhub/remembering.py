"""Answers of the database that hold good for a few seconds, so that not every request has to ask again."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# Without a connection that listens for changes, a key that another process has revoked is accepted for so long at most.
SPAN = timedelta(seconds=5)
MOST = 4096


class Memory(Generic[Question, Answer]):
    """One process's memory of what there is; that something is missing is never remembered, for it may come."""

    def __init__(self) -> None:
        # Counts what was forgotten: an answer that was asked for before is not learned after.
        self.generation = 0
        self._known: dict[Question, tuple[datetime, Answer]] = {}
        self._learning = Lock()

    def recall(self, question: Question, *, now: datetime) -> Answer | None:
        """Give the answer, or None when it was never learned or too long ago."""
        found = self._known.get(question)
        # A clock that was set back must not make an answer hold for longer.
        if found is None or not timedelta(0) <= now - found[0] < SPAN:
            return None
        return found[1]

    def learn(self, question: Question, answer: Answer, *, now: datetime, generation: int) -> None:
        """Remember the answer from ``now``, which is when the database was asked, and forget the oldest beyond MOST.

        ``generation`` is what it was before the database was asked; when something was forgotten in between, the answer
        may be older than that change, and is not remembered.
        """
        with self._learning:
            if generation != self.generation:
                return
            self._known.pop(question, None)
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[question] = (now, answer)

    def forget(self, question: Question) -> None:
        """Have it asked for again."""
        with self._learning:
            self.generation += 1
            self._known.pop(question, None)

    def forget_where(self, concerns: Callable[[Question, Answer], bool]) -> None:
        """Have everything asked for again that a change concerns."""
        with self._learning:
            self.generation += 1
            for question in [question for question, (_, answer) in self._known.items() if concerns(question, answer)]:
                del self._known[question]

    def clear(self) -> None:
        """Have everything asked for again."""
        self.forget_where(lambda _question, _answer: True)
