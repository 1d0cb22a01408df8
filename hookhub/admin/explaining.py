"""Explains why a delivery is in its state, and why an action does not apply to it."""

from datetime import datetime

from deliveries.models import Delivery, Webhook
from deliveries.replay import CAN_BE_CALLED_OFF
from hookhub.admin.showing import exact, relative, span

State = Delivery.State


def explain(delivery: Delivery, webhook: Webhook, *, now: datetime) -> str:
    """Return a sentence that says why a delivery is in its state, and what happens next."""
    match delivery.state:
        case State.PENDING:
            return _explain_waiting(delivery, webhook, now=now)
        case State.SENDING:
            return "A worker is sending it at this moment."
        case State.DELIVERED:
            return f"The receiver took it{_at_attempt(delivery)}."
        case State.FAILED:
            return f"Given up: {delivery.get_ending_display()}{_at_attempt(delivery)}. It can be sent again."
        case State.HELD if webhook.disabled_at is not None:
            reason = webhook.get_disabled_reason_display()
            return f"Held, because its webhook is disabled ({reason}). It waits until that is enabled."
        case State.HELD:
            return "Held since its webhook was disabled. The webhook is active again, and so it can be sent."
    return "Cancelled. It can be sent again."


def _explain_waiting(delivery: Delivery, webhook: Webhook, *, now: datetime) -> str:
    due_at = delivery.due_at or now
    if webhook.resting_until is not None and webhook.resting_until > max(now, due_at):
        return f"Due, but its receiver is being given a rest until {exact(webhook.resting_until)}."
    if due_at > now:
        again = "sent again" if delivery.attempts_made else "sent"
        return f"It will be {again} {relative(due_at, now=now)}."
    return f"Due for {span(now - due_at)}; it waits for a worker, or for its turn among its webhook's other deliveries."


def _at_attempt(delivery: Delivery) -> str:
    return f" at attempt {delivery.attempts_made}" if delivery.attempts_made else ""


def why_not_sent_again(delivery: Delivery) -> str | None:
    """Return why a delivery cannot be redelivered now, worded to follow a count, or None if it can."""
    if delivery.state == State.SENDING:
        return "being sent at this moment"
    if delivery.webhook.deleted_at is not None:
        return "of a deleted webhook"
    if delivery.webhook.disabled_at is not None:
        return "of a disabled webhook"
    return None


def why_not_called_off(delivery: Delivery) -> str | None:
    """Return why a delivery cannot be cancelled, worded to follow a count, or None if it can."""
    if delivery.state in CAN_BE_CALLED_OFF:
        return None
    return "being sent at this moment" if delivery.state == State.SENDING else f"already {delivery.state}"
