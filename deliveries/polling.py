"""Read the queues of polling webhooks, and keep how far each consumer has read.

Entries are numbered when their queue is read, under a lock, in the order in which their events were accepted. A number
is higher than all that were given before, so a consumer that goes on after the last number it has seen misses nothing,
however late an event was committed.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from deliveries import vault
from deliveries.db import sql
from deliveries.db.lookups import find_one
from deliveries.models import PollConsumer, PollQueue, Webhook
from deliveries.pipeline import attempting
from deliveries.pipeline.claims import Claim, Destination
from deliveries.sending.exchange import Request

log = logging.getLogger("hookhub.polling")

# Entries that one read numbers. More are numbered by the next.
MAX_NUMBERED = 1000
# How often a request that begins with the newest event does that, each time in a transaction of its own.
MAX_BATCHES_NUMBERED = 50
# A page ends before its payloads are larger than this, but never before its first entry.
MAX_PAGE_BYTES = 8 << 20
MAX_CONSUMERS = 20
# Entries without a number are counted up to this.
MAX_COUNTED = 10_000


class Polled(NamedTuple):
    """An event of a queue, with the request that HookHub would send, or why that cannot be built."""

    id: UUID
    position: int
    event_id: UUID
    event_type: str
    occurred_at: datetime
    request: Request | None
    error: str | None


class Page(NamedTuple):
    """Events of a queue in order; ``position`` is that of the last one, after which the next page begins.

    ``expired`` is how many events before and between these were deleted by retention unread.
    """

    events: list[Polled]
    position: int
    expired: int
    has_more: bool


class TooManyConsumers(Exception):
    """The webhook has MAX_CONSUMERS already."""


def read(webhook: Webhook, *, after: int, limit: int, is_masked: bool, now: datetime) -> Page:
    """Return up to ``limit`` events after a position. The webhook is loaded with its organization.

    The position is at most ``last_position``. With ``is_masked``, the values of custom headers are masked.
    """
    parameters = {"webhook": webhook.pk, "after": after, "limit": limit, "most": MAX_PAGE_BYTES}
    rows = _Rows.of(sql.run(READ_PAGE, parameters))
    if rows.has_unnumbered and len(rows.entries) < limit and number(webhook):
        rows = _Rows.of(sql.run(READ_PAGE, parameters))
    destination = Destination.masked(webhook) if is_masked else Destination.of(webhook)
    position = rows.entries[-1][0] if rows.entries else rows.last_position
    events = [_polled(row, destination, now=now) for row in rows.entries if row[2] is not None]
    return Page(
        events=events,
        position=position,
        # Each position was given to one event.
        expired=position - after - len(events),
        has_more=position < rows.last_position or rows.has_unnumbered,
    )


def has_news(webhook: Webhook, *, after: int) -> bool:
    """Return whether there are events after a position, or the webhook was deleted; indexed looks, without a write."""
    found: bool = sql.run(HAS_NEWS, {"webhook": webhook.pk, "after": after})[0][0]
    return found


def number(webhook: Webhook, *, waits: bool = False) -> int:
    """Number the next entries of a queue; return how many.

    While another process is doing that, return 0 at once, unless it ``waits``.
    """
    parameters = {"webhook": webhook.pk, "limit": MAX_NUMBERED}
    with sql.transaction():
        # In a statement of its own, so that the next one sees what the last owner of the lock has numbered.
        if not sql.run(AWAIT_QUEUE if waits else LOCK_QUEUE, parameters):
            return 0
        return int(sql.run(NUMBER_ENTRIES, parameters, commits=True)[0][0])


def last_position(webhook: Webhook) -> int:
    """Return the last position that was given; 0 if none was."""
    found = find_one(PollQueue.objects.filter(pk=webhook.pk).values_list("last_position", flat=True))
    return found or 0


def newest_position(webhook: Webhook) -> int | None:
    """Return the position of the newest event, once all that are in the queue by now are numbered.

    Return None if there are more than a request should number: the next call continues.
    """
    for _ in range(MAX_BATCHES_NUMBERED):
        # It has waited for any other process that numbers, so less than a full batch means that none is left.
        if number(webhook, waits=True) < MAX_NUMBERED:
            return last_position(webhook)
    return None


def behind(webhook: Webhook, consumer: PollConsumer) -> int:
    """Return how many events a consumer has not committed, of those not yet numbered up to MAX_COUNTED."""
    parameters = {"webhook": webhook.pk, "most": MAX_COUNTED}
    return max(last_position(webhook) - consumer.position, 0) + int(sql.run(COUNT_UNNUMBERED, parameters)[0][0])


def consumers(webhook: Webhook) -> list[PollConsumer]:
    """Return the consumers of a webhook in the order of their names."""
    return list(PollConsumer.objects.filter(webhook=webhook).order_by("name"))


def position_of(webhook: Webhook, consumer: str) -> int:
    """Return the position that a consumer has committed; 0, before all events, if it has not committed any."""
    found = PollConsumer.objects.filter(webhook=webhook, name=consumer).values_list("position", flat=True).first()
    return found or 0


def commit(webhook: Webhook, consumer: str, *, position: int, now: datetime) -> PollConsumer:
    """Set how far a consumer has read, also back; it is created by its first commit.

    The position is at most ``last_position``. Raise TooManyConsumers.
    """
    with transaction.atomic():
        # Locked, so that two new consumers cannot both be the last.
        _lock_queue(webhook)
        found = PollConsumer.objects.filter(webhook=webhook, name=consumer).first()
        if found is None:
            if PollConsumer.objects.filter(webhook=webhook).count() >= MAX_CONSUMERS:
                raise TooManyConsumers
            return PollConsumer.objects.create(
                webhook=webhook, name=consumer, position=position, created_at=now, committed_at=now
            )
        found.position, found.committed_at = position, now
        found.save(update_fields=["position", "committed_at"])
        return found


def forget(webhook: Webhook, consumer: str) -> bool:
    """Delete a consumer; return whether there was one. Its name starts anew, before all events."""
    with transaction.atomic():
        # A commit that has found the consumer could not save it any more.
        _lock_queue(webhook)
        return bool(PollConsumer.objects.filter(webhook=webhook, name=consumer).delete()[0])


def _lock_queue(webhook: Webhook) -> None:
    find_one(PollQueue.objects.select_for_update(no_key=True).filter(pk=webhook.pk))


class _Rows(NamedTuple):
    """What READ_PAGE found, all in one snapshot. An entry whose event is gone has nulls after its position and id."""

    last_position: int
    has_unnumbered: bool
    entries: list[sql.Row]

    @classmethod
    def of(cls, rows: Sequence[sql.Row]) -> "_Rows":
        last_position, has_unnumbered = rows[0][:2]
        return cls(last_position, has_unnumbered, [row[2:] for row in rows if row[2] is not None])


def _polled(row: sql.Row, destination: Destination, *, now: datetime) -> Polled:
    position, entry_id, event_id, event_type, payload, occurred_at, hops, trace, repository = row
    claim = Claim(
        lease=entry_id,
        leased_until=now,
        destination=destination,
        delivery_id=entry_id,
        number=1,
        failures=0,
        first_attempt_at=now,
        due_at=now,
        event_id=str(event_id),
        event_type=event_type,
        payload=payload,
        occurred_at=occurred_at,
        repository=repository,
        hops=hops,
        trace=trace,
    )
    request, error = None, None
    try:
        request = attempting.render(claim, is_attempt=False, now=now)
    except (vault.Unreadable, vault.NoLiveSecret) as unsigned:
        error = f"The request could not be built: {unsigned}"
    except Exception as broken:  # A format's bug must not keep the consumer from all that comes after this event.
        log.exception("Could not render event %s in format %s", event_id, destination.format)
        error = f"The request could not be built: {broken}"
    return Polled(entry_id, position, event_id, event_type, occurred_at, request, error)


HAS_UNNUMBERED = """
EXISTS (SELECT FROM hookhub_poll_entry WHERE webhook_id = %(webhook)s AND position IS NULL)
"""

HAS_NEWS = f"""
SELECT {HAS_UNNUMBERED} OR EXISTS (
    SELECT FROM hookhub_poll_entry WHERE webhook_id = %(webhook)s AND position > %(after)s
) OR NOT EXISTS (SELECT FROM hookhub_webhook WHERE id = %(webhook)s AND deleted_at IS NULL)
"""

# The first row also says how far the queue is numbered, and is returned even if there is no entry.
READ_PAGE = f"""
WITH entries AS MATERIALIZED (
    SELECT position, id, event_id FROM hookhub_poll_entry
    WHERE webhook_id = %(webhook)s AND position > %(after)s
    ORDER BY position LIMIT %(limit)s
), page AS (
    SELECT entries.position, entries.id, e.id AS event_id, e.type, e.payload, e.occurred_at, e.hops, e.trace, r.name,
           coalesce(
               sum(octet_length(e.payload)) OVER (
                   ORDER BY entries.position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
               ), 0
           ) AS bytes_before
    FROM entries
    LEFT JOIN hookhub_event e ON e.id = entries.event_id
    LEFT JOIN hookhub_repository r ON r.id = e.repository_id
)
SELECT queue.last_position, queue.has_unnumbered, position, id, event_id, type, payload, occurred_at, hops, trace, name
FROM (
    SELECT coalesce((SELECT last_position FROM hookhub_poll_queue WHERE webhook_id = %(webhook)s), 0) AS last_position,
           {HAS_UNNUMBERED} AS has_unnumbered
) AS queue
LEFT JOIN page ON page.bytes_before < %(most)s
ORDER BY position
"""

AWAIT_QUEUE = "SELECT webhook_id FROM hookhub_poll_queue WHERE webhook_id = %(webhook)s FOR NO KEY UPDATE"
LOCK_QUEUE = f"{AWAIT_QUEUE} SKIP LOCKED"

NUMBER_ENTRIES = """
WITH next AS MATERIALIZED (
    SELECT id FROM hookhub_poll_entry WHERE webhook_id = %(webhook)s AND position IS NULL ORDER BY id LIMIT %(limit)s
), numbered AS (
    UPDATE hookhub_poll_entry p
    SET position = queue.last_position + turns.turn
    FROM hookhub_poll_queue queue, (SELECT id, row_number() OVER (ORDER BY id) AS turn FROM next) AS turns
    WHERE p.id = turns.id AND queue.webhook_id = %(webhook)s
    RETURNING 1
), counted AS (
    UPDATE hookhub_poll_queue SET last_position = last_position + (SELECT count(*) FROM next)
    WHERE webhook_id = %(webhook)s
)
SELECT count(*) FROM numbered
"""

COUNT_UNNUMBERED = """
SELECT count(*) FROM (
    SELECT FROM hookhub_poll_entry WHERE webhook_id = %(webhook)s AND position IS NULL LIMIT %(most)s
) AS unread
"""
