"""The claim: which deliveries are taken next, fairly across webhooks and fairly within each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from deliveries import arrays, queue
from deliveries.retry import TIMEOUTS_BEFORE_REST

LAST_ID = 2**63 - 1

# A large claim begins with so many deliveries of each webhook in mind, so that it need not look at a webhook for each
# one; where webhooks have fewer to give, it goes on to the next ones. A small one begins with a webhook for each.
TURNS = 4
SMALL = 32

# A receiver whose answers lately took longer than this has to share a bounded part of the slots with its like.
SLOW_FROM = timedelta(seconds=1)

# What a webhook may have in flight. One that kept timing out is tried with a single request when its rest is over, and
# has its whole share again with the first answer.
SHARE = """
CASE WHEN w.timeouts_in_a_row >= %(timeouts)s THEN 1 ELSE coalesce(w.max_in_flight, %(max_in_flight)s) END
"""

IN_FLIGHT = """
(SELECT count(*) FROM deliveries_delivery s WHERE s.webhook_id = w.id AND s.state = 'sending')
"""

# Among slow ones, who have fewer slots than there may be of them: who has least in flight, and among those who had an
# answer longest ago. By the webhooks' ids the same few would have them for as long as they stand in line.
BY_TURNS_OF_THE_SLOW = "busy + turn, last_delivery_at NULLS FIRST, webhook_id"

IS_SLOW = "(coalesce(w.pace >= %(slow_from)s, false) OR w.id = ANY(%(lagging)s::bigint[]))"

# What a Destination is made of.
DESTINATION = f"""
w.id, w.uid::text, w.organization_id, o.slug, w.repository_id, w.url, w.sealed_url, w.format, w.content_type,
w.sealed_secrets, w.sealed_headers, w.verify_ssl, w.retry_schedule, w.timeout, {IS_SLOW}
"""

# Walks the index of the deliveries that stand in line from webhook to webhook, three pages a step, starting after the
# one that was served last, so that a webhook with a mountain of them costs the walk no more than one with a single one.
# What waits for its time stands in no line and costs nothing. The walk goes no further than the limit makes it.
READY_WEBHOOKS = f"""
WITH RECURSIVE walk AS (
    (SELECT webhook_id FROM deliveries_delivery
     WHERE state = 'pending' AND line > 0 AND webhook_id > %(after)s AND webhook_id <= %(upto)s
     ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.webhook_id FROM deliveries_delivery d
            WHERE d.state = 'pending' AND d.line > 0 AND d.webhook_id > walk.webhook_id AND d.webhook_id <= %(upto)s
            ORDER BY d.webhook_id LIMIT 1)
    FROM walk WHERE walk.webhook_id IS NOT NULL
), ready AS MATERIALIZED (
    SELECT ready.id
    FROM walk CROSS JOIN LATERAL (
        SELECT w.id FROM deliveries_webhook w
        WHERE w.id = walk.webhook_id
          AND (w.resting_until IS NULL OR w.resting_until <= %(now)s OR w.disabled_at IS NOT NULL)
          AND {IN_FLIGHT} < {SHARE}
          AND (%(slow_room)s > 0 OR NOT {IS_SLOW})
        OFFSET 0
    ) AS ready
    LIMIT %(limit)s
)
"""  # noqa: S608 - put together of constants

# Locking the webhooks first, in a statement of its own, makes the count of their requests in flight exact: the same
# count inside one statement lets two claimers each see room for the other's.
# How many were ready and which was the last is told even where others have locked every one of them.
LOCK_READY_WEBHOOKS = f"""
{READY_WEBHOOKS}
, locked AS MATERIALIZED (
    SELECT (w.disabled_at IS NOT NULL OR w.deleted_at IS NOT NULL) AS off, {DESTINATION}
    FROM deliveries_webhook w JOIN deliveries_organization o ON o.id = w.organization_id
    WHERE w.id = ANY(ARRAY(SELECT id FROM ready))
    ORDER BY w.id
    FOR NO KEY UPDATE OF w SKIP LOCKED
)
SELECT found.*, locked.* FROM (SELECT count(*), max(id) FROM ready) AS found LEFT JOIN locked ON true
"""  # noqa: S608 - put together of constants

# What a disabled webhook is still owed when its turn comes is held: a delivery that was fanned out or in flight while
# it was being disabled, and the rest of more than could be held at once.
HOLD = """
WITH strays AS MATERIALIZED (
    SELECT stray.id
    FROM unnest(%(webhooks)s::bigint[]) AS off (webhook_id) CROSS JOIN LATERAL (
        SELECT id FROM deliveries_delivery
        WHERE webhook_id = off.webhook_id AND state = 'pending' AND line > 0
        ORDER BY line, due_at, id LIMIT %(limit)s
    ) AS stray
    LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT id FROM deliveries_delivery
    WHERE id = ANY(ARRAY(SELECT id FROM strays)) AND state = 'pending'
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE deliveries_delivery d SET state = 'held', due_at = NULL FROM locked WHERE d.id = locked.id
"""

# Takes first one delivery of each webhook, then a second of each, until the slots are full; and within a webhook first
# attempts and later ones by turns, so that neither waits for a mountain of the other.
# Only what is taken is locked: the webhooks are ours, so nobody else can be taking it.
CLAIM = f"""
WITH open AS MATERIALIZED (
    SELECT w.id, {IS_SLOW} AS slow, w.last_delivery_at, flying.busy, greatest({SHARE} - flying.busy, 0) AS free
    FROM deliveries_webhook w CROSS JOIN LATERAL (SELECT {IN_FLIGHT} AS busy OFFSET 0) AS flying
    WHERE w.id = ANY(%(webhooks)s::bigint[])
), waiting AS (
    SELECT d.id, open.id AS webhook_id, open.slow, open.busy, open.last_delivery_at, d.turn
    FROM open CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY place, line) AS turn
        FROM (
            (SELECT id, line, row_number() OVER (ORDER BY due_at, id) AS place FROM deliveries_delivery
             WHERE webhook_id = open.id AND state = 'pending' AND line = 1 ORDER BY due_at, id LIMIT open.free)
            UNION ALL
            (SELECT id, line, row_number() OVER (ORDER BY due_at, id) AS place FROM deliveries_delivery
             WHERE webhook_id = open.id AND state = 'pending' AND line = 2 ORDER BY due_at, id LIMIT open.free)
        ) AS lines
        ORDER BY place, line LIMIT open.free
    ) AS d
), picked AS MATERIALIZED (
    SELECT id, turn, (webhook_id <= %(after)s) AS is_further, webhook_id
    FROM (
        SELECT waiting.*, row_number() OVER (PARTITION BY slow ORDER BY {BY_TURNS_OF_THE_SLOW}) AS place FROM waiting
    ) AS numbered
    WHERE NOT slow OR place <= %(slow_room)s
    ORDER BY turn, is_further, webhook_id
    LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT id FROM deliveries_delivery
    WHERE id = ANY(ARRAY(SELECT id FROM picked)) AND state = 'pending'
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE deliveries_delivery d
    SET state = 'sending', lease = %(lease)s, leased_at = %(now)s, leased_until = %(until)s, due_at = NULL,
        attempts_made = d.attempts_made + 1, first_attempt_at = coalesce(d.first_attempt_at, %(now)s)
    FROM locked WHERE d.id = locked.id
    RETURNING d.id, d.event_id, d.attempts_made, d.failures, d.first_attempt_at
)
SELECT p.turn, p.is_further, p.webhook_id, c.id, c.attempts_made, c.failures, c.first_attempt_at,
       e.id::text, e.type, e.payload, e.occurred_at, r.name, e.hops
