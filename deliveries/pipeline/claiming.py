"""Claim ready deliveries, fairly across webhooks and fairly within each webhook."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from deliveries.db import arrays, sql
from deliveries.failpoints import hit
from deliveries.pipeline import request_rates
from deliveries.pipeline.capacity import (
    FREE_SLOTS,
    HAS_FREE_SLOT,
    IS_NOT_WAITING,
    IS_UNVERIFIED,
    LAST_ID,
    LEASE_LASTS,
    WITHIN_SLOW_SLOTS,
    Capacity,
    capacity_params,
)
from deliveries.pipeline.claims import DESTINATION, EVENT, Claim, Destination
from deliveries.pipeline.rescue import new_lease

# Retries that one statement marks as ready.
PROMOTE_BATCH = 1000
# A large claim expects this many deliveries per webhook, so that it reads fewer webhooks than it has slots; if they
# have fewer, it continues with the next webhooks. A claim of up to SMALL_CLAIM slots reads one webhook per slot.
DELIVERIES_PER_WEBHOOK = 4
SMALL_CLAIM = 32


class LeaseGrant(NamedTuple):
    """The lease that a claim grants, its expiry, and the time of the claim."""

    lease: UUID
    until: datetime
    now: datetime


def grant_lease(now: datetime) -> LeaseGrant:
    """Return the terms of a claim that this process makes now."""
    return LeaseGrant(new_lease(), now + settings.HOOKHUB_LEASE, now)


def promote_due(*, now: datetime) -> int:
    """Mark up to PROMOTE_BATCH due scheduled deliveries as ready; return how many."""
    return sql.change(PROMOTE_DUE, {"limit": PROMOTE_BATCH, "now": now})


def claim(capacity: Capacity | int, *, cursor: int = 0, now: datetime) -> list[Claim]:
    """Claim ready deliveries for one attempt each, round-robin over webhooks, starting after the webhook ``cursor``.

    ``capacity`` may be just a number of slots. The claim is committed when this returns: no other worker takes these
    deliveries until the lease expires. Pass the webhook of the last claim returned as the next ``cursor``.
    """
    if isinstance(capacity, int):
        capacity = Capacity(capacity)
    with claim_ahead(capacity, cursor=cursor, now=now) as claims:
        pass
    return claims


@contextmanager
def claim_ahead(capacity: Capacity, *, cursor: int = 0, now: datetime) -> Iterator[list[Claim]]:
    """Do the same as ``claim``, with a block that has the claims ahead of the COMMIT, as ``fan_out_ahead`` has."""
    grant = grant_lease(now)
    claims: list[Claim] = []
    webhooks_expected = max(capacity.slots // DELIVERIES_PER_WEBHOOK, min(capacity.slots, SMALL_CLAIM))
    # Once around all webhooks: from the one after the cursor to the last, then from the first to the cursor.
    ranges = [(0, cursor), (cursor, LAST_ID)] if cursor else [(0, LAST_ID)]
    with sql.transaction():
        while ranges and (free := capacity.slots - len(claims)) > 0:
            slow_slots = capacity.slow_slots - sum(each.destination.slow for each in claims)
            params = capacity_params(replace(capacity, slow_slots=slow_slots), now=now)
            webhooks = _lock_webhooks(ranges, limit=min(webhooks_expected, free), params=params)
            claims += _claim_of(webhooks, grant, {**params, "cursor": cursor, "limit": free}, is_last=not ranges)
            # These webhooks had few deliveries, so expect one per webhook from here on.
            webhooks_expected = capacity.slots
        # With all slots full, that has not happened with the last claim, because it was not known to be the last.
        sql.commit_ahead()
        yield claims
    hit("claimed")


def _lock_webhooks(ranges: list[tuple[int, int]], *, limit: int, params: Mapping[str, object]) -> list[sql.Row]:
    """Lock and return up to ``limit`` webhooks with capacity; remove the ids that were scanned from ``ranges``."""
    found: list[sql.Row] = []
    while ranges and len(found) < limit:
        start, end = ranges.pop()
        missing = limit - len(found)
        rows = sql.run(LOCK_WEBHOOKS, {**params, "cursor": start, "end": end, "limit": missing})
        # Other transactions may have locked some webhooks with capacity, so the range is exhausted only if their number
        # is below the limit.
        count, last = rows[0][:2]
        if count == missing:
            ranges.append((last, end))
        found += [row[2:] for row in rows if row[3] is not None]
    return found


def _claim_of(
    webhooks: Sequence[sql.Row], grant: LeaseGrant, params: Mapping[str, object], *, is_last: bool
) -> list[Claim]:
    """Claim the deliveries of the locked webhooks; hold those of disabled ones, and cancel those of ended ones.

    ``is_last`` says that there are no more webhooks, so that the claim is committed.
    """
    for stop, statement in STOPS.items():
        stopped = [webhook_id for reason, webhook_id, *_ in webhooks if reason == stop]
        if stopped:
            sql.run(statement, {"webhooks": arrays.bigints(stopped), "limit": sql.BATCH, "now": params["now"]})
    destinations = {row[1]: Destination(*row[1:]) for row in webhooks if row[0] is None}
    if not destinations:
        return []
    leased = {"webhooks": arrays.bigints(destinations), "lease": grant.lease, "until": grant.until}
    is_limited = any(each.pace_interval is not None for each in destinations.values())
    rows = sql.run(CLAIM, {**params, **leased}, commits=is_last and not is_limited, is_commit_awaited=False)
    # Sorted here, where it moves references; a sort in the database would move the payloads.
    rows.sort(key=itemgetter(0, 1, 2))
    claims = [Claim(grant.lease, grant.until, destinations[row[2]], *row[3:]) for row in rows]
    return with_turns(claims, now=grant.now, commits=is_last) if is_limited else claims


def with_turns(claims: Sequence[Claim], *, now: datetime, commits: bool) -> list[Claim]:
    """Return claims with the time at which each may start; call it last in their transaction, as ``take_turns``."""
    turns = request_rates.take_turns([each.destination.webhook_id for each in claims], now=now, commits=commits)
    return [each._replace(starts_at=turn) for each, turn in zip(claims, turns, strict=True)]


def release(claims: Sequence[Claim]) -> None:
    """Undo claims that were not sent; a delivery whose lease has been lost stays as it is."""
    columns = {
        "ids": arrays.uuids(each.delivery_id for each in claims),
        "leases": arrays.uuids(each.lease for each in claims),
        "due": arrays.timestamps(each.due_at for each in claims),
    }
    sql.run(RELEASE, columns)


def is_anything_to_do(capacity: Capacity | None = None, *, includes_events: bool = True, now: datetime) -> bool:
    """Return whether there is work for a worker with this ``capacity`` (default: one slot of any kind)."""
    params = capacity_params(capacity or Capacity(1), now=now)
    scope = {"cursor": 0, "end": LAST_ID, "limit": 1, "includes_events": includes_events}
    return bool(sql.run(IS_ANYTHING_TO_DO, {**params, **scope})[0][0])


# Scheduled deliveries are not in the index of ready ones, so a million scheduled retries do not slow down the claim.
# When due, they become ready as retries.
PROMOTE_DUE = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM hookhub_delivery
    WHERE state = 'pending' AND readiness = 0 AND due_at <= %(now)s
    ORDER BY due_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE hookhub_delivery d SET readiness = 2 FROM due WHERE d.id = due.id RETURNING {sql.ASYNC_COMMIT}
"""

