"""Search the log of deliveries to some webhooks, in either direction, reading a bounded number of rows.

An index finds a span of time, what failed or is held, ids and idempotency keys. For anything else, a search reads the
next rows of the log in the order of their ids, and says where it has stopped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from deliveries.db import arrays, sql
from deliveries.db.ids import first_id_at
from deliveries.models import Event

# Rows of the log that one search reads. Of so many it reads the beginning of the payload, if it looks for text.
MAX_READ = 5000
MAX_PAYLOADS = 500
PAYLOAD_HEAD = 16 * 1024
# The log of more webhooks than this is that of their organization.
MAX_WEBHOOKS = 200
# Events whose ids begin with the same sixteen digits, of one millisecond and one counter.
MAX_EVENTS = 20

FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)
# The beginning of an id, with hyphens or without: at least eight digits, which make up a minute.
ID_PREFIX = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")
# The ids of an event and of its deliveries have the same first half.
SHARED_DIGITS = 16


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What deliveries must have; a field that is None or empty does not restrict them.

    ``after`` (inclusive) and ``before`` (exclusive) bound the time of their creation, ``statuses`` (both inclusive)
    their last HTTP status. ``text`` is the beginning of the id of a delivery or of an event, or an event's idempotency
    key; otherwise it is looked for in the payload.
    """

    state: str = ""
    event_type: str = ""
    after: datetime | None = None
    before: datetime | None = None
    statuses: tuple[int, int] | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """The log of some ``webhooks``, MAX_WEBHOOKS at most; if None, of all of an organization that are not deleted."""

    organization_id: int
    webhooks: Sequence[int] | None


@dataclass(frozen=True, slots=True)
class Found:
    """The ids found, in the direction of the search, and that after which it goes on; None at the end of the log.

    ``is_cut`` means that there may be more: the search has read as many rows as it may.
    """

    ids: list[UUID]
    onward: UUID | None
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """The first and the last id to look at, and from which end."""

    first: UUID
    last: UUID
    to_newer: bool

    def within(self, other: "Span") -> "Span":
        """Return the part of it that lies within another span."""
        return Span(max(self.first, other.first), min(self.last, other.last), self.to_newer)


def search(wanted: LogFilter, log: Log, *, most: int, start: UUID | None = None, to_newer: bool = False) -> Found:
    """Return up to ``most`` deliveries that come after ``start``: newest first, or oldest first if ``to_newer``."""
    span = _span_of(wanted, start=start, to_newer=to_newer)
    if not wanted.text:
        return _read(wanted, log, span, most=most)
    ids = ids_beginning_with(wanted.text)
    if ids is not None:
        found = _read(wanted, log, span.within(ids), most=most)
        if found.ids or found.is_cut:
            return found
    events = _events_of(wanted.text, ids, organization_id=log.organization_id)
    if events and (found := _read(wanted, log, span, most=most, events=events)).ids:
        return found
    return _read(wanted, log, span, most=most, reads_payloads=True)


def ids_beginning_with(text: str) -> Span | None:
    """Return the ids that begin with a text, or None if it is not the beginning of an id."""
    found = ID_PREFIX.fullmatch(text.strip().lower())
    digits = "" if found is None else found[0].replace("-", "")
    if not 8 <= len(digits) <= 32:
        return None
    return Span(UUID(hex=digits.ljust(32, "0")), UUID(hex=digits.ljust(32, "f")), to_newer=False)


def _span_of(wanted: LogFilter, *, start: UUID | None, to_newer: bool) -> Span:
    first = FIRST_ID if wanted.after is None else first_id_at(wanted.after)
    last = LAST_ID if wanted.before is None else _next(first_id_at(wanted.before), -1)
    if start is None:
        return Span(first, last, to_newer)
    rest = Span(_next(start, 1), LAST_ID, to_newer) if to_newer else Span(FIRST_ID, _next(start, -1), to_newer)
    return rest.within(Span(first, last, to_newer))


def _next(identifier: UUID, step: int) -> UUID:
    return UUID(int=min(max(identifier.int + step, 0), LAST_ID.int))


