"""Claim ready deliveries, fairly across webhooks and fairly within each webhook."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction

from deliveries.db import arrays, sql
from deliveries.failpoints import reach
from deliveries.pipeline import rescue
from deliveries.pipeline.capacity import IN_FLIGHT, IS_SLOW, LAST_ID, SHARE, SLOW_ORDER, Capacity, standing

# Retries marked as ready by one statement.
LINE_UP_BATCH = 1000
# A large claim expects this many deliveries per webhook, so that it reads fewer webhooks than it has slots; if they
# have fewer, it continues with the next webhooks. A claim of up to SMALL slots reads one webhook per slot.
TURNS = 4
SMALL = 32


class Destination(NamedTuple):
    """A webhook at the time of a claim: where and how to send. Fields follow the order of DESTINATION."""

    webhook_id: int
    webhook_uid: str
    organization_id: int
    organization: str
    repository_id: int | None
    # The URL as it may be shown; ``sealed_url`` is the whole URL, encrypted, if that differs.
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
    """A leased delivery and everything that one attempt needs.

    From ``delivery_id`` on, fields follow the select list of CLAIM.
    """

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
    # The HookHub-Hops header with which the event was published.
    hops: str | None = None


class LeaseGrant(NamedTuple):
    """The lease that a claim grants, its expiry, the default limit of requests in flight per webhook, and the time."""

    lease: UUID
    until: datetime
    max_in_flight: int
    now: datetime


def grant_lease(now: datetime) -> LeaseGrant:
    return LeaseGrant(rescue.make(), now + settings.HOOKHUB_LEASE, settings.HOOKHUB_MAX_IN_FLIGHT, now)


def promote_due(limit: int = LINE_UP_BATCH, *, now: datetime) -> int:
    """Mark up to ``limit`` due scheduled deliveries as ready; return how many."""
    return sql.change(PROMOTE_DUE, {"limit": limit, "now": now})


def claim(limit: int | Capacity, *, after: int = 0, now: datetime) -> list[Claim]:
    """Claim ready deliveries for one attempt each, round-robin over webhooks, starting after the webhook ``after``.

    The claim is committed when this returns: no other worker takes these deliveries until the lease expires. Pass the
    webhook of the last claim returned as the next claim's ``after``.
    """
    wanted = limit if isinstance(limit, Capacity) else Capacity(limit)
    leasing = grant_lease(now)
    claims: list[Claim] = []
    asked = max(wanted.limit // TURNS, min(wanted.limit, SMALL))
    # Once around all webhooks: from the one after ``after`` to the last, then from the first to ``after``.
    ring = [(0, after), (after, LAST_ID)] if after else [(0, LAST_ID)]
    with transaction.atomic():
        while ring and (room := wanted.limit - len(claims)) > 0:
            slow_slots = wanted.slow_slots - sum(claimed.to.slow for claimed in claims)
            facts = standing(
                replace(wanted, slow_slots=slow_slots), max_in_flight=leasing.max_in_flight, now=leasing.now
            )
            found = _lock_ready(ring, limit=min(asked, room), facts=facts)
            how = {"after": after, "limit": room, "lease": leasing.lease, "until": leasing.until}
            claims += _take(found, {**facts, **how})
            # These webhooks had few deliveries, so expect one per webhook from here on.
            asked = wanted.limit
    reach("claimed")
    return claims


def _lock_ready(ring: list[tuple[int, int]], *, limit: int, facts: Mapping[str, object]) -> list[sql.Row]:
    """Lock and return up to ``limit`` webhooks with capacity; remove from ``ring`` the id ranges that were scanned."""
    found: list[sql.Row] = []
    while ring and len(found) < limit:
        start, end = ring.pop()
        asked = limit - len(found)
        rows = sql.run(LOCK_READY_WEBHOOKS, {**facts, "after": start, "upto": end, "limit": asked})
        # Other transactions may have locked some webhooks with capacity, so the range is exhausted only if their number
        # is below the limit.
        ready, last = rows[0][:2]
        if ready == asked:
            ring.append((last, end))
        found += [row[2:] for row in rows if row[3] is not None]
    return found


def _take(found: Sequence[sql.Row], how: dict[str, Any]) -> list[Claim]:
    """Claim the deliveries of the locked webhooks, and hold those of the disabled ones among them."""
    destinations = {row[1]: Destination(*row[1:]) for row in found if not row[0]}
    off = [row[1] for row in found if row[0]]
    if off:
        sql.run(HOLD, {"webhooks": arrays.bigints(off), "limit": sql.AT_ONCE})
    rows = sql.run(CLAIM, {**how, "webhooks": arrays.bigints(destinations)}) if destinations else []
    # Sorted here, where it moves references; a sort in the database would move the payloads.
    rows.sort(key=itemgetter(0, 1, 2))
    return [Claim(how["lease"], how["until"], destinations[row[2]], *row[3:]) for row in rows]


def release(claims: Sequence[Claim]) -> None:
    """Undo claims that were not sent; a delivery whose lease has been lost stays as it is."""
    sql.run(
        RELEASE,
        {
            "ids": arrays.uuids(claimed.delivery_id for claimed in claims),
            "leases": arrays.uuids(claimed.lease for claimed in claims),
        },
    )


def is_anything_to_do(wanted: Capacity | None = None, *, max_in_flight: int, now: datetime) -> bool:
    """Return whether there is work for a worker with the capacity ``wanted`` (default: one slot of any kind)."""
    everywhere = {"after": 0, "upto": LAST_ID, "limit": 1}
    room = standing(wanted or Capacity(1), max_in_flight=max_in_flight, now=now)
    return bool(sql.run(ANYTHING_TO_DO, {**everywhere, **room})[0][0])


# The fan-out is in fanning_out.py, the claim in claiming.py. Scheduled deliveries are not in the index of ready ones,
# so a million scheduled retries do not slow down the claim. When due, they become ready as retries.
PROMOTE_DUE = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM deliveries_delivery
    WHERE state = 'pending' AND line = 0 AND due_at <= %(now)s
    ORDER BY due_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE deliveries_delivery d SET line = 2 FROM due WHERE d.id = due.id RETURNING {sql.UNHURRIED}
"""

