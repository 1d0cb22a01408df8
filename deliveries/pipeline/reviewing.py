"""Review: disable the webhooks that have failed for too long."""

from datetime import datetime

from django.conf import settings
from django.db import transaction

from deliveries import system_events
from deliveries.db.lookups import find_one
from deliveries.models import Webhook
from deliveries.pipeline import health
from deliveries.pipeline.accepting import accept
from deliveries.policy import disabling
from deliveries.webhooks import lifecycle, recording


def review(*, now: datetime) -> list[Webhook]:
    """Disable the webhooks that have failed for too long and hold their deliveries; return the webhooks disabled.

    Settling marks the webhooks to review in their rows, so that the review survives the death of the worker.
    """
    disabled = []
    for webhook_id in lifecycle.to_review():
        with transaction.atomic():
            webhook = find_one(Webhook.objects.locked().filter(pk=webhook_id))
            if webhook is None:
                continue
            reason = disabling.should_disable(
                auto_disable=webhook.auto_disable,
                gone=webhook.gone_at is not None,
                gave_up_since=webhook.review_since,
                # Written at most once per ``health.WRITE_INTERVAL``, so the last success may be that much later.
                last_success_at=webhook.last_success_at and webhook.last_success_at + health.WRITE_INTERVAL,
                failure_count=webhook.failure_count,
                failures_allowed=settings.HOOKHUB_DISABLE_AFTER_FAILURES,
            )
            lifecycle.mark_reviewed(webhook)
            if reason == "gone" and _ends_when_gone(webhook):
                lifecycle.delete_locked(webhook, now=now)
            elif reason is not None and webhook.active:
                lifecycle.disable_locked(webhook, reason=Webhook.DisabledReason(reason), now=now)
                facts = recording.disabled_facts(webhook, now=now)
                accept([system_events.about_change("webhook.disabled", webhook, facts, now=now)], now=now)
                disabled.append(webhook)
    return disabled


def _ends_when_gone(webhook: Webhook) -> bool:
    """Return whether a 410 of its receiver ends the webhook: a subscription that its owner has not disabled."""
    return webhook.subscription is not None and webhook.deleted_at is None and not webhook.is_disabled_by_owner