def _events_of(text: str, ids: Span | None, *, organization_id: int) -> list[UUID]:
    """Return the events with this idempotency key, or with such an id if it is that of few."""
    events = Event.objects.filter(organization=organization_id)
    found = list(events.filter(idempotency_key=text).values_list("id", flat=True))
    if not found and ids is not None and len(text.strip().replace("-", "")) > SHARED_DIGITS:
        found = list(events.filter(id__range=(ids.first, ids.last)).values_list("id", flat=True)[:MAX_EVENTS])
    return found


def _read(
    wanted: LogFilter,
    log: Log,
    span: Span,
    *,
    most: int,
    events: Sequence[UUID] = (),
    reads_payloads: bool = False,
) -> Found:
    source = OF_EVENTS if events else OF_ORGANIZATION if log.webhooks is None else OF_WEBHOOKS
    is_by_webhook = source is OF_WEBHOOKS
    limits = _limits_of(wanted, log, most=most, reads_payloads=reads_payloads, has_events=bool(events))
    parts = {**DIRECTIONS[span.to_newer], "state": STATES_WITH_INDEX.get(wanted.state, "")}
    statement = FIND_DELIVERIES.format(
        **parts,
        heads=HEADS.format(**parts) if is_by_webhook else "",
        source=source.format(**parts),
        next_head=NEXT_HEAD.format(**parts) if is_by_webhook else "",
        payload=IN_PAYLOAD if reads_payloads else "",
        is_kept=IS_KEPT if log.webhooks is None else IS_OF_WEBHOOKS,
    )
    parameters = {
        "organization": log.organization_id, "webhooks": arrays.bigints(log.webhooks or ()),
        "events": arrays.uuids(events), "first": span.first, "last": span.last,
        "state": wanted.state or None, "type": wanted.event_type or None, "text": wanted.text.encode(),
        "least_status": wanted.statuses[0] if wanted.statuses else None,
        "most_status": wanted.statuses[1] if wanted.statuses else None,
        "head": PAYLOAD_HEAD,
        **limits,
    }  # fmt: skip
    with sql.transaction():
        sql.run(sql.PREFER_ORDERED_INDEXES, {})
        ids, end, is_cut = sql.run(statement, parameters, commits=True)[0]
    if len(ids) > most:
        return Found(ids[:most], ids[most - 1])
    return Found(ids, end, is_cut=True) if is_cut else Found(ids, None)


