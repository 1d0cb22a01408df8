"""The database server's time, tracked in this process: workers on hosts with different clocks agree on leases."""

import time
from datetime import datetime, timedelta
from typing import NamedTuple

from deliveries.db import sql

# How many samples to take at most, if they take longer than PROMPT.
LOOKS = 3
PROMPT = timedelta(milliseconds=50)
# How long a sample is valid. The clock of the database server may be set while it runs.
HOLDS = timedelta(seconds=5)
# If the wall clock and the steady clock diverge by more than this, one was set or the machine was suspended.
JUMP = timedelta(seconds=1)

# On Linux, CLOCK_BOOTTIME also runs while the machine is suspended; CLOCK_MONOTONIC does not.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Return the seconds of a clock that cannot be set."""
    return time.clock_gettime(_STEADY)


class Answer(NamedTuple):
    """A sample of the database's time, and the steady clock before and after it was taken."""

    told: datetime
    asked_at: float
    heard_at: float

    @property
    def took(self) -> timedelta:
        """The duration of the round trip, which bounds the sample's error."""
        return timedelta(seconds=self.heard_at - self.asked_at)


class DatabaseClock:
    """The database's time: the last sample plus the steady clock since then.

    Its error is at most the round trip of that sample, plus any drift or jump of the clocks since. Reading it never
    queries the database and never fails; long-running callers must call ``resync`` regularly.
    """

    def __init__(self) -> None:
        self._adopt(_ask())

    def __call__(self) -> datetime:
        """Return the database's time."""
        return self._at(steady())

    def resync(self) -> None:
        """Take a new sample if the last one has expired or a clock of this machine has jumped.

        Jumps happen for example when a virtual machine is paused for a migration: its steady clock then lags behind,
        and its wall clock is corrected. Raises the database's errors.
        """
        if steady() < self._holds_until and abs(_offset() - self._offset) < JUMP.total_seconds():
            return
        answer = _ask_once()
        # A slow sample is imprecise, and a second one would delay the requests in flight: if it agrees with our clock,
        # extend the validity of the last sample.
        if answer.took > PROMPT and self._at(answer.asked_at) <= answer.told <= self._at(answer.heard_at):
            self._extend()
            return
        self._adopt(_ask(first=answer))

    def _at(self, moment: float) -> datetime:
        return self._base + timedelta(seconds=moment - self._started)

    def _adopt(self, answer: Answer) -> None:
        self._base, self._started = answer.told, (answer.asked_at + answer.heard_at) / 2
        self._extend()

    def _extend(self) -> None:
        self._holds_until, self._offset = steady() + HOLDS.total_seconds(), _offset()


def _ask(*, first: Answer | None = None) -> Answer:
    """Take up to LOOKS samples until one is PROMPT, and return the fastest."""
    best = first or _ask_once()
    for _ in range(LOOKS - 1):
        if best.took <= PROMPT:
            break
        best = min(best, _ask_once(), key=lambda answer: answer.took)
    return best


def _ask_once() -> Answer:
    asked_at = steady()
    return Answer(sql.database_now(), asked_at, steady())


def _offset() -> float:
    """Return by how many seconds the wall clock is ahead of the steady clock; it changes only if one of them jumps."""
    return time.time() - steady()
