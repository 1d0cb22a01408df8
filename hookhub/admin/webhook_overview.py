"""The health of a webhook: as a label for the list, and as numbers for its page."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.safestring import SafeString

from deliveries import vault
from deliveries.formats import MASK, format_of
from deliveries.models import Attempt, Delivery, Webhook
from hookhub.admin.formatting import badge, count_up_to, exact, relative, span

# How many of the latest attempts the numbers are computed from.
MEASURED = 1000


@dataclass(frozen=True, slots=True)
class Measures:
    """Numbers of the latest attempts; all but the count are None if there were none."""

    attempts: int
    success_rate: float | None = None
    middle: timedelta | None = None
    slow: timedelta | None = None
    slowest: timedelta | None = None


def health(webhook: Webhook, *, now: datetime) -> SafeString:
    """Return a colored label that says how healthy a webhook is."""
    if webhook.deleted_at is not None:
        return badge("Deleted", "quiet")
    if webhook.disabled_at is not None:
        return badge(f"Disabled: {webhook.get_disabled_reason_display()}", "quiet" if was_meant(webhook) else "bad")
    if webhook.resting_until is not None and webhook.resting_until > now:
        return badge(f"Backing off, next attempt {relative(webhook.resting_until, now=now)}", "warning")
    if webhook.failure_count:
        return badge(f"Failing ({webhook.failure_count})", "warning")
    if webhook.last_delivery_at is None:
        return badge("No deliveries yet", "quiet")
    return badge("Healthy", "good")


def was_meant(webhook: Webhook) -> bool:
    """Return whether the webhook was disabled by its owner."""
    return webhook.disabled_reason == Webhook.DisabledReason.BY_OWNER


def measure(webhook: Webhook) -> Measures:
    """Return the numbers of a webhook's latest attempts."""
    latest = Attempt.objects.filter(webhook=webhook).order_by("-id").values_list("outcome", "duration")[:MEASURED]
    return summarise(list(latest))


def summarise(attempts: list[tuple[str, timedelta | None]]) -> Measures:
    """Return the numbers of (outcome, duration) pairs; percentiles use nearest rank, so they are measured values."""
    if not attempts:
        return Measures(0)
    good = sum(outcome == Attempt.Outcome.DELIVERED for outcome, _ in attempts)
    durations = sorted(duration for _, duration in attempts if duration is not None)
    return Measures(
        len(attempts),
        good / len(attempts),
        nearest_rank(durations, 50),
        nearest_rank(durations, 95),
        nearest_rank(durations, 99),
    )


def nearest_rank(ordered: list[timedelta], percent: int) -> timedelta | None:
    """Return the smallest value that at least ``percent`` of all do not exceed, or None if there are none."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None


def metrics(webhook: Webhook, *, now: datetime) -> list[tuple[str, str]]:
    """Return a webhook's numbers as (title, value) pairs, each from a query of bounded cost."""
    measures = measure(webhook)
    log = Delivery.objects.filter(webhook=webhook)
    rate = "–" if measures.success_rate is None else f"{measures.success_rate:.1%}"
    spans = " / ".join(
        "–" if value is None else span(value) for value in (measures.middle, measures.slow, measures.slowest)
    )
    return [
        ("Ready", count_up_to(log.filter(state="pending", line__gt=Delivery.Line.NONE))),
        ("Scheduled", count_up_to(log.filter(state="pending", line=Delivery.Line.NONE))),
        ("Sending", count_up_to(log.filter(state="sending"))),
        ("Held", count_up_to(log.filter(state="held"))),
        (f"Success rate (last {measures.attempts:,} attempts)", rate),
        ("Response time p50 / p95 / p99", spans),
        ("Consecutive failures", f"{webhook.failure_count:,}"),
        ("Last success", "–" if webhook.last_success_at is None else relative(webhook.last_success_at, now=now)),
    ]


def secrets_of(webhook: Webhook, *, now: datetime) -> list[str]:
    """Return until when each live secret signs, and never the secret itself."""
    try:
        live = [secret for secret in vault.secrets_of(webhook) if secret.is_live(now)]
    except vault.Unreadable as error:
        return [f"Cannot be decrypted: {error}"]
    return [
        "current" if secret.expires_at is None else f"previous (expires {exact(secret.expires_at)})" for secret in live
    ]


def can_sign(webhook: Webhook) -> bool:
    """Return whether the webhook's format uses secrets at all."""
    return format_of(webhook.format).secret_policy.allows_secret


def headers_of(webhook: Webhook) -> list[str]:
    """Return the webhook's custom headers with masked values."""
    try:
        return [f"{name}: {MASK}" for name in vault.headers_of(webhook)]
    except vault.Unreadable as error:
        return [f"Cannot be decrypted: {error}"]
