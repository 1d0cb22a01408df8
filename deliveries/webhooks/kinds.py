"""What kind a webhook is of, and the fields that only those have whose events HookHub sends."""

from collections.abc import Mapping

from deliveries.models import Webhook
from deliveries.webhooks.fields import Fields, InvalidFields

# Each field about sending, with its attribute.
ABOUT_SENDING = {
    "url": "stored_url",
    "verify_ssl": "verify_ssl",
    "retry_schedule": "retry_schedule",
    "timeout": "timeout",
    "max_in_flight": "max_in_flight",
    "rate_limit": "rate_limit",
    "auto_disable": "auto_disable",
    "verify": "proof",
}
SENDS_NOTHING = "cannot be set: the receiver of a polling webhook fetches its events, and nothing is sent to it"


def take_kind(fields: Mapping[str, object]) -> tuple[Webhook.Kind, Fields]:
    """Return the kind of a new webhook and its other fields.

    Raise InvalidFields for an unknown kind, and for a polling webhook with a field about sending.
    """
    others = dict(fields)
    asked = others.pop("kind", Webhook.Kind.PUSH.value)
    if asked not in Webhook.Kind.values:
        raise InvalidFields({"kind": f"must be one of: {', '.join(Webhook.Kind.values)}"})
    kind = Webhook.Kind(asked)
    if kind == Webhook.Kind.POLL:
        # A program that sends all fields of its form sends null for those that do not apply.
        others = {name: value for name, value in others.items() if name not in ABOUT_SENDING or value is not None}
        if refused := others.keys() & ABOUT_SENDING:
            raise InvalidFields(dict.fromkeys(sorted(refused), SENDS_NOTHING))
    return kind, others


def without_kind(changes: Mapping[str, object], webhook: Webhook) -> Fields:
    """Return the changes of a webhook without its ``kind``, and of a polling webhook without fields about sending.

    Raise InvalidFields if one of these is not as it is: a client may send back what it has read.
    """
    others = dict(changes)
    if others.pop("kind", webhook.kind) != webhook.kind:
        raise InvalidFields({"kind": "cannot be changed; create another webhook"})
    if not webhook.is_polled:
        return others
    stored = {name: getattr(webhook, column) or None for name, column in ABOUT_SENDING.items()}
    sent = {name: others.pop(name) for name in ABOUT_SENDING if name in others}
    if refused := sorted(name for name, value in sent.items() if (value or None) != stored[name]):
        raise InvalidFields(dict.fromkeys(refused, SENDS_NOTHING))
    return others
