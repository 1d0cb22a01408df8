"""The SQL of the pipeline: PostgreSQL as the queue, one named statement for each step.

Rules for every statement here: Time is a parameter, never ``now()``, so that tests control it. Rows of a table are
locked in the order of their ids. Rows locked by another worker are skipped wherever that is harmless: a claim, which
holds locks on webhooks, never waits for a delivery, and settling never waits for a webhook. Otherwise one locked row
would block every worker. Each statement touches a bounded number of rows.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from deliveries.formats import FORMATS, MASK

Row = tuple[Any, ...]

# How many deliveries one statement holds, releases or cancels; the next statement continues with the rest.
AT_ONCE = 5000


def run(sql: str, parameters: Mapping[str, object]) -> list[Row]:
    """Run one statement with server-side parameters on Django's connection and return its rows.

    Django's own cursors interpolate parameters on the client, which rules out prepared statements and doubles the
    size of every payload. Raises the errors of ``django.db``; OperationalError if the parameters are not the cause.
    """
    with connection.wrap_database_errors, _cursor() as cursor:
        cursor.execute(sql, parameters, binary=True)
        return cursor.fetchall() if cursor.description else []


def change(sql: str, parameters: Mapping[str, object]) -> int:
    """Run one statement in the same way and return the number of rows it wrote."""
    with connection.wrap_database_errors, _cursor() as cursor:
        return cursor.execute(sql, parameters).rowcount


def _cursor() -> "psycopg.Cursor[Row]":
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)


# A cached plan lives as long as its connection. A plan made while the tables of a new installation were empty uses
# sequential scans, and keeps them when there are a million rows, until ANALYZE runs. (Disabling hash and merge joins as
# well would cost a sixth of PostgreSQL's time: joins within a batch are faster as hash joins.)
# Before PostgreSQL 18, a sequential scan that cannot be avoided raises a plan's cost above any threshold of the JIT
# compiler, which would then compile a statement of milliseconds for a tenth of a second.
BY_INDEXES = "SELECT set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)"


def go_by_indexes() -> None:
    """Make every connection that this process opens after this call avoid sequential scans."""
    connection_created.connect(_plan_by_indexes, dispatch_uid=__name__)


def _plan_by_indexes(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(BY_INDEXES)


# Accept -------------------------------------------------------------------------------------------------------------

IS_FANNED_OUT = """
NOT EXISTS (SELECT FROM deliveries_arrival a
            WHERE a.source = coalesce(e.repository_id, -e.organization_id) AND a.event_id = e.id)
"""

# Stores each event together with its outbox entry, which is deleted when the event is fanned out.
# Sorted by key, so that two batches with the same keys in different orders cannot deadlock.
# Names may come from a cache that is a few seconds old: if one no longer matches, nothing is stored.
STORE_EVENTS = """
WITH stored AS (
    INSERT INTO deliveries_event (id, organization_id, repository_id, webhook_id, type, topics, payload,
                                  idempotency_key, fingerprint, hops, occurred_at, accepted_at)
    SELECT id, organization_id, repository_id, webhook_id, type, string_to_array(topics, ' '), payload,
           idempotency_key, fingerprint, hops, occurred_at, %(now)s
    FROM unnest(%(ids)s::uuid[], %(organizations)s::bigint[], %(repositories)s::bigint[], %(webhooks)s::bigint[],
                %(types)s::text[], %(topics)s::text[], %(payloads)s::bytea[], %(keys)s::text[],
                %(fingerprints)s::bytea[], %(hops)s::text[], %(occurred)s::timestamptz[])
         AS new (id, organization_id, repository_id, webhook_id, type, topics, payload, idempotency_key, fingerprint,
                 hops, occurred_at)
    WHERE NOT EXISTS (
        SELECT FROM unnest(%(known_organizations)s::bigint[], %(slugs)s::text[]) AS known (id, slug)
        WHERE NOT EXISTS (SELECT FROM deliveries_organization o WHERE o.id = known.id AND o.slug = known.slug)
    ) AND NOT EXISTS (
        SELECT FROM unnest(%(known_repositories)s::bigint[], %(names)s::text[]) AS known (id, name)
        WHERE NOT EXISTS (SELECT FROM deliveries_repository r WHERE r.id = known.id AND r.name = known.name)
    )
    ORDER BY organization_id, idempotency_key, id
    ON CONFLICT (organization_id, idempotency_key) DO NOTHING
    RETURNING id, repository_id, organization_id
)
INSERT INTO deliveries_arrival (source, event_id) SELECT coalesce(repository_id, -organization_id), id FROM stored
"""

# Run after STORE_EVENTS, which waits until every concurrent transaction that stores one of these keys has committed.
FIND_BY_KEY = """
SELECT e.organization_id, e.idempotency_key, e.id, e.type, e.accepted_at, e.fingerprint
FROM unnest(%(organizations)s::bigint[], %(keys)s::text[]) AS wanted (organization_id, idempotency_key)
JOIN deliveries_event e USING (organization_id, idempotency_key)
"""

# Fan out and claim ---------------------------------------------------------------------------------------------------

# For transactions that need not wait for the WAL flush: if the server crashes, their work is lost as a whole and done
# again. Nothing is sent because of it before a claim commits, and that commit flushes all earlier WAL.
UNHURRIED = "set_config('synchronous_commit', 'off', true)"

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
UPDATE deliveries_delivery d SET line = 2 FROM due WHERE d.id = due.id RETURNING {UNHURRIED}
"""  # noqa: S608 - built from constants

