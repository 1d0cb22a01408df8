"""The statements of ``fanning_out``."""

from deliveries.db import sql
from deliveries.db.ids import DELIVERY_ID
from deliveries.pipeline.capacity import (
    FREE_SLOTS,
    HAS_FREE_SLOT,
    IN_FLIGHT_LIMIT,
    IS_NOT_WAITING,
    IS_SLOW,
    IS_UNVERIFIED,
    LAST_ID,
    LEASE_LASTS,
    WITHIN_SLOW_SLOTS,
)
from deliveries.pipeline.claims import DESTINATION, EVENT

# An arbitrary number, the same in every worker of a deployment.
LARGE_FAN_OUT_LOCK = 7_305_664

IS_FANNED_OUT = """
NOT EXISTS (SELECT FROM hookhub_outbox o
            WHERE o.partition = coalesce(e.repository_id, -e.organization_id) AND o.event_id = e.id)
"""

# The webhooks that match an event, found by the index webhook_by_topic, so that all others of its organization cost
# nothing. The first array has the keys of webhooks of the whole organization, the second those of the event's
# repository; without a repository it has only nulls, which match nothing.
# A ping or a test event is for one webhook, whatever that one subscribes to.
# A webhook disabled after the event was accepted still gets a delivery: it will be held, not lost. One whose lease has
# ended gets none. A deleted or an unverified one has no keys in the index.
# Filters are applied afterwards, and only if a webhook has one.
MATCHING = f"""
CROSS JOIN LATERAL (
    SELECT id, disabled_at, expires_at, payload_filter IS NOT NULL AS has_filter, kind = 'poll' AS is_polled
    FROM hookhub_webhook
    WHERE e.webhook_id IS NULL
      AND hookhub_webhook_keys(
              organization_id, repository_id, events, deleted_at, ended_at, proof, verified_at
          ) COLLATE "C" && (
          ARRAY(SELECT e.organization_id::text || '//' || unnest(e.topics))
          || ARRAY(SELECT e.organization_id::text || '/' || e.repository_id::text || '/' || unnest(e.topics))
      )
    UNION ALL
    SELECT id, disabled_at, expires_at, false, kind = 'poll'
    FROM (SELECT * FROM hookhub_webhook WHERE id = e.webhook_id OFFSET 0) AS w
    WHERE organization_id = e.organization_id AND (repository_id IS NULL OR repository_id = e.repository_id)
      AND deleted_at IS NULL AND NOT {IS_UNVERIFIED}
) AS w
WHERE (w.disabled_at IS NULL OR w.disabled_at > e.accepted_at) AND {LEASE_LASTS}
"""

# A new delivery never overtakes a ready one of its webhook. Written as a scalar subquery: the planner would turn NOT
# EXISTS into an anti-join over all ready deliveries.
HAS_NOTHING_READY = f"""
{IS_NOT_WAITING}
AND (SELECT 1 FROM hookhub_delivery l
     WHERE l.webhook_id = w.id AND l.state = 'pending' AND l.readiness > 0 LIMIT 1) IS NULL
"""
CAN_SEND_NOW = f"{HAS_NOTHING_READY} AND {HAS_FREE_SLOT}"

# Deletes the entries in ``taken`` from the outbox, and finds the pairs of one of their events and a webhook that it
# matches. Locks the webhooks to which deliveries can be sent at once. As in the claim, the locks are taken in a
# separate statement, so that the next one counts requests in flight exactly.
MATCHED_AND_LOCKED = f"""
deleted AS (
    DELETE FROM hookhub_outbox WHERE ctid = ANY(ARRAY(SELECT place FROM taken))
), batch AS MATERIALIZED (
    SELECT e.id, e.organization_id, e.repository_id, e.webhook_id, e.topics, e.accepted_at
    FROM hookhub_event e WHERE e.id = ANY(ARRAY(SELECT event_id FROM taken))
), pairs AS MATERIALIZED (
    SELECT e.id AS event_id, w.id AS webhook_id, w.has_filter, w.is_polled FROM batch e {MATCHING}
), ready AS MATERIALIZED (
    SELECT ready.id
    FROM (SELECT DISTINCT webhook_id AS id FROM pairs WHERE %(slots)s > 0 AND NOT is_polled) AS matching
    CROSS JOIN LATERAL (
        SELECT w.id FROM hookhub_webhook w WHERE w.id = matching.id AND {CAN_SEND_NOW} OFFSET 0
    ) AS ready
    LIMIT %(slots)s
), locked AS MATERIALIZED (
    SELECT {DESTINATION}
    FROM hookhub_webhook w JOIN hookhub_organization o ON o.id = w.organization_id
    WHERE w.id = ANY(ARRAY(SELECT id FROM ready)) AND w.disabled_at IS NULL AND w.deleted_at IS NULL
    ORDER BY w.id
    FOR NO KEY UPDATE OF w SKIP LOCKED
)
"""

