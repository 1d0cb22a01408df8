"""Search the log of deliveries to some webhooks, in either direction, reading a bounded number of rows.

An index finds a span of time, what failed or is held, ids and idempotency keys. For anything else, a search reads the
next rows of the log in the order of their ids, and says where it has stopped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
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


class Counted(NamedTuple):
    """How many deliveries match; ``is_at_least`` means that the log goes on after what was read."""

    deliveries: int
    is_at_least: bool


@dataclass(frozen=True, slots=True)
class Span:
    """The first and the last id to look at, and from which end."""

    first: UUID
    last: UUID
    to_newer: bool

    def within(self, other: "Span") -> "Span":
        """Return the part of it that lies within another span."""
        return Span(max(self.first, other.first), min(self.last, other.last), self.to_newer)


def search(log_filter: LogFilter, log: Log, *, most: int, start: UUID | None = None, to_newer: bool = False) -> Found:
    """Return up to ``most`` deliveries that come after ``start``: newest first, or oldest first if ``to_newer``."""
    span = _span_of(log_filter, start=start, to_newer=to_newer)
    if not log_filter.text:
        return _read(log_filter, log, span, most=most)
    ids = ids_beginning_with(log_filter.text)
    if ids is not None:
        found = _read(log_filter, log, span.within(ids), most=most)
        if found.ids or found.is_cut:
            return found
    events = _events_of(log_filter.text, ids, organization_id=log.organization_id)
    if events and (found := _read(log_filter, log, span, most=most, events=events)).ids:
        return found
    return _read(log_filter, log, span, most=most, reads_payloads=True)


def count(log_filter: LogFilter, log: Log, *, states: Sequence[str], repository_id: int | None, read: int) -> Counted:
    """Return how many of the oldest ``read`` rows of a log match, in one of the ``states`` if there are any."""
    span = _span_of(log_filter, start=None, to_newer=True)
    source, by = _source_of(log, events=())
    state = states[0] if len(states) == 1 else ""
    parts = {
        "by": by.format(**DIRECTIONS[True]),
        "state": STATES_WITH_INDEX.get(state, ""),
        "columns": "id, webhook_id, organization_id, repository_id, state, event_type",
    }
    statement = COUNT_DELIVERIES.format(
        source=source.format(**parts), is_kept=IS_KEPT if log.webhooks is None else "true"
    )
    parameters = {
        "organization": log.organization_id, "webhooks": arrays.bigints(log.webhooks or ()),
        "first": span.first, "last": span.last, "states": arrays.texts(states), "type": log_filter.event_type or None,
        "repository": repository_id, "read": read + 1,
    }  # fmt: skip
    with sql.transaction():
        sql.run(MERGE_BY_INDEXES, {})
        [(found, rows)] = sql.run(statement, parameters, commits=True)
    return Counted(min(found, read), is_at_least=rows > read)


def ids_beginning_with(text: str) -> Span | None:
    """Return the ids that begin with a text, or None if it is not the beginning of an id."""
    found = ID_PREFIX.fullmatch(text.strip().lower())
    digits = "" if found is None else found[0].replace("-", "")
    if not 8 <= len(digits) <= 32:
        return None
    return Span(UUID(hex=digits.ljust(32, "0")), UUID(hex=digits.ljust(32, "f")), to_newer=False)


def _span_of(log_filter: LogFilter, *, start: UUID | None, to_newer: bool) -> Span:
    first = FIRST_ID if log_filter.after is None else first_id_at(log_filter.after)
    last = LAST_ID if log_filter.before is None else _next(first_id_at(log_filter.before), -1)
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
    log_filter: LogFilter,
    log: Log,
    span: Span,
    *,
    most: int,
    events: Sequence[UUID] = (),
    reads_payloads: bool = False,
) -> Found:
    read = MAX_PAYLOADS if reads_payloads else MAX_READ
    source, by = _source_of(log, events=events)
    parts = {
        "by": by.format(**DIRECTIONS[span.to_newer]),
        "state": STATES_WITH_INDEX.get(log_filter.state, ""),
        "columns": COLUMNS,
        "read": read,
    }
    statement = FIND_DELIVERIES.format(
        **parts,
        source=source.format(**parts),
        is_kept=IS_KEPT if log.webhooks is None else IS_OF_WEBHOOKS if events else "true",
        payload=IN_PAYLOAD if reads_payloads else "",
    )
    parameters = {
        "organization": log.organization_id, "webhooks": arrays.bigints(log.webhooks or ()),
        "events": arrays.uuids(events), "first": span.first, "last": span.last,
        "state": log_filter.state or None, "type": log_filter.event_type or None, "text": log_filter.text.encode(),
        "least_status": log_filter.statuses[0] if log_filter.statuses else None,
        "most_status": log_filter.statuses[1] if log_filter.statuses else None,
        "head": PAYLOAD_HEAD, "most": most + 1,
    }  # fmt: skip
    with sql.transaction():
        sql.run(MERGE_BY_INDEXES, {})
        rows = sql.run(statement, parameters, commits=True)
    ids = [identifier for identifier, _, matches in rows if matches]
    if len(ids) > most:
        return Found(ids[:most], ids[most - 1])
    is_cut = bool(rows) and rows[-1][1] == read
    return Found(ids, rows[-1][0] if is_cut else None, is_cut=is_cut)


def _source_of(log: Log, *, events: Sequence[UUID]) -> tuple[str, str]:
    """Return the part of the statement that yields the rows to look at, and their order."""
    if events:
        return OF_EVENTS, "id {order}"
    if log.webhooks is None:
        return OF_ORGANIZATION, "organization_id {back}, id {order}"
    if len(log.webhooks) == 1:
        return OF_WEBHOOK, "webhook_id {back}, id {order}"
    places = next(size for size in SIZES if size >= len(log.webhooks))
    branches = [BRANCH.replace("{place}", str(place)) for place in range(1, places + 1)]
    return f"SELECT * FROM ({' UNION ALL '.join(branches)}) AS merged ORDER BY {{by}}", "id {order}"


# The order, and that of the other column of an index that has ids in descending order.
DIRECTIONS = {False: {"order": "DESC", "back": "ASC"}, True: {"order": "ASC", "back": "DESC"}}
STATES_WITH_INDEX = {state: f"AND state = '{state}'" for state in ("failed", "held")}
COLUMNS = "id, event_id, webhook_id, organization_id, state, event_type, last_status"

# The numbers of webhooks for which there are statements, so that each is prepared once. A log of fewer webhooks fills
# the other places with null.
SIZES = (4, 16, 64, MAX_WEBHOOKS)

# The rows of each webhook in the order of their ids come from an index, delivery_log_of_webhook or that of the state,
# and are merged as they are read: a search that has enough, or has read all that it may, reads no further row of any
# webhook. The plan is the same for any webhooks and any span: made anew for each search, that of 200 webhooks would
# take longer than the search.
MERGE_BY_INDEXES = """
SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('jit', 'off', true),
       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_sort', 'off', true), set_config('enable_incremental_sort', 'off', true),
       set_config('seq_page_cost', '0', true), set_config('random_page_cost', '0', true)