# Undoes a claim whose request was not sent.
RELEASE = """
UPDATE deliveries_delivery d
SET state = 'pending', due_at = d.leased_at, lease = NULL, leased_at = NULL, leased_until = NULL,
    attempts_made = d.attempts_made - 1,
    first_attempt_at = CASE WHEN d.first_attempt_at = d.leased_at THEN NULL ELSE d.first_attempt_at END
FROM unnest(%(ids)s::uuid[], %(leases)s::uuid[]) AS r (id, lease)
WHERE d.id = r.id AND d.lease = r.lease
"""

# Settle -------------------------------------------------------------------------------------------------------------

# The attempt is recorded whether or not the lease still holds. A conflicting row with the outcome "unknown" was written
# when the lease expired, and is replaced because the outcome is known after all.
RECORD_ATTEMPTS = """
INSERT INTO deliveries_attempt AS a (id, delivery_id, webhook_id, number, started_at, duration, url,
                                     request_headers, outcome, status, response_headers, response_body, error)
SELECT * FROM unnest(
    %(ids)s::uuid[], %(deliveries)s::uuid[], %(webhooks)s::bigint[], %(numbers)s::bigint[], %(started)s::timestamptz[],
    %(durations)s::interval[], %(urls)s::text[], %(request_headers)s::text[], %(outcomes)s::text[],
    %(statuses)s::bigint[], %(response_headers)s::text[], %(response_bodies)s::bytea[], %(errors)s::text[]
)
ON CONFLICT (delivery_id, number) DO UPDATE
SET started_at = excluded.started_at, duration = excluded.duration, url = excluded.url,
    request_headers = excluded.request_headers, outcome = excluded.outcome, status = excluded.status,
    response_headers = excluded.response_headers, response_body = excluded.response_body, error = excluded.error
WHERE a.outcome = 'unknown'
"""

# Which attempts of a batch were settled before. An attempt belongs to one worker, so only this one can have done it.
KNOWN_ATTEMPTS = """
SELECT r.place - 1
FROM unnest(%(deliveries)s::uuid[], %(numbers)s::bigint[]) WITH ORDINALITY AS r (delivery_id, number, place)
JOIN deliveries_attempt a ON a.delivery_id = r.delivery_id AND a.number = r.number
WHERE a.outcome <> 'unknown'
"""

