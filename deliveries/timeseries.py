"""Statistics over time: what became of the attempts of each hour or day, for charts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from deliveries.db.ids import time_of
from deliveries.models import HourlyStats, StatsProgress, Webhook
from deliveries.policy.latencies import added, percentile

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


def points(
    organization_ids: Sequence[int], *, webhook_ids: Sequence[int], after: datetime, before: datetime, step: Step
) -> list[Point]:
    """Return a point for each step that begins before ``before``, from the one that contains ``after`` on."""
    first = floor(after, step)
    rows = HourlyStats.objects.filter(
        organization_id__in=organization_ids, webhook_id__in=webhook_ids, hour__gte=first, hour__lt=before
    )
    found: dict[datetime, list[HourlyStats]] = {}
    for row in rows:
        found.setdefault(floor(row.hour, step), []).append(row)
    return [_point(at, found.get(at, [])) for at in _steps(first, before, LENGTHS[step])]


def floor(moment: datetime, step: Step) -> datetime:
    """Return the beginning of the hour or the day, in UTC, that contains a moment."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if step == "hour" else hour.replace(hour=0)


def _steps(first: datetime, before: datetime, length: timedelta) -> Iterator[datetime]:
    while first < before:
        yield first
        first += length


def _point(at: datetime, rows: Sequence[HourlyStats]) -> Point:
    delivered = sum(row.delivered for row in rows)
    failed = {name: sum(getattr(row, name) for row in rows) for name in FAILURES}
    latencies = added([row.latencies for row in rows])
    p50, p95, p99 = (percentile(latencies, part) for part in (0.5, 0.95, 0.99))
    return Point(at, delivered + sum(failed.values()), delivered, failed, p50, p95, p99)
