"""What the pages of the portal show of webhooks, deliveries and attempts."""

from datetime import datetime
from typing import Any

from django.utils.translation import gettext

from deliveries import polling
from deliveries.models import Attempt, Delivery, PollConsumer, Webhook
from hookhub.attempt_facts import facts_of
from hookhub.formatting import TONES, exact, relative
from hookhub.webhook_health import health_of, rates_of


def webhook_row(webhook: Webhook, *, now: datetime) -> dict[str, Any]:
    """Return what is shown of a webhook; its URL is masked as everywhere."""
    return {
        "uid": webhook.uid,
        "name": str(webhook),
        "url": webhook.shown_url,
        "is_polled": webhook.is_polled,
        "events": ", ".join(webhook.events),
        "repository": "" if webhook.repository is None else webhook.repository.name,
        "format": webhook.get_format_display(),
        "health": health_of(webhook, now=now),
        "rates": rates_of(webhook),
        "is_active": webhook.active,
        "last": "–" if webhook.last_delivery_at is None else relative(webhook.last_delivery_at, now=now),
        "last_status": webhook.last_delivery_status or "–",
    }


def consumer_row(webhook: Webhook, consumer: PollConsumer, *, now: datetime) -> dict[str, Any]:
    """Return what is shown of a consumer of a polling webhook."""
    return {
        "name": consumer.name,
        "behind": polling.behind(webhook, consumer),
        "committed": relative(consumer.committed_at, now=now),
    }


def delivery_row(delivery: Delivery, webhook: Webhook, *, now: datetime) -> dict[str, Any]:
    """Return what is shown of a delivery in a list."""
    return {
        "id": delivery.pk,
        "state": gettext(str(delivery.get_state_display())),
        "tone": TONES.get(delivery.state, "quiet"),
        "type": delivery.event_type,
        "event": delivery.event_id,
        "webhook": webhook.uid,
        "webhook_name": str(webhook),
        "attempts": delivery.attempts_made,
        "status": "–" if delivery.last_status is None else delivery.last_status,
        "due": "–" if delivery.due_at is None else relative(delivery.due_at, now=now),
        "created": relative(delivery.created_at, now=now),
        "created_at": exact(delivery.created_at),
        "created_iso": delivery.created_at.isoformat(),
    }


def attempt_shown(attempt: Attempt, *, wire_format: str) -> dict[str, Any]:
    """Return what is shown of an attempt."""
    return {
        **facts_of(attempt, wire_format=wire_format),
        "outcome": gettext(str(attempt.get_outcome_display())),
        "tone": TONES.get(attempt.outcome, "quiet"),
        "started_at": attempt.started_at.isoformat(),
    }