# The first row also holds the pairs, and is returned even if no webhook was locked.
FOUND = """
SELECT {found}, CASE WHEN row_number() OVER () = 1 THEN found.pairs_events END,
       CASE WHEN row_number() OVER () = 1 THEN found.pairs_webhooks END, found.has_filters, found.has_polled,
       locked.*
FROM (
    SELECT array_send(array_agg(event_id)) AS pairs_events, array_send(array_agg(webhook_id)) AS pairs_webhooks,
           bool_or(has_filter) AS has_filters, bool_or(is_polled) AS has_polled
    FROM pairs
) AS found
LEFT JOIN locked ON true
"""

# Locks the entries of all events in the outbox if there are no more than ``limit``, and of none otherwise: then no
# partition waits for its turn. Most of the time of a statement for a few events goes into preparing its parts, and this
# has few.
FEW_TAKEN = """
first AS MATERIALIZED (
    SELECT ctid AS place FROM hookhub_outbox ORDER BY partition, event_id LIMIT %(limit)s + 1
), few AS MATERIALIZED (
    SELECT count(*) <= %(limit)s AS are_all FROM first
), taken AS MATERIALIZED (
    SELECT ctid AS place, event_id FROM hookhub_outbox
    WHERE (TABLE few) AND ctid = ANY(ARRAY(SELECT place FROM first))
    ORDER BY partition, event_id
    FOR UPDATE SKIP LOCKED
)
"""

TAKE_FEW = f"""
WITH {FEW_TAKEN}, {MATCHED_AND_LOCKED}
{FOUND.format(found="(TABLE few), (SELECT count(*) FROM taken)")}
"""

# Whether this fan-out has its turn, how many events were taken, and the last partition read.
TAKEN = """
(TABLE turn), (SELECT count(*) FROM taken),
coalesce((SELECT partition FROM taken ORDER BY step DESC LIMIT 1),
         (SELECT partition FROM partitions ORDER BY step DESC LIMIT 1))
"""

# Takes events out of the outbox, round-robin over partitions, so that a flood in one does not delay the others.
# A large fan-out does nothing unless it is its turn, which lasts until the end of the transaction.
# It continues from partition to partition until it has ``limit`` events. Fewer means that there are no more, apart from
# those that other transactions have locked.
TAKE_EVENTS = f"""
WITH RECURSIVE turn AS MATERIALIZED (
    SELECT %(small)s OR pg_try_advisory_xact_lock({LARGE_FAN_OUT_LOCK}) AS ours
), walk AS (
    SELECT %(cursor)s::bigint AS partition, 0 AS step, 0 AS lap FROM turn WHERE ours
    UNION ALL
    SELECT following.partition, walk.step + 1, following.lap
    FROM walk CROSS JOIN LATERAL (
        (SELECT partition, walk.lap FROM hookhub_outbox
         WHERE partition > walk.partition AND partition <= CASE WHEN walk.lap = 0 THEN {LAST_ID} ELSE %(cursor)s END
         ORDER BY partition LIMIT 1)
        UNION ALL
        (SELECT partition, 1 FROM hookhub_outbox
         WHERE walk.lap = 0 AND partition <= %(cursor)s ORDER BY partition LIMIT 1)
        LIMIT 1
    ) AS following
), partitions AS MATERIALIZED (
    SELECT partition, step FROM walk WHERE step > 0 AND partition <> ALL(%(exclude)s::bigint[])
    LIMIT %(limit)s
), taken AS MATERIALIZED (
    SELECT entry.place, entry.partition, entry.event_id, partitions.step
    FROM partitions CROSS JOIN LATERAL (
        SELECT ctid AS place, partition, event_id FROM hookhub_outbox
        WHERE partition = partitions.partition
        ORDER BY event_id
        LIMIT (SELECT greatest((%(limit)s + count(*) - 1) / greatest(count(*), 1), %(per_partition)s)
               FROM (SELECT FROM partitions LIMIT %(needed)s) AS needed)
        FOR UPDATE SKIP LOCKED
    ) AS entry
    LIMIT %(limit)s
), {MATCHED_AND_LOCKED}
{FOUND.format(found=TAKEN)}
"""

