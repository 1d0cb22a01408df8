"""Accept events: store them, each with its outbox entry, in one statement."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import UUID

from django.db import transaction

from deliveries import telemetry, wakeup
from deliveries.db import arrays, sql
from deliveries.db.ids import uuid7s
from deliveries.events import NO_SNAPSHOT, Batch, IdempotencyConflict, NameSnapshot, NewEvent, Receipt, StaleNames
from deliveries.failpoints import hit


def accept(events: Sequence[NewEvent], *, snapshot: NameSnapshot = NO_SNAPSHOT, now: datetime) -> list[Receipt]:
    """Store all events or none and return their receipts in the same order.

    An event whose idempotency key is known gets the receipt of the first event with that key. Outside a transaction
    the events are durable when this returns and will be delivered; the wake-up only makes that happen sooner.
    Raises IdempotencyConflict if a key was used for other content, and StaleNames if a cached name no longer matches.
    """
    batch = Batch(events, snapshot)
    ids = uuid7s(now, len(events))
    # A single statement is atomic by itself and takes one round trip. Only a batch can be stored in part, because of
    # known keys; a conflict must then roll that part back.
    with transaction.atomic() if batch.may_be_partial else nullcontext():
        stored = sql.change(*storing([batch], ids=ids, now=now))
        if stored == len(events):
            receipts = _receipts(events, ids, now=now)
        else:
            receipts = _receipts_with_duplicates(events, ids, is_any_stored=stored > 0, now=now)
        hit("event-stored")
        if stored:
            sql.after_commit(partial(_committed, stored))
        telemetry.repeated(len(events) - stored)
    return receipts


class AsyncConnection(Protocol):
    """A connection whose statements an event loop awaits; it raises the errors of ``django.db``."""

    async def change(self, statement: str, parameters: Mapping[str, object]) -> int:
        """Run one statement and return the number of rows it wrote."""

    async def run(self, statement: str, parameters: Mapping[str, object]) -> list[sql.Row]:
        """Run one statement and return its rows."""

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Return a context in which statements are one transaction."""


async def accept_group(
    batches: Sequence[Batch], *, connection: AsyncConnection, now: datetime
) -> list[list[Receipt] | None]:
    """Store the batches of several requests with one statement and one COMMIT, and return the receipts of each.

    None stands for a batch of which nothing was stored, because of a known key or a stale name: ``accept`` decides it.
    The other batches are stored nevertheless.
    """
    ids = uuid7s(now, sum(len(batch.events) for batch in batches))
    parts = _split(ids, batches)
    stored = set(ids)
    # As in ``accept``, only a batch of several events can be stored in part. That part is discarded again.
    async with connection.transaction() if any(batch.may_be_partial for batch in batches) else nullcontext():
        count = await connection.change(*storing(batches, ids=ids, now=now))
        if count < len(ids):
            stored = {id_ for (id_,) in await connection.run(FIND_STORED, {"ids": arrays.uuids(ids)})}
        discarded = [id_ for part in parts if not stored.issuperset(part) for id_ in part if id_ in stored]
        if discarded:
            await connection.run(DISCARD, {"ids": arrays.uuids(discarded)})
        hit("event-stored")
    if count > len(discarded):
        _committed(count - len(discarded))
    hit("group-committed")
    return [
        _receipts(batch.events, part, now=now) if stored.issuperset(part) else None
        for batch, part in zip(batches, parts, strict=True)
    ]


def _split(ids: Sequence[UUID], batches: Sequence[Batch]) -> list[Sequence[UUID]]:
    """Return the ids of each batch."""
    parts, start = [], 0
    for batch in batches:
        parts.append(ids[start : start + len(batch.events)])
        start += len(batch.events)
    return parts


def _receipts(events: Sequence[NewEvent], ids: Sequence[UUID], *, now: datetime) -> list[Receipt]:
    return [Receipt(event_id, event.type, now, is_repeat=False) for event, event_id in zip(events, ids, strict=True)]


def _committed(events: int) -> None:
    hit("event-committed")
    wakeup.notify(wakeup.Work.EVENTS)
    telemetry.accepted(events)


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


def storing(batches: Sequence[Batch], *, ids: Sequence[UUID], now: datetime) -> tuple[str, dict[str, object]]:
    """Return the statement that stores events, and its parameters.

    A single event, which is the rule unless many come at once, has a statement of its own at half the cost.
    """
    if len(ids) == len(batches) == 1 and (values := to_values(batches[0], id_=ids[0], now=now)) is not None:
        return STORE_EVENT, values
    return STORE_EVENTS, to_columns(batches, ids=ids, now=now)


def to_values(batch: Batch, *, id_: UUID, now: datetime) -> dict[str, object] | None:
    """Return the parameters of STORE_EVENT, and None if there are other cached names to check than the event's own."""
    event, snapshot = batch.events[0], batch.snapshot
    if snapshot.organizations.keys() - {event.organization_id} or snapshot.repositories.keys() - {event.repository_id}:
        return None
    return {
        "id": id_,
        "organization": event.organization_id,
        "repository": event.repository_id,
        "webhook": event.webhook_id,
        "type": arrays.text(event.type),
        "topics": arrays.texts(event.topics),
        "payload": arrays.bytea(event.payload),
        "key": arrays.text(event.idempotency_key),
        "fingerprint": arrays.bytea(event.fingerprint),
        "hops": arrays.text(event.hops),
        "trace": arrays.text(event.trace),
        "occurred": event.occurred_at,
        "slug": arrays.text(snapshot.organizations.get(event.organization_id)),
        "name": None if event.repository_id is None else arrays.text(snapshot.repositories.get(event.repository_id)),
        "now": now,
    }


