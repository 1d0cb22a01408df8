"""Maintenance of leases and proofs: tell owners in time, end webhooks, and forget those that were never verified."""

from datetime import datetime

from django.db import transaction

from deliveries import pipeline, system_events
from deliveries.db import sql
from deliveries.events import NewEvent
from deliveries.models import Verification, Webhook
from deliveries.webhooks import lifecycle, verifying

# How many webhooks a tick reads. Matching and claiming check a lease by themselves, so a backlog does no harm.
WEBHOOKS_PER_TICK = 100


def warn_of_expiry(*, now: datetime) -> int:
    """Publish ``lease.expiring`` for webhooks that end soon, once per lease, and make the e-mail due; return how many.

    One that ended before the warning is left out: the event that it has ended follows.
    """
    due = Webhook.objects.kept().filter(expiry_warning_at__lte=now).order_by("expiry_warning_at")
    warned = 0
    for webhook_id in list(due.values_list("id", flat=True)[:WEBHOOKS_PER_TICK]):
        with transaction.atomic():
            webhook = _lock(webhook_id, expiry_warning_at__lte=now)
            if webhook is None:
                continue
            webhook.expiry_warning_at = None
            webhook.expiry_mail_at = now
            webhook.save(update_fields=["expiry_warning_at", "expiry_mail_at"])
            if not webhook.has_ended(now=now):
                pipeline.accept([_event("lease.expiring", webhook, now=now)], now=now)
                warned += 1
    return warned


def end_expired(*, now: datetime) -> int:
    """Cancel the deliveries of webhooks whose lease has ended, a bounded number per call; return how many.

    A webhook with none left is marked as ended, and ``lease.expired`` is published. A polling webhook is then deleted.
    So is a subscription of a hub or of an agent, because only its subscriber could renew it; if a renewal is being
    verified, it is deleted once that has failed. A subscription that its owner has disabled is kept: otherwise its
    subscriber could get an enabled one by asking again.
    """
    expired = Webhook.objects.kept().filter(expires_at__lte=now, ended_at=None).order_by("expires_at")
    cancelled = 0
    for webhook_id in list(expired.values_list("id", flat=True)[:WEBHOOKS_PER_TICK]):
        with transaction.atomic():
            webhook = _lock(webhook_id, expires_at__lte=now, ended_at=None)
            if webhook is None:
                continue
            cancelled += lifecycle.end_locked(webhook, now=now)
            if webhook.ended_at is not None:
                pipeline.accept([_event("lease.expired", webhook, now=now)], now=now)
                if webhook.is_polled or not _is_kept(webhook):
                    lifecycle.delete_locked(webhook, now=now)
        if cancelled >= sql.BATCH:
            break
    return cancelled


def _is_kept(webhook: Webhook) -> bool:
    """Return whether a webhook whose lease has ended is kept."""
    if webhook.subscription is None or webhook.verifications.open().exists():
        return True
    return webhook.is_disabled_by_owner


def forget_unverified(*, now: datetime) -> int:
    """Delete webhooks that were never verified, some time after their verification has failed; return how many."""
    due = Verification.objects.filter(forget_at__lte=now).order_by("forget_at").values_list("id", "webhook_id")
    return sum(
        verifying.forget(verification_id, webhook_id=webhook_id, now=now)
        for verification_id, webhook_id in list(due[:WEBHOOKS_PER_TICK])
    )


def _lock(webhook_id: int, **conditions: object) -> Webhook | None:
    """Lock a webhook if it still meets the conditions; return None if not, or if another transaction has locked it."""
    found = Webhook.objects.kept().filter(pk=webhook_id, **conditions).select_related("organization")
    return found.select_for_update(no_key=True, skip_locked=True, of=("self",)).first()


def _event(event_type: str, webhook: Webhook, *, now: datetime) -> NewEvent:
    """Return the system event that reports to the organization's other webhooks that a lease ends, or has ended."""
    expires_at = webhook.expires_at
    facts = {"expires_at": None if expires_at is None else expires_at.isoformat()}
    return system_events.about_webhook(event_type, webhook, facts, now=now)
