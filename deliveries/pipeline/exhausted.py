"""Publish the event delivery.exhausted for each delivery that has failed for good, if a webhook subscribes to it."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from deliveries import system_events
from deliveries.db import arrays, sql
from deliveries.event_types.topics import is_reserved
from deliveries.events import NewEvent
from deliveries.system_events import EXHAUSTED, About


class Exhausted(NamedTuple):
    """A row of FIND_EXHAUSTED: a delivery, its event, its webhook and its last attempt."""

    id: UUID
    event_id: UUID
    event_type: str
    organization_id: int
    repository: str | None
    attempts: int
    first_attempt_at: datetime | None
    finished_at: datetime
    reason: str
    hops: str | None
    trace: str | None
    webhook_id: UUID
    webhook_name: str
    webhook_url: str
    webhook_format: str
    outcome: str | None
    status: int | None
    cause: str | None


def subscribers(organizations: Iterable[int]) -> arrays.Array:
    """Return the keys of the organizations' subscribers to the event, as HAS_SUBSCRIBER takes them."""
    return system_events.keys_of(EXHAUSTED, sorted(set(organizations)))


def should_publish(event_type: str) -> bool:
    """Return whether to publish for deliveries of this type: not for those of system events, or it would never end."""
    return not is_reserved(event_type)


def publish(deliveries: Collection[UUID], *, now: datetime) -> int:
    """Store an event for each of the deliveries, in the transaction that has finished them; return how many.

    Only for those whose organization has a subscriber. They belong to the trace of the delivered event.
    """
    rows = sql.run(FIND_EXHAUSTED, {"deliveries": arrays.uuids(sorted(deliveries))})
    found = [each for each in (Exhausted(*row) for row in rows) if should_publish(each.event_type)]
    return system_events.store_subscribed([_event(each, now=now) for each in found], now=now) if found else 0


def _event(found: Exhausted, *, now: datetime) -> NewEvent:
    first = found.first_attempt_at
    facts = {
        "delivery": {
            "id": str(found.id),
            "event": {"id": str(found.event_id), "type": found.event_type},
            "repository": found.repository,
            "attempts": found.attempts,
            "first_attempt_at": None if first is None else first.isoformat(),
            "failed_at": found.finished_at.isoformat(),
            "reason": found.reason,
        },
        # Neither its body nor its headers, nor the text of an error: a subscriber may be anybody's.
        "last_attempt": {
            "number": found.attempts,
            "outcome": found.outcome,
            "status": found.status,
            "cause": found.cause,
        },
    }
    about = About.stored(found.webhook_id, found.webhook_name, url=found.webhook_url, format=found.webhook_format)
    return system_events.event(
        EXHAUSTED,
        about,
        facts,
        organization_id=found.organization_id,
        trace=found.trace,
        hops=found.hops,
        now=now,
    )


# For a statement that finishes deliveries: whether the event has a subscriber. Without a failed delivery it reads
# nothing, so that only failing for good costs a look into the index.
HAS_SUBSCRIBER = f"""
(cardinality(%(subscribers)s::text[]) > 0 AND {system_events.HAS_SUBSCRIBER.format(keys="%(subscribers)s::text[]")})
"""

FIND_EXHAUSTED = """
SELECT d.id, d.event_id, d.event_type, d.organization_id, r.name, d.attempts_made, d.first_attempt_at, d.finished_at,
       d.finish_reason, e.hops, e.trace, w.uid, w.name, w.url, w.format, a.outcome, a.status, a.cause
FROM unnest(%(deliveries)s::uuid[]) AS failed (id)
JOIN hookhub_delivery d ON d.id = failed.id
JOIN hookhub_webhook w ON w.id = d.webhook_id
JOIN hookhub_event e ON e.id = d.event_id
LEFT JOIN hookhub_repository r ON r.id = d.repository_id
LEFT JOIN hookhub_attempt a ON a.delivery_id = d.id AND a.number = d.attempts_made
"""
