"""When to try again: pure decisions about one delivery after one attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from deliveries.policy.outcomes import Delivered, Failed, Gone, NoResponse, Outcome

# The maximum fraction by which a wait is lengthened at random, so that deliveries that failed together do not retry
# together.
JITTER = 0.10

# A delivery that loses its lease this often in a row, because its worker died, fails as a poison message.
MAX_LEASE_LOSSES = 5
# From its second loss on, a delivery waits a random time of up to 255 times this, after the third up to twice as long,
# and so on. That soon separates a poison message from the deliveries that were leased together with it, so that these
# do not fail along with it.
POISON_SPREAD = timedelta(milliseconds=40)

# After this many timeouts in a row a webhook backs off: none of its deliveries is sent for a while.
TIMEOUTS_BEFORE_BACKOFF = 10
BACKOFF_MIN = timedelta(seconds=10)
BACKOFF_MAX = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Finish:
    """The delivery has succeeded."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The delivery is retried at ``due_at``, not earlier."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The delivery has failed permanently."""

    finish_reason: Literal["exhausted", "gone"]


Decision = Finish | RetryAt | GiveUp


def decide(outcome: Outcome, *, failures: int, schedule: Sequence[timedelta], now: datetime, jitter: float) -> Decision:
    """Decide what happens to a delivery after an attempt.

    ``failures`` counts the failed attempts before this one, ``now`` is when this one ended, and ``jitter`` is a random
    number from 0 to 1.
    """
    match outcome:
        case Delivered():
            return Finish()
        case Gone():
            return GiveUp("gone")
        case Failed(is_final=True):
            return GiveUp("exhausted")
        case Failed() | NoResponse():
            if failures >= len(schedule):
                return GiveUp("exhausted")
            return RetryAt(now + delay_before_retry(outcome, step=schedule[failures], jitter=jitter))


def delay_before_retry(outcome: Failed | NoResponse, *, step: timedelta, jitter: float) -> timedelta:
    """Return the wait before the next attempt: the schedule's step with jitter, or Retry-After if that is longer."""
    scheduled = step * (1 + JITTER * jitter)
    retry_after = outcome.retry_after if isinstance(outcome, Failed) else None
    return max(scheduled, retry_after) if retry_after is not None else scheduled


def backoff_for(timeouts_in_a_row: int, *, in_flight_limit: int) -> timedelta | None:
    """Return how long a webhook backs off after ``timeouts_in_a_row``, or None if they are too few.

    Before its first backoff it has ``in_flight_limit`` requests in flight, which may all time out for a single cause.
    So the backoff doubles only with the timeouts after those, which come from one probe request at a time.
    """
    if timeouts_in_a_row < TIMEOUTS_BEFORE_BACKOFF:
        return None
    doublings: int = 2 ** min(max(timeouts_in_a_row - max(TIMEOUTS_BEFORE_BACKOFF, in_flight_limit), 0), 10)
    return min(BACKOFF_MIN * doublings, BACKOFF_MAX)
