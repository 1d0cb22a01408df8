"""The life of a delivery, from top to bottom: accept, fan out, claim, attempt, settle, review."""

import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import OperationalError, transaction

from deliveries import disabling, doorbell, queue, webhooks
from deliveries.attempts import Result, as_row, conclude, render
from deliveries.events import Accepted, IdempotencyConflict, NewEvent
from deliveries.health import Health, health_of
from deliveries.ids import uuid7
from deliveries.models import Webhook
from deliveries.outcomes import Lost
from deliveries.queue import Claim
from deliveries.retry import rest_after
from deliveries.sender import Exchange, Request, Sender
from deliveries.telemetry import tell_attempt

log = logging.getLogger("hookhub.pipeline")

# Events turned into deliveries by one statement.
FAN_OUT_BATCH = 500


# 1. Accept ----------------------------------------------------------------------------------------------------------


def accept(events: Sequence[NewEvent], *, now: datetime) -> list[Accepted]:
    """Store events in one transaction and give their receipts in order; raises IdempotencyConflict.

    An event whose key is known gets the receipt of the first one. Once this returns outside a transaction nothing
    further is needed for the deliveries to happen; the bell only makes them happen at once.
    """
    ids = [uuid7(now) for _ in events]
    with transaction.atomic():
        rows = queue.run(
            queue.STORE_EVENTS,
            {
                "ids": ids,
                "organizations": [event.organization_id for event in events],
                "repositories": [event.repository_id for event in events],
                "webhooks": [event.webhook_id for event in events],
                "types": [event.type for event in events],
                "topics": [" ".join(event.topics) for event in events],
                "payloads": [event.payload for event in events],
                "keys": [event.idempotency_key for event in events],
                "fingerprints": [event.fingerprint for event in events],
                "occurred": [event.occurred_at for event in events],
                "now": now,
            },
        )
        stored = {event_id for (event_id,) in rows}
        known = _find_known([event for event, event_id in zip(events, ids, strict=True) if event_id not in stored])
        receipts, conflicts = [], []
        for position, (event, event_id) in enumerate(zip(events, ids, strict=True)):
            if event_id in stored:
                receipts.append(Accepted(event_id, event.type, now, is_repeat=False))
                continue
            found = known.get((event.organization_id, event.idempotency_key))
            if found is None:
                # Retention took the first event between our two statements: as good as no answer from the database.
                raise OperationalError("an idempotency key vanished while it was looked up; repeat the request")
            first, fingerprint = found
            if fingerprint != event.fingerprint:
                conflicts.append(position)
            receipts.append(first)
        if conflicts:
            raise IdempotencyConflict(conflicts)
        if stored:
            transaction.on_commit(doorbell.ring)
    return receipts


def _find_known(repeated: Sequence[NewEvent]) -> dict[tuple[int, str | None], tuple[Accepted, bytes]]:
    """Give the first receipt and fingerprint for every key that was there before."""
    if not repeated:
        return {}
    rows = queue.run(
        queue.FIND_REPEATED,
        {
            "organizations": [event.organization_id for event in repeated],
            "keys": [event.idempotency_key for event in repeated],
        },
    )
    return {
        (organization_id, key): (Accepted(event_id, event_type, accepted_at, is_repeat=True), bytes(fingerprint))
        for organization_id, key, event_id, event_type, accepted_at, fingerprint in rows
    }


# 2. Fan out ---------------------------------------------------------------------------------------------------------


def fan_out(limit: int = FAN_OUT_BATCH, *, now: datetime) -> tuple[int, int]:
    """Owe up to ``limit`` events to every active webhook that matches; give how many events and deliveries that was.

    One statement; to run it twice, or twice at once, owes nothing twice.
    """
    events, deliveries = queue.run(queue.FAN_OUT, {"limit": limit, "now": now})[0]
    return events, deliveries


# 3. Claim -----------------------------------------------------------------------------------------------------------


def claim(limit: int, *, after: int = 0, now: datetime) -> list[Claim]:
    """Take up to ``limit`` due deliveries for one attempt each, fairly across webhooks, beginning behind ``after``.

    The claim is committed when this returns: until its lease runs out nobody else takes these.
    """
    return queue.claim(
        limit,
        lease=uuid4(),
        until=now + settings.HOOKHUB_LEASE,
        max_in_flight=settings.HOOKHUB_MAX_IN_FLIGHT,
        after=after,
        now=now,
    )


