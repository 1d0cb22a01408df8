"""PostgreSQL's clock, kept in this process: workers on hosts whose clocks differ agree on leases and schedules."""

import time
from datetime import datetime, timedelta
from typing import NamedTuple

from deliveries import queue

# How many times in a row the database is asked, if its answers take longer than a prompt one.
LOOKS = 3
PROMPT = timedelta(milliseconds=50)
# How long one answer is gone by. PostgreSQL's own clock may be set while it runs.
HOLDS = timedelta(seconds=5)
# By so much this machine's two clocks may drift apart meanwhile; more than that, and something happened to them.
JUMP = timedelta(seconds=1)

# On Linux it goes on while the machine is suspended, which the ordinary steady clock does not.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Give the seconds of a clock that nobody sets."""
    return time.clock_gettime(_STEADY)


class Answer(NamedTuple):
    """What the database told, and between which two moments of the steady clock."""

    told: datetime
    asked_at: float
    heard_at: float

    @property
    def took(self) -> timedelta:
        """How long it was on its way, and so by how much it may be wrong."""
        return timedelta(seconds=self.heard_at - self.asked_at)


class DatabaseClock:
    """Tells the database's time, as of its last answer and the steady clock since then.

    It is wrong by at most as long as that answer took, and by what has happened to the clocks since. To read it asks
    nobody and never fails; whoever goes by it for long has to keep it right.
    """

    def __init__(self) -> None:
        self._go_by(_ask())

    def __call__(self) -> datetime:
        """Give the database's time."""
        return self._at(steady())

    def keep_right(self) -> None:
        """Ask the database again if its last answer is old or a clock of this machine has jumped; raises as it does.

        A machine that stood still as a whole, as a virtual one does while it is moved, wakes with its steady clock
        behind, and is then told the time of day.
        """
        if steady() < self._holds_until and abs(_offset() - self._offset) < JUMP.total_seconds():
            return
        answer = _ask_once()
        # One that was long on its way says little, and to ask for a better one holds up what is in flight; it will do
        # if it says nothing against the time we have.
        if answer.took > PROMPT and self._at(answer.asked_at) <= answer.told <= self._at(answer.heard_at):
            self._hold_on()
            return
        self._go_by(_ask(first=answer))

    def _at(self, moment: float) -> datetime:
        return self._base + timedelta(seconds=moment - self._started)

    def _go_by(self, answer: Answer) -> None:
        self._base, self._started = answer.told, (answer.asked_at + answer.heard_at) / 2
        self._hold_on()

    def _hold_on(self) -> None:
        self._holds_until, self._offset = steady() + HOLDS.total_seconds(), _offset()


def _ask(*, first: Answer | None = None) -> Answer:
    """Ask until an answer is prompt, a few times at most, and give the one that took least."""
    best = first or _ask_once()
    for _ in range(LOOKS - 1):
        if best.took <= PROMPT:
            break
        best = min(best, _ask_once(), key=lambda answer: answer.took)
    return best


def _ask_once() -> Answer:
    asked_at = steady()
    return Answer(queue.database_now(), asked_at, steady())


def _offset() -> float:
    """Give how far this machine's time of day is ahead of its steady clock: it changes only when one of them jumps."""
    return time.time() - steady()
