"""The life of a delivery, from top to bottom: accept, fan out, claim, attempt, settle, review."""

import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction

from deliveries import wakeup
from deliveries.db import arrays, sql
from deliveries.db.ids import uuid7s
from deliveries.events import (
    NO_SNAPSHOT,
    Accepted,
    IdempotencyConflict,
    NameSnapshot,
    NewEvent,
    StaleNames,
    as_columns,
)
from deliveries.failpoints import reach
from deliveries.models import Webhook
from deliveries.pipeline import attempting, claiming, fanning_out, health, rescue
from deliveries.pipeline.attempt_log import log_attempts
from deliveries.pipeline.attempting import Result, build_result, render, to_columns
from deliveries.pipeline.claiming import NOTHING, Capacity, Claim, LeaseGrant
from deliveries.pipeline.fanning_out import FannedOut
from deliveries.pipeline.health import Health, health_of
from deliveries.policy import disabling
from deliveries.policy.outcomes import NoResponse
from deliveries.policy.retry import backoff_for
from deliveries.sending.sender import Sender
from deliveries.sending.transfer import Exchange, Request
from deliveries.webhooks import lifecycle

log = logging.getLogger("hookhub.pipeline")

# Events fanned out by one statement.
FAN_OUT_BATCH = 500
# Retries marked as ready by one statement.
LINE_UP_BATCH = 1000
# In the last third of its lease a result is settled even if another worker has locked its webhook.
SETTLE_ANYWAY_FRACTION = 3


# 1. Accept ----------------------------------------------------------------------------------------------------------


def accept(events: Sequence[NewEvent], *, snapshot: NameSnapshot = NO_SNAPSHOT, now: datetime) -> list[Accepted]:
    """Store all events or none and return their receipts in the same order.

    An event whose idempotency key is known gets the receipt of the first event with that key. Outside a transaction
    the events are durable when this returns and will be delivered; the wake-up only makes that happen sooner.
    Raises IdempotencyConflict if a key was used for other content, and StaleNames if a cached name no longer matches.
    """
    ids = uuid7s(now, len(events))
    # A single statement is atomic by itself and takes one round trip. Only a batch can be stored in part, because of
    # known keys; a conflict must then roll that part back.
    may_have_to_undo = len(events) > 1 and any(event.idempotency_key is not None for event in events)
    with transaction.atomic() if may_have_to_undo else nullcontext():
        stored = sql.change(sql.STORE_EVENTS, as_columns(events, ids=ids, snapshot=snapshot, now=now))
        if stored == len(events):
            receipts = [
                Accepted(event_id, event.type, now, is_repeat=False)
                for event, event_id in zip(events, ids, strict=True)
            ]
        else:
            receipts = _receipts_with_duplicates(events, ids, is_any_stored=stored > 0, now=now)
        reach("event-stored")
        if stored:
            transaction.on_commit(_ring)
    return receipts


def _ring() -> None:
    reach("event-committed")
    wakeup.notify()


def _receipts_with_duplicates(
    events: Sequence[NewEvent], ids: Sequence[UUID], *, is_any_stored: bool, now: datetime
) -> list[Accepted]:
    """Return the receipts when not every event was stored.

    An event with a key gets the receipt of the first event with that key, which may be itself. Raises StaleNames if
    that event is missing, and IdempotencyConflict if it had another fingerprint.
    """
    keyed = [event for event in events if event.idempotency_key is not None]
    rows = sql.run(
        sql.FIND_BY_KEY,
        {
            "organizations": arrays.bigints(event.organization_id for event in keyed),
            "keys": arrays.texts(event.idempotency_key for event in keyed),
        },
    )
    known = {(organization_id, key): first for organization_id, key, *first in rows}
    receipts, conflicts = [], []
    for position, (event, event_id) in enumerate(zip(events, ids, strict=True)):
        if event.idempotency_key is None and is_any_stored:
            receipts.append(Accepted(event_id, event.type, now, is_repeat=False))
            continue
        found = known.get((event.organization_id, event.idempotency_key))
        if found is None:
            raise StaleNames("a cached name is stale, or the first event with a key was deleted; retry the request")
        first_id, first_type, accepted_at, fingerprint = found
        if fingerprint != event.fingerprint:
            conflicts.append(position)
        receipts.append(Accepted(first_id, first_type, accepted_at, is_repeat=first_id != event_id))
    if conflicts:
        raise IdempotencyConflict(conflicts)
    return receipts