# Inserts deliveries, each as claimed or as ready.
NEW_DELIVERY = """
    INSERT INTO hookhub_delivery AS d (
        id, event_id, webhook_id, organization_id, repository_id, event_type, created_at,
        readiness, failures, lease_losses, redeliveries,
        state, due_at, attempts_made, first_attempt_at, lease, leased_at, leased_until
    )
    SELECT id, event_id, webhook_id, organization_id, repository_id, type, %(now)s,
           1, 0, 0, 0,
           CASE WHEN is_chosen THEN 'sending' ELSE 'pending' END,
           CASE WHEN NOT is_chosen THEN %(now)s::timestamptz END,
           CASE WHEN is_chosen THEN 1 ELSE 0 END,
           CASE WHEN is_chosen THEN %(now)s::timestamptz END,
           CASE WHEN is_chosen THEN %(lease)s::uuid END,
           CASE WHEN is_chosen THEN %(now)s::timestamptz END,
           CASE WHEN is_chosen THEN %(until)s::timestamptz END
"""

# What was claimed; if nothing was, one row holds only the count.
CLAIMED = f"""
    ON CONFLICT (event_id, webhook_id) DO NOTHING
    RETURNING d.id, d.event_id, d.webhook_id, d.lease
)
SELECT counted.deliveries, claimed.webhook_id, claimed.id, e.*,
       CASE WHEN claimed.id IS NULL THEN {sql.ASYNC_COMMIT} END
FROM (SELECT count(*) AS deliveries FROM inserted) AS counted
LEFT JOIN (SELECT * FROM inserted WHERE lease IS NOT NULL) AS claimed ON true
LEFT JOIN LATERAL (
    SELECT {EVENT}
    FROM hookhub_event e LEFT JOIN hookhub_repository r ON r.id = e.repository_id
    WHERE e.id = claimed.event_id
    OFFSET 0
) AS e ON true
"""

# Fans out all events in the outbox and claims all of their deliveries, if there are no more than ``limit`` events, and
# each webhook has capacity and neither a filter, a rate nor a queue. Otherwise it does nothing.
# One statement is enough, because hookhub_requests_in_flight() counts in a snapshot of its own: it is called once the
# webhooks are locked, and before a delivery is inserted.
FAN_OUT_AT_ONCE = f"""
WITH {FEW_TAKEN}, batch AS MATERIALIZED (
    SELECT e.id, e.organization_id, e.repository_id, e.webhook_id, e.topics, e.accepted_at, e.type, e.payload,
           e.occurred_at, e.hops, e.trace
    FROM hookhub_event e WHERE e.id = ANY(ARRAY(SELECT event_id FROM taken))
), pairs AS MATERIALIZED (
    SELECT e.id AS event_id, w.id AS webhook_id FROM batch e {MATCHING} LIMIT %(slots)s + 1
), locked AS MATERIALIZED (
    SELECT {DESTINATION}, {IN_FLIGHT_LIMIT} AS in_flight_limit
    FROM hookhub_webhook w JOIN hookhub_organization o ON o.id = w.organization_id
    WHERE w.id = ANY(ARRAY(SELECT webhook_id FROM pairs)) AND w.disabled_at IS NULL AND w.deleted_at IS NULL
      AND w.payload_filter IS NULL AND w.pace_interval IS NULL AND w.kind <> 'poll' AND NOT {IS_SLOW}
      AND {HAS_NOTHING_READY}
    ORDER BY w.id
    FOR NO KEY UPDATE OF w SKIP LOCKED
), possible AS MATERIALIZED (
    SELECT (TABLE few) AND coalesce(sum(events), 0) <= %(slots)s AND coalesce(
        bool_and(coalesce(hookhub_requests_in_flight(locked.id) + events <= locked.in_flight_limit, false)), true
    )
    FROM (SELECT webhook_id AS id, count(*) AS events FROM pairs GROUP BY webhook_id) AS matching
    LEFT JOIN locked USING (id)
), deleted AS (
    DELETE FROM hookhub_outbox WHERE (TABLE possible) AND ctid = ANY(ARRAY(SELECT place FROM taken))
), inserted AS (
    {NEW_DELIVERY}
    FROM (
        SELECT {DELIVERY_ID} AS id, e.id AS event_id, pairs.webhook_id, e.organization_id, e.repository_id, e.type,
               true AS is_chosen
        FROM pairs JOIN batch e ON e.id = pairs.event_id
        WHERE (TABLE possible)
    ) AS new
    ON CONFLICT (event_id, webhook_id) DO NOTHING
    RETURNING d.id AS delivery_id, d.event_id, d.webhook_id
)
SELECT (TABLE possible), (SELECT count(*) FROM taken), claimed.*,
       CASE WHEN claimed.delivery_id IS NULL THEN {sql.ASYNC_COMMIT} END
FROM (SELECT) AS one LEFT JOIN (
    SELECT inserted.delivery_id, {EVENT}, locked.*
    FROM inserted
    JOIN batch e ON e.id = inserted.event_id
    JOIN locked ON locked.id = inserted.webhook_id
    LEFT JOIN hookhub_repository r ON r.id = e.repository_id
) AS claimed ON true
"""