FROM claimed c
JOIN picked p ON p.id = c.id
JOIN deliveries_event e ON e.id = c.event_id
LEFT JOIN deliveries_repository r ON r.id = e.repository_id
"""  # noqa: S608 - put together of constants


class Destination(NamedTuple):
    """A webhook as one claim found it: where and how to send; in DESTINATION's order."""

    webhook_id: int
    webhook_uid: str
    organization_id: int
    organization: str
    repository_id: int | None
    # As it may be shown, and sealed where that is not all of it.
    url: str
    sealed_url: bytes | None
    format: str
    content_type: str
    sealed_secrets: bytes
    sealed_headers: bytes | None
    verify_ssl: bool
    retry_schedule: list[timedelta] | None
    timeout: timedelta | None
    slow: bool


class Claim(NamedTuple):
    """One delivery in one worker's hands, with all that one attempt needs; from the fourth on in CLAIM's order."""

    lease: UUID
    leased_until: datetime
    to: Destination
    delivery_id: UUID
    number: int
    failures: int
    first_attempt_at: datetime
    event_id: str
    event_type: str
    payload: bytes
    occurred_at: datetime
    repository: str | None
    # The header HookHub-Hops that the event was published with.
    hops: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a worker has room for: ``limit`` deliveries in all, of which ``slow_room`` to slow receivers.

    ``lagging`` are webhooks with requests in flight that take long at this moment, whatever their record says.
    """

    limit: int
    slow_room: int = LAST_ID
    lagging: Sequence[int] = ()


NOTHING = Wanted(0)


class Leasing(NamedTuple):
    """How deliveries are claimed at one moment: under which lease, until when, and how many each webhook may have."""

    lease: UUID
    until: datetime
    max_in_flight: int
    now: datetime


def claim(wanted: Wanted, *, after: int, leasing: Leasing) -> list[Claim]:
    """Take due deliveries, one turn of the webhooks after another, beginning behind ``after``.

    The next claim goes on behind the webhook of the last one.
    """
    claims: list[Claim] = []
    asked = max(wanted.limit // TURNS, min(wanted.limit, SMALL))
    # Once around the ring: from the webhook after the last one served to the end, then from the start up to it.
    ring = [(0, after), (after, LAST_ID)] if after else [(0, LAST_ID)]
    with transaction.atomic():
        while ring and (room := wanted.limit - len(claims)) > 0:
            slow_room = wanted.slow_room - sum(claimed.to.slow for claimed in claims)
            facts = standing(replace(wanted, slow_room=slow_room), max_in_flight=leasing.max_in_flight, now=leasing.now)
            found = _lock_ready(ring, limit=min(asked, room), facts=facts)
            how = {"after": after, "limit": room, "lease": leasing.lease, "until": leasing.until}
            claims += _take(found, {**facts, **how})
            # These webhooks had little to give, so the next look is for one delivery of each.
            asked = wanted.limit
    return claims


def _lock_ready(ring: list[tuple[int, int]], *, limit: int, facts: Mapping[str, object]) -> list[queue.Row]:
    """Lock up to ``limit`` webhooks that are ready, and take off the ``ring`` what has been walked."""
    found: list[queue.Row] = []
    while ring and len(found) < limit:
        start, end = ring.pop()
        asked = limit - len(found)
        rows = queue.run(LOCK_READY_WEBHOOKS, {**facts, "after": start, "upto": end, "limit": asked})
        # Of those found ready, others may have locked some; only fewer than were asked for are the last ones.
        ready, last = rows[0][:2]
        if ready == asked:
            ring.append((last, end))
        found += [row[2:] for row in rows if row[3] is not None]
    return found


def _take(found: Sequence[queue.Row], how: dict[str, Any]) -> list[Claim]:
    """Take what the webhooks that were found ready have to give, and hold what is owed to those that are off."""
    destinations = {row[1]: Destination(*row[1:]) for row in found if not row[0]}
    off = [row[1] for row in found if row[0]]
    if off:
        queue.run(HOLD, {"webhooks": arrays.bigints(off), "limit": queue.AT_ONCE})
    rows = queue.run(CLAIM, {**how, "webhooks": arrays.bigints(destinations)}) if destinations else []
    # Sorted here, where a row is a reference; the database would move the payloads about.
    rows.sort(key=itemgetter(0, 1, 2))
    return [Claim(how["lease"], how["until"], destinations[row[2]], *row[3:]) for row in rows]


def standing(wanted: Wanted, *, max_in_flight: int, now: datetime) -> dict[str, object]:
    """Give the parameters that decide whether a webhook is ready."""
    return {
        "max_in_flight": max_in_flight,
        "timeouts": TIMEOUTS_BEFORE_REST,
        "slow_from": SLOW_FROM,
        "slow_room": wanted.slow_room,
        "lagging": arrays.bigints(wanted.lagging),
        "now": now,
    }


# The claim's own question, asked for any webhook at all. A delivery may be due and yet not to be had, because its
# webhook rests or has its share of requests in flight, and whoever rang for that would ring for as long as it lasts.
ANYTHING_TO_DO = f"""
{READY_WEBHOOKS}
SELECT EXISTS (SELECT FROM deliveries_arrival)
    OR EXISTS (SELECT FROM deliveries_delivery WHERE state = 'pending' AND line = 0 AND due_at <= %(now)s)
    OR EXISTS (SELECT FROM ready)
"""  # noqa: S608 - put together of constants


def is_anything_to_do(wanted: Wanted | None = None, *, max_in_flight: int, now: datetime) -> bool:
    """Tell whether a worker with room for what is ``wanted``, by default for anything, would find something to do."""
    everywhere = {"after": 0, "upto": LAST_ID, "limit": 1}
    room = standing(wanted or Wanted(1), max_in_flight=max_in_flight, now=now)
    return bool(queue.run(ANYTHING_TO_DO, {**everywhere, **room})[0][0])
