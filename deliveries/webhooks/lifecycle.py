"""Enable, disable and delete webhooks. Each function locks, changes and commits; ``*_locked`` takes a locked row."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from deliveries import audit, vault, wakeup
from deliveries.audited import webhook_state, webhook_target
from deliveries.db import sql
from deliveries.db.lookups import find_one
from deliveries.formats.masking import mask_path
from deliveries.models import Delivery, DeliveryQuerySet, Webhook
from deliveries.policy.incidents import DISABLED
from deliveries.webhooks import denials, recording
from deliveries.webhooks.locking import lock
from deliveries.webhooks.secrets import SEALED_COLUMNS

Reason = Webhook.DisabledReason

# Webhooks examined by one pass of the review.
REVIEW_BATCH = 100


class Part(NamedTuple):
    """A subset of a webhook's deliveries, with the condition and order of the index that serves it.

    With another condition or order, PostgreSQL would read the webhook's whole delivery log.
    """

    state: str
    condition: Q
    order: tuple[str, ...]

    def of(self, webhook: Webhook) -> DeliveryQuerySet:
        """Return the deliveries of a webhook that are in this part."""
        return Delivery.objects.of_webhook(webhook.pk).filter(self.condition).order_by(*self.order)


READY = Part("pending", Q(state="pending", readiness__gt=0), ("webhook_id", "readiness", "due_at", "id"))
SCHEDULED = Part("pending", Q(state="pending", readiness=0), ("id",))
HELD = Part("held", Q(state="held"), ("id",))


def has_held(webhook: Webhook) -> bool:
    """Return whether deliveries of the webhook are held."""
    # Ordered: PostgreSQL would read the whole log for one row in any order, if many deliveries of others are held.
    return HELD.of(webhook).values_list("id", flat=True).first() is not None


def enable(webhook_id: int, *, release_held: bool, now: datetime) -> tuple[Webhook, int]:
    """Enable a webhook, reset its health and, with ``release_held``, make its held deliveries due now.

    Return it and how many deliveries were released: at most sql.BATCH; the maintenance tasks release the others in
    batches within seconds. Raise Webhook.DoesNotExist if it is deleted.
    """
    with transaction.atomic():
        webhook = lock(webhook_id)
        released = enable_locked(webhook, release_held=release_held, now=now)
        transaction.on_commit(wakeup.notify)
    return webhook, released


def enable_locked(webhook: Webhook, *, release_held: bool, now: datetime) -> int:
    """Do what ``enable`` does to a locked webhook, without waking a worker. Return how many deliveries are released."""
    before = {"active": webhook.active, "reason": webhook.disabled_reason}
    webhook.disabled_at = webhook.disabled_reason = webhook.owner_notified_at = None
    webhook.review_since = webhook.gone_at = webhook.backoff_until = None
    webhook.failure_count = webhook.timeouts_in_a_row = 0
    webhook.changed_at = webhook.enabled_at = now
    if webhook.subscription is not None:
        # One that has ended was kept only because it was disabled: the maintenance tasks look at it again.
        webhook.ended_at = None
    if webhook.announced_percent is not None:
        # It may be announced again that it fails. That it has recovered, once it has.
        webhook.announced_percent, webhook.announced_at = 0, now
    released = 0
    # A release that is under way continues if an enabled webhook is enabled again without one.
    if release_held:
        released = _release(webhook, now=now)
        webhook.releasing_since = now if released == sql.BATCH else None
    webhook.save(
        update_fields=[
            "enabled_at", "releasing_since", "ended_at",
            "disabled_at", "disabled_reason", "owner_notified_at", "review_since", "gone_at", "backoff_until",
            "failure_count", "timeouts_in_a_row", "changed_at", "announced_percent", "announced_at",
        ]
    )  # fmt: skip
    recording.enabled(webhook, before=before, released=released, now=now)
    return released


def continue_release(webhook_id: int, *, now: datetime) -> int:
    """Release the next held deliveries of a webhook that was enabled, unless it is inactive again; return how many."""
    with transaction.atomic():
        webhook = find_one(Webhook.objects.locked().filter(pk=webhook_id, releasing_since__isnull=False))
        if webhook is None:
            return 0
        released = _release(webhook, now=now) if webhook.active else 0
        if released < sql.BATCH:
            webhook.releasing_since = None
            webhook.save(update_fields=["releasing_since"])
    return released


def _release(webhook: Webhook, *, now: datetime) -> int:
    """Make up to sql.BATCH held deliveries of a locked webhook due now and return how many."""
    held = _lock_some(webhook, HELD)
    return held.update(
        state="pending", readiness=Delivery.Readiness.READY_RETRY, due_at=now, failures=0, first_attempt_at=None
    )


def disable(webhook_id: int, *, now: datetime) -> tuple[Webhook, int]:
    """Disable a webhook for its owner and hold its pending deliveries, unless it is disabled already.

    Return it and how many deliveries are held by this call: at most sql.BATCH; the claim holds the others instead of
    sending them. Raise Webhook.DoesNotExist if it is deleted.
    """
    with transaction.atomic():
        webhook = lock(webhook_id)
        held = disable_locked(webhook, reason=Reason.BY_OWNER, now=now) if can_disable(webhook) else 0
    return webhook, held


def can_disable(webhook: Webhook) -> bool:
    """Return whether anything changes when the owner of a webhook disables it.

    A subscription that is disabled because it kept failing could be had again by its subscriber, and then cannot.
    """
    return webhook.active or (webhook.subscription is not None and not webhook.is_disabled_by_owner)


def disable_locked(webhook: Webhook, *, reason: Reason, now: datetime) -> int:
    """Disable a locked webhook and hold its pending deliveries, as ``disable`` does. Return how many are held."""
    webhook.disabled_at, webhook.disabled_reason = now, reason
    webhook.releasing_since = None
    webhook.changed_at = now
    # No e-mail if the owner disabled it.
    webhook.owner_notified_at = now if reason == Reason.BY_OWNER else None
    if reason != Reason.BY_OWNER:
        webhook.failing_since = webhook.failing_since or now
        webhook.announced_percent, webhook.announced_at = DISABLED, now
    webhook.save(
        update_fields=[
            "disabled_at", "disabled_reason", "releasing_since", "changed_at", "owner_notified_at",
            "failing_since", "announced_percent", "announced_at",
        ]
    )  # fmt: skip
    held = _lock_some(webhook, READY, SCHEDULED).update(state="held", due_at=None)
    recording.disabled(webhook, held=held, now=now)
    return held


def delete(webhook_id: int, *, now: datetime) -> int:
    """Mark a webhook as deleted, erase its URL and secrets, and cancel its unfinished deliveries.

    Return how many deliveries are cancelled by this call: at most sql.BATCH; the maintenance tasks cancel the others.
    The delivery log stays, and retention deletes the row with the last of its log. The subscriber of a hub is told that
    its subscription has ended. Raise Webhook.DoesNotExist if it is
    already deleted.
    """
    with transaction.atomic():
        webhook = lock(webhook_id)
        denials.tell_of_revocation(webhook, now=now)
        return delete_locked(webhook, now=now)


def delete_locked(webhook: Webhook, *, now: datetime) -> int:
    """Do what ``delete`` does to a locked webhook."""
    state_before = webhook_state(webhook)
    webhook.deleted_at = webhook.changed_at = now
    webhook.expiry_warning_at = webhook.expiry_mail_at = None
    webhook.sealed_secrets, webhook.sealed_headers = vault.seal_secrets((), of=webhook.uid), None
    # The path may contain a token. The host is enough for the log to show where deliveries went.
    webhook.stored_url, webhook.sealed_url = mask_path(webhook.stored_url), None
    webhook.save(update_fields=["deleted_at", "changed_at", "expiry_warning_at", "expiry_mail_at", *SEALED_COLUMNS])
    webhook.verifications.supersede(now=now)
    # Several webhooks may be deleted in one transaction, such as those of a key. The maintenance tasks cancel the rest.
    unfinished = _lock_some(webhook, READY, SCHEDULED, HELD, waits=False)
    cancelled = unfinished.update(state="cancelled", finish_reason="cancelled", due_at=None, finished_at=now)
    recording.deleted(webhook, before=state_before, cancelled=cancelled, now=now)
    return cancelled


def end_subscription_locked(webhook: Webhook, *, now: datetime) -> None:
    """Delete a locked subscription that its subscriber has ended, or failed to prove; keep one that is disabled.

    One that the owner has disabled ends, too, but its subscriber would have it again, enabled, by asking again.
    """
    if not webhook.is_disabled_by_owner:
        delete_locked(webhook, now=now)
        return
    webhook.verifications.supersede(now=now)
    if not webhook.has_ended(now=now):
        webhook.expires_at = now
        webhook.save(update_fields=["expires_at"])


def end_locked(webhook: Webhook, *, now: datetime) -> int:
    """Cancel the unfinished deliveries of a locked webhook whose lease has ended. Return how many: at most sql.BATCH.

    With the last of them, those in flight included, it is marked as ended.
    """
    unfinished = _lock_some(webhook, READY, SCHEDULED, HELD)
    cancelled = unfinished.update(state="cancelled", finish_reason="lease_expired", due_at=None, finished_at=now)
    if cancelled < sql.BATCH and not Delivery.objects.filter(webhook=webhook, state="sending").exists():
        webhook.ended_at, webhook.expiry_warning_at = now, None
        webhook.save(update_fields=["ended_at", "expiry_warning_at"])
        after = {"status": webhook.status(now=now).value, "expires_at": webhook.expires_at}
        audit.record("webhook.ended", target=webhook_target(webhook), after=after, now=now)
    return cancelled


def _lock_some(webhook: Webhook, *parts: Part, waits: bool = True) -> DeliveryQuerySet:
    """Lock and return up to sql.BATCH deliveries of the webhook, taken from one part after the other."""
    ids: list[UUID] = []
    for part in parts:
        ids += part.of(webhook).values_list("id", flat=True)[: sql.BATCH - len(ids)]
    states = {part.state for part in parts}
    return Delivery.objects.filter(id__in=ids, state__in=states).in_order(most=sql.BATCH, waits=waits)


def to_review() -> list[int]:
    """Return the ids of up to REVIEW_BATCH webhooks that the review must examine."""
    marked = Q(review_since__isnull=False) | Q(gone_at__isnull=False)
    if settings.HOOKHUB_DISABLE_AFTER_FAILURES:
        # Webhooks without auto_disable would match forever and could fill every batch.
        most = settings.HOOKHUB_DISABLE_AFTER_FAILURES
        marked |= Q(disabled_at=None, deleted_at=None, auto_disable=True, failure_count__gte=most)
    return list(Webhook.objects.filter(marked).order_by("id").values_list("id", flat=True)[:REVIEW_BATCH])


def mark_reviewed(webhook: Webhook) -> None:
    """Clear the marks that request a review of a locked webhook."""
    webhook.review_since = webhook.gone_at = None
    webhook.save(update_fields=["review_since", "gone_at"])
