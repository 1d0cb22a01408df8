"""Denials: requests by which a subscriber at a hub hears that it has no subscription, or has none any more."""

from contextlib import suppress
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.db import transaction

from deliveries import vault
from deliveries.db.ids import uuid7
from deliveries.db.lookups import find_one
from deliveries.formats import format_of
from deliveries.formats.websub import WebSub as WebSubFormat
from deliveries.models import Verification, Webhook
from deliveries.proofs.websub import WebSub
from deliveries.webhooks import pending_changes
from deliveries.webhooks.pending_changes import PendingChange

REVOKED = "The subscription was ended by the owner of the topic."


def deny(callback: str, *, topic: str, reason: str, now: datetime) -> Verification:
    """Deny a callback its subscription to a topic; a worker sends the request.

    It is repeated on the schedule of verifications until the callback has answered 2xx, and leaves no record.
    """
    uid = uuid7(now)
    return Verification.objects.create(
        id=uid,
        webhook=None,
        proof=WebSub.slug,
        mode=Verification.Mode.DENIED,
        details={"hub.topic": topic, "hub.reason": reason},
        host=urlsplit(callback).hostname or "",
        stored_url=format_of(WebSubFormat.slug).show_url(callback),
        sealed_change=pending_changes.seal(PendingChange(url=callback, secrets=()), of=uid),
        kept_for=timedelta(0),
        due_at=now,
        created_at=now,
    )


def tell_of_revocation(webhook: Webhook, *, now: datetime) -> None:
    """Deny the subscription of a webhook that its owner is about to delete; do nothing if it is not one of the hub."""
    if (
        webhook.subscription is None
        or "topic" not in webhook.subscription
        or webhook.unverified
        or webhook.has_ended(now=now)
    ):
        return
    # A webhook can be deleted after its key is lost.
    with suppress(vault.Unreadable):
        deny(webhook.url, topic=str(webhook.subscription["topic"]), reason=REVOKED, now=now)


def reencrypt_all() -> int:
    """Seal the denials that wait with the first key; return how many were not.

    One that no key opens is left to the worker, which gives it up.
    """
    done = 0
    waiting = Verification.objects.open().filter(mode=Verification.Mode.DENIED)
    for uid in waiting.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic(), suppress(vault.Unreadable):
            denial = find_one(waiting.filter(pk=uid).select_for_update(no_key=True))
            if denial is None or denial.sealed_change is None or vault.is_current(denial.sealed_change):
                continue
            denial.sealed_change = vault.reseal(denial.sealed_change, column=vault.CHANGE, of=denial.id)
            denial.save(update_fields=["sealed_change"])
            done += 1
    return done