# 2. Fan out ---------------------------------------------------------------------------------------------------------


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
    done = fanning_out.fan_out(limit, wanted=wanted, after=after, without=without, leasing=_leasing(now))
    reach("fanned-out")
    return done


# 3. Claim -----------------------------------------------------------------------------------------------------------


def promote_due(limit: int = LINE_UP_BATCH, *, now: datetime) -> int:
    """Mark up to ``limit`` due scheduled deliveries as ready; return how many."""
    return sql.change(sql.PROMOTE_DUE, {"limit": limit, "now": now})


def claim(limit: int | Capacity, *, after: int = 0, now: datetime) -> list[Claim]:
    """Claim ready deliveries for one attempt each, fairly across webhooks, starting after the webhook ``after``.

    The claim is committed when this returns: no other worker takes these deliveries until the lease expires.
    """
    wanted = limit if isinstance(limit, Capacity) else Capacity(limit)
    claims = claiming.claim(wanted, after=after, leasing=_leasing(now))
    reach("claimed")
    return claims


def _leasing(now: datetime) -> LeaseGrant:
    return LeaseGrant(rescue.make(), now + settings.HOOKHUB_LEASE, settings.HOOKHUB_MAX_IN_FLIGHT, now)


def release(claims: Sequence[Claim]) -> None:
    """Undo claims that were not sent; a delivery whose lease has been lost stays as it is."""
    sql.run(
        sql.RELEASE,
        {
            "ids": arrays.uuids(claimed.delivery_id for claimed in claims),
            "leases": arrays.uuids(claimed.lease for claimed in claims),
        },
    )


# 4. Attempt ---------------------------------------------------------------------------------------------------------


def attempt(claims: Sequence[Claim], *, sender: Sender, now: datetime) -> list[Result]:
    """Render, sign and start the requests; the sender returns each under the token (claim, request, start time).

    Return a result for each delivery that cannot be rendered; its error is shown to the webhook's owner.
    """
    unsendable = []
    for claimed in claims:
        try:
            request = render(claimed, now=now)
            sender.start(request, token=(claimed, request, now))
        except Exception as error:  # A bug in a format costs this delivery an attempt, but not the rest of the batch.
            log.exception("Could not render delivery %s in format %s", claimed.delivery_id, claimed.to.format)
            request = Request(url=claimed.to.url, headers=(), body=b"", timeout=timedelta(0))
            lost = Exchange(timedelta(0), NoResponse("unrenderable", f"The request could not be built: {error}"))
            unsendable.append(finish(claimed, request, lost, started_at=now, now=now))
    return unsendable


def finish(claimed: Claim, request: Request, exchange: Exchange, *, started_at: datetime, now: datetime) -> Result:
    """Classify the response and decide the delivery's next state."""
    jitter = random.random()  # noqa: S311 - spreads retries, no security purpose
    return build_result(claimed, request, exchange, started_at=started_at, now=now, jitter=jitter)


# 5. Settle ----------------------------------------------------------------------------------------------------------


class Settled(NamedTuple):
    """Ids of the deliveries whose state changed, because the lease still held, and the results deferred."""

    ours: set[UUID]
    left: list[Result]


