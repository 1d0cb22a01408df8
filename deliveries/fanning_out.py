"""The fan-out: what each event is owed to, and which of it can be sent at once."""

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from django.db import transaction

from deliveries import arrays, queue
from deliveries.claiming import (
    BY_TURNS_OF_THE_SLOW,
    DESTINATION,
    IN_FLIGHT,
    IS_SLOW,
    LAST_ID,
    SHARE,
    Claim,
    Destination,
    Leasing,
    Wanted,
    standing,
)
from deliveries.failpoints import reach

# A source gives at most so many events before the next one has its turn, and more only where there are few sources.
TURNS = 8

# The webhooks of an event, in two halves, so that an event of one repository among thousands looks at those only.
# One that was disabled while the event stood among the arrivals is still owed it: held when its turn comes, not lost.
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

# A delivery never overtakes another one of its webhook that stands in line. Asked as a value and not as NOT EXISTS,
# which the planner answers for all webhooks together, by reading everything that stands in line.
MAY_BE_SENT = f"""
(w.resting_until IS NULL OR w.resting_until <= %(now)s)
AND (SELECT 1 FROM deliveries_delivery l
     WHERE l.webhook_id = w.id AND l.state = 'pending' AND l.line > 0 LIMIT 1) IS NULL
AND {IN_FLIGHT} < {SHARE}
AND (%(slow_room)s > 0 OR NOT {IS_SLOW})
"""  # noqa: S608 - put together of constants

# Takes events out of the arrivals by turns of their sources, so that the flood of one holds up no other, and locks the
# webhooks they can be sent to at once: like the claim's, that makes a statement of its own, so that the next one counts
# right. The first row has the events as well, and is there even where no webhook is.
# It goes on from source to source until it has as many as it is to take: fewer means that there are no more, but for
# those that others have in hand.
PICK = f"""
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
        SELECT w.id FROM deliveries_webhook w WHERE w.id = matching.id AND {MAY_BE_SENT} OFFSET 0
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
"""  # noqa: S608 - put together of constants

# Owes the events to every webhook that matches. What one of the locked webhooks has room for is claimed as it is owed,
# a first one of each webhook, then a second of each; everything else stands in line.
# A delivery's id is the first half of its event's, which is its time, and a random half of its own: in the log and in
# the queue deliveries stand in the order in which their events were accepted.
OWE = f"""
WITH open AS MATERIALIZED (
    SELECT w.id, {IS_SLOW} AS slow, w.last_delivery_at, flying.busy, {SHARE} - flying.busy AS free
    FROM deliveries_webhook w CROSS JOIN LATERAL (SELECT {IN_FLIGHT} AS busy OFFSET 0) AS flying
    WHERE w.id = ANY(%(ours)s::bigint[]) AND {MAY_BE_SENT}
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
        SELECT fitting.*, row_number() OVER (PARTITION BY slow ORDER BY {BY_TURNS_OF_THE_SLOW}) AS place FROM fitting
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
       CASE WHEN claimed.id IS NULL THEN {queue.UNHURRIED} END
FROM (SELECT count(*) AS owed FROM inserted) AS counted
LEFT JOIN (SELECT * FROM inserted WHERE lease IS NOT NULL) AS claimed ON true
LEFT JOIN LATERAL (
    SELECT e.id::text, e.type, e.payload, e.occurred_at, r.name, e.hops
    FROM deliveries_event e LEFT JOIN deliveries_repository r ON r.id = e.repository_id
    WHERE e.id = claimed.event_id
    OFFSET 0
) AS e ON true
"""  # noqa: S608 - put together of constants


NEXT_SOURCE = """
SELECT source FROM deliveries_arrival WHERE source <> ALL(%(without)s::bigint[])
ORDER BY source <= %(after)s, source LIMIT 1
"""


class FannedOut(NamedTuple):
    """What a fan-out did: how many events, how many deliveries, and which of them are ours to send now.

    ``after`` is the source whose turn came last; the next fan-out goes on behind it.
    """

    events: int
    deliveries: int
    claims: list[Claim]
    after: int


def fan_out(limit: int, *, wanted: Wanted, after: int, without: Sequence[int] = (), leasing: Leasing) -> FannedOut:
    """Owe up to ``limit`` events to whom they match, and claim of that what is ``wanted`` and can be sent at once.

    It begins behind the source ``after``, and passes over those it is to do ``without``.
    """
    facts = standing(wanted, max_in_flight=leasing.max_in_flight, now=leasing.now) | {"room": wanted.limit}
    with transaction.atomic():
        chosen = {"limit": limit, "turns": turns_of(limit, room=wanted.limit), "after": after}
        found = queue.run(PICK, {**facts, **chosen, "without": arrays.bigints(without)})
        events, source, pairs_events, pairs_webhooks = found[0][:4]
        reach("fanning-out")
        # Where there is no event, others may have in hand all that was looked at; then the next look is behind that.
        if pairs_events is None:
            return FannedOut(events, 0, [], after if source is None else source)
        destinations = {row[4]: Destination(*row[4:]) for row in found if row[4] is not None}
        pairs = {"events": arrays.Array(pairs_events), "webhooks": arrays.Array(pairs_webhooks)}
        leased = {"ours": arrays.bigints(destinations), "lease": leasing.lease, "until": leasing.until}
        rows = queue.run(OWE, {**facts, **pairs, **leased})
    return FannedOut(events, rows[0][0], _claims(rows, destinations, leasing), source)


def turns_of(limit: int, *, room: int) -> int:
    """Give how many events make a source's turn.

    Who wants few events for much room knows that each goes to many webhooks, and those of one source to the same ones:
    several at a time spare nothing then, and would stand in line because those webhooks have their share in flight.
    """
    return max(1, min(TURNS, TURNS * limit // room)) if room else TURNS


def sources_behind(after: int, *, without: Sequence[int]) -> list[int]:
    """Give the source whose turn is next, as a list of one or none; finding it may read all arrivals."""
    return [source for (source,) in queue.run(NEXT_SOURCE, {"after": after, "without": arrays.bigints(without)})]


def _claims(rows: list[queue.Row], destinations: dict[int, Destination], leasing: Leasing) -> list[Claim]:
    """Give what OWE claimed, in the order of the events; where that is nothing, its one row has but the counts."""
    return [
        Claim(leasing.lease, leasing.until, destinations[row[1]], row[2], 1, 0, leasing.now, *row[3:-1])
        for row in sorted((row for row in rows if row[2] is not None), key=itemgetter(3))
    ]
