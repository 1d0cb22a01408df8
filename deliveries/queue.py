"""The SQL of the pipeline: Postgres as the queue, one named statement for each step.

Rules that hold for every statement here. Time comes in as a parameter, never from ``now()``, so that tests travel.
Rows of a table are locked in the order of their ids. What another worker has locked is skipped, not waited for,
wherever skipping is harmless: a claim, which holds webhooks, never waits for a delivery, and so the settling, which
holds deliveries, may wait for webhooks. Nothing touches an unbounded number of rows in one statement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection, transaction

Row = tuple[Any, ...]

# A statement that holds, releases or cancels takes so many deliveries; what is left over is taken by the next.
AT_ONCE = 5000
LAST_ID = 2**63 - 1


def run(sql: str, parameters: Mapping[str, object]) -> list[Row]:
    """Run one statement with server-side parameters on Django's connection and give its rows.

    Django's own cursors write the parameters into the text, which rules out prepared statements and doubles the size
    of every payload. Raises django.db's errors.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


# Accept -------------------------------------------------------------------------------------------------------------

# Sorted by key, so that two batches with the same keys in another order wait for each other and never in a ring.
STORE_EVENTS = """
INSERT INTO deliveries_event (id, organization_id, repository_id, webhook_id, type, topics, payload,
                              idempotency_key, fingerprint, occurred_at, accepted_at)
SELECT id, organization_id, repository_id, webhook_id, type, string_to_array(topics, ' '), payload,
       idempotency_key, fingerprint, occurred_at, %(now)s
FROM unnest(%(ids)s::uuid[], %(organizations)s::bigint[], %(repositories)s::bigint[], %(webhooks)s::bigint[],
            %(types)s::text[], %(topics)s::text[], %(payloads)s::bytea[], %(keys)s::text[], %(fingerprints)s::bytea[],
            %(occurred)s::timestamptz[])
     AS new (id, organization_id, repository_id, webhook_id, type, topics, payload, idempotency_key, fingerprint,
             occurred_at)
ORDER BY organization_id, idempotency_key, id
ON CONFLICT (organization_id, idempotency_key) DO NOTHING
RETURNING id
"""

# Run after STORE_EVENTS in the same transaction: by then whoever held one of these keys has committed.
FIND_REPEATED = """
SELECT e.organization_id, e.idempotency_key, e.id, e.type, e.accepted_at, e.fingerprint
FROM unnest(%(organizations)s::bigint[], %(keys)s::text[]) AS wanted (organization_id, idempotency_key)
JOIN deliveries_event e USING (organization_id, idempotency_key)
"""

# Fan out ------------------------------------------------------------------------------------------------------------

# A delivery's id is the first half of its event's, which is its time, and a random half of its own: in the log and in
# the queue deliveries stand in the order in which their events were accepted.
FAN_OUT = """
WITH batch AS MATERIALIZED (
    SELECT id, organization_id, repository_id, webhook_id, type, topics
    FROM deliveries_event
    WHERE fanned_out_at IS NULL
    ORDER BY id
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
), owed AS (
    INSERT INTO deliveries_delivery (id, event_id, webhook_id, organization_id, repository_id, event_type, state,
                                     attempts_made, failures, lease_losses, redeliveries, due_at, created_at)
    SELECT encode(substring(uuid_send(e.id) FOR 8) || substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid,
           e.id, w.id, e.organization_id, e.repository_id, e.type, 'pending',
           0, 0, 0, 0, %(now)s, %(now)s
    FROM batch e
    JOIN deliveries_webhook w ON w.organization_id = e.organization_id
        AND (w.repository_id IS NULL OR w.repository_id = e.repository_id)
        AND (CASE WHEN e.webhook_id IS NULL THEN w.events::text[] && e.topics::text[] ELSE w.id = e.webhook_id END)
        AND w.disabled_at IS NULL AND w.deleted_at IS NULL
    ON CONFLICT (event_id, webhook_id) DO NOTHING
    RETURNING 1
), done AS (
    UPDATE deliveries_event e SET fanned_out_at = %(now)s FROM batch WHERE e.id = batch.id RETURNING 1
)
SELECT (SELECT count(*) FROM done), (SELECT count(*) FROM owed)
"""

