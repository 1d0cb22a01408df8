"""The state of the system for the dashboard, in a handful of queries whose cost is bounded."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from deliveries import stats, timeseries, timezone, workers
from deliveries.db import sql
from deliveries.models import Attempt, Delivery, OutboxEntry, Repository, Webhook
from deliveries.policy import pace
from deliveries.workers import Workers
from hookhub import charts
from hookhub.admin.base import page_of
from hookhub.admin.keyset import MAX_SCANNED
from hookhub.admin.tenancy import is_unrestricted, organizations_of
from hookhub.formatting import MAX_COUNTED, at_most, count_up_to, relative, span, when

# The workers' scheduler ticks once a second, so a delivery this late means that the system does not keep up.
LATE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number on the dashboard, with the link behind it."""

    title: str
    value: str
    address: str
    tone: str = "quiet"


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Everything that the dashboard shows; ``verdict`` is one sentence, and ``tone`` its color."""

    verdict: str
    tone: str
    metrics: list[Metric]
    oldest: Delivery | None
    oldest_page: str
    oldest_due: SafeString | str
    last_attempt: SafeString | str
    workers: str
    chart: dict[str, object]


def load(request: HttpRequest) -> Dashboard:
    """Return the current state of the system, or of the part that belongs to the user's organizations."""
    now = timezone.now()
    own = None if is_unrestricted(request) else list(organizations_of(request).values_list("pk", flat=True))
    oldest = oldest_due(own, now=now)
    last_attempt_at = latest_attempt_at(own)
    found = workers.seen(now=sql.database_now())
    is_work = oldest is not None or events_of(own).exists()
    verdict, tone = assess(oldest, last_attempt_at, no_worker=no_worker(found, now=now), is_work=is_work, now=now)
    return Dashboard(
        verdict=verdict,
        tone=tone,
        metrics=metrics(own, now=now),
        oldest=oldest,
        oldest_page="" if oldest is None else page_of(oldest),
        oldest_due="–" if oldest is None else when(oldest.due_at, now=now),
        last_attempt=when(last_attempt_at, now=now),
        workers=f"{found.alive:,}",
        chart=charts.context_of(request, partial(timeseries.of_organizations, own), now=now),
    )


def events_of(own: list[int] | None) -> QuerySet[OutboxEntry]:
    """Return the events that are not fanned out yet, of all organizations or of those in ``own``."""
    events = OutboxEntry.objects.all()
    if own is None:
        return events
    # Filter by partition, by which the outbox is indexed: other organizations may have a million events in it.
    repositories = Repository.objects.filter(organization__in=own).values_list("pk", flat=True)
    return events.filter(partition__in=[*(-pk for pk in own), *repositories])


def latest_attempt_at(own: list[int] | None) -> datetime | None:
    """Return when the latest attempt was made; for the organizations in ``own`` it may be a second too early."""
    if own is None:
        return Attempt.objects.order_by("-id").values_list("started_at", flat=True).first()
    # Read from the webhooks: in the log it may be behind a million attempts of other organizations.
    webhooks = Webhook.objects.filter(organization__in=own)
    found: datetime | None = webhooks.aggregate(latest=Max("last_delivery_at"))["latest"]
    return found


def oldest_due(own: list[int] | None, *, now: datetime) -> Delivery | None:
    """Return the delivery that has been due longest, in all organizations or in those in ``own``."""
    candidates = [stats.oldest_due(now=now)] if own is None else oldest_due_of_each(own, now=now)
    found = Delivery.objects.filter(id__in=[candidate for candidate in candidates if candidate is not None])
    return found.order_by("due_at").select_related("webhook").first()


def oldest_due_of_each(own: list[int], *, now: datetime) -> list[UUID | None]:
    """Return the ids of the delivery due longest, per webhook of the organizations in ``own`` and per ready state."""
    due = Delivery.objects.filter(webhook=OuterRef("pk"), state="pending", due_at__lte=now).order_by("due_at", "id")
    oldest_by_line = {
        f"ready_{readiness.value}": Subquery(due.filter(readiness=readiness).values("pk")[:1])
        for readiness in (Delivery.Readiness.READY_FIRST, Delivery.Readiness.READY_RETRY)
    }
    found = Webhook.objects.filter(organization__in=own).annotate(**oldest_by_line).values_list(*oldest_by_line)
    return [delivery_id for row in found for delivery_id in row]


def no_worker(found: Workers, *, now: datetime) -> str:
    """Return a sentence that says since when no worker is alive, or "" if one is."""
    if found.alive:
        return ""
    if found.seen_at is None:
        return "No worker has started yet."
    return f"No worker is running. The last one was seen {relative(found.seen_at, now=now)}."


