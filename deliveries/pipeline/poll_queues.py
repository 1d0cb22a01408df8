"""Poll queues: events for polling webhooks get an entry in the webhook's queue in place of a delivery."""

from typing import NamedTuple

from deliveries.db import arrays, sql
from deliveries.db.ids import DELIVERY_ID
from deliveries.pipeline.filtering import Pairs


class Put(NamedTuple):
    """How many entries were put into queues, and the pairs of other webhooks, None if there are none."""

    entries: int
    others: Pairs | None


def put(pairs: Pairs) -> Put:
    """Put the events of polling webhooks into their queues, as a part of the caller's transaction.

    An event that is in a queue already is left out, so repeating it is harmless.
    """
    entries, events, webhooks = sql.run(PUT_ENTRIES, pairs.parameters)[0]
    return Put(entries, None if events is None else Pairs(arrays.Array(events), arrays.Array(webhooks)))


# In the order of events and webhooks, so that it does not deadlock with another that puts some of the same.
PUT_ENTRIES = f"""
WITH pairs AS MATERIALIZED (
    SELECT pair.event_id, pair.webhook_id, w.kind = 'poll' AS is_polled
    FROM unnest(%(events)s::uuid[], %(webhooks)s::bigint[]) AS pair (event_id, webhook_id)
    JOIN hookhub_webhook w ON w.id = pair.webhook_id
), inserted AS (
    INSERT INTO hookhub_poll_entry (id, event_id, webhook_id)
    SELECT {DELIVERY_ID}, e.id, pairs.webhook_id
    FROM pairs JOIN hookhub_event e ON e.id = pairs.event_id
    WHERE pairs.is_polled
    ORDER BY e.id, pairs.webhook_id
    ON CONFLICT (event_id, webhook_id) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM inserted), array_send(array_agg(event_id)), array_send(array_agg(webhook_id))
FROM pairs WHERE NOT is_polled
"""
