"""Deliver what a webhook never got: events from before it existed, or that it would get by its settings now.

Events are examined in the order in which they were accepted, a bounded number at a time. A delivery is created only
where there is none of that event to the webhook, which a constraint guards: twice at once makes one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from deliveries import wakeup
from deliveries.db import arrays, sql
from deliveries.db.ids import first_id_at, uuid7s
from deliveries.models import Webhook
from deliveries.pipeline import filtering, poll_queues
from deliveries.pipeline.filtering import Pairs

# Events that one batch examines, and those of them that it delivers.
MAX_EXAMINED = 5000
MAX_DELIVERED = 500
# The same if a filter has to read their payloads, a megabyte each at worst.
MAX_FILTERED = 100
# Ready deliveries of the webhook beside which no more are made: what is published meanwhile waits behind no more.
MAX_READY = 500
# Events that are examined to say beforehand how many there are.
MAX_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """The events to examine: all with an id after ``after``, up to and including ``upto``."""

    after: UUID
    upto: UUID

    @classmethod
    def of(cls, after: datetime, before: datetime, *, now: datetime) -> "Span":
        """Return the events accepted from ``after`` until before ``before``, and none accepted after ``now``."""
        end = min(before, now + timedelta(milliseconds=1))
        return cls(_before(first_id_at(after)), _before(first_id_at(end)))


@dataclass(frozen=True, slots=True)
class Count:
    """How many events a webhook never got. A webhook's filter, which reads their data, is not taken into account.

    ``is_at_least`` means that more events are in the period than were examined.
    """

    events: int
    is_at_least: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch has done: ``upto`` is the last event examined, None if there was none; ``is_last`` of them all."""

    examined: int
    delivered: int
    upto: UUID | None
    is_last: bool


def count(webhook: Webhook, span: Span) -> Count:
    """Return how many events of a span a webhook never got, by its settings now."""
    bounds = {"after": span.after, "upto": span.upto, "limit": MAX_COUNTED, "most": MAX_COUNTED}
    events, examined, _last = _find(webhook, bounds)
    return Count(len(events), is_at_least=examined == MAX_COUNTED)


def deliver(webhook: Webhook, span: Span, *, now: datetime) -> Batch | None:
    """Create the next deliveries of a span, in a transaction of the caller's; None while enough of them are ready.

    They are ready like retries, with which a claim alternates first attempts, so that events published meanwhile are
    not delayed for long.
    """
    # Retention deletes events that have no delivery: it must not do so between the two statements.
    sql.run(sql.LOCK_RETENTION, {"key": sql.RETENTION_LOCK})
    if sql.run(COUNT_READY, {"webhook": webhook.pk, "most": MAX_READY})[0][0] >= MAX_READY:
        return None
    most = MAX_DELIVERED if webhook.payload_filter is None else MAX_FILTERED
    bounds = {"after": span.after, "upto": span.upto, "limit": MAX_EXAMINED, "most": most}
    events, examined, last = _find(webhook, bounds)
    delivered = _insert(webhook, events, now=now)
    if delivered:
        transaction.on_commit(wakeup.notify)
    # Fewer than it may examine, and not because there were enough to deliver.
    is_last = examined < MAX_EXAMINED and len(events) < most
    return Batch(examined, delivered, last, is_last)


def _find(webhook: Webhook, bounds: dict[str, object]) -> tuple[list[UUID], int, UUID | None]:
    """Return the events that the webhook never got, how many were examined for that, and the last of those."""
    parameters = {
        "webhook": webhook.pk,
        "organization": webhook.organization_id,
        "repository": webhook.repository_id,
        "topics": arrays.texts(webhook.events),
        **bounds,
    }
    with transaction.atomic():
        sql.run(sql.PREFER_ORDERED_INDEXES, {})
        statement = FIND_MISSING_ENTRIES if webhook.is_polled else FIND_MISSING
        events, examined, last = sql.run(statement, parameters)[0]
    return events, examined, last


