"""Retention: what is finished and past its age is forgotten, a little at a time and in nobody's way."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from deliveries import queue, stopping
from deliveries.ids import first_id_at

# Rows that one batch looks at: with more of them a row costs no less, and a batch takes longer.
LOOK_MOST = 1000
# A batch that takes longer is followed by a smaller one. What it costs to delete a row is not known before: a payload
# of a megabyte is five hundred rows of its own.
BATCH_AIM = timedelta(milliseconds=50)
# What one tick of the clock, a second, may spend on it: several times what two busy cores can fill in that second.
TICK_BUDGET = timedelta(milliseconds=300)
# What a round has to leave, because it is not finished or in somebody's hands, is looked at again in the next one.
ROUND_EVERY = timedelta(hours=1)
# Any number will do, as long as every process of a deployment uses the same.
BATCH_LOCK = 7_305_663

Id = UUID | int

# Batches of several processes follow one another: two that each delete one of an event's two deliveries would both
# leave the event to the other. Nobody waits for the disk, since a batch that a crash undoes is simply made again.
BEGIN_BATCH = """
SELECT pg_advisory_xact_lock(%(key)s), set_config('synchronous_commit', 'off', true)
"""

# Each statement looks at the next rows in the order of their ids, which is that of time, and needs no index of its own.
# What somebody else has locked is passed over, so that nothing here waits for the pipeline and no ring of waiting can
# come about; who wants a row of ours, such as the key of an event that goes, waits for one batch at most. All give how
# many rows they looked at, the last of them, and how many deliveries and events went.

# The rows are locked and judged again before they go: one that is being sent again at this very moment is finished no
# more. Only what is finished has a finished_at, which a constraint guarantees. An attempt that a worker is just writing
# down more than a day late is left to FORGET_ATTEMPTS.
FORGET_DELIVERIES = f"""
WITH looked AS MATERIALIZED (
    SELECT id, finished_at FROM deliveries_delivery
    WHERE id > %(after)s AND id < %(before)s ORDER BY id LIMIT %(limit)s
), old AS MATERIALIZED (
    SELECT id, event_id FROM deliveries_delivery
    WHERE id = ANY(ARRAY(SELECT id FROM looked WHERE finished_at < %(horizon)s)) AND finished_at < %(horizon)s
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), proofs AS MATERIALIZED (
    SELECT id FROM deliveries_attempt WHERE delivery_id = ANY(ARRAY(SELECT id FROM old)) FOR UPDATE SKIP LOCKED
), attempts AS (
    DELETE FROM deliveries_attempt WHERE id = ANY(ARRAY(SELECT id FROM proofs))
), deliveries AS (
    DELETE FROM deliveries_delivery WHERE id = ANY(ARRAY(SELECT id FROM old))
), events AS (
    DELETE FROM deliveries_event e
    WHERE id = ANY(ARRAY(SELECT event_id FROM old)) AND {queue.IS_FANNED_OUT}
      AND NOT EXISTS (SELECT FROM deliveries_delivery d
                      WHERE d.event_id = e.id AND d.id NOT IN (SELECT id FROM old))
    RETURNING 1
)
SELECT (SELECT count(*) FROM looked), (SELECT id FROM looked ORDER BY id DESC LIMIT 1),
       (SELECT count(*) FROM old), (SELECT count(*) FROM events)
"""  # noqa: S608 - put together of constants

# Events that nobody was owed.
FORGET_EVENTS = f"""
WITH looked AS MATERIALIZED (
    SELECT id FROM deliveries_event
    WHERE id > %(after)s AND id < %(before)s ORDER BY id LIMIT %(limit)s
), events AS (
    DELETE FROM deliveries_event e
    WHERE id = ANY(ARRAY(SELECT id FROM looked)) AND {queue.IS_FANNED_OUT}
      AND NOT EXISTS (SELECT FROM deliveries_delivery d WHERE d.event_id = e.id)
    RETURNING 1
)
SELECT (SELECT count(*) FROM looked), (SELECT id FROM looked ORDER BY id DESC LIMIT 1),
       0, (SELECT count(*) FROM events)
