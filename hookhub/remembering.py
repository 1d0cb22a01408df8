"""Answers of the database that hold good for a few seconds, so that not every request has to ask again."""

from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# A key that was revoked, or a repository that was renamed, by another process is taken for so long at most.
SPAN = timedelta(seconds=5)
MOST = 4096


class Memory(Generic[Question, Answer]):
    """One process's memory of what there is; that something is missing is never remembered, for it may come."""

    def __init__(self) -> None:
        self._known: dict[Question, tuple[datetime, Answer]] = {}
        self._learning = Lock()

    def recall(self, question: Question, *, now: datetime) -> Answer | None:
        """Give the answer, or None when it was never learned or too long ago."""
        found = self._known.get(question)
        # A clock that was set back must not make an answer hold for longer.
        if found is None or not timedelta(0) <= now - found[0] < SPAN:
            return None
        return found[1]

    def learn(self, question: Question, answer: Answer, *, now: datetime) -> None:
        """Remember the answer from ``now``, which is when the database was asked, and forget the oldest beyond MOST."""
        with self._learning:
            self._known.pop(question, None)
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[question] = (now, answer)

    def forget(self, question: Question) -> None:
        """Have it asked for again."""
        with self._learning:
            self._known.pop(question, None)
