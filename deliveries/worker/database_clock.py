"""The database server's time, tracked in this process: workers on hosts with different clocks agree on leases."""

import time
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from deliveries.db import sql

# How many samples to take at most, if their round trips take longer than PROMPT.
MAX_SAMPLES = 3
PROMPT = timedelta(milliseconds=50)
# How long a sample is valid. The clock of the database server may be set while it runs.
VALID_FOR = timedelta(seconds=5)
# If the wall clock and the steady clock diverge by more than this, one was set or the machine was suspended.
MAX_DRIFT = timedelta(seconds=1)

# On Linux, CLOCK_BOOTTIME also runs while the machine is suspended; CLOCK_MONOTONIC does not.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """The clock that a worker loop uses."""

    def __call__(self) -> datetime:
        """Return the current time."""

    def resync(self) -> None:
        """Resynchronize with the database if that is due; raises the database's errors."""


def steady() -> float:
    """Return the seconds of a clock that cannot be set."""
    return time.clock_gettime(_STEADY)


class Sample(NamedTuple):
    """The time that the database reported, and the steady clock before and after the query."""

    reported: datetime
    sent_at: float
    received_at: float

    @property
    def round_trip(self) -> timedelta:
        """The duration of the query, which bounds the sample's error."""
        return timedelta(seconds=self.received_at - self.sent_at)


class DatabaseClock:
    """The database's time: the last sample plus the steady clock since then.

    Its error is at most the round trip of that sample, plus any drift or jump of the clocks since. Reading it never
    queries the database and never fails; long-running callers must call ``resync`` regularly.
    """

    def __init__(self) -> None:
        self._adopt(_best_sample())

    def __call__(self) -> datetime:
        """Return the database's time."""
        return self._at(steady())

    def resync(self) -> None:
        """Take a new sample if the last one has expired or a clock of this machine has jumped.

        Jumps happen for example when a virtual machine is paused for a migration: its steady clock then lags behind,
        and its wall clock is corrected. Raises the database's errors.
        """
        if steady() < self._valid_until and abs(_offset() - self._offset) < MAX_DRIFT.total_seconds():
            return
        sample = _sample()
        # A slow sample is imprecise, and a second one would delay the requests in flight: if it agrees with our clock,
        # extend the validity of the last sample.
        agrees = self._at(sample.sent_at) <= sample.reported <= self._at(sample.received_at)
        if sample.round_trip > PROMPT and agrees:
            self._extend()
            return
        self._adopt(_best_sample(first=sample))

    def _at(self, moment: float) -> datetime:
        return self._base + timedelta(seconds=moment - self._base_at)

    def _adopt(self, sample: Sample) -> None:
        self._base, self._base_at = sample.reported, (sample.sent_at + sample.received_at) / 2
        self._extend()

    def _extend(self) -> None:
        self._valid_until, self._offset = steady() + VALID_FOR.total_seconds(), _offset()


def _best_sample(*, first: Sample | None = None) -> Sample:
    """Take up to MAX_SAMPLES samples until one is PROMPT, and return the fastest."""
    best = first or _sample()
    for _ in range(MAX_SAMPLES - 1):
        if best.round_trip <= PROMPT:
            break
        best = min(best, _sample(), key=lambda sample: sample.round_trip)
    return best


def _sample() -> Sample:
    sent_at = steady()
    return Sample(sql.database_now(), sent_at, steady())


def _offset() -> float:
    """Return by how many seconds the wall clock is ahead of the steady clock; it changes only if one of them jumps."""
    return time.time() - steady()