# Claim --------------------------------------------------------------------------------------------------------------

# Walks the index of pending deliveries from webhook to webhook, three pages a step, starting after the one that was
# served last, so that a webhook with a mountain of due deliveries costs the walk no more than one with a single one.
# Locking the webhooks first, in a statement of its own, makes the count of their requests in flight exact: the same
# count inside one statement lets two claimers each see room for the other's.
READY_WEBHOOKS = """
WITH RECURSIVE walk AS (
    (SELECT webhook_id, due_at FROM deliveries_delivery
     WHERE state = 'pending' AND webhook_id > %(after)s AND webhook_id <= %(upto)s
     ORDER BY webhook_id, due_at LIMIT 1)
    UNION ALL
    SELECT step.webhook_id, step.due_at
    FROM walk CROSS JOIN LATERAL (
        SELECT webhook_id, due_at FROM deliveries_delivery d
        WHERE state = 'pending' AND d.webhook_id > walk.webhook_id AND d.webhook_id <= %(upto)s
        ORDER BY webhook_id, due_at LIMIT 1
    ) AS step
), ready AS MATERIALIZED (
    SELECT w.id
    FROM walk JOIN deliveries_webhook w ON w.id = walk.webhook_id
    WHERE walk.due_at <= %(now)s
      AND (w.resting_until IS NULL OR w.resting_until <= %(now)s OR w.disabled_at IS NOT NULL)
      AND (SELECT count(*) FROM deliveries_delivery s WHERE s.webhook_id = w.id AND s.state = 'sending')
          < coalesce(w.max_in_flight, %(max_in_flight)s)
    LIMIT %(limit)s
)
"""

LOCK_READY_WEBHOOKS = f"""
{READY_WEBHOOKS}
SELECT w.id, (w.disabled_at IS NOT NULL OR w.deleted_at IS NOT NULL) AS off
FROM deliveries_webhook w
WHERE w.id IN (SELECT id FROM ready)
ORDER BY w.id
FOR NO KEY UPDATE SKIP LOCKED
"""  # noqa: S608 - put together of constants

# What a disabled webhook is still owed when its turn comes is held: a delivery that was fanned out or in flight while
# it was being disabled, and the rest of more than could be held at once.
HOLD = """
WITH strays AS MATERIALIZED (
    SELECT id FROM deliveries_delivery
    WHERE webhook_id = ANY(%(webhooks)s::bigint[]) AND state = 'pending'
    ORDER BY id
    LIMIT %(limit)s
    FOR NO KEY UPDATE
)
UPDATE deliveries_delivery d SET state = 'held', due_at = NULL FROM strays WHERE d.id = strays.id
"""

