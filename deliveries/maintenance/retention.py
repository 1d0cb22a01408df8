"""Prune finished deliveries past the retention period, in small batches that do not block the pipeline."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from deliveries import shutdown
from deliveries.db import sql
from deliveries.db.ids import first_id_at
from deliveries.pipeline.fan_out_statements import IS_FANNED_OUT

# The maximum number of rows that one batch reads: larger batches take longer and are no cheaper per row.
MAX_BATCH = 1000
# The target duration of a batch; one that takes longer is followed by a smaller one. The cost of deleting a row is not
# known in advance: a payload of a megabyte occupies five hundred TOAST rows.
BATCH_TARGET = timedelta(milliseconds=50)
# The time spent per tick of a second. In that time several times as many rows are pruned as two busy cores can create
# per second.
TICK_BUDGET = timedelta(milliseconds=300)
# How often a pass starts. Rows that a pass skips, because they are unfinished or locked, are read again by the next.
PASS_INTERVAL = timedelta(hours=1)

Id = UUID | int

# Batches of different processes are serialized: if two of them each deleted one of an event's two deliveries, both
# would keep the event. The commit need not wait for the WAL flush, since a batch lost in a crash is simply repeated.
BEGIN_BATCH = """
SELECT pg_advisory_xact_lock(%(key)s), set_config('synchronous_commit', 'off', true)
"""

# Each statement reads the next rows in the order of their ids, which is the order of time, so it needs no further
# index. Locked rows are skipped, so that pruning never waits for the pipeline and cannot deadlock with it. Other
# transactions wait for one batch at most, for example to store an event with the idempotency key of a deleted one.
# Each statement returns how many rows it read, the id of the last one, and how many deliveries and events it deleted.

# With an event go its entries in the queues of polling webhooks. One that was not numbered yet still takes a position,
# so that readers are told that they missed it. As for numbering, the queue is locked before its entries.
PRUNE_ENTRIES = """
queues AS MATERIALIZED (
    SELECT webhook_id FROM hookhub_poll_queue
    WHERE webhook_id = ANY(ARRAY(
        SELECT webhook_id FROM hookhub_poll_entry
        WHERE event_id = ANY(ARRAY(SELECT id FROM events)) AND position IS NULL
    ))
    ORDER BY webhook_id FOR NO KEY UPDATE
), entries AS (
    DELETE FROM hookhub_poll_entry
    WHERE event_id = ANY(ARRAY(SELECT id FROM events)) AND (SELECT count(*) FROM queues) >= 0
    RETURNING webhook_id, position
), unread AS (
    UPDATE hookhub_poll_queue q SET last_position = q.last_position + deleted.entries
    FROM (SELECT webhook_id, count(*) AS entries FROM entries WHERE position IS NULL GROUP BY webhook_id) AS deleted
    WHERE q.webhook_id = deleted.webhook_id
)
"""

# Rows are locked and checked again before deletion, since one that is being redelivered at this moment is no longer
# finished. Only finished rows have a finished_at, which a constraint guarantees. An attempt that a worker is recording
# at this moment is left to PRUNE_ATTEMPTS.
PRUNE_DELIVERIES = f"""
WITH scanned AS MATERIALIZED (
    SELECT id, finished_at FROM hookhub_delivery
    WHERE id > %(after)s AND id < %(before)s ORDER BY id LIMIT %(limit)s
), old AS MATERIALIZED (
    SELECT id, event_id FROM hookhub_delivery
    WHERE id = ANY(ARRAY(SELECT id FROM scanned WHERE finished_at < %(horizon)s)) AND finished_at < %(horizon)s
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), proofs AS MATERIALIZED (
    SELECT id FROM hookhub_attempt WHERE delivery_id = ANY(ARRAY(SELECT id FROM old)) FOR UPDATE SKIP LOCKED
), attempts AS (
    DELETE FROM hookhub_attempt WHERE id = ANY(ARRAY(SELECT id FROM proofs))
), deliveries AS (
    DELETE FROM hookhub_delivery WHERE id = ANY(ARRAY(SELECT id FROM old))
), events AS (
    DELETE FROM hookhub_event e
    WHERE id = ANY(ARRAY(SELECT event_id FROM old)) AND {IS_FANNED_OUT}
      AND NOT EXISTS (SELECT FROM hookhub_delivery d
                      WHERE d.event_id = e.id AND d.id NOT IN (SELECT id FROM old))
    RETURNING id
), {PRUNE_ENTRIES}
SELECT (SELECT count(*) FROM scanned), (SELECT id FROM scanned ORDER BY id DESC LIMIT 1),
       (SELECT count(*) FROM old), (SELECT count(*) FROM events)
