"""Count the attempts of each hour, so that charts need not read them again.

Attempts are read once, in the order of their ids, which is the order in which they ended. What has been counted and up
to where is committed together, so an attempt is neither left out nor counted twice, whatever dies in between.
"""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction

from deliveries import shutdown
from deliveries.db import sql
from deliveries.db.ids import first_id_at, time_of
from deliveries.models import HourlyStats
from deliveries.policy.latencies import BUCKETS, PER_DOUBLING
from deliveries.policy.outcomes import Cause

# An attempt may be committed after one with a later id. Count only what is older than this, and than every transaction
# that is writing.
LAG = timedelta(seconds=60)
# How often the maintenance counts.
INTERVAL = timedelta(seconds=10)
# How many attempts one statement reads, and for how long a tick goes on.
BATCH = 20_000
TICK_BUDGET = timedelta(milliseconds=300)
HOUR = timedelta(hours=1)
# Rows past the retention that one tick deletes.
PRUNE_BATCH = 1000

TIMEOUTS: frozenset[Cause] = frozenset(
    {"name_timed_out", "connection_timed_out", "response_timed_out", "response_incomplete"}
)
UNREACHABLE: frozenset[Cause] = frozenset(
    {"name_not_resolved", "connection_refused", "connection_failed", "connection_closed", "out_of_resources"}
)
TLS_ERRORS: frozenset[Cause] = frozenset(
    {
        "certificate_expired", "certificate_untrusted", "certificate_for_other_name", "certificate_invalid",
        "client_certificate_demanded", "tls_failed",
    }
)  # fmt: skip
BLOCKED: frozenset[Cause] = frozenset({"address_blocked", "https_required"})


class Group(NamedTuple):
    """Attempts of one webhook with the same result; ``bucket`` is that of their latency, None without a response."""

    organization_id: int | None
    webhook_id: int
    repository_id: int | None
    outcome: str
    status: int | None
    cause: str | None
    bucket: int | None
    attempts: int
    last_id: UUID


def kind_of(outcome: str, *, status: int | None, cause: str | None) -> str:
    """Return the column of HourlyStats that counts an attempt with this result."""
    if outcome == "delivered":
        return "delivered"
    if status is not None:
        return {3: "redirects", 4: "client_errors", 5: "server_errors"}.get(status // 100, "other")
    for kind, causes in KINDS.items():
        if cause in causes:
            return kind
    return "other"


KINDS = {"timeouts": TIMEOUTS, "unreachable": UNREACHABLE, "tls_errors": TLS_ERRORS, "blocked": BLOCKED}
COUNTERS = ("delivered", "redirects", "client_errors", "server_errors", *KINDS, "other")


class HourlyCounting:
    """Counts at most once per INTERVAL, or at every tick while it lags behind."""

    def __init__(self) -> None:
        self._due_at = 0.0

    def tick(self, *, now: datetime) -> int:
        """Count for up to TICK_BUDGET and prune; return the number of attempts counted."""
        began_at = time.monotonic()
        if began_at < self._due_at:
            return 0
        counted, until = 0, countable_until(now=now)
        while True:
            found = count_next(until)
            counted += found or 0
            if found is None:
                self._due_at = time.monotonic() + INTERVAL.total_seconds()
                break
            if time.monotonic() - began_at >= TICK_BUDGET.total_seconds() or shutdown.is_requested():
                break
        prune(now=now)
        return counted


_of_this_process = HourlyCounting()


def count_attempts(*, now: datetime) -> int:
    """Count some of the attempts that have ended; return how many."""
    return _of_this_process.tick(now=now)


def countable_until(*, now: datetime) -> datetime:
    """Return the time before which every attempt that ended has been committed."""
    oldest: datetime | None = sql.run(OLDEST_WRITER, {})[0][0]
    return now - LAG if oldest is None else min(now, oldest) - LAG


def count_next(until: datetime) -> int | None:
    """Count the next attempts of one hour that ended before ``until``; return how many, None if there are no more."""
    with transaction.atomic():
        end = first_id_at(until)
        sql.run(BEGIN_COUNTING, {"until": end})
        rows = sql.run(NEXT_ATTEMPT, {"until": end})
        if not rows:
            sql.run(NOTE_PROGRESS, {"next": end})
            return None
        first: UUID = rows[0][0]
        hour = time_of(first).replace(minute=0, second=0, microsecond=0)
        end = min(end, first_id_at(hour + HOUR))
        scope = {"first": first, "end": end, "limit": BATCH, "last_bucket": BUCKETS - 1, "per_doubling": PER_DOUBLING}
        groups = [Group(*row) for row in sql.run(READ_ATTEMPTS, scope)]
        counted = sum(group.attempts for group in groups)
        sql.run(ADD_TO_HOURS, {"rows": json.dumps(to_rows(groups, hour=hour))})
        following = UUID(int=max(group.last_id for group in groups).int + 1) if counted == BATCH else end
        sql.run(NOTE_PROGRESS, {"next": following})
    return counted


def to_rows(groups: Sequence[Group], *, hour: datetime) -> list[dict[str, object]]:
    """Return the rows to add to HourlyStats: one per webhook, per repository, per organization, and for all."""
    counts: defaultdict[tuple[int, int], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTERS, 0))
    latencies: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * BUCKETS)
    for group in groups:
        if group.organization_id is None:  # The row of its webhook was deleted by hand.
            continue
        of_repository = () if group.repository_id is None else (HourlyStats.all_of_repository(group.repository_id),)
        kind = kind_of(group.outcome, status=group.status, cause=group.cause)
        for key in (
            *((group.organization_id, key) for key in (group.webhook_id, *of_repository, HourlyStats.ALL_WEBHOOKS)),
            (HourlyStats.ALL_ORGANIZATIONS, HourlyStats.ALL_WEBHOOKS),
        ):
            counts[key][kind] += group.attempts
            if group.bucket is not None:
                latencies[key][group.bucket] += group.attempts
    return [
        {
            "organization_id": organization_id,
            "webhook_id": webhook_id,
            "hour": hour.astimezone(UTC).isoformat(),
            "latencies": latencies[organization_id, webhook_id],
            **counted,
        }
        for (organization_id, webhook_id), counted in counts.items()
    ]


