"""The pace of a webhook's requests after a change of its owner's limit, or of what its receiver allows."""

from datetime import datetime

from django.db import transaction

from deliveries import wakeup
from deliveries.models import Delivery, Webhook
from deliveries.policy import pace

# The columns that ``set_pace`` sets.
PACE_COLUMNS = ("pace_interval", "pace_lag", "next_request_at")


def set_pace(webhook: Webhook, *, now: datetime) -> None:
    """Let a locked or new webhook have the pace of its limits, after a change of these; the caller saves PACE_COLUMNS.

    Requests that were claimed before count against the new limit. What may be sent sooner now is sent at once.
    """
    after = pace.pace_of(webhook.rate_limit, allowed_rate=webhook.allowed_rate)
    before = webhook.pace_interval
    interval, lag = (after.interval, after.lag) if after else (None, None)
    if (interval, lag) == (before, webhook.pace_lag):
        return
    in_flight = 0
    if before is None and webhook.pk is not None:
        in_flight = Delivery.objects.of_webhook(webhook.pk).filter(state="sending").count()
    webhook.next_request_at = pace.next_request_at(
        before, after, next_at=webhook.next_request_at, in_flight=in_flight, now=now
    )
    webhook.pace_interval, webhook.pace_lag = interval, lag
    if before is not None:
        transaction.on_commit(wakeup.notify)
