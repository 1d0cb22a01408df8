"""The health of a webhook in a few words, the same on every page."""

from datetime import datetime
from typing import NamedTuple

from deliveries.models import Webhook
from hookhub.formatting import relative


class Health(NamedTuple):
    """A few words, and their tone: ``good``, ``warning``, ``bad`` or ``quiet``."""

    text: str
    tone: str


def health_of(webhook: Webhook, *, now: datetime) -> Health:
    """Return how healthy a webhook is."""
    if webhook.deleted_at is not None:
        return Health("Deleted", "quiet")
    if webhook.has_ended(now=now):
        return Health("Ended", "quiet")
    if webhook.disabled_at is not None:
        return Health(f"Disabled: {webhook.get_disabled_reason_display()}", "quiet" if was_meant(webhook) else "bad")
    if webhook.unverified:
        return Health("Unverified", "warning")
    if webhook.backoff_until is not None and webhook.backoff_until > now:
        return Health(f"Backing off, next attempt {relative(webhook.backoff_until, now=now)}", "warning")
    if webhook.failure_count:
        return Health(f"Failing ({webhook.failure_count})", "warning")
    if webhook.last_delivery_at is None:
        return Health("No deliveries yet", "quiet")
    return Health("Healthy", "good")


def was_meant(webhook: Webhook) -> bool:
    """Return whether the webhook was disabled by its owner."""
    return webhook.disabled_reason == Webhook.DisabledReason.BY_OWNER