def _limits_of(wanted: LogFilter, log: Log, *, most: int, reads_payloads: bool, has_events: bool) -> dict[str, int]:
    """Return how many rows a search reads, of ``each`` of the ``newest`` webhooks and of all; ``most`` are returned."""
    is_narrowed = wanted.event_type or wanted.statuses or (wanted.state and wanted.state not in STATES_WITH_INDEX)
    read = MAX_PAYLOADS if reads_payloads else MAX_READ
    if log.webhooks is None or has_events:
        return {"each": read, "read": read, "most": most + 1}
    if not (is_narrowed or reads_payloads):
        # All rows of a page may be of one webhook, or each of another.
        return {"newest": most + 1, "each": most + 1, "read": most + 1, "most": most + 1}
    # Of all webhooks: without some, a search would end at the newest row of the first of these, after few rows.
    webhooks = max(1, len(log.webhooks))
    return {"newest": webhooks, "each": max(most + 1, read // webhooks), "read": read, "most": most + 1}


# Whether to newer ones: the order, from which end a webhook's rows were read, and the id to assume if all were read.
DIRECTIONS = {
    False: {"order": "DESC", "back": "ASC", "is_read": ">=", "all": FIRST_ID},
    True: {"order": "ASC", "back": "DESC", "is_read": "<=", "all": LAST_ID},
}
STATES_WITH_INDEX = {state: f"AND state = '{state}'" for state in ("failed", "held")}

# The newest row of each webhook, from the index delivery_log_of_webhook or that of the state, for those whose row is
# among the newest.
# By an array and in the order of the index's columns, which no other index has: for the rows of a single webhook in the
# order of their ids alone, the planner would sometimes read those of all webhooks, hoping to meet some of these soon.
HEADS = """
heads AS MATERIALIZED (
    SELECT w.id AS webhook, d.id FROM unnest(%(webhooks)s::bigint[]) AS w (id) CROSS JOIN LATERAL (
        SELECT id FROM hookhub_delivery
        WHERE webhook_id = ANY(ARRAY[w.id]) AND id BETWEEN %(first)s AND %(last)s {state}
        ORDER BY webhook_id {back}, id {order} LIMIT 1
    ) AS d
    ORDER BY d.id {order} LIMIT %(newest)s + 1
),
"""

# Rows count no further than to the newest one of a webhook that is not read.
NEXT_HEAD = "UNION ALL (SELECT id FROM heads ORDER BY id {order} OFFSET %(newest)s)"

# The newest rows of these webhooks, from the same index. Where only the first ``each`` rows of a webhook are read,
# those of the others count no further than to the last of these.
OF_WEBHOOKS = """
SELECT d.* FROM (SELECT webhook FROM heads ORDER BY id {order} LIMIT %(newest)s) AS w (id) CROSS JOIN LATERAL (
    SELECT id, event_id, webhook_id, webhook_id AS log, state, event_type, last_status FROM hookhub_delivery
    WHERE webhook_id = ANY(ARRAY[w.id]) AND id BETWEEN %(first)s AND %(last)s {state}
    ORDER BY webhook_id {back}, id {order} LIMIT %(each)s
) AS d
"""

# The newest rows of the organization, from the index delivery_log.
OF_ORGANIZATION = """
SELECT id, event_id, webhook_id, 0::bigint AS log, state, event_type, last_status FROM hookhub_delivery
WHERE organization_id = ANY(ARRAY[%(organization)s::bigint]) AND id BETWEEN %(first)s AND %(last)s
ORDER BY organization_id {back}, id {order} LIMIT %(each)s
"""

# All rows of some events, from the index on event and webhook. Not in order, so that no other index is of use.
OF_EVENTS = """
SELECT * FROM (
    SELECT id, event_id, webhook_id, 0::bigint AS log, state, event_type, last_status FROM hookhub_delivery
    WHERE event_id = ANY(%(events)s::uuid[]) LIMIT %(each)s
) AS d
WHERE id BETWEEN %(first)s AND %(last)s
"""

IS_OF_WEBHOOKS = "webhook_id = ANY(%(webhooks)s::bigint[])"

IS_KEPT = """
webhook_id IN (SELECT id FROM hookhub_webhook WHERE organization_id = %(organization)s AND deleted_at IS NULL)
"""

IN_PAYLOAD = """
AND position(%(text)s::bytea IN (SELECT substring(payload FOR %(head)s::int) FROM hookhub_event e
                                 WHERE e.id = covered.event_id)) > 0
"""

FIND_DELIVERIES = """
WITH {heads} log AS MATERIALIZED ({source}), ends AS (
    SELECT (array_agg(id ORDER BY id {back}))[1] AS id FROM log GROUP BY log HAVING count(*) >= %(each)s {next_head}
), covered AS MATERIALIZED (
    SELECT * FROM log
    WHERE id {is_read} coalesce((SELECT id FROM ends ORDER BY id {order} LIMIT 1), '{all}')
    ORDER BY id {order} LIMIT %(read)s
)
SELECT ARRAY(
           SELECT id FROM covered
           WHERE {is_kept}
             AND state = coalesce(%(state)s, state) AND event_type = coalesce(%(type)s, event_type)
             AND (%(least_status)s::bigint IS NULL OR last_status BETWEEN %(least_status)s AND %(most_status)s)
             {payload}
           ORDER BY id {order} LIMIT %(most)s
       ),
       (SELECT id FROM covered ORDER BY id {back} LIMIT 1),
       EXISTS (SELECT FROM ends) OR (SELECT count(*) FROM covered) >= %(read)s
"""
