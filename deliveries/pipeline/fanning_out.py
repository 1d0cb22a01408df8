"""Fan out events: create a delivery for each matching webhook, and claim at once those that can be sent."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

from deliveries.db import arrays, sql
from deliveries.db.ids import DELIVERY_ID
from deliveries.failpoints import hit
from deliveries.pipeline import claiming, filtering, poll_queues
from deliveries.pipeline.capacity import (
    FREE_SLOTS,
    HAS_FREE_SLOT,
    IS_NOT_WAITING,
    IS_UNVERIFIED,
    LAST_ID,
    LEASE_LASTS,
    NO_CAPACITY,
    WITHIN_SLOW_SLOTS,
    Capacity,
    capacity_params,
)
from deliveries.pipeline.claiming import LeaseGrant
from deliveries.pipeline.claims import DESTINATION, EVENT, Claim, Destination
from deliveries.pipeline.filtering import Pairs

# Events fanned out by one statement.
FAN_OUT_BATCH = 500
# A fan-out of more events than this locks most of the webhooks. Of two at the same time, the second would find them
# locked, and its deliveries would all have to be claimed, which writes each of them once more. So these take turns.
LARGE_FAN_OUT = 32
# An arbitrary number, the same in every worker of a deployment.
LARGE_FAN_OUT_LOCK = 7_305_664
# How many events of a partition are taken before the next partition has its turn; more if there are few partitions.
EVENTS_PER_PARTITION = 8


class FannedOut(NamedTuple):
    """How many events were fanned out, how many deliveries that created, and those of them claimed for this worker.

    ``cursor`` is the last partition served; the next fan-out starts after it. ``must_wait`` means that nothing was done
    because another large fan-out is running.
    """

    events: int
    deliveries: int
    claims: list[Claim]
    cursor: int
    must_wait: bool = False


def fan_out(
    limit: int = FAN_OUT_BATCH,
    *,
    capacity: Capacity = NO_CAPACITY,
    cursor: int = 0,
    exclude: Sequence[int] = (),
    now: datetime,
) -> FannedOut:
    """Create the deliveries of up to ``limit`` events for every matching active webhook, round-robin over partitions.

    Deliveries that fit the ``capacity``, and whose webhook has nothing ready before them, are claimed in the same
    transaction, which is committed when this returns; the rest become ready. Idempotent, also under concurrency.
    Starts after the partition ``cursor`` and skips the partitions to ``exclude``.
    """
    with fan_out_ahead(limit, capacity=capacity, cursor=cursor, exclude=exclude, now=now) as done:
        pass
    return done


@contextmanager
def fan_out_ahead(
    limit: int = FAN_OUT_BATCH,
    *,
    capacity: Capacity = NO_CAPACITY,
    cursor: int = 0,
    exclude: Sequence[int] = (),
    now: datetime,
) -> Iterator[FannedOut]:
    """Do the same as ``fan_out``, with a block that has its result ahead of the COMMIT, which its end waits for.

    The block may build requests meanwhile. None may be sent before its end, and none after an exception.
    """
    grant = claiming.grant_lease(now)
    with sql.transaction():
        yield _fan_out(limit, capacity=capacity, cursor=cursor, exclude=exclude, grant=grant)
    hit("fanned-out")


def _fan_out(limit: int, *, capacity: Capacity, cursor: int, exclude: Sequence[int], grant: LeaseGrant) -> FannedOut:
    params = capacity_params(capacity, max_in_flight=grant.max_in_flight, now=grant.now) | {"slots": capacity.slots}
    per_partition = events_per_partition(limit, slots=capacity.slots)
    share = {"per_partition": per_partition, "needed": -(-limit // per_partition)}
    batch = {"limit": limit, **share, "cursor": cursor, "exclude": arrays.bigints(exclude)}
    found = sql.run(TAKE_EVENTS, {**params, **batch, "small": limit <= LARGE_FAN_OUT})
    has_turn, events, partition, pairs_events, pairs_webhooks, has_filters, has_polled = found[0][:7]
    hit("fanning-out")
    if not has_turn:
        return FannedOut(0, 0, [], cursor, must_wait=True)
    # No webhook matched, other transactions have locked every event found, or the outbox is empty. Continue after the
    # last partition read.
    if pairs_events is None:
        return FannedOut(events, 0, [], cursor if partition is None else partition)
    matching = Pairs(arrays.Array(pairs_events), arrays.Array(pairs_webhooks))
    pairs = filtering.accepted(matching) if has_filters else matching
    if pairs is not None and has_polled:
        pairs = poll_queues.put(pairs).others
    if pairs is None:
        return FannedOut(events, 0, [], partition)
    destinations = {row[7]: Destination(*row[7:]) for row in found if row[7] is not None}
    leased = {"locked": arrays.bigints(destinations), "lease": grant.lease, "until": grant.until}
    is_limited = any(each.pace_interval is not None for each in destinations.values())
    parameters = {**params, **pairs.parameters, **leased}
    rows = sql.run(INSERT_DELIVERIES, parameters, commits=not is_limited, is_commit_awaited=False)
    claims = _claims(rows, destinations, grant)
    if is_limited:
        claims = claiming.with_turns(claims, now=grant.now, commits=True)
    return FannedOut(events, rows[0][0], claims, partition)


def events_per_partition(limit: int, *, slots: int) -> int:
    """Return how many events to take of a partition before the next has its turn, for this many free ``slots``.

    A caller that takes few events for many slots has seen that each goes to many webhooks. The events of a partition
    mostly go to the same webhooks, so several at a time would only exceed the limit of requests in flight of these.
    """
    return max(1, min(EVENTS_PER_PARTITION, EVENTS_PER_PARTITION * limit // slots)) if slots else EVENTS_PER_PARTITION


def next_partitions(cursor: int, *, exclude: Sequence[int]) -> list[int]:
    """Return the partition after ``cursor``, as a list of one or none; it may read the whole outbox."""
    rows = sql.run(FIND_NEXT_PARTITION, {"cursor": cursor, "exclude": arrays.bigints(exclude)})
    return [partition for (partition,) in rows]


def _claims(rows: list[sql.Row], destinations: dict[int, Destination], grant: LeaseGrant) -> list[Claim]:
    """Return what INSERT_DELIVERIES claimed, in the order of the events.

    If it claimed nothing, its one row holds only the count.
    """
    return [
        Claim(grant.lease, grant.until, destinations[row[1]], row[2], 1, 0, grant.now, grant.now, *row[3:-1])
        for row in sorted((row for row in rows if row[2] is not None), key=itemgetter(3))
    ]


IS_FANNED_OUT = """
NOT EXISTS (SELECT FROM hookhub_outbox a
            WHERE a.partition = coalesce(e.repository_id, -e.organization_id) AND a.event_id = e.id)