# A delivery has a lease only while its state is "sending". Do not filter on the state as well: the planner
# underestimates the number of such rows and would scan all of them for each row of the batch.
# A batch may hold two results of one delivery, one from an expired and one from the current lease: only the current one
# applies. No other statement waits for a leased delivery, so the lock order does not matter here.
# Run it before RECORD_ATTEMPTS: rescuing an expired lease also locks the delivery first and then records its attempt.
# Whether the webhook has been disabled meanwhile is not checked, since that could change a moment later: the next claim
# checks it with the webhook locked.
SETTLE = """
UPDATE deliveries_delivery d
SET state = r.state, due_at = r.due_at, ending = r.ending, failures = r.failures, last_status = r.status,
    line = CASE WHEN r.ending IS NULL THEN 0 ELSE d.line END,
    lease_losses = 0, lease = NULL, leased_at = NULL, leased_until = NULL,
    finished_at = CASE WHEN r.ending IS NOT NULL THEN r.ended_at END
FROM unnest(
    %(deliveries)s::uuid[], %(leases)s::uuid[], %(states)s::text[], %(endings)s::text[], %(failures)s::bigint[],
    %(due)s::timestamptz[], %(ended)s::timestamptz[], %(statuses)s::bigint[]
) WITH ORDINALITY AS r (delivery_id, lease, state, ending, failures, due_at, ended_at, status, place)
WHERE d.id = r.delivery_id AND d.lease = r.lease
RETURNING r.place - 1
"""

# A batch's effect on each webhook's health. A count that restarted within the batch (failures after a success, timeouts
# after another outcome) replaces the stored count; any other is added to it.
HEALTH = """
unnest(
    %(webhooks)s::bigint[], %(succeeded)s::boolean[], %(failures)s::bigint[], %(timeouts)s::bigint[],
    %(timed_out_only)s::boolean[], %(last_at)s::timestamptz[], %(last_status)s::text[],
    %(success_at)s::timestamptz[], %(resting)s::timestamptz[], %(review)s::timestamptz[], %(gone)s::timestamptz[],
    %(paces)s::interval[]
) AS h (webhook_id, succeeded, failures, timeouts, timed_out_only, last_at, last_status, success_at,
        resting_until, review_since, gone_at, pace)
"""

# Returns the webhooks whose health must be written, and whether this transaction got the lock on each.
# A healthy webhook whose last success was written less than a moment ago is left out: otherwise its row would be
# written for every delivery.
LOCK_FOR_HEALTH = f"""
WITH worth_writing AS MATERIALIZED (
    SELECT h.webhook_id
    FROM {HEALTH} CROSS JOIN LATERAL (SELECT * FROM deliveries_webhook WHERE id = h.webhook_id OFFSET 0) AS w
    WHERE NOT (h.succeeded AND h.failures = 0 AND w.failure_count = 0 AND w.timeouts_in_a_row = 0
               AND num_nonnulls(h.resting_until, h.review_since, h.gone_at) = 0
               AND w.last_delivery_status = h.last_status AND w.last_success_at > h.success_at - %(moment)s
               AND (w.pace >= %(slow_from)s) = (h.pace >= %(slow_from)s))
       OR w.last_success_at IS NULL OR w.pace IS NULL
), locked AS MATERIALIZED (
    SELECT id FROM deliveries_webhook
    WHERE id = ANY(ARRAY(SELECT webhook_id FROM worth_writing))
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT webhook_id, locked.id IS NOT NULL FROM worth_writing LEFT JOIN locked ON locked.id = webhook_id
"""  # noqa: S608 - built from constants

# For webhooks that LOCK_FOR_HEALTH has locked.
UPDATE_HEALTH = f"""
UPDATE deliveries_webhook w
SET failure_count = CASE WHEN h.succeeded THEN h.failures ELSE w.failure_count + h.failures END,
    timeouts_in_a_row = CASE WHEN h.timed_out_only THEN w.timeouts_in_a_row + h.timeouts ELSE h.timeouts END,
    last_delivery_at = greatest(w.last_delivery_at, h.last_at),
    last_delivery_status = CASE WHEN w.last_delivery_at > h.last_at THEN w.last_delivery_status ELSE h.last_status END,
    last_success_at = greatest(w.last_success_at, h.success_at),
    pace = coalesce((w.pace * 3 + h.pace) / 4, h.pace),
    resting_until = greatest(w.resting_until, h.resting_until),
    -- Ignore attempts that began before the webhook was last enabled.
    review_since = greatest(w.review_since, CASE WHEN h.review_since >= coalesce(w.enabled_at, '-infinity')
                                                 THEN h.review_since END),
    gone_at = greatest(w.gone_at, CASE WHEN h.gone_at >= coalesce(w.enabled_at, '-infinity') THEN h.gone_at END)
FROM {HEALTH}
WHERE w.id = ANY(%(webhooks)s::bigint[]) AND h.webhook_id = w.id
RETURNING w.id, w.timeouts_in_a_row, w.max_in_flight
"""  # noqa: S608 - built from constants