def assess(
    oldest: Delivery | None, last_attempt_at: datetime | None, *, no_worker: str, is_work: bool, now: datetime
) -> tuple[str, str]:
    """Return one sentence that says whether deliveries are sent in time, with its tone.

    ``no_worker`` says since when no worker is alive, and is empty if one is.
    """
    if no_worker:
        if is_work:
            return f"{no_worker} Events are queued. Start a worker with `manage.py run worker`.", "bad"
        return f"{no_worker} The queue is empty.", "warning"
    if oldest is None or oldest.due_at is None or now - oldest.due_at < LATE:
        return "All deliveries are on time.", "good"
    late = span(now - oldest.due_at)
    backoff_until = oldest.webhook.backoff_until
    if backoff_until is not None and backoff_until > now:
        return f"The oldest ready delivery is {late} overdue: its webhook is backing off.", "warning"
    if last_attempt_at is None or now - last_attempt_at > LATE:
        since = "there have been no attempts" if last_attempt_at is None else (
            f"the last attempt was {relative(last_attempt_at, now=now)}")  # fmt: skip
        return f"The oldest ready delivery is {late} overdue, and {since}. Check that a worker is running.", "bad"
    if (whose := pace.stricter(oldest.webhook.rate_limit, allowed_rate=oldest.webhook.allowed_rate)) is not None:
        return f"The oldest ready delivery is {late} overdue: its {whose} allows a limited rate.", "warning"
    return f"The oldest ready delivery is {late} overdue. The workers or its receiver cannot keep up.", "warning"


def metrics(own: list[int] | None, *, now: datetime) -> list[Metric]:
    """Return the numbers of the dashboard, for all organizations or those in ``own``, each counted up to a limit."""
    all_deliveries, events, kept = Delivery.objects.all(), events_of(own), Webhook.objects.kept()
    if own is not None:
        kept = kept.filter(organization__in=own)
        # Filter by webhook, because each queued state has an index that starts with the webhook. Load the ids first,
        # because the planner knows how many deliveries each webhook has, but not how many an organization has.
        webhooks = list(Webhook.objects.filter(organization__in=own).values_list("pk", flat=True))
        all_deliveries = all_deliveries.filter(webhook__in=webhooks)
    log, hooks = reverse("admin:deliveries_delivery_changelist"), reverse("admin:deliveries_webhook_changelist")
    pending = all_deliveries.filter(state="pending")
    failed = failed_since(now - timedelta(hours=24), own=own)
    scheduled = Delivery.Readiness.SCHEDULED
    counted = [
        ("Ready", count_up_to(pending.filter(readiness__gt=scheduled)), f"{log}?state=due", "waiting"),
        ("Sending", count_up_to(all_deliveries.filter(state="sending")), f"{log}?state=sending", "busy"),
        ("Scheduled", count_up_to(pending.filter(readiness=scheduled)), f"{log}?state=later", "waiting"),
        ("Held", count_up_to(all_deliveries.filter(state="held")), f"{log}?state=held", "warning"),
        ("Failed (last 24 hours)", failed, f"{log}?state=failed", "bad"),
        ("Events awaiting fan-out", count_up_to(events),
         reverse("admin:deliveries_event_changelist"), "waiting"),
        ("Failing webhooks", count_up_to(kept.filter(disabled_at=None, failure_count__gt=0)),
         f"{hooks}?condition=failing", "warning"),
        ("Unverified webhooks", count_up_to(kept.filter(proof__isnull=False, verified_at=None)),
         f"{hooks}?condition=unverified", "warning"),
        ("Disabled webhooks", count_up_to(kept.filter(disabled_at__isnull=False)),
         f"{hooks}?condition=disabled", "bad"),
    ]  # fmt: skip
    return [Metric(title, value, address, tone if value != "0" else "quiet") for title, value, address, tone in counted]


def failed_since(moment: datetime, *, own: list[int] | None) -> str:
    """Return how many of the latest deliveries have failed since ``moment``, as text.

    For all organizations these are the latest failed deliveries. For those in ``own`` they are the latest deliveries of
    each organization in any state, because the index of failed deliveries covers all organizations together.
    """
    if own is None:
        limit, logs = MAX_COUNTED, [Delivery.objects.filter(state="failed")]
    else:
        limit, logs = MAX_SCANNED, [Delivery.objects.filter(organization=pk) for pk in own]
    recent, is_cut = 0, False
    for rows in logs:
        latest = rows.order_by("-id").values("id", "state", "finished_at")[: limit + 1]
        has_failed = Q(state="failed", finished_at__gte=moment)
        found = latest.aggregate(all=Count("id"), recent=Count("id", filter=has_failed))
        # An older delivery may have failed recently too, so a count that did not see all of them is only a lower bound.
        is_cut = is_cut or found["all"] > limit
        recent += found["recent"]
    return f"{min(recent, MAX_COUNTED):,}+" if is_cut else at_most(recent)