"""

# Events without deliveries.
PRUNE_EVENTS = f"""
WITH scanned AS MATERIALIZED (
    SELECT id FROM hookhub_event
    WHERE id > %(after)s AND id < %(before)s ORDER BY id LIMIT %(limit)s
), events AS (
    DELETE FROM hookhub_event e
    WHERE id = ANY(ARRAY(SELECT id FROM scanned)) AND {IS_FANNED_OUT}
      AND NOT EXISTS (SELECT FROM hookhub_delivery d WHERE d.event_id = e.id)
    RETURNING id
), {PRUNE_ENTRIES}
SELECT (SELECT count(*) FROM scanned), (SELECT id FROM scanned ORDER BY id DESC LIMIT 1),
       0, (SELECT count(*) FROM events)
"""

# Attempts that a worker recorded after their delivery had been pruned.
PRUNE_ATTEMPTS = """
WITH scanned AS MATERIALIZED (
    SELECT id, delivery_id FROM hookhub_attempt
    WHERE id > %(after)s AND id < %(before)s ORDER BY id LIMIT %(limit)s
), stray AS MATERIALIZED (
    SELECT id FROM hookhub_attempt a
    WHERE id = ANY(ARRAY(SELECT id FROM scanned))
      AND NOT EXISTS (SELECT FROM hookhub_delivery d WHERE d.id = a.delivery_id)
    FOR UPDATE SKIP LOCKED
), attempts AS (
    DELETE FROM hookhub_attempt WHERE id = ANY(ARRAY(SELECT id FROM stray))
)
SELECT (SELECT count(*) FROM scanned), (SELECT id FROM scanned ORDER BY id DESC LIMIT 1), 0, 0
"""

# The row of a deleted webhook stays for as long as a delivery or an attempt refers to it.
PRUNE_WEBHOOKS = """
WITH scanned AS MATERIALIZED (
    SELECT id FROM hookhub_webhook
    WHERE id > %(after)s AND deleted_at IS NOT NULL ORDER BY id LIMIT %(limit)s
), old AS MATERIALIZED (
    SELECT id FROM hookhub_webhook w
    WHERE id = ANY(ARRAY(SELECT id FROM scanned)) AND deleted_at < %(horizon)s
      AND NOT EXISTS (SELECT FROM hookhub_delivery d WHERE d.webhook_id = w.id)
      AND NOT EXISTS (SELECT FROM hookhub_attempt a WHERE a.webhook_id = w.id)
      AND NOT EXISTS (SELECT FROM hookhub_poll_entry p WHERE p.webhook_id = w.id AND p.position IS NULL)
      AND NOT EXISTS (SELECT FROM hookhub_poll_entry p WHERE p.webhook_id = w.id AND p.position IS NOT NULL)
    FOR UPDATE SKIP LOCKED
), queues AS (
    DELETE FROM hookhub_poll_queue WHERE webhook_id = ANY(ARRAY(SELECT id FROM old))
), consumers AS (
    DELETE FROM hookhub_poll_consumer WHERE webhook_id = ANY(ARRAY(SELECT id FROM old))
), verifications AS (
    DELETE FROM hookhub_verification WHERE webhook_id = ANY(ARRAY(SELECT id FROM old))
), webhooks AS (
    DELETE FROM hookhub_webhook WHERE id = ANY(ARRAY(SELECT id FROM old))
)
SELECT (SELECT count(*) FROM scanned), (SELECT id FROM scanned ORDER BY id DESC LIMIT 1), 0, 0
"""

# Verifications that are over, except the last one of each webhook.
PRUNE_VERIFICATIONS = """
WITH scanned AS MATERIALIZED (
    SELECT id, webhook_id, finished_at FROM hookhub_verification
    WHERE id > %(after)s AND id < %(before)s ORDER BY id LIMIT %(limit)s
), verifications AS (
    DELETE FROM hookhub_verification v
    WHERE id = ANY(ARRAY(SELECT id FROM scanned WHERE finished_at < %(horizon)s))
      AND EXISTS (SELECT FROM hookhub_verification newer WHERE newer.webhook_id = v.webhook_id AND newer.id > v.id)
)
SELECT (SELECT count(*) FROM scanned), (SELECT id FROM scanned ORDER BY id DESC LIMIT 1), 0, 0
"""

# The statements in order, each with the id to start after.
TABLES: tuple[tuple[str, Id], ...] = (
    (PRUNE_DELIVERIES, UUID(int=0)),
    (PRUNE_EVENTS, UUID(int=0)),
    (PRUNE_ATTEMPTS, UUID(int=0)),
    (PRUNE_VERIFICATIONS, UUID(int=0)),
    (PRUNE_WEBHOOKS, 0),
)


@dataclass(slots=True)
class Pruned:
    """The number of rows read, and of deliveries and events deleted."""

    rows_read: int = 0
    deliveries: int = 0
    events: int = 0

    @property
    def rows(self) -> int:
        """The number of deliveries and events deleted."""
        return self.deliveries + self.events

    def add(self, other: "Pruned") -> None:
        """Add the counts of another batch."""
        self.rows_read += other.rows_read
        self.deliveries += other.deliveries
        self.events += other.events


@dataclass
class PrunePass:
    """One pass through all tables in batches, from the oldest rows up to the horizon.

    The position is kept in memory only: after the death of a process, another one starts a new pass.
    """

    horizon: datetime
    _tables_left: list[tuple[str, Id]] = field(default_factory=lambda: list(TABLES))
    _cursor: Id | None = None
    _batch_size: int = field(default_factory=lambda: MAX_BATCH)

    @property
    def is_over(self) -> bool:
        """Whether all tables have been read."""
        return not self._tables_left

    def prune_batch(self) -> Pruned:
        """Read the next rows and delete those that have expired, in one short transaction; return the counts."""
        (statement, first), limit = self._tables_left[0], self._batch_size
        parameters = {
            "after": first if self._cursor is None else self._cursor,
            "before": first_id_at(self.horizon),
            "horizon": self.horizon,
            "limit": limit,
        }
        started = time.monotonic()
        try:
            with transaction.atomic():
                sql.run(BEGIN_BATCH, {"key": sql.RETENTION_LOCK})
                rows_read, last, deliveries, events = sql.run(statement, parameters)[0]
        finally:
            # Also after a failure: a batch that timed out is retried with fewer rows.
            self._batch_size = next_batch_size(limit, took=timedelta(seconds=time.monotonic() - started))
        # Advance only after the commit.
        self._cursor = last
        if rows_read < limit:
            self._cursor = None
            del self._tables_left[0]
        return Pruned(rows_read, deliveries, events)


def next_batch_size(rows: int, *, took: timedelta) -> int:
    """Return how many rows the next batch reads, after one that read this many ``rows`` and took ``took``."""
    if took > BATCH_TARGET:
        return max(1, rows * BATCH_TARGET // took)
    return min(2 * rows, MAX_BATCH)


@dataclass
class Retention:
    """The state of one process's scheduler between ticks: the current pass, and when the last one started."""

    _pass: PrunePass | None = None
    _started_at: datetime | None = None

    def tick(self, *, now: datetime, budget: timedelta) -> Pruned:
        """Continue the current pass, or start one if it is due, for about ``budget``; return the counts.

        Runs at least one batch if there is a pass.
        """
        done, over_at = Pruned(), time.monotonic() + budget.total_seconds()
        if self._pass is None:
            # If the clock was set back, start at once instead of waiting until an hour after the last start.
            if self._started_at is not None and timedelta(0) <= now - self._started_at < PASS_INTERVAL:
                return done
            self._pass = PrunePass(now - settings.HOOKHUB_RETENTION)
            self._started_at = now
        while not self._pass.is_over:
            done.add(self._pass.prune_batch())
            if time.monotonic() >= over_at or shutdown.is_requested():
                break
        if self._pass.is_over:
            self._pass = None
        return done


_of_this_process = Retention()


def prune_expired(*, now: datetime) -> int:
    """Prune some of the rows past the retention period; return the number of deliveries and events deleted."""
    return _of_this_process.tick(now=now, budget=TICK_BUDGET).rows
