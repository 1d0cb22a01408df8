"""Accept events: store them, each with its outbox entry, in one statement."""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from uuid import UUID

from django.db import transaction

from deliveries import wakeup
from deliveries.db import arrays, sql
from deliveries.db.ids import uuid7s
from deliveries.events import NO_SNAPSHOT, IdempotencyConflict, NameSnapshot, NewEvent, Receipt, StaleNames
from deliveries.failpoints import hit


def accept(events: Sequence[NewEvent], *, snapshot: NameSnapshot = NO_SNAPSHOT, now: datetime) -> list[Receipt]:
    """Store all events or none and return their receipts in the same order.

    An event whose idempotency key is known gets the receipt of the first event with that key. Outside a transaction
    the events are durable when this returns and will be delivered; the wake-up only makes that happen sooner.
    Raises IdempotencyConflict if a key was used for other content, and StaleNames if a cached name no longer matches.
    """
    ids = uuid7s(now, len(events))
    # A single statement is atomic by itself and takes one round trip. Only a batch can be stored in part, because of
    # known keys; a conflict must then roll that part back.
    may_be_partial = len(events) > 1 and any(event.idempotency_key is not None for event in events)
    with transaction.atomic() if may_be_partial else nullcontext():
        stored = sql.change(STORE_EVENTS, to_columns(events, ids=ids, snapshot=snapshot, now=now))
        if stored == len(events):
            receipts = [
                Receipt(event_id, event.type, now, is_repeat=False) for event, event_id in zip(events, ids, strict=True)
            ]
        else:
            receipts = _receipts_with_duplicates(events, ids, is_any_stored=stored > 0, now=now)
        hit("event-stored")
        if stored:
            transaction.on_commit(_send_wakeup)
    return receipts


def _send_wakeup() -> None:
    hit("event-committed")
    wakeup.notify()


def _receipts_with_duplicates(
    events: Sequence[NewEvent], ids: Sequence[UUID], *, is_any_stored: bool, now: datetime
) -> list[Receipt]:
    """Return the receipts when not every event was stored.

    An event with a key gets the receipt of the first event with that key, which may be itself. Raises StaleNames if
    that event is missing, and IdempotencyConflict if it had another fingerprint.
    """
    keyed = [event for event in events if event.idempotency_key is not None]
    rows = sql.run(
        FIND_BY_KEYS,
        {
            "organizations": arrays.bigints(event.organization_id for event in keyed),
            "keys": arrays.texts(event.idempotency_key for event in keyed),
        },
    )
    known = {(organization_id, key): first for organization_id, key, *first in rows}
    receipts, conflicts = [], []
    for position, (event, event_id) in enumerate(zip(events, ids, strict=True)):
        if event.idempotency_key is None and is_any_stored:
            receipts.append(Receipt(event_id, event.type, now, is_repeat=False))
            continue
        found = known.get((event.organization_id, event.idempotency_key))
        if found is None:
            raise StaleNames("a cached name is stale, or the first event with a key was deleted; retry the request")
        first_id, first_type, accepted_at, fingerprint = found
        if fingerprint != event.fingerprint:
            conflicts.append(position)
        receipts.append(Receipt(first_id, first_type, accepted_at, is_repeat=first_id != event_id))
    if conflicts:
        raise IdempotencyConflict(conflicts)
    return receipts


def to_columns(
    events: Sequence[NewEvent], *, ids: Sequence[UUID], snapshot: NameSnapshot, now: datetime
) -> dict[str, object]:
    """Return the parameters of STORE_EVENTS: one array per column, and the cached names to check."""
    return {
        "ids": arrays.uuids(ids),
        "organizations": arrays.bigints(event.organization_id for event in events),
        "repositories": arrays.bigints(event.repository_id for event in events),
        "webhooks": arrays.bigints(event.webhook_id for event in events),
        "types": arrays.texts(event.type for event in events),
        "topics": arrays.texts(" ".join(event.topics) for event in events),
        "payloads": arrays.byteas(event.payload for event in events),
        "keys": arrays.texts(event.idempotency_key for event in events),
        "fingerprints": arrays.byteas(event.fingerprint for event in events),
        "hops": arrays.texts(event.hops for event in events),
        "occurred": arrays.timestamps(event.occurred_at for event in events),
        "known_organizations": arrays.bigints(snapshot.organizations),
        "slugs": arrays.texts(snapshot.organizations.values()),
        "known_repositories": arrays.bigints(snapshot.repositories),
        "names": arrays.texts(snapshot.repositories.values()),
        "now": now,
    }


# Stores each event together with its outbox entry, which is deleted when the event is fanned out.
# Sorted by key, so that two batches with the same keys in different orders cannot deadlock.
# Names may come from a cache that is a few seconds old: if one no longer matches, nothing is stored.
STORE_EVENTS = """
WITH stored AS (
    INSERT INTO hookhub_event (id, organization_id, repository_id, webhook_id, type, topics, payload,
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
        WHERE NOT EXISTS (SELECT FROM hookhub_organization o WHERE o.id = known.id AND o.slug = known.slug)
    ) AND NOT EXISTS (
        SELECT FROM unnest(%(known_repositories)s::bigint[], %(names)s::text[]) AS known (id, name)
        WHERE NOT EXISTS (SELECT FROM hookhub_repository r WHERE r.id = known.id AND r.name = known.name)
    )
    ORDER BY organization_id, idempotency_key, id
    ON CONFLICT (organization_id, idempotency_key) DO NOTHING
    RETURNING id, repository_id, organization_id
)
INSERT INTO hookhub_outbox (partition, event_id) SELECT coalesce(repository_id, -organization_id), id FROM stored
"""

# Run after STORE_EVENTS, which waits until every concurrent transaction that stores one of these keys has committed.
FIND_BY_KEYS = """
SELECT e.organization_id, e.idempotency_key, e.id, e.type, e.accepted_at, e.fingerprint
FROM unnest(%(organizations)s::bigint[], %(keys)s::text[]) AS known (organization_id, idempotency_key)
JOIN hookhub_event e USING (organization_id, idempotency_key)
"""