"""

# The newest rows of a webhook, or of the organization, from the index delivery_log_of_webhook or delivery_log. By an
# array and in the order of the index's columns, which no other index has: for the rows in the order of their ids alone,
# the planner would sometimes read the primary key, hoping to meet some of these soon.
OF_WEBHOOK = """
SELECT {columns} FROM hookhub_delivery
WHERE webhook_id = ANY(%(webhooks)s::bigint[]) AND id BETWEEN %(first)s AND %(last)s {state} ORDER BY {by}
"""
OF_ORGANIZATION = """
SELECT {columns} FROM hookhub_delivery
WHERE organization_id = ANY(ARRAY[%(organization)s::bigint]) AND id BETWEEN %(first)s AND %(last)s ORDER BY {by}
"""

# The rows of one of many webhooks. Here the same would take half as long again to run, and twice to plan. Instead,
# pages cost nothing in a plan, so that the primary key is never cheaper than the right index; and the condition is
# there twice, the second time as a range, by which the planner expects few rows in the right index alone, also if the
# statistics know of a single webhook.
BRANCH = """
(SELECT {columns} FROM hookhub_delivery
 WHERE webhook_id = (%(webhooks)s::bigint[])[{place}]
   AND webhook_id BETWEEN (%(webhooks)s::bigint[])[{place}] AND (%(webhooks)s::bigint[])[{place}]
   AND id BETWEEN %(first)s AND %(last)s {state}
 ORDER BY {by})
"""

# All rows of some events, from the index on event and webhook. Not in order, so that no other index is of use.
OF_EVENTS = """
SELECT * FROM (
    SELECT {columns} FROM hookhub_delivery WHERE event_id = ANY(%(events)s::uuid[]) LIMIT {read}
) AS d
WHERE id BETWEEN %(first)s AND %(last)s ORDER BY {by}
"""

IS_OF_WEBHOOKS = "webhook_id = ANY(%(webhooks)s::bigint[])"

IS_KEPT = """
webhook_id IN (SELECT id FROM hookhub_webhook WHERE organization_id = %(organization)s AND deleted_at IS NULL)
"""

IN_PAYLOAD = """
AND position(%(text)s::bytea IN (SELECT substring(payload FOR %(head)s::int) FROM hookhub_event e
                                 WHERE e.id = log.event_id)) > 0
"""

COUNT_DELIVERIES = """
SELECT count(*) FILTER (
    WHERE {is_kept}
      AND (cardinality(%(states)s::text[]) = 0 OR state = ANY(%(states)s::text[]))
      AND event_type = coalesce(%(type)s, event_type)
      AND (%(repository)s::bigint IS NULL OR repository_id = %(repository)s::bigint)
), count(*)
FROM ({source} LIMIT %(read)s::bigint) AS log
"""

# The rows that match, and the last row that may be read, whether it matches or not.
FIND_DELIVERIES = """
SELECT id, place, matches FROM (
    SELECT id, webhook_id, organization_id, row_number() OVER (ORDER BY {by}) AS place,
           coalesce({is_kept}
                    AND state = coalesce(%(state)s, state) AND event_type = coalesce(%(type)s, event_type)
                    AND (%(least_status)s::bigint IS NULL OR last_status BETWEEN %(least_status)s AND %(most_status)s)
                    {payload}, false) AS matches
    FROM ({source} LIMIT {read}) AS log
) AS covered
WHERE matches OR place = {read}
ORDER BY {by} LIMIT %(most)s
"""
