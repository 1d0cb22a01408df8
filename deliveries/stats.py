"""Recent statistics of a webhook: counts, success rate, latencies."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from deliveries.db import sql
from deliveries.db.ids import first_id_at
from deliveries.models import Webhook

# Percentiles cover at most this many of the latest attempts: enough to be stable, few enough to read in milliseconds.
MAX_ATTEMPTS = 10_000

COUNT_STATES = """
SELECT state, count(*) FROM hookhub_delivery
WHERE webhook_id = %(webhook)s AND id >= %(since)s
GROUP BY state
"""

MEASURE_ATTEMPTS = """
SELECT count(*), count(*) FILTER (WHERE outcome = 'delivered'),
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM duration) * 1000)
           FILTER (WHERE duration IS NOT NULL)
FROM (
    SELECT outcome, duration FROM hookhub_attempt
    WHERE webhook_id = %(webhook)s AND id >= %(since)s
    ORDER BY id DESC LIMIT %(limit)s
) AS latest
"""

# By status alone, as receivers and the vendors' dashboards count: attempts without a response are only in the total.
COUNT_ATTEMPTS = """
SELECT count(*), count(*) FILTER (WHERE status BETWEEN 200 AND 299), count(*) FILTER (WHERE status >= 400)
FROM (SELECT status FROM hookhub_attempt WHERE webhook_id = %(webhook)s ORDER BY id DESC LIMIT %(limit)s) AS latest
"""
# Counting takes about a microsecond per attempt, and a dashboard may poll often.
MAX_COUNTED = 1_000_000

# The oldest due delivery: a loose index scan finds the first one per webhook and readiness, and the first scheduled one
# that is due is added.
OLDEST_DUE = """
WITH RECURSIVE heads AS (
    (SELECT webhook_id, readiness, due_at, id FROM hookhub_delivery
     WHERE state = 'pending' AND readiness > 0
     ORDER BY webhook_id, readiness, due_at, id LIMIT 1)
    UNION ALL
    SELECT next.* FROM heads CROSS JOIN LATERAL (
        SELECT webhook_id, readiness, due_at, id FROM hookhub_delivery
        WHERE state = 'pending' AND readiness > 0 AND (webhook_id, readiness) > (heads.webhook_id, heads.readiness)
        ORDER BY webhook_id, readiness, due_at, id LIMIT 1
    ) AS next
), waiting AS (
    SELECT due_at, id FROM hookhub_delivery
    WHERE state = 'pending' AND readiness = 0 AND due_at <= %(now)s
    ORDER BY due_at, id LIMIT 1
)
SELECT id FROM (SELECT due_at, id FROM heads UNION ALL SELECT due_at, id FROM waiting) AS due
ORDER BY due_at, id LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class AttemptStats:
    """Statistics of a webhook's attempts in a window, at most the latest MAX_ATTEMPTS of them; see ``Stats``."""

    attempts: int
    succeeded: int
    success_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of a webhook since ``since``.

    ``deliveries`` counts those created, by state. ``attempts`` and ``succeeded`` cover at most the latest MAX_ATTEMPTS
    attempts, ``success_rate`` (0 to 1) and the latency percentiles in milliseconds too; these are None without data.
    """

    since: datetime
    deliveries: dict[str, int]
    attempts: int
    succeeded: int
    success_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class AttemptCounts:
    """Counts over a webhook's latest attempts, up to a million: all, those with status 2xx, those with 400 or above."""

    total: int
    success: int
    failed: int


def count_attempts(webhook: Webhook) -> AttemptCounts:
    """Return the counts of a webhook's latest attempts by status."""
    return AttemptCounts(*sql.run(COUNT_ATTEMPTS, {"webhook": webhook.pk, "limit": MAX_COUNTED})[0])


def oldest_due(*, now: datetime) -> UUID | None:
    """Return the id of the delivery that has been due for the longest time, or None if none is due."""
    rows = sql.run(OLDEST_DUE, {"now": now})
    return rows[0][0] if rows else None


def stats_of(webhook: Webhook, *, window: timedelta, now: datetime) -> Stats:
    """Return the statistics of a webhook for the last ``window`` before ``now``."""
    since = now - window
    deliveries: dict[str, int] = dict(sql.run(COUNT_STATES, {"webhook": webhook.pk, "since": first_id_at(since)}))
    return Stats(since=since, deliveries=deliveries, **asdict(attempt_stats_of(webhook, window=window, now=now)))


def attempt_stats_of(webhook: Webhook, *, window: timedelta, now: datetime) -> AttemptStats:
    """Return the statistics of a webhook's attempts in the last ``window`` before ``now``, whose cost is bounded."""
    bounds = {"webhook": webhook.pk, "since": first_id_at(now - window), "limit": MAX_ATTEMPTS}
    attempts, succeeded, percentiles = sql.run(MEASURE_ATTEMPTS, bounds)[0]
    p50, p95, p99 = [float(value) for value in percentiles] if percentiles else (None, None, None)
    return AttemptStats(
        attempts=attempts,
        succeeded=succeeded,
        success_rate=succeeded / attempts if attempts else None,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )
