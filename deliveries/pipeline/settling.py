"""Settle: record finished attempts and move each delivery to its next state, in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from deliveries import system_events
from deliveries.db import arrays, sql
from deliveries.db.ids import uuid7s
from deliveries.failpoints import hit
from deliveries.formats import MASK, format_of
from deliveries.pipeline import exhausted, health
from deliveries.pipeline.attempt_log import log_attempts
from deliveries.pipeline.attempting import AttemptResult
from deliveries.policy import hops, trace_context
from deliveries.policy.outcomes import Delivered, Failed, Gone, NoResponse, Outcome
from deliveries.policy.retry import Decision, Finish, GiveUp, RetryAt
from deliveries.proofs.handshake import ORIGIN_HEADER

# In the last third of its lease a result is settled even if another worker has locked its webhook.
SETTLE_ANYWAY_FRACTION = 3


class Settled(NamedTuple):
    """Ids of the deliveries whose state changed, because the lease still held, and the results deferred.

    ``found_ready`` says whether any delivery of any webhook was ready; it may have waited for these to be settled.
    """

    applied: set[UUID]
    deferred: list[AttemptResult]
    found_ready: bool = False


def settle(results: Sequence[AttemptResult], *, is_repeated: bool = False, now: datetime) -> Settled:
    """Record the attempts and move each delivery to its next state.

    Fenced by the lease: if it has expired, the attempt is recorded but the delivery stays as it is. Idempotent, so it
    can be repeated after a lost connection; ``is_repeated`` only affects the attempt log. If a result would change
    the health of a webhook that another worker has locked, it is deferred for as long as its lease allows, so that
    other deliveries do not wait for the lock.
    """
    if not results:
        return Settled(set(), [])
    ids = uuid7s(now, len(results))
    rows = [to_row(result, attempt_id=attempt_id) for result, attempt_id in zip(results, ids, strict=True)]
    columns = arrays.columns(rows, COLUMNS)
    healths = health.health_of(results)
    hit("answered")
    with sql.transaction():
        locked = health.lock_webhooks(healths)
        deadline = now + settings.HOOKHUB_LEASE / SETTLE_ANYWAY_FRACTION
        chosen, deferred = split_locked(results, locked, deadline=deadline)
        if deferred:
            rows = [rows[index] for index in chosen]
            columns = arrays.columns(rows, COLUMNS)
        # After a connection lost during COMMIT it is unknown whether these were settled before.
        known = {index for (index,) in sql.run(FIND_KNOWN_ATTEMPTS, columns)} if is_repeated else set()
        found = sql.run(SETTLE, {**columns, "subscribers": subscribers_to(results)})
        updated = {index for index, *_ in found}
        hit("half-settled")
        applied = [results[chosen[index]] for index in sorted(updated)]
        if len(applied) < len(results):
            healths = health.health_of(applied)
        healths = [each for each in healths if locked.get(each.webhook_id)]
        has_subscriber = bool(found) and found[0][2]
        sql.run(RECORD_ATTEMPTS, columns, commits=not healths and not has_subscriber)
        published = exhausted.publish(failed_of(applied), now=now) if has_subscriber else 0
        health.update_webhooks(healths)
    hit("settled")
    system_events.committed(published)
    log_attempts(rows, applied=updated, known=known)
    ids_applied = {result.claim.delivery_id for result in applied}
    # Without a row it is unknown.
    found_ready = not found or found[0][1]
    return Settled(ids_applied, [results[index] for index in deferred], found_ready)


def failed_of(results: Iterable[AttemptResult]) -> list[UUID]:
    """Return the ids of the deliveries that have failed for good."""
    return [result.claim.delivery_id for result in results if isinstance(result.decision, GiveUp)]


def subscribers_to(results: Iterable[AttemptResult]) -> arrays.Array:
    """Return the keys of the subscribers to the events about deliveries that have failed for good."""
    return exhausted.subscribers(
        result.claim.destination.organization_id
        for result in results
        if isinstance(result.decision, GiveUp) and exhausted.should_publish(result.claim.event_type)
    )


def split_locked(
    results: Sequence[AttemptResult], locked: Mapping[int, bool], *, deadline: datetime
) -> tuple[list[int], list[int]]:
    """Return the indexes of the results to settle, and of those to defer.

    A result is deferred if another worker has locked its webhook and its lease lasts beyond the ``deadline``. With less
    time left it is settled without updating the webhook's health, which is not worth sending a delivery twice.
    """
    chosen: list[int] = []
    deferred: list[int] = []
    for index, result in enumerate(results):
        is_free = locked.get(result.claim.destination.webhook_id, True)
        (chosen if is_free or result.claim.leased_until <= deadline else deferred).append(index)
    return chosen, deferred


# The encoder of each column of RECORD_ATTEMPTS and SETTLE.
COLUMNS: Mapping[str, Callable[[Iterable[Any]], arrays.Array]] = {
    "deliveries": arrays.uuids,
    "leases": arrays.uuids,
    "webhooks": arrays.bigints,
    "numbers": arrays.bigints,
    "states": arrays.texts,
    "finish_reasons": arrays.texts,
    "failures": arrays.bigints,
    "due": arrays.timestamps,
    "ended": arrays.timestamps,
    "ids": arrays.uuids,
    "started": arrays.timestamps,
    "durations": arrays.intervals,
    "urls": arrays.texts,
    "request_headers": arrays.texts,
    "outcomes": arrays.texts,
    "statuses": arrays.bigints,
    "response_headers": arrays.texts,
    "response_bodies": arrays.byteas,
    "errors": arrays.texts,
    "causes": arrays.texts,
    "dns": arrays.bigints,
    "connects": arrays.bigints,
    "tls": arrays.bigints,
    "first_bytes": arrays.bigints,
}

# What HookHub adds to a request of any format.
OF_EVERY_FORMAT = frozenset(
    {hops.HEADER.lower(), ORIGIN_HEADER.lower(), trace_context.TRACEPARENT, trace_context.TRACESTATE}
)

# Written out: a renamed class must not change what is stored, logged and shown.
OUTCOMES: Mapping[type[Outcome], str] = {
    Delivered: "delivered", Failed: "failed", Gone: "gone", NoResponse: "no_response",
}  # fmt: skip


def to_row(result: AttemptResult, *, attempt_id: UUID) -> dict[str, Any]:
    """Return a result as a mapping with the keys of COLUMNS."""
    state, finish_reason, due_at = next_state(result.decision)
    timing = result.exchange.timing
    response = None if isinstance(result.exchange.result, NoResponse) else result.exchange.result
    lines = [f"{name}: {value}" for name, value in response.headers] if response else []
    return {
        "deliveries": result.claim.delivery_id,
        "leases": result.claim.lease,
        "webhooks": result.claim.destination.webhook_id,
        "organizations": result.claim.destination.organization,
        "traces": trace_context.trace_id_of(result.claim.trace),
        "numbers": result.claim.number,
        "states": state,
        "finish_reasons": finish_reason,
        "failures": result.claim.failures + (not isinstance(result.outcome, Delivered)),
        "due": due_at,
        "ended": result.ended_at,
        "ids": attempt_id,
        "started": result.started_at,
        "durations": result.exchange.duration,
        "urls": format_of(result.claim.destination.format).show_url(result.request.url),
        "request_headers": masked_headers(result),
        "outcomes": OUTCOMES[type(result.outcome)],
        "statuses": response.status if response else None,
        "response_headers": pg_safe("\n".join(lines)),
        "response_bodies": response.body if response else b"",
        "errors": pg_safe(result.outcome.error) if isinstance(result.outcome, NoResponse) else "",
        "causes": result.outcome.cause if isinstance(result.outcome, NoResponse) else None,
        "dns": timing.dns,
        "connects": timing.connect,
        "tls": timing.tls,
        "first_bytes": timing.first_byte,
    }


def next_state(decision: Decision) -> tuple[str, str | None, datetime | None]:
    """Return the delivery's next state, its finish reason or None, and when it is due or None."""
    match decision:
        case Finish():
            return "delivered", "delivered", None
        case GiveUp(finish_reason):
            return "failed", finish_reason, None
        case RetryAt(due_at):
            return "pending", None, due_at


