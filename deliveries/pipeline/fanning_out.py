"""Fan out events: create a delivery for each matching webhook, and claim at once those that can be sent."""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

from django.db import transaction

from deliveries.db import arrays, sql
from deliveries.failpoints import reach
from deliveries.pipeline import claiming
from deliveries.pipeline.capacity import (
    IN_FLIGHT,
    IS_SLOW,
    LAST_ID,
    NOTHING,
    SHARE,
    SLOW_ORDER,
    Capacity,
    standing,
)
from deliveries.pipeline.claiming import DESTINATION, Claim, Destination, LeaseGrant

# Events fanned out by one statement.
FAN_OUT_BATCH = 500
# How many events of a partition are taken before the next partition has its turn; more if there are few partitions.
TURNS = 8


class FannedOut(NamedTuple):
    """How many events were fanned out, how many deliveries that created, and those of them claimed for this worker.

    ``after`` is the last partition served; the next fan-out starts after it.
    """

    events: int
    deliveries: int
    claims: list[Claim]
    after: int


def fan_out(
    limit: int = FAN_OUT_BATCH,
    *,
    wanted: Capacity = NOTHING,
    after: int = 0,
    without: Sequence[int] = (),
    now: datetime,
) -> FannedOut:
    """Create the deliveries of up to ``limit`` events for every matching active webhook, round-robin over partitions.

    Deliveries that fit the capacity ``wanted``, and whose webhook has nothing ready before them, are claimed in the
    same transaction, which is committed when this returns; the rest become ready. Idempotent, also under concurrency.
    Starts after the partition ``after`` and skips the partitions ``without``.
    """
    leasing = claiming.grant_lease(now)
    with transaction.atomic():
        done = _fan_out(limit, wanted=wanted, after=after, without=without, leasing=leasing)
    reach("fanned-out")
    return done


def _fan_out(limit: int, *, wanted: Capacity, after: int, without: Sequence[int], leasing: LeaseGrant) -> FannedOut:
    facts = standing(wanted, max_in_flight=leasing.max_in_flight, now=leasing.now) | {"room": wanted.limit}
    chosen = {"limit": limit, "turns": turns_of(limit, room=wanted.limit), "after": after}
    found = sql.run(TAKE_EVENTS, {**facts, **chosen, "without": arrays.bigints(without)})
    events, source, pairs_events, pairs_webhooks = found[0][:4]
    reach("fanning-out")
    # No webhook matched, other transactions have locked every event found, or the outbox is empty. Continue after the
    # last partition read.
    if pairs_events is None:
        return FannedOut(events, 0, [], after if source is None else source)
    destinations = {row[4]: Destination(*row[4:]) for row in found if row[4] is not None}
    pairs = {"events": arrays.Array(pairs_events), "webhooks": arrays.Array(pairs_webhooks)}
    leased = {"ours": arrays.bigints(destinations), "lease": leasing.lease, "until": leasing.until}
    rows = sql.run(INSERT_DELIVERIES, {**facts, **pairs, **leased})
    return FannedOut(events, rows[0][0], _claims(rows, destinations, leasing), source)


