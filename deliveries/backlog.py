"""What waits, and for how long: figures for monitoring, whose cost does not grow with the log or the backlog."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from deliveries.db import sql
from deliveries.db.ids import time_of

# Up to this many rows of a kind are counted, in some milliseconds. Of more, PostgreSQL's own estimate is taken.
MAX_COUNTED = 10_000
# The look at the oldest deliveries passes over so many that are not finished, which retention keeps.
OLDEST_READ = 1000
# A deadline for each statement: a figure that takes longer is not worth waiting for.
STATEMENT_TIMEOUT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Counts, and ages as of the time of measurement, which are zero if there is nothing of the kind.

    ``scheduled`` deliveries wait for their time, ``ready`` ones for a slot: ``ready_first`` for their first attempt,
    ``ready_retries`` for another. ``outbox`` counts the events that are not fanned out.
    """

    scheduled: int
    ready_first: int
    ready_retries: int
    held: int
    sending: int
    expired_leases: int
    outbox: int
    failing_webhooks: int
    oldest_due_age: timedelta
    outbox_age: timedelta
    retention_lag: timedelta


def measure(*, now: datetime) -> Backlog:
    """Return the backlog; ``now`` is the database's time. Raises the errors of ``django.db``."""
    with sql.transaction():
        sql.run(PREPARE, {"timeout": str(int(STATEMENT_TIMEOUT / timedelta(milliseconds=1)))})
        counts = {name: sql.run(statement, {"most": MAX_COUNTED, "now": now})[0] for name, statement in COUNTS.items()}
        first, retries, ready_estimate = counts["ready"]
        outbox = sql.run(OLDEST_IN_OUTBOX, {"most": MAX_COUNTED})[0][0]
        due_at = sql.run(OLDEST_DUE_AT, {"most": MAX_COUNTED, "now": now})[0][0]
        finished_at = sql.run(OLDEST_FINISHED, {"most": OLDEST_READ})[0][0]
    ready = estimated(first + retries, ready_estimate)
    return Backlog(
        scheduled=estimated(*counts["scheduled"]),
        ready_first=ready - ready * retries // max(1, first + retries),
        ready_retries=ready * retries // max(1, first + retries),
        held=estimated(*counts["held"]),
        sending=counts["sending"][0],
        expired_leases=counts["sending"][1],
        outbox=estimated(*counts["outbox"]),
        failing_webhooks=counts["failing"][0],
        oldest_due_age=age(due_at, now=now),
        outbox_age=age(outbox and time_of(outbox), now=now),
        retention_lag=age(finished_at and finished_at + settings.HOOKHUB_RETENTION, now=now),
    )


def estimated(counted: int, estimate: float) -> int:
    """Return a count; if it stopped at MAX_COUNTED, PostgreSQL's estimate of the rows, if that is higher."""
    return counted if counted < MAX_COUNTED else max(counted, int(estimate))


def age(moment: datetime | None, *, now: datetime) -> timedelta:
    """Return how long ago a moment was; zero for one in the future or none."""
    return timedelta(0) if moment is None else max(timedelta(0), now - moment)


# Each statement reads the head of an index. An old snapshot is what a queue table suffers from, so none is long.
PREPARE = """
SELECT set_config('statement_timeout', %(timeout)s, true), set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true),
       set_config('jit', 'off', true)
"""

# Updated by VACUUM and ANALYZE, which come often to tables that change often.
_ROWS = "(SELECT reltuples FROM pg_class WHERE oid = to_regclass('{}'))"

# The last column of a count is PostgreSQL's estimate of all rows of its kind.
COUNTS = {
    "scheduled": f"""
SELECT count(*), {_ROWS.format("delivery_scheduled")}
FROM (SELECT FROM hookhub_delivery WHERE state = 'pending' AND readiness = 0 ORDER BY due_at, id LIMIT %(most)s) AS d
""",
    "ready": f"""
SELECT count(*) FILTER (WHERE readiness = 1), count(*) FILTER (WHERE readiness = 2), {_ROWS.format("delivery_ready")}
FROM (
    SELECT readiness FROM hookhub_delivery WHERE state = 'pending' AND readiness > 0
    ORDER BY webhook_id, readiness, due_at, id LIMIT %(most)s
) AS d
""",
    "held": f"""
SELECT count(*), {_ROWS.format("delivery_held")}
FROM (SELECT FROM hookhub_delivery WHERE state = 'held' ORDER BY webhook_id, id DESC LIMIT %(most)s) AS d
""",
    # At most as many as all workers have slots.
    "sending": """
SELECT count(*), count(*) FILTER (WHERE leased_until < %(now)s)
FROM (
    SELECT leased_until FROM hookhub_delivery WHERE state = 'sending' ORDER BY webhook_id, leased_until LIMIT %(most)s
) AS d
""",
    "outbox": f"""
SELECT count(*), {_ROWS.format("hookhub_outbox")}
FROM (SELECT FROM hookhub_outbox ORDER BY partition, event_id LIMIT %(most)s) AS o
""",
    "failing": """
SELECT count(*)
FROM (
    SELECT FROM hookhub_webhook
    WHERE deleted_at IS NULL AND disabled_at IS NULL AND failing_since IS NOT NULL AND subscription IS NULL
      AND failure_count > 0
    ORDER BY id LIMIT %(most)s
) AS w
""",
}

# The first event of each partition, by a loose index scan; ids are in the order of time.
OLDEST_IN_OUTBOX = """
WITH RECURSIVE heads AS (
    (SELECT partition, event_id FROM hookhub_outbox ORDER BY partition, event_id LIMIT 1)
    UNION ALL
    SELECT next.* FROM heads CROSS JOIN LATERAL (
        SELECT partition, event_id FROM hookhub_outbox WHERE partition > heads.partition
        ORDER BY partition, event_id LIMIT 1
    ) AS next
)
SELECT min(event_id::text)::uuid FROM (SELECT event_id FROM heads LIMIT %(most)s) AS first
"""

# The same over the ready deliveries of each webhook, and the first scheduled one that is due.
OLDEST_DUE_AT = """
WITH RECURSIVE heads AS (
    (SELECT webhook_id, readiness, due_at FROM hookhub_delivery
     WHERE state = 'pending' AND readiness > 0
     ORDER BY webhook_id, readiness, due_at, id LIMIT 1)
    UNION ALL
    SELECT next.* FROM heads CROSS JOIN LATERAL (
        SELECT webhook_id, readiness, due_at FROM hookhub_delivery
        WHERE state = 'pending' AND readiness > 0 AND (webhook_id, readiness) > (heads.webhook_id, heads.readiness)
        ORDER BY webhook_id, readiness, due_at, id LIMIT 1
    ) AS next
)
SELECT least(
    (SELECT min(due_at) FROM (SELECT due_at FROM heads LIMIT %(most)s) AS first),
    (SELECT due_at FROM hookhub_delivery
     WHERE state = 'pending' AND readiness = 0 AND due_at <= %(now)s ORDER BY due_at, id LIMIT 1)
)
"""

OLDEST_FINISHED = """
SELECT min(finished_at) FROM (SELECT finished_at FROM hookhub_delivery ORDER BY id LIMIT %(most)s) AS oldest
"""
