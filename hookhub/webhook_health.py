"""The health of a webhook in a few words, the same on every page."""

from datetime import datetime
from typing import NamedTuple

from django.utils.translation import gettext

from deliveries.models import Webhook
from deliveries.policy import pace
from hookhub.formatting import rate, relative


class Health(NamedTuple):
    """A few words, and their tone: ``good``, ``warning``, ``bad`` or ``quiet``."""

    text: str
    tone: str


def health_of(webhook: Webhook, *, now: datetime) -> Health:
    """Return how healthy a webhook is."""
    if webhook.deleted_at is not None:
        return Health(gettext("Deleted"), "quiet")
    if webhook.has_ended(now=now):
        return Health(gettext("Ended"), "quiet")
    if webhook.disabled_at is not None:
        reason = gettext(str(webhook.get_disabled_reason_display()))
        return Health(
            gettext("Disabled: %(reason)s") % {"reason": reason}, "quiet" if webhook.is_disabled_by_owner else "bad"
        )
    if webhook.unverified:
        return Health(gettext("Unverified"), "warning")
    if webhook.backoff_until is not None and webhook.backoff_until > now:
        words = gettext("Backing off, next attempt %(when)s")
        return Health(words % {"when": relative(webhook.backoff_until, now=now)}, "warning")
    if webhook.failure_count:
        return Health(gettext("Failing (%(count)s)") % {"count": webhook.failure_count}, "warning")
    if webhook.last_delivery_at is None:
        return Health(gettext("No deliveries yet"), "quiet")
    return Health(gettext("Healthy"), "good")


def rates_of(webhook: Webhook) -> list[tuple[str, str]]:
    """Return the limits of the rate of a webhook's requests, each with its title; of two, which one holds."""
    limit, allowed = webhook.rate_limit, webhook.allowed_rate
    found = []
    if limit is not None:
        found.append(("owner", gettext("Rate limit"), rate(limit.requests, per=limit.per)))
    if allowed is not None:
        found.append(("receiver", gettext("Allowed by its receiver"), rate(allowed, per=60)))
    holds = pace.stricter(limit, allowed_rate=allowed) if len(found) > 1 else None
    words = gettext("%(rate)s: this limit holds")
    return [(title, words % {"rate": text} if whose == holds else text) for whose, title, text in found]
