"""The verdict on a callback of MCP Events, for the caller who waits for it."""

from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from deliveries.db import sql
from deliveries.db.lookups import find_one
from deliveries.models import Verification, Webhook
from deliveries.webhooks import lifecycle, verifying
from deliveries.webhooks.mcp_subscribing import Asked

State = Verification.State

TIMED_OUT = "timeout"
NO_ECHO = "challenge_failed"
# Another request, or the owner, has ended the subscription meanwhile.
ENDED = "subscription_ended"
# The kinds of NoResponse, in the words of MCP Events.
REASONS = {
    "timeout": TIMED_OUT,
    "unreachable": "connection_failed",
    "forbidden": "blocked_address",
    "tls": "tls_error",
    "protocol": "connection_failed",
    "unrenderable": "connection_failed",
}


class Verdict(NamedTuple):
    """When the subscription ends, or the reason why the callback is not proved."""

    expires_at: datetime | None = None
    reason: str | None = None


def verdict_on(asked: Asked) -> Verdict | None:
    """Return the verdict on a subscription that was asked for, or None while there is none.

    If the same was asked for again meanwhile, the verdict is that on the later request. A subscription that was never
    proved is deleted.
    """
    if asked.verification is None:
        return _in_force(_kept(asked))
    verification = find_one(Verification.objects.filter(pk=asked.verification))
    if verification is None:
        return Verdict(reason=ENDED)
    match verification.state:
        case State.PENDING | State.SENDING:
            return None
        case State.FAILED:
            verifying.forget(verification.pk, webhook_id=asked.webhook_id, now=sql.database_now())
            return Verdict(reason=reason_of(verification))
    # Read after its verification: one that was proved in between would seem unverified.
    webhook = _kept(asked)
    latest = None if webhook is None else verifying.latest_of(webhook)
    if verification.state == State.SUPERSEDED and latest is not None and latest.pk != verification.pk:
        return verdict_on(asked._replace(verification=latest.pk))
    # Proved, or superseded by a change that needed no proof, or by its end.
    return _in_force(webhook)


def _kept(asked: Asked) -> Webhook | None:
    """Return the webhook of a subscription, unless it is deleted."""
    return find_one(Webhook.objects.kept().filter(pk=asked.webhook_id))


def _in_force(webhook: Webhook | None) -> Verdict:
    """Return when a subscription ends, or that it has ended: its key may be revoked, or its owner has disabled it."""
    if webhook is None or not webhook.active or webhook.unverified or webhook.has_ended(now=sql.database_now()):
        return Verdict(reason=ENDED)
    return Verdict(webhook.expires_at)


def give_up(asked: Asked, *, now: datetime) -> Verdict:
    """Drop what was asked for, because its caller waits no longer; return the verdict if there is one by now.

    A subscription that was never proved, or has ended, is deleted; another that was to be renewed stays as it is.
    """
    with transaction.atomic():
        webhook = find_one(Webhook.objects.kept().locked().filter(pk=asked.webhook_id))
        verification = find_one(Verification.objects.select_for_update().filter(pk__in=[asked.verification]))
        if webhook is not None and verification is not None and verification.state in Verification.OPEN:
            # One that has ended meanwhile was kept for the verdict.
            if webhook.unverified or webhook.ended_at is not None:
                lifecycle.end_subscription_locked(webhook, now=now)
            else:
                webhook.verifications.supersede(now=now)
            return Verdict(reason=TIMED_OUT)
    return verdict_on(asked) or Verdict(reason=TIMED_OUT)


def reason_of(verification: Verification) -> str:
    """Return why a verification has failed, in the words of MCP Events."""
    if verification.last_status is not None:
        return NO_ECHO
    return REASONS.get(verification.last_failure, "connection_failed")