def settle(results: Sequence[Result], *, is_repeated: bool = False, now: datetime) -> Settled:
    """Record the attempts and move each delivery to its next state.

    Fenced by the lease: if it has expired, the attempt is recorded but the delivery stays as it is. Idempotent, so it
    can be repeated after a lost connection; ``is_repeated`` only affects the attempt log. If a result would change
    the health of a webhook that another worker has locked, it is deferred for as long as its lease allows, so that
    other deliveries do not wait for the lock.
    """
    if not results:
        return Settled(set(), [])
    ids = uuid7s(now, len(results))
    rows = [to_columns(result, attempt_id=attempt_id) for result, attempt_id in zip(results, ids, strict=True)]
    columns = arrays.columns(rows, attempting.COLUMNS)
    healths = health_of(results)
    reach("answered")
    with transaction.atomic():
        locked = _lock_for_health(healths)
        taken, left = _split_locked(results, locked, late=now + settings.HOOKHUB_LEASE / SETTLE_ANYWAY_FRACTION)
        if left:
            rows = [rows[place] for place in taken]
            columns = arrays.columns(rows, attempting.COLUMNS)
        # After a connection lost during COMMIT it is unknown whether these were settled before.
        known = {place for (place,) in sql.run(sql.KNOWN_ATTEMPTS, columns)} if is_repeated else set()
        places = {place for (place,) in sql.run(sql.SETTLE, columns)}
        reach("half-settled")
        sql.change(sql.RECORD_ATTEMPTS, columns)
        ours = [results[taken[place]] for place in sorted(places)]
        if len(ours) < len(results):
            healths = health_of(ours)
        _update_health([each for each in healths if locked.get(each.webhook_id)])
    reach("settled")
    log_attempts(rows, ours=places, known=known)
    return Settled({result.claim.delivery_id for result in ours}, [results[place] for place in left])


def _split_locked(
    results: Sequence[Result], locked: Mapping[int, bool], *, late: datetime
) -> tuple[list[int], list[int]]:
    """Return the indexes of the results to settle, and of those to defer.

    A result is deferred if another worker has locked its webhook and its lease lasts beyond ``late``. With less time
    left it is settled without updating the webhook's health, which is not worth sending a delivery twice.
    """
    taken: list[int] = []
    left: list[int] = []
    for place, result in enumerate(results):
        is_ours = locked.get(result.claim.to.webhook_id, True)
        (taken if is_ours or result.claim.leased_until <= late else left).append(place)
    return taken, left


def _lock_for_health(healths: Sequence[Health]) -> dict[int, bool]:
    """Lock the webhooks whose health must be written; return for each id whether this transaction got the lock."""
    columns = arrays.columns([each.as_row() for each in healths], health.COLUMNS)
    moments = {"moment": health.MOMENT, "slow_from": claiming.SLOW_FROM}
    return dict(sql.run(sql.LOCK_FOR_HEALTH, {**columns, **moments}))


def _update_health(healths: Sequence[Health]) -> None:
    """Add a batch's results to its webhooks' health, and back off webhooks that keep timing out."""
    if not healths:
        return
    columns = arrays.columns([each.as_row() for each in healths], health.COLUMNS)
    last_at = {each.webhook_id: each.last_at for each in healths}
    rests = {
        webhook_id: last_at[webhook_id] + rest
        for webhook_id, timeouts, share in sql.run(sql.UPDATE_HEALTH, columns)
        if (rest := backoff_for(timeouts, at_once=share or settings.HOOKHUB_MAX_IN_FLIGHT)) is not None
    }
    if rests:
        sql.run(sql.REST, {"webhooks": arrays.bigints(rests), "until": arrays.moments(rests.values())})


# 6. Review ----------------------------------------------------------------------------------------------------------


def review(*, now: datetime) -> list[Webhook]:
    """Disable the webhooks that have failed for too long and hold their deliveries; return the webhooks disabled.

    Settling marks the webhooks to review in their rows, so that the review survives the death of the worker.
    """
    disabled = []
    for webhook_id in lifecycle.to_review():
        with transaction.atomic():
            webhook = lifecycle.lock(webhook_id)
            if webhook is None:
                continue
            reason = disabling.should_disable(
                auto_disable=webhook.auto_disable,
                gone=webhook.gone_at is not None,
                gave_up_since=webhook.review_since,
                # Written at most once per ``health.MOMENT``, so the last success may be that much later.
                last_success_at=webhook.last_success_at and webhook.last_success_at + health.MOMENT,
                failure_count=webhook.failure_count,
                failures_allowed=settings.HOOKHUB_DISABLE_AFTER_FAILURES,
            )
            lifecycle.mark_reviewed(webhook)
            if reason is not None and webhook.active:
                lifecycle.disable(webhook, reason=Webhook.DisabledReason(reason), now=now)
                accept([lifecycle.disabled_event(webhook, now=now)], now=now)
                disabled.append(webhook)
    return disabled