def prune(*, now: datetime) -> int:
    """Delete some of the hours past the retention period; return how many rows."""
    return sql.change(PRUNE_HOURS, {"horizon": now - settings.HOOKHUB_RETENTION, "limit": PRUNE_BATCH})


# A transaction that has written nothing has no id, and a worker's attempts get their ids before it begins.
OLDEST_WRITER = """
SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL
"""

# The first time, count from the oldest attempt on.
BEGIN_COUNTING = """
WITH begun AS (
    INSERT INTO hookhub_stats_progress (id, next_attempt)
    SELECT 1, coalesce((SELECT id FROM hookhub_attempt ORDER BY id LIMIT 1), %(until)s::uuid)
    ON CONFLICT DO NOTHING
)
SELECT 1 FROM hookhub_stats_progress FOR UPDATE
"""

NEXT_ATTEMPT = """
SELECT id FROM hookhub_attempt
WHERE id >= (SELECT next_attempt FROM hookhub_stats_progress) AND id < %(until)s
ORDER BY id LIMIT 1
"""

READ_ATTEMPTS = """
WITH batch AS MATERIALIZED (
    SELECT id, webhook_id, outcome, status, cause, extract(epoch FROM duration)::float8 * 1000 AS milliseconds
    FROM hookhub_attempt WHERE id >= %(first)s AND id < %(end)s ORDER BY id LIMIT %(limit)s
)
SELECT w.organization_id, b.webhook_id, w.repository_id, b.outcome, b.status, b.cause,
       CASE WHEN b.status IS NULL THEN NULL WHEN b.milliseconds <= 1 THEN 0
            ELSE least(ceil(%(per_doubling)s * ln(b.milliseconds) / ln(2.0)), %(last_bucket)s)::int END AS bucket,
       count(*), max(b.id::text)::uuid
FROM batch b LEFT JOIN hookhub_webhook w ON w.id = b.webhook_id
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""

# Two histograms are added bucket by bucket.
ADD_TO_HOURS = f"""
INSERT INTO hookhub_hourly_stats AS h (organization_id, webhook_id, hour, {", ".join(COUNTERS)}, latencies)
SELECT organization_id, webhook_id, hour, {", ".join(COUNTERS)}, latencies
FROM jsonb_to_recordset(%(rows)s::text::jsonb) AS r(
    organization_id bigint, webhook_id bigint, hour timestamptz, {", ".join(f"{name} bigint" for name in COUNTERS)},
    latencies integer[]
)
ORDER BY organization_id, webhook_id
ON CONFLICT (organization_id, webhook_id, hour) DO UPDATE
SET {", ".join(f"{name} = h.{name} + excluded.{name}" for name in COUNTERS)},
    latencies = ARRAY(
        SELECT old + added FROM unnest(h.latencies, excluded.latencies) WITH ORDINALITY AS bucket (old, added, number)
        ORDER BY number
    )
"""

NOTE_PROGRESS = """
UPDATE hookhub_stats_progress SET next_attempt = greatest(next_attempt, %(next)s::uuid)
"""

PRUNE_HOURS = """
DELETE FROM hookhub_hourly_stats WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM hookhub_hourly_stats WHERE hour < %(horizon)s ORDER BY hour LIMIT %(limit)s
))
"""
