"""Maintenance tasks, run by the scheduler of one worker at a time."""

import logging
from dataclasses import dataclass
from datetime import datetime

from deliveries import pipeline, wakeup
from deliveries.db import sql
from deliveries.models import Webhook
from deliveries.pipeline import rescue
from deliveries.webhooks import lifecycle

log = logging.getLogger("hookhub.chores")

# How many deleted webhooks a tick reads; there may be many of them while their deliveries are retained.
WEBHOOKS_PER_TICK = 100


def rescue_expired_leases(*, now: datetime) -> int:
    """Rescue deliveries with expired leases, whose workers have died; return how many."""
    count = rescue.rescue_expired(now=now)
    if count:
        log.warning("Rescued %d deliveries with expired leases", count)
        wakeup.notify()
    return count


def review_webhooks(*, now: datetime) -> int:
    """Review webhooks left unreviewed by a worker that died after settling; return how many were disabled."""
    return len(pipeline.review(now=now))


def continue_releases(*, now: datetime) -> int:
    """Continue to release the held deliveries of webhooks that were enabled again; return how many."""
    released = 0
    for webhook_id in Webhook.objects.filter(releasing_since__isnull=False).order_by("id").values_list("id", flat=True):
        released += lifecycle.continue_release(webhook_id, now=now)
    return released


@dataclass
class CancelSweep:
    """A sweep over the deleted webhooks, some at each tick; its position is kept in memory only."""

    cursor: int = 0

    def tick(self, *, now: datetime) -> int:
        """Cancel some deliveries of the next deleted webhooks; return how many."""
        rows_read, last, cancelled = sql.run(
            CANCEL_DELIVERIES_OF_DELETED,
            {"now": now, "cursor": self.cursor, "webhooks": WEBHOOKS_PER_TICK, "limit": sql.BATCH},
        )[0]
        self.cursor = last if rows_read == WEBHOOKS_PER_TICK else 0
        return int(cancelled)


_of_this_process = CancelSweep()


def cancel_deliveries_of_deleted(*, now: datetime) -> int:
    """Cancel deliveries of deleted webhooks, a bounded number per call; return how many."""
    return _of_this_process.tick(now=now)


# Deleting a webhook cancels a bounded number of its deliveries, and those in flight at that time may be retried later.
# Scheduled deliveries are left until they are due: then the claim holds them and the next sweep cancels them.
CANCEL_DELIVERIES_OF_DELETED = """
WITH scanned AS MATERIALIZED (
    SELECT id FROM hookhub_webhook
    WHERE id > %(cursor)s AND deleted_at IS NOT NULL ORDER BY id LIMIT %(webhooks)s
), unfinished AS MATERIALIZED (
    SELECT d.id
    FROM scanned CROSS JOIN LATERAL (
        (SELECT id FROM hookhub_delivery
         WHERE webhook_id = scanned.id AND state = 'held' ORDER BY id DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT id FROM hookhub_delivery
         WHERE webhook_id = scanned.id AND state = 'pending' AND readiness > 0
         ORDER BY readiness, due_at, id LIMIT %(limit)s)
    ) AS d
    LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT id FROM hookhub_delivery
    WHERE id = ANY(ARRAY(SELECT id FROM unfinished)) AND state IN ('held', 'pending')
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
), cancelled AS (
    UPDATE hookhub_delivery d
    SET state = 'cancelled', finish_reason = 'cancelled', due_at = NULL, finished_at = %(now)s
    FROM locked WHERE d.id = locked.id
    RETURNING 1
)
SELECT (SELECT count(*) FROM scanned), (SELECT max(id) FROM scanned), (SELECT count(*) FROM cancelled)
"""