# Takes first one delivery of each webhook, then a second of each, until the slots are full.
CLAIM = """
WITH picked AS MATERIALIZED (
    SELECT d.id, d.turn, w.id AS webhook_id
    FROM deliveries_webhook w
    CROSS JOIN LATERAL (
        SELECT coalesce(w.max_in_flight, %(max_in_flight)s) - count(*) AS free
        FROM deliveries_delivery s WHERE s.webhook_id = w.id AND s.state = 'sending'
    ) AS room
    CROSS JOIN LATERAL (
        SELECT due.id, row_number() OVER (ORDER BY due.due_at, due.id) AS turn
        FROM (
            SELECT id, due_at FROM deliveries_delivery
            WHERE webhook_id = w.id AND state = 'pending' AND due_at <= %(now)s
            ORDER BY due_at, id
            LIMIT least(greatest(room.free, 0), %(limit)s)
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS due
    ) AS d
    WHERE w.id = ANY(%(webhooks)s::bigint[])
    ORDER BY d.turn, (w.id <= %(after)s), w.id
    LIMIT %(limit)s
), claimed AS (
    UPDATE deliveries_delivery d
    SET state = 'sending', lease = %(lease)s, leased_at = %(now)s, leased_until = %(until)s, due_at = NULL,
        attempts_made = d.attempts_made + 1, first_attempt_at = coalesce(d.first_attempt_at, %(now)s)
    FROM picked WHERE d.id = picked.id
    RETURNING d.id, d.event_id, d.webhook_id, d.attempts_made, d.failures, d.first_attempt_at, picked.turn
)
SELECT c.id, %(lease)s::uuid, %(until)s::timestamptz, c.attempts_made, c.failures, c.first_attempt_at,
       w.id, w.uid, w.url, w.format, w.content_type, w.sealed_secrets, w.sealed_headers, w.verify_ssl,
       w.retry_schedule, w.timeout,
       e.id, e.type, e.payload, e.occurred_at, o.slug, r.name
FROM claimed c
JOIN deliveries_webhook w ON w.id = c.webhook_id
JOIN deliveries_event e ON e.id = c.event_id
JOIN deliveries_organization o ON o.id = e.organization_id
LEFT JOIN deliveries_repository r ON r.id = e.repository_id
ORDER BY c.turn, (w.id <= %(after)s), w.id
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """One delivery in one worker's hands, with all that one attempt needs; columns in CLAIM's order."""

    delivery_id: UUID
    lease: UUID
    leased_until: datetime
    number: int
    failures: int
    first_attempt_at: datetime
    webhook_id: int
    webhook_uid: UUID
    url: str
    format: str
    content_type: str
    sealed_secrets: bytes
    sealed_headers: bytes | None
    verify_ssl: bool
    retry_schedule: list[timedelta] | None
    timeout: timedelta | None
    event_id: UUID
    event_type: str
    payload: bytes
    occurred_at: datetime
    organization: str
    repository: str | None


def claim(limit: int, *, lease: UUID, until: datetime, max_in_flight: int, after: int, now: datetime) -> list[Claim]:
    """Take up to ``limit`` due deliveries, one turn of the webhooks after another, beginning behind ``after``."""
    with transaction.atomic():
        found: list[Row] = []
        # Round the ring: from the webhook after the last one served to the end, then from the start up to it.
        for start, end in ((after, LAST_ID), (0, after)):
            if len(found) < limit and start < end:
                found += run(
                    LOCK_READY_WEBHOOKS,
                    {"after": start, "upto": end, "limit": limit - len(found), "max_in_flight": max_in_flight,
                     "now": now},
                )  # fmt: skip
        off = [webhook_id for webhook_id, is_off in found if is_off]
        if off:
            run(HOLD, {"webhooks": off, "limit": AT_ONCE})
        on = [webhook_id for webhook_id, is_off in found if not is_off]
        if not on:
            return []
        rows = run(
            CLAIM,
            {"webhooks": on, "limit": limit, "max_in_flight": max_in_flight, "lease": lease, "until": until,
             "after": after, "now": now},
        )  # fmt: skip
    return [Claim(*row) for row in rows]


# Gives back what was claimed and never sent, as if it had not been claimed.
RELEASE = """
UPDATE deliveries_delivery d
SET state = 'pending', due_at = d.leased_at, lease = NULL, leased_at = NULL, leased_until = NULL,
    attempts_made = d.attempts_made - 1,
    first_attempt_at = CASE WHEN d.first_attempt_at = d.leased_at THEN NULL ELSE d.first_attempt_at END
