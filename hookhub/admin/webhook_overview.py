"""The health of a webhook: as a label for the list, and as numbers for its page."""

import json
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.template.defaultfilters import pluralize
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries import timeseries, vault
from deliveries.explanations import last_failure_of
from deliveries.formats import MASK
from deliveries.models import Delivery, Webhook
from deliveries.stats import attempt_stats_of
from deliveries.webhooks.verification_log import Entry
from deliveries.webhooks.verifying import latest_of
from hookhub import charts
from hookhub.admin.presenters import delivery_row
from hookhub.admin.webhook_actions import OBJECT_ACTIONS
from hookhub.event_types import examples
from hookhub.formatting import badge, count_up_to, exact, relative, span, when
from hookhub.webhook_health import health_of, rates_of

ACTIVE = Webhook.Status.ACTIVE
# The recent deliveries on a webhook's page.
LATEST = 20
# The window of the statistics, which is also the API's default.
WINDOW = timedelta(days=1)


def overview(request: HttpRequest, webhook: Webhook, *, may_act: bool, now: datetime) -> dict[str, Any]:
    """Return the context for the part of the page above a webhook's form."""
    latest = Delivery.objects.of_webhook(webhook.pk).order_by("-id").prefetch_related("webhook")[:LATEST]
    can_act = may_act and webhook.deleted_at is None
    return {
        "health": health(webhook, now=now),
        "metrics": metrics(webhook, now=now),
        "explanation": last_failure_of(webhook) if webhook.failure_count else None,
        "chart": charts.context_of(request, partial(timeseries.of_webhooks, [webhook]), now=now),
        "last_delivery": webhook.last_delivery_status,
        "last_delivery_at": when(webhook.last_delivery_at, now=now),
        "disabled_at": when(webhook.disabled_at, now=now) if webhook.disabled_at else None,
        "lease": "never" if webhook.expires_at is None else when(webhook.expires_at, now=now),
        "verification": verification_of(webhook, now=now),
        "rates": rates_of(webhook),
        "secrets": secrets_of(webhook, now=now),
        "custom_headers": headers_of(webhook),
        "rows": [delivery_row(delivery, now=now) for delivery in latest],
        "tests": sorted(examples.by_name(webhook)) if can_act and webhook.status(now=now) == ACTIVE else [],
        "buttons": [(name, label) for name, label, applies in OBJECT_ACTIONS if can_act and applies(webhook)],
    }


def health(webhook: Webhook, *, now: datetime) -> SafeString:
    """Return a colored label that says how healthy a webhook is."""
    return badge(*health_of(webhook, now=now))


def metrics(webhook: Webhook, *, now: datetime) -> list[tuple[str, str]]:
    """Return a webhook's numbers as (title, value) pairs, each from a query of bounded cost."""
    stats = attempt_stats_of(webhook, window=WINDOW, now=now)
    log = Delivery.objects.filter(webhook=webhook)
    rate = "–"
    if stats.success_rate is not None:
        rate = f"{stats.success_rate:.1%} of {stats.attempts:,} attempt{pluralize(stats.attempts)}"
    percentiles = (stats.p50_ms, stats.p95_ms, stats.p99_ms)
    latencies = " / ".join("–" if value is None else span(timedelta(milliseconds=value)) for value in percentiles)
    return [
        ("Ready", count_up_to(log.filter(state="pending", readiness__gt=Delivery.Readiness.SCHEDULED))),
        ("Scheduled", count_up_to(log.filter(state="pending", readiness=Delivery.Readiness.SCHEDULED))),
        ("Sending", count_up_to(log.filter(state="sending"))),
        ("Held", count_up_to(log.filter(state="held"))),
        ("Success rate (last 24 hours)", rate),
        ("Response time p50 / p95 / p99", latencies),
        ("Consecutive failures", f"{webhook.failure_count:,}"),
        ("Last success", "–" if webhook.last_success_at is None else relative(webhook.last_success_at, now=now)),
    ]


def verification_of(webhook: Webhook, *, now: datetime) -> list[tuple[str, SafeString | str]]:
    """Return the latest verification as (title, value) pairs; none if there was none and none is wanted."""
    latest = latest_of(webhook)
    if latest is None:
        return subscription_of(webhook)
    verified = "–" if webhook.verified_at is None else when(webhook.verified_at, now=now)
    facts = [("Verified", verified), ("Verification", latest.get_state_display()), ("URL asked", latest.stored_url)]
    if latest.due_at is not None:
        facts.append(("Next request", when(latest.due_at, now=now)))
    facts += [(f"Request {request['number']}", _request(request, now=now)) for request in latest.requests]
    return [*facts, *subscription_of(webhook)]


def subscription_of(webhook: Webhook) -> list[tuple[str, SafeString | str]]:
    """Return what a subscriber has asked for, as (title, value) pairs; none for webhooks created otherwise."""
    match webhook.subscription:
        case {"topic": topic, "hub": hub}:
            return [("Topic", str(topic)), ("Hub", str(hub))]
        case {"id": subscription_id, "arguments": arguments, "api_key": key}:
            shown = json.dumps(arguments, ensure_ascii=False)
            return [("Subscription", str(subscription_id)), ("Arguments", shown), ("API key", str(key))]
    return []


def _request(logged: Entry, *, now: datetime) -> SafeString:
    answer = "" if logged["status"] is None else f"{logged['status']} {logged['excerpt']}".strip()
    said = [answer, logged["error"] or logged["outcome"]]
    return format_html(
        "{}: {}", when(datetime.fromisoformat(logged["started_at"]), now=now), " – ".join(filter(None, said))
    )


def secrets_of(webhook: Webhook, *, now: datetime) -> list[str]:
    """Return until when each live secret signs, and never the secret itself."""
    try:
        live = [secret for secret in vault.secrets_of(webhook) if secret.is_live(now)]
    except vault.Unreadable as error:
        return [f"Cannot be decrypted: {error}"]
    return [
        "current" if secret.expires_at is None else f"previous (expires {exact(secret.expires_at)})" for secret in live
    ]


def headers_of(webhook: Webhook) -> list[str]:
    """Return the webhook's custom headers with masked values."""
    try:
        return [f"{name}: {MASK}" for name in vault.headers_of(webhook)]
    except vault.Unreadable as error:
        return [f"Cannot be decrypted: {error}"]