def masked_headers(result: AttemptResult) -> str:
    """Return the request's header lines for the attempt log, with the values of the webhook's custom headers masked."""
    slug = result.claim.destination.format
    return "\n".join(
        [f"{name}: {value if is_shown(name, slug=slug) else MASK}" for name, value in result.request.headers]
    )


@lru_cache(maxsize=4096)
def is_shown(name: str, *, slug: str) -> bool:
    """Return whether a header of this name in a request of the format ``slug`` is HookHub's own, so no secret."""
    return name.lower() in format_of(slug).reserved_headers | OF_EVERY_FORMAT


def pg_safe(text: str) -> str:
    """Return the text without NULs and with lone surrogates replaced: PostgreSQL would reject the whole batch."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode(errors="replace").decode()


# Which attempts of a batch were settled before. An attempt belongs to one worker, so only this one can have done it.
FIND_KNOWN_ATTEMPTS = """
SELECT r.ordinal - 1
FROM unnest(%(deliveries)s::uuid[], %(numbers)s::bigint[]) WITH ORDINALITY AS r (delivery_id, number, ordinal)
JOIN hookhub_attempt a ON a.delivery_id = r.delivery_id AND a.number = r.number
WHERE a.outcome <> 'unknown'
"""

# A delivery has a lease only while its state is "sending". Do not filter on the state as well: the planner
# underestimates the number of such rows and would scan all of them for each row of the batch.
# A batch may hold two results of one delivery, one from an expired and one from the current lease: only the current one
# applies. No other statement waits for a leased delivery, so the lock order does not matter here.
# Run it before RECORD_ATTEMPTS: rescuing an expired lease also locks the delivery first and then records its attempt.
# Whether the webhook has been disabled meanwhile is not checked, since that could change a moment later: the next claim
# checks it with the webhook locked.
SETTLE = f"""
UPDATE hookhub_delivery d
SET state = r.state, due_at = r.due_at, finish_reason = r.finish_reason, failures = r.failures, last_status = r.status,
    readiness = CASE WHEN r.finish_reason IS NULL THEN 0 ELSE d.readiness END,
    lease_losses = 0, lease = NULL, leased_at = NULL, leased_until = NULL,
    finished_at = CASE WHEN r.finish_reason IS NOT NULL THEN r.ended_at END
FROM unnest(
    %(deliveries)s::uuid[], %(leases)s::uuid[], %(states)s::text[], %(finish_reasons)s::text[], %(failures)s::bigint[],
    %(due)s::timestamptz[], %(ended)s::timestamptz[], %(statuses)s::bigint[]
) WITH ORDINALITY AS r (delivery_id, lease, state, finish_reason, failures, due_at, ended_at, status, ordinal)
WHERE d.id = r.delivery_id AND d.lease = r.lease
RETURNING r.ordinal - 1,
          (SELECT 1 FROM hookhub_delivery WHERE state = 'pending' AND readiness > 0 LIMIT 1) IS NOT NULL,
          {exhausted.HAS_SUBSCRIBER}
"""

# The attempt is recorded whether or not the lease still holds. A conflicting row with the outcome "unknown" was written
# when the lease expired, and is replaced because the outcome is known after all.
RECORD_ATTEMPTS = """
INSERT INTO hookhub_attempt AS a (id, delivery_id, webhook_id, number, started_at, duration, url,
                                     request_headers, outcome, status, response_headers, response_body, error, cause,
                                     dns_us, connect_us, tls_us, first_byte_us)
SELECT * FROM unnest(
    %(ids)s::uuid[], %(deliveries)s::uuid[], %(webhooks)s::bigint[], %(numbers)s::bigint[], %(started)s::timestamptz[],
    %(durations)s::interval[], %(urls)s::text[], %(request_headers)s::text[], %(outcomes)s::text[],
    %(statuses)s::bigint[], %(response_headers)s::text[], %(response_bodies)s::bytea[], %(errors)s::text[],
    %(causes)s::text[], %(dns)s::bigint[], %(connects)s::bigint[], %(tls)s::bigint[], %(first_bytes)s::bigint[]
)
ON CONFLICT (delivery_id, number) DO UPDATE
SET started_at = excluded.started_at, duration = excluded.duration, url = excluded.url,
    request_headers = excluded.request_headers, outcome = excluded.outcome, status = excluded.status,
    response_headers = excluded.response_headers, response_body = excluded.response_body, error = excluded.error,
    cause = excluded.cause, dns_us = excluded.dns_us, connect_us = excluded.connect_us, tls_us = excluded.tls_us,
    first_byte_us = excluded.first_byte_us
WHERE a.outcome = 'unknown'
"""