FROM unnest(%(ids)s::uuid[], %(leases)s::uuid[]) AS r (id, lease)
WHERE d.id = r.id AND d.lease = r.lease AND d.state = 'sending'
"""

# Settle -------------------------------------------------------------------------------------------------------------

# The attempt is recorded whether or not the lease still holds. A row in its place can only be the "outcome unknown"
# that was written when the lease expired, and now the outcome is known. A batch may hold two reports about a delivery,
# the late one of a lost lease and the one of the lease that followed: only the one whose lease holds is ours.
# Whether the webhook has been disabled meanwhile is not asked here, where it could change a moment later: the next
# claim asks it, with the webhook locked.
SETTLE = """
WITH report AS MATERIALIZED (
    SELECT * FROM unnest(
        %(deliveries)s::uuid[], %(leases)s::uuid[], %(webhooks)s::bigint[], %(numbers)s::int[], %(states)s::text[],
        %(endings)s::text[], %(failures)s::int[], %(due)s::timestamptz[], %(ended)s::timestamptz[],
        %(ids)s::uuid[], %(started)s::timestamptz[], %(durations)s::interval[], %(urls)s::text[],
        %(request_headers)s::text[], %(outcomes)s::text[], %(statuses)s::int[], %(response_headers)s::text[],
        %(response_bodies)s::bytea[], %(errors)s::text[]
    ) AS r (delivery_id, lease, webhook_id, number, state, ending, failures, due_at, ended_at,
            id, started_at, duration, url, request_headers, outcome, status, response_headers, response_body, error)
), recorded AS (
    INSERT INTO deliveries_attempt AS a (id, delivery_id, webhook_id, number, started_at, duration, url,
                                         request_headers, outcome, status, response_headers, response_body, error)
    SELECT id, delivery_id, webhook_id, number, started_at, duration, url, request_headers, outcome, status,
           response_headers, response_body, error
    FROM report ORDER BY delivery_id
    ON CONFLICT (delivery_id, number) DO UPDATE
    SET started_at = excluded.started_at, duration = excluded.duration, url = excluded.url,
        request_headers = excluded.request_headers, outcome = excluded.outcome, status = excluded.status,
        response_headers = excluded.response_headers, response_body = excluded.response_body, error = excluded.error
    WHERE a.outcome = 'unknown'
), mine AS MATERIALIZED (
    SELECT d.id, r.lease FROM deliveries_delivery d JOIN report r ON r.delivery_id = d.id
    WHERE d.lease = r.lease AND d.state = 'sending'
    ORDER BY d.id
    FOR NO KEY UPDATE OF d
)
UPDATE deliveries_delivery d
SET state = r.state, due_at = r.due_at, ending = r.ending, failures = r.failures, last_status = r.status,
    lease_losses = 0,
    lease = NULL, leased_at = NULL, leased_until = NULL,
    finished_at = CASE WHEN r.ending IS NOT NULL THEN r.ended_at END
FROM mine, report r
WHERE d.id = mine.id AND r.delivery_id = mine.id AND r.lease = mine.lease
RETURNING d.id, r.lease
"""

# A batch's effect on each webhook's health: what came after its last success in the batch, or was added to the count.
UPDATE_HEALTH = """
WITH health AS MATERIALIZED (
    SELECT * FROM unnest(
        %(webhooks)s::bigint[], %(succeeded)s::boolean[], %(failures)s::int[], %(timeouts)s::int[],
        %(timed_out_only)s::boolean[], %(last_at)s::timestamptz[], %(last_status)s::text[],
        %(success_at)s::timestamptz[], %(resting)s::timestamptz[], %(review)s::timestamptz[], %(gone)s::timestamptz[]
    ) AS h (webhook_id, succeeded, failures, timeouts, timed_out_only, last_at, last_status, success_at,
            resting_until, review_since, gone_at)
), locked AS MATERIALIZED (
    SELECT id FROM deliveries_webhook WHERE id = ANY(%(webhooks)s::bigint[]) ORDER BY id FOR NO KEY UPDATE
)
UPDATE deliveries_webhook w
SET failure_count = CASE WHEN h.succeeded THEN h.failures ELSE w.failure_count + h.failures END,
    timeouts_in_a_row = CASE WHEN h.timed_out_only THEN w.timeouts_in_a_row + h.timeouts ELSE h.timeouts END,
    last_delivery_at = greatest(w.last_delivery_at, h.last_at),
    last_delivery_status = CASE WHEN w.last_delivery_at > h.last_at THEN w.last_delivery_status ELSE h.last_status END,
    last_success_at = greatest(w.last_success_at, h.success_at),
    resting_until = greatest(w.resting_until, h.resting_until),
    -- What began before the webhook was enabled again says nothing against it now.
    review_since = greatest(w.review_since, CASE WHEN h.review_since >= coalesce(w.enabled_at, '-infinity')
                                                 THEN h.review_since END),
    gone_at = greatest(w.gone_at, CASE WHEN h.gone_at >= coalesce(w.enabled_at, '-infinity') THEN h.gone_at END)