"""

# The webhooks that match an event, found by the index webhook_by_topic, so that all others of its organization cost
# nothing. The first array has the keys of webhooks of the whole organization, the second those of the event's
# repository; without a repository it has only nulls, which match nothing.
# A ping or a test event is for one webhook, whatever that one subscribes to.
# A webhook disabled after the event was accepted still gets a delivery: it will be held, not lost. One whose lease has
# ended gets none. A deleted or an unverified one has no keys in the index.
# Whether the data passes a webhook's filter is looked at afterwards, and only if one of them has a filter.
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
    SELECT id, disabled_at, expires_at, false, kind = 'poll' FROM hookhub_webhook w
    WHERE id = e.webhook_id AND organization_id = e.organization_id
      AND (repository_id IS NULL OR repository_id = e.repository_id)
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

# Takes events out of the outbox, round-robin over partitions, so that a flood in one does not delay the others, and
# locks the webhooks to which deliveries can be sent at once. As in the claim, the locks are taken in a separate
# statement, so that the next one counts requests in flight exactly. The first row also holds the pairs of events and
# webhooks, and is returned even if no webhook was locked.
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
    SELECT a.place, a.partition, a.event_id, partitions.step
    FROM partitions CROSS JOIN LATERAL (
        SELECT ctid AS place, partition, event_id FROM hookhub_outbox
        WHERE partition = partitions.partition
        ORDER BY event_id
        LIMIT (SELECT greatest((%(limit)s + count(*) - 1) / greatest(count(*), 1), %(per_partition)s)
               FROM (SELECT FROM partitions LIMIT %(needed)s) AS needed)
        FOR UPDATE SKIP LOCKED
    ) AS a
    LIMIT %(limit)s
), deleted AS (
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
SELECT (TABLE turn), found.events, found.partition, CASE WHEN row_number() OVER () = 1 THEN found.pairs_events END,
       CASE WHEN row_number() OVER () = 1 THEN found.pairs_webhooks END, found.has_filters, found.has_polled,
       locked.*
FROM (
    SELECT (SELECT count(*) FROM taken) AS events,
           coalesce((SELECT partition FROM taken ORDER BY step DESC LIMIT 1),
                    (SELECT partition FROM partitions ORDER BY step DESC LIMIT 1)) AS partition,
           array_send(array_agg(event_id)) AS pairs_events, array_send(array_agg(webhook_id)) AS pairs_webhooks,
           bool_or(has_filter) AS has_filters, bool_or(is_polled) AS has_polled
    FROM pairs
) AS found
LEFT JOIN locked ON true
"""

# Inserts the deliveries of the events. Those for which a locked webhook has free slots are inserted as claimed, one of
# each webhook, then a second of each; all others are inserted as ready.
INSERT_DELIVERIES = f"""
WITH open AS MATERIALIZED (
    {FREE_SLOTS} WHERE w.id = ANY(%(locked)s::bigint[]) AND {HAS_NOTHING_READY}
), new AS MATERIALIZED (
    SELECT {DELIVERY_ID} AS id, e.id AS event_id, pair.webhook_id, e.organization_id, e.repository_id, e.type
    FROM unnest(%(events)s::uuid[], %(webhooks)s::bigint[]) AS pair (event_id, webhook_id)
    JOIN hookhub_event e ON e.id = pair.event_id
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
    FROM (SELECT new.*, chosen.id IS NOT NULL AS is_chosen FROM new LEFT JOIN chosen USING (id) OFFSET 0) AS marked
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

FIND_NEXT_PARTITION = """
SELECT partition FROM hookhub_outbox WHERE partition <> ALL(%(exclude)s::bigint[])
ORDER BY partition <= %(cursor)s, partition LIMIT 1
"""
