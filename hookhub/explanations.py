"""Explains why a delivery is in its state, and why an action does not apply to it."""

from datetime import datetime

from django.utils.translation import gettext

from deliveries.models import Delivery, Webhook
from deliveries.policy import pace
from deliveries.redelivery import CANCELLABLE, BlockedReason, blocked_reason
from hookhub.formatting import exact, rate, relative, span

State = Delivery.State


def explain(delivery: Delivery, webhook: Webhook, *, to_owner: bool = False, now: datetime) -> str:
    """Return a sentence that says why a delivery is in its state, and what happens next."""
    match delivery.state:
        case State.PENDING:
            return _explain_waiting(delivery, webhook, to_owner=to_owner, now=now)
        case State.SENDING:
            return gettext("A worker is sending this delivery.")
        case State.DELIVERED:
            return _on_attempt(delivery, gettext("Delivered."), gettext("Delivered on attempt %(number)s."))
        case State.FAILED:
            failed = _on_attempt(
                delivery, gettext("Failed: %(why)s."), gettext("Failed on attempt %(number)s: %(why)s.")
            )
            return f"{failed} {_redelivery(delivery)}"
        case State.HELD:
            return _explain_held(delivery, webhook)
    if delivery.finish_reason == Delivery.FinishReason.LEASE_EXPIRED:
        return f"{gettext('Cancelled, because the lease of the webhook ended.')} {_redelivery(delivery)}"
    return f"{gettext('Cancelled.')} {_redelivery(delivery)}"


def _explain_held(delivery: Delivery, webhook: Webhook) -> str:
    if webhook.deleted_at is not None:
        return gettext("Held while the webhook was disabled. It will be cancelled, because the webhook is deleted.")
    if webhook.disabled_at is not None:
        reason = gettext(str(webhook.get_disabled_reason_display()))
        held = gettext("Held because the webhook is disabled (%(reason)s).") % {"reason": reason}
        return f"{held} {_redelivery(delivery)}"
    if webhook.unverified:
        return gettext("Held because the webhook is unverified.")
    return gettext("Held while the webhook was disabled. The webhook is enabled again, so it can be redelivered.")


def _redelivery(delivery: Delivery) -> str:
    """Return whether a finished or held delivery can be redelivered."""
    match blocked_reason(delivery):
        case BlockedReason.WEBHOOK_DELETED:
            return gettext("It cannot be redelivered, because the webhook is deleted.")
        case BlockedReason.WEBHOOK_DISABLED:
            return gettext("It can be redelivered once the webhook is enabled.")
        case BlockedReason.WEBHOOK_UNVERIFIED:
            return gettext("It can be redelivered once the webhook is verified.")
        case BlockedReason.WEBHOOK_ENDED:
            return gettext("It can be redelivered once the webhook has another lease.")
    return gettext("It can be redelivered.")


def _explain_waiting(delivery: Delivery, webhook: Webhook, *, to_owner: bool, now: datetime) -> str:
    due_at = delivery.due_at or now
    if webhook.backoff_until is not None and webhook.backoff_until > max(now, due_at):
        words = gettext("Waiting because the webhook is backing off until %(time)s.")
        return words % {"time": exact(webhook.backoff_until)}
    if webhook.next_request_at is not None and webhook.next_request_at > max(now, due_at):
        return _explain_rate(webhook, to_owner=to_owner)
    if due_at > now:
        words = gettext("Next attempt %(when)s.") if delivery.attempts_made else gettext("First attempt %(when)s.")
        return words % {"when": relative(due_at, now=now)}
    words = gettext("Ready for %(span)s. Waiting for a worker, or for other deliveries to the webhook to finish.")
    return words % {"span": span(now - due_at)}


def _explain_rate(webhook: Webhook, *, to_owner: bool) -> str:
    limit, allowed = webhook.rate_limit, webhook.allowed_rate
    if allowed is not None and pace.stricter(limit, allowed_rate=allowed) == "receiver":
        return gettext("Waiting because its receiver allows %(rate)s.") % {"rate": rate(allowed, per=60)}
    words = gettext("Waiting because you allow %(rate)s.") if to_owner else gettext(
        "Waiting because its owner allows %(rate)s.")  # fmt: skip
    return words % {"rate": "–" if limit is None else rate(limit.requests, per=limit.per)}


def _on_attempt(delivery: Delivery, without: str, with_one: str) -> str:
    """Return one of two sentences about the end of a delivery: without, or with the number of its last attempt."""
    words = with_one if delivery.attempts_made else without
    return words % {"number": delivery.attempts_made, "why": gettext(str(delivery.get_finish_reason_display()))}


def cancel_blocked_reason(delivery: Delivery) -> str | None:
    """Return why a delivery cannot be cancelled, worded to follow a count, or None if it can."""
    if delivery.state in CANCELLABLE:
        return None
    return "being sent" if delivery.state == State.SENDING else f"already {delivery.state}"