FROM health h JOIN locked ON locked.id = h.webhook_id
WHERE w.id = h.webhook_id
RETURNING w.id, w.timeouts_in_a_row
"""

REST = """
UPDATE deliveries_webhook w SET resting_until = greatest(w.resting_until, r.until)
FROM unnest(%(webhooks)s::bigint[], %(until)s::timestamptz[]) AS r (id, until)
WHERE w.id = r.id
"""

# Expired leases -----------------------------------------------------------------------------------------------------

# A crash is not the receiver's failure: the lost attempt is on record, the schedule stays where it was, and the next
# attempt is due at once. The same few deliveries taking their worker down again and again are poison.
RECLAIM_EXPIRED = """
WITH lost AS MATERIALIZED (
    SELECT d.id, d.webhook_id, d.attempts_made, d.leased_at, d.lease_losses + 1 AS losses, w.url
    FROM deliveries_delivery d JOIN deliveries_webhook w ON w.id = d.webhook_id
    WHERE d.state = 'sending' AND d.leased_until < %(now)s
    ORDER BY d.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF d SKIP LOCKED
), recorded AS (
    INSERT INTO deliveries_attempt (id, delivery_id, webhook_id, number, started_at, url, request_headers, outcome,
                                    response_headers, response_body, error)
    SELECT deliveries_uuid7(%(now)s), id, webhook_id, attempts_made, leased_at, url, '', 'unknown', '', '',
           'The worker that made this attempt did not live to tell its outcome.'
    FROM lost
    ON CONFLICT (delivery_id, number) DO NOTHING
)
UPDATE deliveries_delivery d
SET state = CASE WHEN lost.losses >= %(most)s THEN 'failed' ELSE 'pending' END,
    ending = CASE WHEN lost.losses >= %(most)s THEN 'poisonous' END,
    finished_at = CASE WHEN lost.losses >= %(most)s THEN %(now)s::timestamptz END,
    due_at = CASE WHEN lost.losses >= %(most)s THEN NULL ELSE %(now)s::timestamptz END,
    lease_losses = lost.losses, lease = NULL, leased_at = NULL, leased_until = NULL
FROM lost WHERE d.id = lost.id
RETURNING d.id, d.state
"""

# The clock's one question -------------------------------------------------------------------------------------------

# The last part is the claim's own question; a delivery may be due and yet not to be had, because its webhook rests or
# has its share of requests in flight, and whoever rang for that would ring for as long as it lasts.
ANYTHING_TO_DO = f"""
{READY_WEBHOOKS}
SELECT EXISTS (SELECT FROM deliveries_event WHERE fanned_out_at IS NULL)
    OR (EXISTS (SELECT FROM deliveries_delivery WHERE state = 'pending' AND due_at <= %(now)s)
        AND EXISTS (SELECT FROM ready))
"""  # noqa: S608 - put together of constants


def is_anything_to_do(*, max_in_flight: int, now: datetime) -> bool:
    """Tell whether a worker would find something to do."""
    everywhere = {"after": 0, "upto": LAST_ID, "limit": 1}
    return bool(run(ANYTHING_TO_DO, {**everywhere, "max_in_flight": max_in_flight, "now": now})[0][0])


def database_now() -> datetime:
    """Give the database's clock: workers on hosts whose clocks differ must agree on leases and schedules."""
    moment: datetime = run("SELECT clock_timestamp()", {})[0][0]
    return moment


def columns(rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> dict[str, list[object]]:
    """Turn rows into one array per column, as ``unnest`` wants them."""
    return {name: [row[name] for row in rows] for name in names}
