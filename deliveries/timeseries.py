"""Statistics over time: what became of the attempts of each hour or day, for charts."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from django.db import transaction

from deliveries.db import arrays, sql
from deliveries.db.ids import time_of
from deliveries.models import HourlyStats, Repository, StatsProgress, Webhook
from deliveries.policy.latencies import BUCKETS, added, percentile

Step = Literal["hour", "day"]
LENGTHS: dict[Step, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
FAILURES = (
    "redirects", "client_errors", "server_errors", "timeouts", "unreachable", "tls_errors", "blocked", "other",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """What became of the attempts that ended from ``at`` on for one step; latencies are None without responses."""

    at: datetime
    attempts: int
    delivered: int
    failed: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


def counted_until() -> datetime | None:
    """Return the time up to which attempts have been counted, or None if none has."""
    progress = StatsProgress.objects.first()
    return None if progress is None else time_of(progress.next_attempt)


def of_webhooks(webhooks: Sequence[Webhook], *, after: datetime, before: datetime, step: Step) -> list[Point]:
    """Return a point for each step of these webhooks' attempts, also for steps without any; see ``points``."""
    organizations = {webhook.organization_id for webhook in webhooks}
    ids = [webhook.pk for webhook in webhooks]
    return points(sorted(organizations), webhook_ids=ids, after=after, before=before, step=step)


def of_organizations(
    organization_ids: Sequence[int] | None, *, after: datetime, before: datetime, step: Step
) -> list[Point]:
    """Return a point for each step of all attempts of these organizations, by default of all; see ``points``."""
    ids = [HourlyStats.ALL_ORGANIZATIONS] if organization_ids is None else organization_ids
    return points(ids, webhook_ids=[HourlyStats.ALL_WEBHOOKS], after=after, before=before, step=step)


def hourly_counts(
    webhooks: Sequence[Webhook], *, after: datetime, before: datetime
) -> dict[int, list[tuple[int, int]]]:
    """Return for each webhook, by its key, how many attempts delivered and how many failed in each hour.

    The first hour is the one that contains ``after``.
    """
    first = floor(after, "hour")
    hours = {at: n for n, at in enumerate(_steps(first, before, LENGTHS["hour"]))}
    counts = {webhook.pk: [(0, 0)] * len(hours) for webhook in webhooks}
    rows = HourlyStats.objects.filter(
        organization_id__in={webhook.organization_id for webhook in webhooks},
        webhook_id__in=list(counts),
        hour__gte=first,
        hour__lt=before,
    ).values_list("webhook_id", "hour", "delivered", *FAILURES)
    for webhook_id, hour, delivered, *failed in rows:
        counts[webhook_id][hours[hour]] = (delivered, sum(failed))
    return counts


def of_repository(repository: Repository, *, after: datetime, before: datetime, step: Step) -> list[Point]:
    """Return a point for each step of all attempts of the webhooks of a repository; see ``points``."""
    ids = [HourlyStats.all_of_repository(repository.pk)]
    return points([repository.organization_id], webhook_ids=ids, after=after, before=before, step=step)


def points(
    organization_ids: Sequence[int], *, webhook_ids: Sequence[int], after: datetime, before: datetime, step: Step
) -> list[Point]:
    """Return a point for each step that begins before ``before``, from the one that contains ``after`` on.

    Latencies are left out if they are those of too many hours together to be added up.
    """
    first = floor(after, step)
    asked = {
        "organizations": arrays.bigints(organization_ids), "webhooks": arrays.bigints(webhook_ids),
        "first": first, "before": before, "step": step,
    }  # fmt: skip
    histograms: dict[datetime, list[tuple[int, ...]]] = {}
    with transaction.atomic():
        # A plan for any webhooks and any time would read the whole table.
        sql.run(sql.PREFER_ORDERED_INDEXES, {})
        counts = {at: numbers for at, *numbers in sql.run(ADD_UP, asked)}
        if 0 < sum(hours for *_, hours in counts.values()) <= MAX_HISTOGRAMS:
            for at, histogram in sql.run(READ_LATENCIES, asked):
                histograms.setdefault(at, []).append(COUNTS.unpack_from(histogram, HEADER)[1::2])
    nothing = [0] * (len(FAILURES) + 1)
    return [_point(at, counts.get(at, nothing), histograms.get(at, [])) for at in _steps(first, before, LENGTHS[step])]


def floor(moment: datetime, step: Step) -> datetime:
    """Return the beginning of the hour or the day, in UTC, that contains a moment."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if step == "hour" else hour.replace(hour=0)


def _steps(first: datetime, before: datetime, length: timedelta) -> Iterator[datetime]:
    # Counted first: the step after the last one may be beyond the year 9999.
    for number in range(-((first - before) // length)):
        yield first + number * length


def _point(at: datetime, counts: Sequence[int], histograms: Sequence[Sequence[int]]) -> Point:
    delivered, failed = counts[0], dict(zip(FAILURES, counts[1:], strict=False))
    latencies = added(histograms)
    p50, p95, p99 = (percentile(latencies, part) for part in (0.5, 0.95, 0.99))
    return Point(at, delivered + sum(failed.values()), delivered, failed, p50, p95, p99)


# Histograms that are added up for one chart: those of a month of one webhook, and of a day of fifty.
MAX_HISTOGRAMS = 1300
# PostgreSQL's binary form of an array: a header, and for each element its length and its value.
HEADER, COUNTS = 20, struct.Struct(f">{2 * BUCKETS}i")

OF_THESE = """
FROM hookhub_hourly_stats
WHERE organization_id = ANY(%(organizations)s::bigint[]) AND webhook_id = ANY(%(webhooks)s::bigint[])
  AND hour >= %(first)s AND hour < %(before)s
"""

ADD_UP = f"""
SELECT date_trunc(%(step)s, hour, 'UTC'), sum(delivered)::bigint,
       {", ".join(f"sum({name})::bigint" for name in FAILURES)}, count(*)
{OF_THESE} GROUP BY 1
"""

READ_LATENCIES = f"SELECT date_trunc(%(step)s, hour, 'UTC'), array_send(latencies) {OF_THESE}"