# A loose index scan over the ready deliveries, from webhook to webhook, at three pages a step. It starts after the
# cursor. A webhook with a large backlog costs it no more than one with a single delivery, and scheduled deliveries cost
# nothing because they are not in that index. It stops at the limit.
WEBHOOKS_WITH_CAPACITY = f"""
WITH RECURSIVE walk AS (
    (SELECT webhook_id FROM hookhub_delivery
     WHERE state = 'pending' AND readiness > 0 AND webhook_id > %(cursor)s AND webhook_id <= %(end)s
     ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.webhook_id FROM hookhub_delivery d
            WHERE d.state = 'pending' AND d.readiness > 0 AND d.webhook_id > walk.webhook_id AND d.webhook_id <= %(end)s
            ORDER BY d.webhook_id LIMIT 1)
    FROM walk WHERE walk.webhook_id IS NOT NULL
), ready AS MATERIALIZED (
    SELECT ready.id
    FROM walk CROSS JOIN LATERAL (
        SELECT w.id FROM hookhub_webhook w
        WHERE w.id = walk.webhook_id AND ({IS_NOT_WAITING} OR w.disabled_at IS NOT NULL) AND {HAS_FREE_SLOT}
        OFFSET 0
    ) AS ready
    LIMIT %(limit)s
)
"""

# Locks the webhooks before CLAIM counts their requests in flight, in a separate statement that is complete by then.
# The number of webhooks with capacity and their last id are returned even if other transactions have locked them all.
LOCK_WEBHOOKS = f"""
{WEBHOOKS_WITH_CAPACITY}
, locked AS MATERIALIZED (
    SELECT CASE WHEN NOT {LEASE_LASTS} THEN 'ended'
                WHEN w.disabled_at IS NOT NULL OR w.deleted_at IS NOT NULL OR {IS_UNVERIFIED} THEN 'disabled' END
               AS stop, {DESTINATION}
    FROM hookhub_webhook w JOIN hookhub_organization o ON o.id = w.organization_id
    WHERE w.id = ANY(ARRAY(SELECT id FROM ready))
    ORDER BY w.id
    FOR NO KEY UPDATE OF w SKIP LOCKED
)
SELECT found.*, locked.* FROM (SELECT count(*), max(id) FROM ready) AS found LEFT JOIN locked ON true
"""