def _insert(webhook: Webhook, events: Sequence[UUID], *, now: datetime) -> int:
    if not events:
        return 0
    pairs: Pairs | None = Pairs(arrays.uuids(events), arrays.bigints([webhook.pk] * len(events)))
    if webhook.payload_filter is not None and pairs is not None:
        pairs = filtering.accepted(pairs)
    if pairs is None:
        return 0
    if webhook.is_polled:
        return poll_queues.put(pairs).entries
    # As many ids as there may be, in the order of the events.
    ids = arrays.uuids(uuid7s(now, len(events)))
    return sql.change(INSERT_DELIVERIES, {"webhook": webhook.pk, "events": pairs.events, "ids": ids, "now": now})


def _before(identifier: UUID) -> UUID:
    return UUID(int=max(identifier.int - 1, 0))


COUNT_READY = """
SELECT count(*) FROM (
    SELECT FROM hookhub_delivery
    WHERE webhook_id = %(webhook)s AND state = 'pending' AND readiness = 2 LIMIT %(most)s
) AS ready
"""

# By the index event_log. Matches as the fan-out does, but for one webhook; pings and test events are for others.
# If there are more to deliver than one batch may, it ends with the last of these.
# Each event is looked up by the index on event and webhook, the only one that serves this comparison of rows. Of a
# webhook that has got nothing yet, the planner believes for a long time that all of its deliveries are few: by NOT
# EXISTS it would read and sort them for each batch, a million after a while.
FIND = """
WITH examined AS MATERIALIZED (
    SELECT id, repository_id, webhook_id, topics FROM hookhub_event
    WHERE organization_id = ANY(ARRAY[%(organization)s::bigint]) AND id > %(after)s AND id <= %(upto)s
    ORDER BY organization_id DESC, id LIMIT %(limit)s
), missing AS MATERIALIZED (
    SELECT id FROM examined e
    WHERE e.webhook_id IS NULL AND e.topics && %(topics)s::text[]::varchar[]
      AND (%(repository)s::bigint IS NULL OR e.repository_id = %(repository)s)
      AND (SELECT 1 FROM {table} d
           WHERE (d.event_id, d.webhook_id) BETWEEN (e.id, %(webhook)s::bigint) AND (e.id, %(webhook)s::bigint)
           LIMIT 1) IS NULL
    ORDER BY id LIMIT %(most)s
), last AS (
    SELECT CASE WHEN (SELECT count(*) FROM missing) < %(most)s
                THEN (SELECT id FROM examined ORDER BY id DESC LIMIT 1)
                ELSE (SELECT id FROM missing ORDER BY id DESC LIMIT 1) END AS id
)
SELECT ARRAY(SELECT id FROM missing ORDER BY id),
       (SELECT count(*) FROM examined WHERE id <= (SELECT id FROM last)), (SELECT id FROM last)
"""
FIND_MISSING = FIND.format(table="hookhub_delivery")
FIND_MISSING_ENTRIES = FIND.format(table="hookhub_poll_entry")

# In the order of the events, so that it does not deadlock with another that creates some of the same deliveries.
INSERT_DELIVERIES = """
INSERT INTO hookhub_delivery (
    id, event_id, webhook_id, organization_id, repository_id, event_type, created_at,
    readiness, failures, lease_losses, redeliveries, state, due_at, attempts_made
)
SELECT numbered.id, e.id, %(webhook)s, e.organization_id, e.repository_id, e.type, %(now)s,
       2, 0, 0, 0, 'pending', %(now)s, 0
FROM (
    SELECT ids.id, events.id AS event_id
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM unnest(%(ids)s::uuid[]) AS id) AS ids
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM unnest(%(events)s::uuid[]) AS id) AS events
      USING (place)
) AS numbered
JOIN hookhub_event e ON e.id = numbered.event_id
ORDER BY numbered.id
ON CONFLICT (event_id, webhook_id) DO NOTHING
"""
