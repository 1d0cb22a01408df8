"""Record a change of a webhook: in the audit log, and as a system event for the webhooks that subscribe to those."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from django.db import transaction

from deliveries import audit, system_events
from deliveries.audit import State
from deliveries.audited import webhook_target
from deliveries.models import Webhook

# Fields of which an event says only that they have changed. The URL is shown with its secret parts masked.
SECRET_FIELDS = frozenset({"headers", "secret"})


def created(webhook: Webhook, state: State, *, now: datetime) -> None:
    """Record that a webhook was created; the event has its fields, except secret ones."""
    _record("webhook.created", webhook, after=state, now=now)
    _publish("webhook.created", webhook, {"after": _shown(state)}, now=now)


def updated(webhook: Webhook, *, before: State, after: State, now: datetime) -> None:
    """Record the fields that differ between two states; nothing if none does."""
    if changed := audit.changed_fields(before, after):
        old, new = ({name: state[name] for name in changed if name in state} for state in (before, after))
        _record("webhook.updated", webhook, before=old, after=new, now=now)
        _publish_update(webhook, changed, old, new, now=now)


def verified(webhook: Webhook, *, before: State, after: State, now: datetime) -> None:
    """Record that a webhook's URL has proved itself, with the change that waited for it."""
    _record("webhook.verified", webhook, before=before, after=after, now=now)
    _publish_update(webhook, audit.changed_fields(before, after), before, after, now=now)


def rotated(webhook: Webhook, after: State, *, now: datetime) -> None:
    """Record that a webhook has got a new secret."""
    _record("webhook.secret_rotated", webhook, after=after, now=now)
    _publish_update(webhook, ["secret"], {}, after, now=now)


def enabled(webhook: Webhook, *, before: State, released: int, now: datetime) -> None:
    """Record that a webhook was enabled, and how many held deliveries were released at once."""
    after = {"active": True, "reason": None, "released": released}
    _record("webhook.enabled", webhook, before=before, after=after, now=now)
    facts = {"reason": before.get("reason"), "enabled_at": now.isoformat()}
    _publish("webhook.enabled", webhook, facts, now=now)


def disabled(webhook: Webhook, *, held: int, now: datetime) -> None:
    """Record that a webhook was disabled. Except by its owner, the review publishes the event."""
    after = {"active": False, "reason": webhook.disabled_reason, "held": held}
    _record("webhook.disabled", webhook, before={"active": True}, after=after, now=now)
    if webhook.disabled_reason == Webhook.DisabledReason.BY_OWNER:
        _publish("webhook.disabled", webhook, disabled_facts(webhook, now=now), now=now)


def deleted(webhook: Webhook, *, before: State, cancelled: int, now: datetime) -> None:
    """Record that a webhook was deleted."""
    _record("webhook.deleted", webhook, before=before, after={"cancelled": cancelled}, now=now)
    _publish("webhook.deleted", webhook, {"deleted_at": now.isoformat()}, now=now)


def disabled_facts(webhook: Webhook, *, now: datetime) -> dict[str, object]:
    """Return what ``webhook.disabled`` says, by its owner or by HookHub."""
    return {
        "reason": webhook.disabled_reason,
        "failure_count": webhook.failure_count,
        "disabled_at": now.isoformat(),
    }


def _record(
    action: str, webhook: Webhook, *, before: State | None = None, after: State | None = None, now: datetime
) -> None:
    audit.record(action, target=webhook_target(webhook), before=before, after=after, now=now)


def _publish_update(webhook: Webhook, changed: list[str], before: State, after: State, *, now: datetime) -> None:
    """Publish the names of the changed fields, and the values of those that are not secret."""
    if not changed:
        return
    old, new = ({name: state[name] for name in changed if name in state} for state in (before, after))
    facts = {
        "changed": changed,
        "before": _shown(old),
        "after": _shown(new),
    }
    _publish("webhook.updated", webhook, facts, now=now)


def _shown(state: State) -> dict[str, object]:
    """Return the fields that are not secret, as the audit log shows them."""
    return audit.shown({name: value for name, value in state.items() if name not in SECRET_FIELDS})


def _publish(event_type: str, webhook: Webhook, facts: Mapping[str, object], *, now: datetime) -> None:
    event = system_events.about_change(event_type, webhook, facts, now=now)
    if count := system_events.store_subscribed([event], now=now):
        transaction.on_commit(partial(system_events.committed, count))
