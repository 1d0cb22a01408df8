"""What has to be done now and then, by whichever worker holds the clock."""

import logging
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from deliveries import doorbell, pipeline, queue, webhooks
from deliveries.models import Webhook
from deliveries.retry import APART, LEASE_LOSSES_MOST

log = logging.getLogger("hookhub.chores")

RECLAIM_BATCH = 500
# Deleted webhooks whose log is still kept may be many; a tick looks at so many of them.
DELETED_AT_ONCE = 100


def reclaim_expired_leases(*, now: datetime) -> int:
    """Take back what dead workers had in hand; give how many deliveries that was."""
    how = {"now": now, "limit": RECLAIM_BATCH, "most": LEASE_LOSSES_MOST, "apart": APART}
    rows = queue.run(queue.RECLAIM_EXPIRED, how)
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


@dataclass
class Cancelling:
    """Goes around the deleted webhooks, some at each tick, and remembers in this process where it is."""

    after: int = 0

    def tick(self, *, now: datetime) -> int:
        """Cancel some of what the next deleted webhooks are owed; give how many deliveries that was."""
        looked_at, last, cancelled = queue.run(
            CANCEL_WHAT_IS_OWED_TO_THE_DELETED,
            {"now": now, "after": self.after, "webhooks": DELETED_AT_ONCE, "limit": queue.AT_ONCE},
        )[0]
        self.after = last if looked_at == DELETED_AT_ONCE else 0
        return int(cancelled)


_of_this_process = Cancelling()


def cancel_what_the_deleted_are_owed(*, now: datetime) -> int:
    """Cancel what deleted webhooks are still owed, a bounded number at a time; give how many deliveries that was."""
    return _of_this_process.tick(now=now)


# A deletion cancels so many at once, and what was in flight meanwhile comes back. What waits for its time is in no line
# and is looked at when it has come: the claim then holds it.
CANCEL_WHAT_IS_OWED_TO_THE_DELETED = """
WITH looked AS MATERIALIZED (
    SELECT id FROM deliveries_webhook
    WHERE id > %(after)s AND deleted_at IS NOT NULL ORDER BY id LIMIT %(webhooks)s
), owed AS MATERIALIZED (
    SELECT d.id
    FROM looked CROSS JOIN LATERAL (
        (SELECT id FROM deliveries_delivery
         WHERE webhook_id = looked.id AND state = 'held' ORDER BY id DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT id FROM deliveries_delivery
         WHERE webhook_id = looked.id AND state = 'pending' AND line > 0 ORDER BY line, due_at, id LIMIT %(limit)s)
    ) AS d
    LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT id FROM deliveries_delivery
    WHERE id = ANY(ARRAY(SELECT id FROM owed)) AND state IN ('held', 'pending')
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
), cancelled AS (
    UPDATE deliveries_delivery d
    SET state = 'cancelled', ending = 'cancelled', due_at = NULL, finished_at = %(now)s
    FROM locked WHERE d.id = locked.id
    RETURNING 1
)
SELECT (SELECT count(*) FROM looked), (SELECT max(id) FROM looked), (SELECT count(*) FROM cancelled)
"""
