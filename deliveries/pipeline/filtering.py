"""Filter: of the webhooks that match an event's topics, keep those whose filter accepts its data.

In Python, and not in the statement of the fan-out: PostgreSQL cannot represent all JSON that may be published, such as
a NUL in a string, and a payload at which it fails would stop the fan-out of all events.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from deliveries.db import arrays, sql
from deliveries.policy import filters

# Payloads that are in memory at a time.
PAYLOADS = 16
# As long as any array of one event's id.
ONE_EVENT = arrays.uuids([UUID(int=0)])


class Pairs(NamedTuple):
    """Events and the webhooks that match them, as two arrays of the same length."""

    events: arrays.Array
    webhooks: arrays.Array

    @property
    def is_one(self) -> bool:
        """Return whether it is one event and one webhook."""
        return len(self.events) == len(ONE_EVENT)

    @property
    def parameters(self) -> dict[str, object]:
        """Return the arrays as parameters of a statement."""
        return {"events": self.events, "webhooks": self.webhooks}


def accepted(pairs: Pairs) -> Pairs | None:
    """Return the pairs without those that a webhook's filter rejects, or None if none is left."""
    rejected = [pair for part in _parts(sql.run(FIND_FILTERED, pairs.parameters)) for pair in _rejected(part)]
    if not rejected:
        return pairs
    without = {
        "rejected_events": arrays.uuids(event_id for event_id, _ in rejected),
        "rejected_webhooks": arrays.bigints(webhook_id for _, webhook_id in rejected),
    }
    events, webhooks = sql.run(WITHOUT_REJECTED, {**pairs.parameters, **without})[0]
    return None if events is None else Pairs(arrays.Array(events), arrays.Array(webhooks))


# An event and the webhooks with a filter that match it, each with the filter.
Candidates = tuple[UUID, list[tuple[int, str]]]


def _parts(rows: Sequence[sql.Row]) -> Iterator[list[Candidates]]:
    """Yield the candidates of a few events at a time."""
    by_event = [
        (event_id, [(webhook_id, payload_filter) for _, webhook_id, payload_filter in group])
        for event_id, group in groupby(rows, key=itemgetter(0))
    ]
    for start in range(0, len(by_event), PAYLOADS):
        yield by_event[start : start + PAYLOADS]


def _rejected(part: list[Candidates]) -> Iterator[tuple[UUID, int]]:
    """Yield the pairs of an event and a webhook whose filter rejects it."""
    payloads: dict[UUID, bytes] = dict(
        sql.run(FIND_PAYLOADS, {"events": arrays.uuids(event_id for event_id, _ in part)})
    )
    for event_id, webhooks in part:
        # Retention may have deleted the event meanwhile; then it has no delivery in any case.
        fields = filters.fields_of(bytes(payloads.get(event_id, b"")))
        for webhook_id, payload_filter in webhooks:
            if not filters.accepts(json.loads(payload_filter), fields):
                yield event_id, webhook_id


FIND_FILTERED = """
SELECT pair.event_id, pair.webhook_id, w.payload_filter::text
FROM unnest(%(events)s::uuid[], %(webhooks)s::bigint[]) AS pair (event_id, webhook_id)
JOIN hookhub_event e ON e.id = pair.event_id AND e.webhook_id IS NULL
JOIN hookhub_webhook w ON w.id = pair.webhook_id AND w.payload_filter IS NOT NULL
ORDER BY pair.event_id
"""

FIND_PAYLOADS = "SELECT id, payload FROM hookhub_event WHERE id = ANY(%(events)s::uuid[])"

WITHOUT_REJECTED = """
SELECT array_send(array_agg(event_id)), array_send(array_agg(webhook_id))
FROM (
    SELECT * FROM unnest(%(events)s::uuid[], %(webhooks)s::bigint[])
    EXCEPT
    SELECT * FROM unnest(%(rejected_events)s::uuid[], %(rejected_webhooks)s::bigint[])
) AS kept (event_id, webhook_id)
"""
