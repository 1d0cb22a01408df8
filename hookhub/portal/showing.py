"""What the pages of the portal show of webhooks, deliveries and attempts; what a receiver wrote is made printable."""

from datetime import datetime, timedelta
from typing import Any

from deliveries.explanations import explanation_of, timing_of
from deliveries.models import Attempt, Delivery, Webhook
from deliveries.plain_text import printable
from hookhub.formatting import exact, relative, span
from hookhub.webhook_health import health_of

PHASES = {"dns": "DNS", "connect": "connect", "tls": "TLS", "first_byte": "first byte"}
TONES = {"delivered": "good", "failed": "bad", "held": "warning", "cancelled": "quiet"}


def webhook_row(webhook: Webhook, *, now: datetime) -> dict[str, Any]:
    """Return what is shown of a webhook; its URL is masked as everywhere."""
    return {
        "uid": webhook.uid,
        "name": webhook.name or webhook.shown_url,
        "url": webhook.shown_url,
        "events": ", ".join(webhook.events),
        "repository": "" if webhook.repository is None else webhook.repository.name,
        "format": webhook.get_format_display(),
        "health": health_of(webhook, now=now),
        "last": "–" if webhook.last_delivery_at is None else relative(webhook.last_delivery_at, now=now),
        "last_status": webhook.last_delivery_status or "–",
    }


def delivery_row(delivery: Delivery, webhook: Webhook, *, now: datetime) -> dict[str, Any]:
    """Return what is shown of a delivery in a list."""
    return {
        "id": delivery.pk,
        "state": delivery.get_state_display(),
        "tone": TONES.get(delivery.state, "waiting"),
        "type": delivery.event_type,
        "event": delivery.event_id,
        "webhook": webhook.uid,
        "attempts": delivery.attempts_made,
        "status": "–" if delivery.last_status is None else delivery.last_status,
        "due": "–" if delivery.due_at is None else relative(delivery.due_at, now=now),
        "created": relative(delivery.created_at, now=now),
        "created_at": exact(delivery.created_at),
    }


def attempt_shown(attempt: Attempt, *, wire_format: str) -> dict[str, Any]:
    """Return what is shown of an attempt."""
    explanation = explanation_of(attempt, wire_format=wire_format)
    return {
        "number": attempt.number,
        "outcome": attempt.get_outcome_display(),
        "tone": "good" if attempt.outcome == Attempt.Outcome.DELIVERED else "bad",
        "status": attempt.status or "no response",
        "started": exact(attempt.started_at),
        "took": "–" if attempt.duration is None else span(attempt.duration),
        "phases": [
            (PHASES[name], span(timedelta(seconds=length)))
            for name, length in timing_of(attempt).items()
            if length is not None
        ],
        "what_happened": printable(explanation.what_happened) if explanation else "",
        "what_to_do": printable(explanation.what_to_do) if explanation else "",
        "error": printable(attempt.error),
        "url": printable(attempt.url),
        "request_headers": printable(attempt.request_headers),
        "response_headers": printable(attempt.response_headers),
        "response_body": printable(bytes(attempt.response_body)),
    }
