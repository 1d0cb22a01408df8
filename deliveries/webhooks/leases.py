"""A webhook's lease: when it ends, and when its owner is told."""

from datetime import datetime, timedelta

from django.conf import settings

from deliveries.models import Webhook
from deliveries.webhooks.fields import InvalidFields

# The columns that ``set_lease`` sets.
COLUMNS = ("expires_at", "ended_at", "expiry_warning_at", "expiry_mail_at")
# A short lease is warned of when so much of it is left.
WARNING_FRACTION = 4


def set_lease(webhook: Webhook, expires_at: datetime | None, *, warns: bool = True, now: datetime) -> None:
    """Let a webhook end at ``expires_at``, or never, also if its lease had ended before. The caller saves COLUMNS.

    Its owner is told once per lease, before it ends, unless ``warns`` is false.
    """
    webhook.expires_at, webhook.ended_at, webhook.expiry_mail_at = expires_at, None, None
    webhook.expiry_warning_at = None if expires_at is None or not warns else warning_at(expires_at, now=now)


def reconsider(webhook: Webhook) -> None:
    """Let the maintenance tasks look again at a locked subscription that has ended if no proof can renew it any more.

    One that its owner has disabled is kept. The caller saves COLUMNS.
    """
    has_ended = webhook.subscription is not None and webhook.ended_at is not None
    if has_ended and not webhook.is_disabled_by_owner and not webhook.verifications.open().exists():
        webhook.ended_at = None


def require_future(expires_at: object, *, now: datetime) -> datetime | None:
    """Return a validated ``expires_at``. Raise InvalidFields unless it lies in the future or is None."""
    if not isinstance(expires_at, datetime):
        return None
    if expires_at <= now:
        raise InvalidFields({"expires_at": "must be in the future"})
    return expires_at


def warning_at(expires_at: datetime, *, now: datetime) -> datetime:
    """Return when to tell the owner of a lease granted now: HOOKHUB_WEBHOOK_EXPIRY_WARNING_DAYS before it ends.

    A lease that is short compared with that is warned of when a quarter of it is left.
    """
    most: timedelta = settings.HOOKHUB_WEBHOOK_EXPIRY_WARNING
    return expires_at - min(most, (expires_at - now) / WARNING_FRACTION)
