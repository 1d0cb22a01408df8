"""When to try again: pure decisions about one delivery after one attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from deliveries.outcomes import Delivered, Gone, Lost, Outcome, Refused

# The most a wait is lengthened at random, so that what failed together does not come back together.
JITTER = 0.10

# A delivery that takes its worker down with it this often in a row is given up.
LEASE_LOSSES_MOST = 5
# From its second loss on it waits by chance up to 255 times this, twice as long after its third, and so on: whichever
# delivery takes workers down is soon in hand alone, and the others that were in hand with it are not given up.
APART = timedelta(milliseconds=40)

# A receiver that timed out this often in a row is left alone for a while, all its deliveries together.
TIMEOUTS_BEFORE_REST = 10
REST_LEAST = timedelta(seconds=10)
REST_MOST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Finish:
    """It is delivered."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """It is tried again at this moment, not earlier."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It has failed for good."""

    ending: Literal["exhausted", "gone"]


Decision = Finish | RetryAt | GiveUp


def decide(outcome: Outcome, *, failures: int, schedule: Sequence[timedelta], now: datetime, jitter: float) -> Decision:
    """Decide what follows an attempt.

    ``failures`` counts the failed attempts before this one, ``now`` is when this one ended, and ``jitter`` is a random
    number from 0 to 1.
    """
    match outcome:
        case Delivered():
            return Finish()
        case Gone():
            return GiveUp("gone")
        case Refused(is_final=True):
            return GiveUp("exhausted")
        case Refused() | Lost():
            if failures >= len(schedule):
                return GiveUp("exhausted")
            return RetryAt(now + wait(outcome, step=schedule[failures], jitter=jitter))


def wait(outcome: Refused | Lost, *, step: timedelta, jitter: float) -> timedelta:
    """Give the wait before the next attempt: the schedule's step and its jitter, or longer when the receiver asked."""
    promised = step * (1 + JITTER * jitter)
    asked = outcome.retry_after if isinstance(outcome, Refused) else None
    return max(promised, asked) if asked is not None else promised


def rest_after(timeouts_in_a_row: int, *, at_once: int) -> timedelta | None:
    """Give how long a webhook that keeps timing out is left alone, or None while it is not yet so bad.

    It has ``at_once`` requests in flight until it rests, and those all time out of one cause: only what comes after
    them, one trial at a time, says that it goes on.
    """
    if timeouts_in_a_row < TIMEOUTS_BEFORE_REST:
        return None
    doublings: int = 2 ** min(max(timeouts_in_a_row - max(TIMEOUTS_BEFORE_REST, at_once), 0), 10)
    return min(REST_LEAST * doublings, REST_MOST)