"""  # noqa: S608 - put together of constants

# What a worker wrote down after its delivery had been forgotten.
FORGET_ATTEMPTS = """
WITH looked AS MATERIALIZED (
    SELECT id, delivery_id FROM deliveries_attempt
    WHERE id > %(after)s AND id < %(before)s ORDER BY id LIMIT %(limit)s
), stray AS MATERIALIZED (
    SELECT id FROM deliveries_attempt a
    WHERE id = ANY(ARRAY(SELECT id FROM looked))
      AND NOT EXISTS (SELECT FROM deliveries_delivery d WHERE d.id = a.delivery_id)
    FOR UPDATE SKIP LOCKED
), attempts AS (
    DELETE FROM deliveries_attempt WHERE id = ANY(ARRAY(SELECT id FROM stray))
)
SELECT (SELECT count(*) FROM looked), (SELECT id FROM looked ORDER BY id DESC LIMIT 1), 0, 0
"""

# A deleted webhook's row stays for as long as the log speaks of it.
FORGET_WEBHOOKS = """
WITH looked AS MATERIALIZED (
    SELECT id FROM deliveries_webhook
    WHERE id > %(after)s AND deleted_at IS NOT NULL ORDER BY id LIMIT %(limit)s
), old AS MATERIALIZED (
    SELECT id FROM deliveries_webhook w
    WHERE id = ANY(ARRAY(SELECT id FROM looked)) AND deleted_at < %(horizon)s
      AND NOT EXISTS (SELECT FROM deliveries_delivery d WHERE d.webhook_id = w.id)
      AND NOT EXISTS (SELECT FROM deliveries_attempt a WHERE a.webhook_id = w.id)
    FOR UPDATE SKIP LOCKED
), webhooks AS (
    DELETE FROM deliveries_webhook WHERE id = ANY(ARRAY(SELECT id FROM old))
)
SELECT (SELECT count(*) FROM looked), (SELECT id FROM looked ORDER BY id DESC LIMIT 1), 0, 0
"""

# Each of them walks its table from the first id on.
WALKS: tuple[tuple[str, Id], ...] = (
    (FORGET_DELIVERIES, UUID(int=0)),
    (FORGET_EVENTS, UUID(int=0)),
    (FORGET_ATTEMPTS, UUID(int=0)),
    (FORGET_WEBHOOKS, 0),
)


@dataclass(slots=True)
class Forgotten:
    """What went, and how many rows had to be looked at for it."""

    looked_at: int = 0
    deliveries: int = 0
    events: int = 0

    @property
    def rows(self) -> int:
        """How many deliveries and events went together."""
        return self.deliveries + self.events

    def add(self, other: "Forgotten") -> None:
        """Add what another batch did."""
        self.looked_at += other.looked_at
        self.deliveries += other.deliveries
        self.events += other.events


@dataclass
class Round:
    """One way through all tables, from their oldest rows to those of the horizon, batch by batch.

    Where it is, it keeps to itself: whoever takes over from a process that died begins anew, and finds what is left.
    """

    horizon: datetime
    _walks: list[tuple[str, Id]] = field(default_factory=lambda: list(WALKS))
    _after: Id | None = None
    _look: int = field(default_factory=lambda: LOOK_MOST)

    @property
    def is_over(self) -> bool:
        """Whether everything has been looked at."""
        return not self._walks

    def forget_a_batch(self) -> Forgotten:
        """Look at the next rows and delete those that may go, in one short transaction."""
        (statement, first), asked = self._walks[0], self._look
        parameters = {
            "after": first if self._after is None else self._after,
            "before": first_id_at(self.horizon),
            "horizon": self.horizon,
            "limit": asked,
        }
        started = time.monotonic()
        try:
            with transaction.atomic():
                queue.run(BEGIN_BATCH, {"key": BATCH_LOCK})
                looked_at, last, deliveries, events = queue.run(statement, parameters)[0]
        finally:
            # Also after a failure: what took too long is tried again with less.
            self._look = look_next(asked, took=timedelta(seconds=time.monotonic() - started))
        # Only now that it is committed.
        self._after = last
        if looked_at < asked:
            self._after = None
            del self._walks[0]
        return Forgotten(looked_at, deliveries, events)


def look_next(looked: int, *, took: timedelta) -> int:
    """Give how many rows the next batch looks at, after one that took so long."""
    if took > BATCH_AIM:
        return max(1, looked * BATCH_AIM // took)
    return min(2 * looked, LOOK_MOST)


@dataclass
class Retention:
    """What one process's clock remembers from tick to tick: the round it is in, and when that began."""

    _round: Round | None = None
    _began_at: datetime | None = None

    def tick(self, *, now: datetime, budget: timedelta) -> Forgotten:
        """Go on with the round for about ``budget``, or begin one if it is time to; give what went.

        While there is a round to go on with, at least one batch is done.
        """
        done, over_at = Forgotten(), time.monotonic() + budget.total_seconds()
        if self._round is None:
            # A clock that was set back must not keep the next round waiting for the hour of the last one.
            if self._began_at is not None and timedelta(0) <= now - self._began_at < ROUND_EVERY:
                return done
            self._round = Round(now - settings.HOOKHUB_RETENTION)
            self._began_at = now
        while not self._round.is_over:
            done.add(self._round.forget_a_batch())
            if time.monotonic() >= over_at or stopping.is_set():
                break
        if self._round.is_over:
            self._round = None
        return done


_of_this_process = Retention()


def forget_the_old(*, now: datetime) -> int:
    """Forget some of what is past retention; give how many deliveries and events that was."""
    return _of_this_process.tick(now=now, budget=TICK_BUDGET).rows