# Inserts the deliveries of the events. Those for which a locked webhook has free slots are inserted as claimed, one of
# each webhook, then a second of each; all others are inserted as ready.
INSERT_DELIVERIES = f"""
WITH open AS MATERIALIZED (
    {FREE_SLOTS} WHERE w.id = ANY(%(locked)s::bigint[]) AND {HAS_NOTHING_READY}
), new AS MATERIALIZED (
    SELECT {DELIVERY_ID} AS id, e.id AS event_id, pair.webhook_id, e.organization_id, e.repository_id, e.type
    FROM unnest(%(events)s::uuid[], %(webhooks)s::bigint[]) AS pair (event_id, webhook_id)
    CROSS JOIN LATERAL (
        SELECT id, organization_id, repository_id, type FROM hookhub_event WHERE id = pair.event_id OFFSET 0
    ) AS e
), candidates AS (
    SELECT numbered.id, numbered.webhook_id, numbered.turn, open.is_slow, open.in_flight, open.last_delivery_at
    FROM (
        SELECT id, webhook_id, row_number() OVER (PARTITION BY webhook_id ORDER BY event_id) AS turn
        FROM new WHERE webhook_id = ANY(ARRAY(SELECT id FROM open))
    ) AS numbered
    JOIN open ON open.id = numbered.webhook_id
    WHERE numbered.turn <= open.free
), chosen AS MATERIALIZED (
    SELECT id
    {WITHIN_SLOW_SLOTS}
    ORDER BY turn, webhook_id
    LIMIT %(slots)s
), inserted AS (
    {NEW_DELIVERY}
    FROM (SELECT new.*, chosen.id IS NOT NULL AS is_chosen FROM new LEFT JOIN chosen USING (id) OFFSET 0) AS marked
    {CLAIMED}
"""

# The same for one event and one webhook. It need not be one of those that were locked: their filters may have rejected
# the event.
INSERT_DELIVERY = f"""
WITH chosen AS MATERIALIZED (
    SELECT FROM (
        {FREE_SLOTS}
        WHERE w.id = (%(webhooks)s::bigint[])[1] AND w.id = ANY(%(locked)s::bigint[]) AND {HAS_NOTHING_READY}
    ) AS open
    WHERE free > 0 AND %(slots)s > 0 AND (NOT is_slow OR %(slow_slots)s > 0)
), inserted AS (
    {NEW_DELIVERY}
    FROM (
        SELECT {DELIVERY_ID} AS id, e.id AS event_id, (%(webhooks)s::bigint[])[1] AS webhook_id,
               e.organization_id, e.repository_id, e.type, EXISTS (TABLE chosen) AS is_chosen
        FROM hookhub_event e WHERE e.id = (%(events)s::uuid[])[1]
    ) AS marked
    {CLAIMED}
"""

FIND_NEXT_PARTITION = """
SELECT partition FROM hookhub_outbox WHERE partition <> ALL(%(exclude)s::bigint[])
ORDER BY partition <= %(cursor)s, partition LIMIT 1
"""