def turns_of(limit: int, *, room: int) -> int:
    """Return how many events to take of a partition before the next has its turn, for ``room`` free slots.

    A caller that takes few events for many slots has seen that each goes to many webhooks. The events of a partition
    mostly go to the same webhooks, so several at a time would only exceed the limit of requests in flight of these.
    """
    return max(1, min(TURNS, TURNS * limit // room)) if room else TURNS


def sources_behind(after: int, *, without: Sequence[int]) -> list[int]:
    """Return the next partition after ``after``, as a list of one or none; it may read the whole outbox."""
    return [source for (source,) in sql.run(NEXT_SOURCE, {"after": after, "without": arrays.bigints(without)})]


def _claims(rows: list[sql.Row], destinations: dict[int, Destination], leasing: LeaseGrant) -> list[Claim]:
    """Return what INSERT_DELIVERIES claimed, in the order of the events.

    If it claimed nothing, its one row holds only the count.
    """
    return [
        Claim(leasing.lease, leasing.until, destinations[row[1]], row[2], 1, 0, leasing.now, *row[3:-1])
        for row in sorted((row for row in rows if row[2] is not None), key=itemgetter(3))
    ]


IS_FANNED_OUT = """
NOT EXISTS (SELECT FROM deliveries_arrival a
            WHERE a.source = coalesce(e.repository_id, -e.organization_id) AND a.event_id = e.id)
"""

# The webhooks that match an event, as a union of repository and organization webhooks, so that an event of one among
# thousands of repositories reads only the webhooks of that repository.
# A webhook disabled after the event was accepted still gets a delivery: it will be held, not lost.
MATCHING = """
CROSS JOIN LATERAL (
    SELECT * FROM deliveries_webhook near
    WHERE near.organization_id = e.organization_id AND near.repository_id = e.repository_id
    UNION ALL
    SELECT * FROM deliveries_webhook wide
    WHERE wide.organization_id = e.organization_id AND wide.repository_id IS NULL
) AS w
WHERE (w.disabled_at IS NULL OR w.disabled_at > e.accepted_at) AND w.deleted_at IS NULL
  AND CASE WHEN e.webhook_id IS NULL THEN w.events::text[] && e.topics::text[] ELSE w.id = e.webhook_id END
"""

# A new delivery never overtakes a ready one of its webhook. Written as a scalar subquery: the planner would turn NOT
# EXISTS into an anti-join over all ready deliveries.
CAN_SEND_NOW = f"""
(w.resting_until IS NULL OR w.resting_until <= %(now)s)
AND (SELECT 1 FROM deliveries_delivery l
     WHERE l.webhook_id = w.id AND l.state = 'pending' AND l.line > 0 LIMIT 1) IS NULL
AND {IN_FLIGHT} < {SHARE}
AND (%(slow_room)s > 0 OR NOT {IS_SLOW})
"""

# Takes events out of the outbox, round-robin over partitions, so that a flood in one does not delay the others, and
# locks the webhooks to which deliveries can be sent at once. As in the claim, the locks are taken in a separate
# statement, so that the next one counts requests in flight exactly. The first row also holds the pairs of events and
# webhooks, and is returned even if no webhook was locked.
# It continues from partition to partition until it has ``limit`` events. Fewer means that there are no more, apart from
# those that other transactions have locked.
TAKE_EVENTS = f"""
WITH RECURSIVE turns AS (
    SELECT %(after)s::bigint AS source, 0 AS step, 0 AS lap
    UNION ALL
    SELECT following.source, turns.step + 1, following.lap
    FROM turns CROSS JOIN LATERAL (
        (SELECT source, turns.lap FROM deliveries_arrival
         WHERE source > turns.source AND source <= CASE WHEN turns.lap = 0 THEN {LAST_ID} ELSE %(after)s END
         ORDER BY source LIMIT 1)
        UNION ALL
        (SELECT source, 1 FROM deliveries_arrival
         WHERE turns.lap = 0 AND source <= %(after)s ORDER BY source LIMIT 1)
        LIMIT 1
    ) AS following
), sources AS MATERIALIZED (
    SELECT source, step FROM turns WHERE step > 0 AND source <> ALL(%(without)s::bigint[])
    LIMIT %(limit)s
), arrived AS MATERIALIZED (
    SELECT a.source, a.event_id, sources.step
    FROM sources CROSS JOIN LATERAL (
        SELECT source, event_id FROM deliveries_arrival
        WHERE source = sources.source
        ORDER BY event_id
        LIMIT (SELECT greatest((%(limit)s + count(*) - 1) / greatest(count(*), 1), %(turns)s)
               FROM (SELECT FROM sources LIMIT (%(limit)s + %(turns)s - 1) / %(turns)s) AS first_ones)
        FOR UPDATE SKIP LOCKED
    ) AS a
    LIMIT %(limit)s
), done AS (
    DELETE FROM deliveries_arrival a USING arrived WHERE a.source = arrived.source AND a.event_id = arrived.event_id
), batch AS MATERIALIZED (
    SELECT e.id, e.organization_id, e.repository_id, e.webhook_id, e.topics, e.accepted_at
    FROM deliveries_event e WHERE e.id = ANY(ARRAY(SELECT event_id FROM arrived))
), pairs AS MATERIALIZED (
    SELECT e.id AS event_id, w.id AS webhook_id FROM batch e {MATCHING}
), ready AS MATERIALIZED (
    SELECT ready.id
    FROM (SELECT DISTINCT webhook_id AS id FROM pairs WHERE %(room)s > 0) AS matching
    CROSS JOIN LATERAL (
        SELECT w.id FROM deliveries_webhook w WHERE w.id = matching.id AND {CAN_SEND_NOW} OFFSET 0
    ) AS ready
    LIMIT %(room)s
), locked AS MATERIALIZED (
    SELECT {DESTINATION}
    FROM deliveries_webhook w JOIN deliveries_organization o ON o.id = w.organization_id
    WHERE w.id = ANY(ARRAY(SELECT id FROM ready)) AND w.disabled_at IS NULL AND w.deleted_at IS NULL
    ORDER BY w.id
    FOR NO KEY UPDATE OF w SKIP LOCKED
)
SELECT picked.events, picked.source, CASE WHEN row_number() OVER () = 1 THEN picked.pairs_events END,
       CASE WHEN row_number() OVER () = 1 THEN picked.pairs_webhooks END, locked.*
FROM (
    SELECT (SELECT count(*) FROM arrived) AS events,
           coalesce((SELECT source FROM arrived ORDER BY step DESC LIMIT 1),
                    (SELECT source FROM sources ORDER BY step DESC LIMIT 1)) AS source,
           array_send(array_agg(event_id)) AS pairs_events, array_send(array_agg(webhook_id)) AS pairs_webhooks
    FROM pairs
) AS picked
LEFT JOIN locked ON true
"""

# Inserts the deliveries of the events. Those for which a locked webhook has free slots are inserted as claimed, one of
# each webhook, then a second of each; all others are inserted as ready.
# A delivery's id consists of the first half of its event's id, which holds the time, and a random second half: the log
# and the queue are in the order in which the events were accepted.
INSERT_DELIVERIES = f"""
WITH open AS MATERIALIZED (
    SELECT w.id, {IS_SLOW} AS slow, w.last_delivery_at, flying.busy, {SHARE} - flying.busy AS free
    FROM deliveries_webhook w CROSS JOIN LATERAL (SELECT {IN_FLIGHT} AS busy OFFSET 0) AS flying
    WHERE w.id = ANY(%(ours)s::bigint[]) AND {CAN_SEND_NOW}
), owed AS MATERIALIZED (
    SELECT encode(substring(uuid_send(e.id) FOR 8) || substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid
               AS id,
           e.id AS event_id, pair.webhook_id, e.organization_id, e.repository_id, e.type
    FROM unnest(%(events)s::uuid[], %(webhooks)s::bigint[]) AS pair (event_id, webhook_id)
    JOIN deliveries_event e ON e.id = pair.event_id
), fitting AS (
    SELECT turned.id, turned.webhook_id, turned.turn, open.slow, open.busy, open.last_delivery_at
    FROM (
        SELECT id, webhook_id, row_number() OVER (PARTITION BY webhook_id ORDER BY event_id) AS turn
        FROM owed WHERE webhook_id = ANY(ARRAY(SELECT id FROM open))
    ) AS turned
    JOIN open ON open.id = turned.webhook_id
    WHERE turned.turn <= open.free
), taken AS MATERIALIZED (
    SELECT id
    FROM (
        SELECT fitting.*, row_number() OVER (PARTITION BY slow ORDER BY {SLOW_ORDER}) AS place FROM fitting
    ) AS numbered
    WHERE NOT slow OR place <= %(slow_room)s
    ORDER BY turn, webhook_id
    LIMIT %(room)s
), inserted AS (
    INSERT INTO deliveries_delivery AS d (
        id, event_id, webhook_id, organization_id, repository_id, event_type, created_at,
        line, failures, lease_losses, redeliveries,
        state, due_at, attempts_made, first_attempt_at, lease, leased_at, leased_until
    )
    SELECT id, event_id, webhook_id, organization_id, repository_id, type, %(now)s,
           1, 0, 0, 0,
           CASE WHEN is_taken THEN 'sending' ELSE 'pending' END,
           CASE WHEN NOT is_taken THEN %(now)s::timestamptz END,
           CASE WHEN is_taken THEN 1 ELSE 0 END,
           CASE WHEN is_taken THEN %(now)s::timestamptz END,
           CASE WHEN is_taken THEN %(lease)s::uuid END,
           CASE WHEN is_taken THEN %(now)s::timestamptz END,
           CASE WHEN is_taken THEN %(until)s::timestamptz END
    FROM (SELECT owed.*, taken.id IS NOT NULL AS is_taken FROM owed LEFT JOIN taken USING (id) OFFSET 0) AS marked
    ON CONFLICT (event_id, webhook_id) DO NOTHING
    RETURNING d.id, d.event_id, d.webhook_id, d.lease
)
SELECT counted.owed, claimed.webhook_id, claimed.id, e.*,
       CASE WHEN claimed.id IS NULL THEN {sql.UNHURRIED} END
FROM (SELECT count(*) AS owed FROM inserted) AS counted
LEFT JOIN (SELECT * FROM inserted WHERE lease IS NOT NULL) AS claimed ON true
LEFT JOIN LATERAL (
    SELECT e.id::text, e.type, e.payload, e.occurred_at, r.name, e.hops
    FROM deliveries_event e LEFT JOIN deliveries_repository r ON r.id = e.repository_id
    WHERE e.id = claimed.event_id
    OFFSET 0
) AS e ON true
"""

NEXT_SOURCE = """
SELECT source FROM deliveries_arrival WHERE source <> ALL(%(without)s::bigint[])
ORDER BY source <= %(after)s, source LIMIT 1
"""
