"""Explains why a delivery is in its state, and why an action does not apply to it."""

from datetime import datetime

from deliveries.models import Delivery, Webhook
from deliveries.redelivery import CANCELLABLE, BlockedReason, blocked_reason
from hookhub.formatting import exact, per_minute, relative, span

State = Delivery.State


def explain(delivery: Delivery, webhook: Webhook, *, now: datetime) -> str:
    """Return a sentence that says why a delivery is in its state, and what happens next."""
    match delivery.state:
        case State.PENDING:
            return _explain_waiting(delivery, webhook, now=now)
        case State.SENDING:
            return "A worker is sending this delivery."
        case State.DELIVERED:
            return f"Delivered{_on_attempt(delivery)}."
        case State.FAILED:
            return f"Failed{_on_attempt(delivery)}: {delivery.get_finish_reason_display()}. {_redelivery(delivery)}"
        case State.HELD:
            return _explain_held(delivery, webhook)
    ended = delivery.finish_reason == Delivery.FinishReason.LEASE_EXPIRED
    return f"Cancelled{', because the lease of the webhook ended' if ended else ''}. {_redelivery(delivery)}"


def _explain_held(delivery: Delivery, webhook: Webhook) -> str:
    if webhook.deleted_at is not None:
        return "Held while the webhook was disabled. It will be cancelled, because the webhook is deleted."
    if webhook.disabled_at is not None:
        reason = webhook.get_disabled_reason_display()
        return f"Held because the webhook is disabled ({reason}). {_redelivery(delivery)}"
    if webhook.unverified:
        return "Held because the webhook is unverified."
    return "Held while the webhook was disabled. The webhook is enabled again, so it can be redelivered."


def _redelivery(delivery: Delivery) -> str:
    """Return whether a finished or held delivery can be redelivered."""
    match blocked_reason(delivery):
        case BlockedReason.WEBHOOK_DELETED:
            return "It cannot be redelivered, because the webhook is deleted."
        case BlockedReason.WEBHOOK_DISABLED:
            return "It can be redelivered once the webhook is enabled."
        case BlockedReason.WEBHOOK_UNVERIFIED:
            return "It can be redelivered once the webhook is verified."
        case BlockedReason.WEBHOOK_ENDED:
            return "It can be redelivered once the webhook has another lease."
    return "It can be redelivered."


def _explain_waiting(delivery: Delivery, webhook: Webhook, *, now: datetime) -> str:
    due_at = delivery.due_at or now
    if webhook.backoff_until is not None and webhook.backoff_until > max(now, due_at):
        return f"Waiting because the webhook is backing off until {exact(webhook.backoff_until)}."
    if webhook.next_request_at is not None and webhook.next_request_at > max(now, due_at):
        return f"Waiting because its receiver allows {per_minute(webhook.allowed_rate)}."
    if due_at > now:
        which = "Next" if delivery.attempts_made else "First"
        return f"{which} attempt {relative(due_at, now=now)}."
    return f"Ready for {span(now - due_at)}. Waiting for a worker, or for other deliveries to the webhook to finish."


def _on_attempt(delivery: Delivery) -> str:
    return f" on attempt {delivery.attempts_made}" if delivery.attempts_made else ""


def cancel_blocked_reason(delivery: Delivery) -> str | None:
    """Return why a delivery cannot be cancelled, worded to follow a count, or None if it can."""
    if delivery.state in CANCELLABLE:
        return None
    return "being sent" if delivery.state == State.SENDING else f"already {delivery.state}"