# Moves the deliveries of stopped webhooks that are still ready: those fanned out or in flight while a webhook was being
# disabled or its lease ended, and those beyond the limit of one statement.
_STOP = """
WITH strays AS MATERIALIZED (
    SELECT stray.id
    FROM unnest(%(webhooks)s::bigint[]) AS stopped (webhook_id) CROSS JOIN LATERAL (
        SELECT id FROM hookhub_delivery
        WHERE webhook_id = stopped.webhook_id AND state = 'pending' AND readiness > 0
        ORDER BY readiness, due_at, id LIMIT %(limit)s
    ) AS stray
    LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT id FROM hookhub_delivery
    WHERE id = ANY(ARRAY(SELECT id FROM strays)) AND state = 'pending'
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE hookhub_delivery d SET due_at = NULL, {state} FROM locked WHERE d.id = locked.id
"""
HOLD_DISABLED = _STOP.format(state="state = 'held'")
CANCEL_ENDED = _STOP.format(
    state="state = 'cancelled', finish_reason = 'lease_expired', finished_at = %(now)s::timestamptz"
)
STOPS = {"disabled": HOLD_DISABLED, "ended": CANCEL_ENDED}

# Round-robin: one delivery of each webhook, then a second of each, until the slots are full. Within a webhook, first
# attempts and retries alternate, so that neither waits for a backlog of the other.
# Only the chosen deliveries are locked: the locks on their webhooks keep out other claims.
CLAIM = f"""
WITH open AS MATERIALIZED (
    {FREE_SLOTS} WHERE w.id = ANY(%(webhooks)s::bigint[])
), candidates AS (
    SELECT d.id, open.id AS webhook_id, open.is_slow, open.in_flight, open.last_delivery_at, d.turn
    FROM open CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY rank, readiness) AS turn
        FROM (
            (SELECT id, readiness, row_number() OVER (ORDER BY due_at, id) AS rank FROM hookhub_delivery
             WHERE webhook_id = open.id AND state = 'pending' AND readiness = 1 ORDER BY due_at, id LIMIT open.free)
            UNION ALL
            (SELECT id, readiness, row_number() OVER (ORDER BY due_at, id) AS rank FROM hookhub_delivery
             WHERE webhook_id = open.id AND state = 'pending' AND readiness = 2 ORDER BY due_at, id LIMIT open.free)
        ) AS ready
        ORDER BY rank, readiness LIMIT open.free
    ) AS d
), chosen AS MATERIALIZED (
    SELECT id, turn, (webhook_id <= %(cursor)s) AS is_wrapped, webhook_id
    {WITHIN_SLOW_SLOTS}
    ORDER BY turn, is_wrapped, webhook_id
    LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT id, due_at FROM hookhub_delivery
    WHERE id = ANY(ARRAY(SELECT id FROM chosen)) AND state = 'pending'
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE hookhub_delivery d
    SET state = 'sending', lease = %(lease)s, leased_at = %(now)s, leased_until = %(until)s, due_at = NULL,
        attempts_made = d.attempts_made + 1, first_attempt_at = coalesce(d.first_attempt_at, %(now)s)
    FROM locked WHERE d.id = locked.id
    RETURNING d.id, d.event_id, d.attempts_made, d.failures, d.first_attempt_at, locked.due_at
)
SELECT chosen.turn, chosen.is_wrapped, chosen.webhook_id,
       c.id, c.attempts_made, c.failures, c.first_attempt_at, c.due_at, {EVENT}
FROM claimed c
JOIN chosen ON chosen.id = c.id
JOIN hookhub_event e ON e.id = c.event_id
LEFT JOIN hookhub_repository r ON r.id = e.repository_id
"""

# Undoes a claim whose request was not sent. The delivery is as long due as before: with the time of its claim, it would
# come after all others that are ready, of which a webhook with a rate may have some for hours.
RELEASE = """
UPDATE hookhub_delivery d
SET state = 'pending', due_at = r.due_at, lease = NULL, leased_at = NULL, leased_until = NULL,
    attempts_made = d.attempts_made - 1,
    first_attempt_at = CASE WHEN d.first_attempt_at = d.leased_at THEN NULL ELSE d.first_attempt_at END
FROM unnest(%(ids)s::uuid[], %(leases)s::uuid[], %(due)s::timestamptz[]) AS r (id, lease, due_at)
WHERE d.id = r.id AND d.lease = r.lease
"""

# The same condition as the claim's, for any webhook. A due delivery does not count while its webhook waits or is at its
# limit of requests in flight: wake-ups for it would repeat for as long as that lasts.
IS_ANYTHING_TO_DO = f"""
{WEBHOOKS_WITH_CAPACITY}
SELECT (%(includes_events)s AND EXISTS (SELECT FROM hookhub_outbox))
    OR EXISTS (SELECT FROM hookhub_delivery WHERE state = 'pending' AND readiness = 0 AND due_at <= %(now)s)
    OR EXISTS (SELECT FROM ready)
"""