# The columns of a Destination.
DESTINATION = f"""
w.id, w.uid::text, w.organization_id, o.slug, w.repository_id, w.url, w.sealed_url, w.format, w.content_type,
w.sealed_secrets, w.sealed_headers, w.verify_ssl, w.retry_schedule, w.timeout, {IS_SLOW}
"""

# A loose index scan over the ready deliveries, from webhook to webhook, at three pages a step. It starts after the
# webhook served last. A webhook with a large backlog costs it no more than one with a single delivery, and scheduled
# deliveries cost nothing because they are not in that index. It stops at the limit.
WEBHOOKS_WITH_CAPACITY = f"""
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
"""

# Locking the webhooks in a separate statement first makes the count of their requests in flight exact: within a single
# statement, two concurrent claims could each count the same free slot.
# The number of webhooks with capacity and their last id are returned even if other transactions have locked them all.
LOCK_READY_WEBHOOKS = f"""
{WEBHOOKS_WITH_CAPACITY}
, locked AS MATERIALIZED (
    SELECT (w.disabled_at IS NOT NULL OR w.deleted_at IS NOT NULL) AS off, {DESTINATION}
    FROM deliveries_webhook w JOIN deliveries_organization o ON o.id = w.organization_id
    WHERE w.id = ANY(ARRAY(SELECT id FROM ready))
    ORDER BY w.id
    FOR NO KEY UPDATE OF w SKIP LOCKED
)
SELECT found.*, locked.* FROM (SELECT count(*), max(id) FROM ready) AS found LEFT JOIN locked ON true
"""

# Holds the deliveries of a disabled webhook that are still ready: those fanned out or in flight while it was being
# disabled, and those beyond the limit of one HOLD.
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

# Round-robin: one delivery of each webhook, then a second of each, until the slots are full. Within a webhook, first
# attempts and retries alternate, so that neither waits for a backlog of the other.
# Only the chosen deliveries are locked: the locks on their webhooks keep out other claims.
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
        SELECT waiting.*, row_number() OVER (PARTITION BY slow ORDER BY {SLOW_ORDER}) AS place FROM waiting
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
"""

# Undoes a claim whose request was not sent.
RELEASE = """
UPDATE deliveries_delivery d
SET state = 'pending', due_at = d.leased_at, lease = NULL, leased_at = NULL, leased_until = NULL,
    attempts_made = d.attempts_made - 1,
    first_attempt_at = CASE WHEN d.first_attempt_at = d.leased_at THEN NULL ELSE d.first_attempt_at END
FROM unnest(%(ids)s::uuid[], %(leases)s::uuid[]) AS r (id, lease)
WHERE d.id = r.id AND d.lease = r.lease
"""

# The same condition as the claim's, for any webhook. A due delivery does not count while its webhook backs off or is at
# its limit of requests in flight: wake-ups for it would repeat for as long as that lasts.
ANYTHING_TO_DO = f"""
{WEBHOOKS_WITH_CAPACITY}
SELECT EXISTS (SELECT FROM deliveries_arrival)
    OR EXISTS (SELECT FROM deliveries_delivery WHERE state = 'pending' AND line = 0 AND due_at <= %(now)s)
    OR EXISTS (SELECT FROM ready)
"""