REST = """
UPDATE deliveries_webhook w SET resting_until = greatest(w.resting_until, r.until)
FROM unnest(%(webhooks)s::bigint[], %(until)s::timestamptz[]) AS r (id, until)
WHERE w.id = r.id
"""

# Expired leases -----------------------------------------------------------------------------------------------------

# The URL as the attempt log may show it, masked as in ``Format.show_url``.
_SHOWN_URL = f"""
CASE WHEN w.format IN ({", ".join(f"'{slug}'" for slug, one in FORMATS.items() if not one.url_is_secret)})
     THEN CASE WHEN w.sealed_url IS NULL AND strpos(w.url, '?') > 0
               THEN split_part(w.url, '?', 1) || '?{MASK}' ELSE w.url END
     ELSE substring(w.url from '^[a-z]+://[^/]+') || '/{MASK}' END
"""

# A crash is not the receiver's failure: the lost attempt is recorded, the delivery stays at the same step of its retry
# schedule, and its next attempt is due at once. A delivery that repeatedly takes down its worker is a poison message.
# To keep it from taking the rest of its batch along each time, deliveries lost again are delayed, each for a different
# time derived from the random bits of its id.
_RECLAIM = """
WITH lost AS MATERIALIZED (
    SELECT d.id, d.webhook_id, d.attempts_made, d.leased_at, d.lease_losses + 1 AS losses, {shown_url} AS url,
           d.lease_losses * get_byte(uuid_send(d.id), 15) * %(apart)s::interval AS wait
    FROM deliveries_delivery d JOIN deliveries_webhook w ON w.id = d.webhook_id
    WHERE d.state = 'sending' AND {which}
    ORDER BY d.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF d SKIP LOCKED
), recorded AS (
    INSERT INTO deliveries_attempt (id, delivery_id, webhook_id, number, started_at, url, request_headers, outcome,
                                    response_headers, response_body, error)
    SELECT deliveries_uuid7(%(now)s), id, webhook_id, attempts_made, leased_at, url, '', 'unknown', '', '',
           'The worker died, or its lease expired, before it recorded the outcome.'
    FROM lost
    ON CONFLICT (delivery_id, number) DO NOTHING
)
UPDATE deliveries_delivery d
SET state = CASE WHEN lost.losses >= %(most)s THEN 'failed' ELSE 'pending' END,
    ending = CASE WHEN lost.losses >= %(most)s THEN 'poisonous' END,
    finished_at = CASE WHEN lost.losses >= %(most)s THEN %(now)s::timestamptz END,
    due_at = CASE WHEN lost.losses >= %(most)s THEN NULL ELSE %(now)s::timestamptz + lost.wait END,
    line = CASE WHEN lost.wait > interval '0' THEN 0 ELSE 2 END,
    lease_losses = lost.losses, lease = NULL, leased_at = NULL, leased_until = NULL
FROM lost WHERE d.id = lost.id
RETURNING d.id, d.state
"""

_RECLAIM = _RECLAIM.replace("{shown_url}", _SHOWN_URL)
RECLAIM_EXPIRED = _RECLAIM.replace("{which}", "d.leased_until < %(now)s")
RECLAIM_LEASES = _RECLAIM.replace("{which}", "d.lease = ANY(%(leases)s::uuid[])")

# The database's clock -------------------------------------------------------------------------------------------------


def database_now() -> datetime:
    """Return the database server's time: workers on hosts with different clocks must agree on leases and schedules."""
    moment: datetime = run("SELECT clock_timestamp()", {})[0][0]
    return moment


# Is the database writable? -------------------------------------------------------------------------------------------

# Inserts no row, but fails on a read-only server.
STORE_NOTHING = "INSERT INTO deliveries_arrival SELECT * FROM deliveries_arrival WHERE false"


def require_writable() -> None:
    """Raise the database's error if events cannot be stored: a server that answers queries may still be read-only."""
    run(STORE_NOTHING, {})