def release(claims: Sequence[Claim]) -> None:
    """Give claims back unsent, as if they had not been claimed; what is no longer ours stays as it is."""
    queue.run(
        queue.RELEASE,
        {"ids": [claimed.delivery_id for claimed in claims], "leases": [claimed.lease for claimed in claims]},
    )


# 4. Attempt ---------------------------------------------------------------------------------------------------------


def attempt(claims: Sequence[Claim], *, sender: Sender, now: datetime) -> list[Result]:
    """Render, sign and begin to send; the sender gives each back under its claim, request and start.

    What cannot be rendered is a result at once: its webhook's owner will read why.
    """
    unsendable = []
    for claimed in claims:
        try:
            request = render(claimed, now=now)
            sender.start(request, token=(claimed, request, now))
        except Exception as error:  # A format's bug costs its own delivery an attempt, not its neighbours theirs.
            log.exception("Delivery %s cannot be rendered as %s", claimed.delivery_id, claimed.format)
            request = Request(url=claimed.url, headers=(), body=b"", timeout=timedelta(0))
            lost = Exchange(timedelta(0), Lost("unrenderable", f"The request could not be made up: {error}"))
            unsendable.append(finish(claimed, request, lost, started_at=now, now=now))
    return unsendable


def finish(claimed: Claim, request: Request, exchange: Exchange, *, started_at: datetime, now: datetime) -> Result:
    """Judge what came back, and decide what follows."""
    jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
    return conclude(claimed, request, exchange, started_at=started_at, now=now, jitter=jitter)


# 5. Settle ----------------------------------------------------------------------------------------------------------


def settle(results: Sequence[Result], *, now: datetime) -> set[UUID]:
    """Record the attempts and move each delivery on; give the ids of those that were still ours to move.

    Fenced by the lease: where it ran out the delivery stays as it is, yet the attempt is on record. Repeating it after
    a lost connection changes nothing that it had changed before.
    """
    if not results:
        return set()
    rows = [as_row(result, attempt_id=uuid7(now)) for result in results]
    with transaction.atomic():
        mine = set(queue.run(queue.SETTLE, queue.columns(rows, list(rows[0]))))
        ours = [result for result in results if (result.claim.delivery_id, result.claim.lease) in mine]
        if ours:
            _update_health(health_of(ours))
    for row in rows:
        tell_attempt(row, was_ours=(row["deliveries"], row["leases"]) in mine)
    return {delivery_id for delivery_id, _ in mine}


def _update_health(healths: Sequence[Health]) -> None:
    """Add a batch to its webhooks' health, and give rest to those that keep timing out."""
    rows = [health.as_row() for health in healths]
    timed_out = queue.run(queue.UPDATE_HEALTH, queue.columns(rows, list(rows[0])))
    last_at = {health.webhook_id: health.last_at for health in healths}
    rests = [
        (webhook_id, last_at[webhook_id] + rest)
        for webhook_id, timeouts in timed_out
        if (rest := rest_after(timeouts)) is not None
    ]
    if rests:
        queue.run(queue.REST, {"webhooks": [row[0] for row in rests], "until": [row[1] for row in rests]})


# 6. Review ----------------------------------------------------------------------------------------------------------


def review(*, now: datetime) -> list[Webhook]:
    """Disable the webhooks that have failed for too long, holding what they are owed; give those it disabled.

    What there is to review is written on the webhook by the settling itself, so that a worker that dies in between
    leaves it for the next one.
    """
    disabled = []
    for webhook_id in webhooks.to_review():
        with transaction.atomic():
            webhook = webhooks.lock(webhook_id)
            if webhook is None:
                continue
            reason = disabling.should_disable(
                auto_disable=webhook.auto_disable,
                gone=webhook.gone_at is not None,
                gave_up_since=webhook.review_since,
                last_success_at=webhook.last_success_at,
                failure_count=webhook.failure_count,
                failures_allowed=settings.HOOKHUB_DISABLE_AFTER_FAILURES,
            )
            webhooks.mark_reviewed(webhook)
            if reason is not None and webhook.active:
                webhooks.disable(webhook, reason=Webhook.DisabledReason(reason), now=now)
                accept([webhooks.disabled_event(webhook, now=now)], now=now)
                disabled.append(webhook)
    return disabled
