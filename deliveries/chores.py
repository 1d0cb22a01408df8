"""What has to be done now and then, by whichever worker holds the clock."""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from deliveries import doorbell, pipeline, queue, webhooks
from deliveries.ids import first_id_at
from deliveries.models import Attempt, Delivery, Webhook
from deliveries.retry import LEASE_LOSSES_MOST

log = logging.getLogger("hookhub.chores")

RECLAIM_BATCH = 500
# Small enough not to hold up the queue, and at one batch a second enough to keep pace with two busy cores.
FORGET_BATCH = 5000


def reclaim_expired_leases(*, now: datetime) -> int:
    """Take back what dead workers had in hand; give how many deliveries that was."""
    rows = queue.run(queue.RECLAIM_EXPIRED, {"now": now, "limit": RECLAIM_BATCH, "most": LEASE_LOSSES_MOST})
    if rows:
        log.warning("Took back %d deliveries whose workers did not report", len(rows))
        doorbell.ring()
    return len(rows)


def review_webhooks(*, now: datetime) -> int:
    """Review what a worker that died after settling left unreviewed; give how many webhooks that disabled."""
    return len(pipeline.review(now=now))


def release_the_rest(*, now: datetime) -> int:
    """Go on releasing what was held for webhooks enabled again; give how many deliveries that was."""
    released = 0
    for webhook_id in Webhook.objects.filter(releasing_since__isnull=False).order_by("id").values_list("id", flat=True):
        with transaction.atomic():
            webhook = webhooks.lock(webhook_id)
            if webhook is None or webhook.releasing_since is None:
                continue
            count = webhooks.release(webhook, now=now) if webhook.active else 0
            if count < queue.AT_ONCE:
                webhook.releasing_since = None
                webhook.save(update_fields=["releasing_since"])
        released += count
    return released


def forget_the_old(*, now: datetime, retention: timedelta | None = None, limit: int = FORGET_BATCH) -> int:
    """Delete up to ``limit`` finished deliveries past retention, and what has no delivery any more.

    Gives how many deliveries and events went; 0 means there is nothing left to forget.
    """
    horizon = now - (settings.HOOKHUB_RETENTION if retention is None else retention)
    with transaction.atomic():
        # Ids sort by time, so the primary key finds the oldest without an index of its own. They are locked, because
        # one that is sent again at this very moment is finished no more.
        old = list(
            Delivery.objects.select_for_update(skip_locked=True).filter(
                id__lt=first_id_at(horizon), state__in=Delivery.FINISHED, finished_at__lt=horizon
            ).order_by("id").values_list("id", flat=True)[:limit]
        )  # fmt: skip
        Attempt.objects.filter(delivery_id__in=old).delete()
        Delivery.objects.filter(id__in=old).delete()
    events = queue.run(FORGET_EVENTS, {"before": first_id_at(horizon), "horizon": horizon, "limit": limit})
    queue.run(CANCEL_WHAT_IS_OWED_TO_THE_DELETED, {"now": now, "limit": queue.AT_ONCE})
    queue.run(FORGET_DELETED_WEBHOOKS, {"horizon": horizon})
    return len(old) + len(events)


# An event goes when no delivery refers to it any more; the deliveries of a deleted webhook have gone before.
FORGET_EVENTS = """
DELETE FROM deliveries_event e WHERE e.id IN (
    SELECT id FROM deliveries_event old
    WHERE old.id < %(before)s AND old.fanned_out_at < %(horizon)s
      AND NOT EXISTS (SELECT FROM deliveries_delivery d WHERE d.event_id = old.id)
    ORDER BY id LIMIT %(limit)s
)
RETURNING e.id
"""


# A delivery that was in flight while its webhook was deleted comes back, and a deletion cancels so many at once.
CANCEL_WHAT_IS_OWED_TO_THE_DELETED = """
WITH owed AS MATERIALIZED (
    SELECT d.id FROM deliveries_delivery d JOIN deliveries_webhook w ON w.id = d.webhook_id
    WHERE w.deleted_at IS NOT NULL AND d.state IN ('held', 'pending')
    ORDER BY d.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF d
)
UPDATE deliveries_delivery d
SET state = 'cancelled', ending = 'cancelled', due_at = NULL, finished_at = %(now)s
FROM owed WHERE d.id = owed.id
"""

# Its row stays for as long as the log speaks of it.
FORGET_DELETED_WEBHOOKS = """
DELETE FROM deliveries_webhook w
WHERE w.deleted_at < %(horizon)s
  AND NOT EXISTS (SELECT FROM deliveries_delivery d WHERE d.webhook_id = w.id)
  AND NOT EXISTS (SELECT FROM deliveries_attempt a WHERE a.webhook_id = w.id)
"""