def to_columns(batches: Sequence[Batch], *, ids: Sequence[UUID], now: datetime) -> dict[str, object]:
    """Return the parameters of STORE_EVENTS: one array per column, and the cached names to check."""
    events = [event for batch in batches for event in batch.events]
    organizations = [
        (number, *known) for number, batch in enumerate(batches) for known in batch.snapshot.organizations.items()
    ]
    repositories = [
        (number, *known) for number, batch in enumerate(batches) for known in batch.snapshot.repositories.items()
    ]
    return {
        "batches": arrays.bigints(number for number, batch in enumerate(batches) for _ in batch.events),
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
        "traces": arrays.texts(event.trace for event in events),
        "occurred": arrays.timestamps(event.occurred_at for event in events),
        "organization_batches": arrays.bigints(number for number, _, _ in organizations),
        "known_organizations": arrays.bigints(id_ for _, id_, _ in organizations),
        "slugs": arrays.texts(slug for _, _, slug in organizations),
        "repository_batches": arrays.bigints(number for number, _, _ in repositories),
        "known_repositories": arrays.bigints(id_ for _, id_, _ in repositories),
        "names": arrays.texts(name for _, _, name in repositories),
        "now": now,
    }


# Stores each event together with its outbox entry, which is deleted when the event is fanned out.
# Sorted by key, so that two batches with the same keys in different orders cannot deadlock.
# Names may come from a cache that is a few seconds old: of a batch with one that no longer matches nothing is stored.
STORE_EVENTS = """
WITH stale AS MATERIALIZED (
    SELECT known.batch
    FROM unnest(%(organization_batches)s::bigint[], %(known_organizations)s::bigint[], %(slugs)s::text[])
         AS known (batch, id, slug)
    WHERE NOT EXISTS (SELECT FROM hookhub_organization o WHERE o.id = known.id AND o.slug = known.slug)
    UNION ALL
    SELECT known.batch
    FROM unnest(%(repository_batches)s::bigint[], %(known_repositories)s::bigint[], %(names)s::text[])
         AS known (batch, id, name)
    WHERE NOT EXISTS (SELECT FROM hookhub_repository r WHERE r.id = known.id AND r.name = known.name)
), stored AS (
    INSERT INTO hookhub_event (id, organization_id, repository_id, webhook_id, type, topics, payload,
                               idempotency_key, fingerprint, hops, trace, occurred_at, accepted_at)
    SELECT id, organization_id, repository_id, webhook_id, type, string_to_array(topics, ' '), payload,
           idempotency_key, fingerprint, hops, trace, occurred_at, %(now)s
    FROM unnest(%(batches)s::bigint[], %(ids)s::uuid[], %(organizations)s::bigint[], %(repositories)s::bigint[],
                %(webhooks)s::bigint[], %(types)s::text[], %(topics)s::text[], %(payloads)s::bytea[],
                %(keys)s::text[], %(fingerprints)s::bytea[], %(hops)s::text[], %(traces)s::text[],
                %(occurred)s::timestamptz[])
         AS new (batch, id, organization_id, repository_id, webhook_id, type, topics, payload, idempotency_key,
                 fingerprint, hops, trace, occurred_at)
    WHERE batch <> ALL(ARRAY(SELECT batch FROM stale))
    ORDER BY organization_id, idempotency_key, id
    ON CONFLICT (organization_id, idempotency_key) DO NOTHING
    RETURNING id, repository_id, organization_id
)
INSERT INTO hookhub_outbox (partition, event_id) SELECT coalesce(repository_id, -organization_id), id FROM stored
"""

# The same for one event, whose only cached names are those of its organization and its repository, if they are known.
STORE_EVENT = """
WITH stored AS (
    INSERT INTO hookhub_event (id, organization_id, repository_id, webhook_id, type, topics, payload,
                               idempotency_key, fingerprint, hops, trace, occurred_at, accepted_at)
    SELECT %(id)s, %(organization)s, %(repository)s::bigint, %(webhook)s::bigint, %(type)s::text, %(topics)s::text[],
           %(payload)s::bytea, %(key)s::text, %(fingerprint)s::bytea, %(hops)s::text, %(trace)s::text, %(occurred)s,
           %(now)s
    WHERE (%(slug)s::text IS NULL
           OR EXISTS (SELECT FROM hookhub_organization WHERE id = %(organization)s AND slug = %(slug)s::text))
      AND (%(name)s::text IS NULL
           OR EXISTS (SELECT FROM hookhub_repository WHERE id = %(repository)s::bigint AND name = %(name)s::text))
    ON CONFLICT (organization_id, idempotency_key) DO NOTHING
    RETURNING id, repository_id, organization_id
)
INSERT INTO hookhub_outbox (partition, event_id) SELECT coalesce(repository_id, -organization_id), id FROM stored
"""

FIND_STORED = "SELECT id FROM hookhub_event WHERE id = ANY(%(ids)s::uuid[])"

# Deletes events that were stored in the same transaction.
DISCARD = """
WITH discarded AS (
    DELETE FROM hookhub_event WHERE id = ANY(%(ids)s::uuid[]) RETURNING coalesce(repository_id, -organization_id), id
)
DELETE FROM hookhub_outbox WHERE (partition, event_id) IN (SELECT * FROM discarded)
"""

# Run after STORE_EVENTS, which waits until every concurrent transaction that stores one of these keys has committed.
FIND_BY_KEYS = """
SELECT e.organization_id, e.idempotency_key, e.id, e.type, e.accepted_at, e.fingerprint
FROM unnest(%(organizations)s::bigint[], %(keys)s::text[]) AS known (organization_id, idempotency_key)
JOIN hookhub_event e USING (organization_id, idempotency_key)
"""
