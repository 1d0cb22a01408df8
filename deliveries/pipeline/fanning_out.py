"""Fan out events: create a delivery for each matching webhook, and claim at once those that can be sent."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

from deliveries.db import arrays, sql
from deliveries.failpoints import hit
from deliveries.pipeline import claiming, filtering, poll_queues
from deliveries.pipeline import fan_out_statements as statements
from deliveries.pipeline.capacity import NO_CAPACITY, Capacity, capacity_params
from deliveries.pipeline.claiming import LeaseGrant
from deliveries.pipeline.claims import Claim, Destination
from deliveries.pipeline.filtering import Pairs

# Events fanned out by one statement.
FAN_OUT_BATCH = 500
# A fan-out of more events than this locks most of the webhooks. Of two at the same time, the second would find them
# locked, and its deliveries would all have to be claimed, which writes each of them once more. So these take turns.
LARGE_FAN_OUT = 32
# A fan-out of up to this many events first looks whether there are no more, so that no partition waits for its turn.
FEW = 8
# How many events of a partition are taken before the next partition has its turn; more if there are few partitions.
EVENTS_PER_PARTITION = 8


class FannedOut(NamedTuple):
    """How many events were fanned out, how many deliveries that created, and those of them claimed for this worker.

    ``cursor`` is the last partition served; the next fan-out starts after it. ``must_wait`` means that nothing was done
    because another large fan-out is running, and ``at_once`` that all was done by one statement.
    """

    events: int
    deliveries: int
    claims: list[Claim]
    cursor: int
    must_wait: bool = False
    at_once: bool = False


def fan_out(
    limit: int = FAN_OUT_BATCH,
    *,
    capacity: Capacity = NO_CAPACITY,
    cursor: int = 0,
    exclude: Sequence[int] = (),
    at_once: bool = True,
    now: datetime,
) -> FannedOut:
    """Create the deliveries of up to ``limit`` events for every matching active webhook, round-robin over partitions.

    Deliveries that fit the ``capacity``, and whose webhook has nothing ready before them, are claimed in the same
    transaction, which is committed when this returns; the rest become ready. Idempotent, also under concurrency.
    Starts after the partition ``cursor`` and skips the partitions to ``exclude``. ``at_once`` says whether to try a
    single statement first.
    """
    with fan_out_ahead(limit, capacity=capacity, cursor=cursor, exclude=exclude, at_once=at_once, now=now) as done:
        pass
    return done


@contextmanager
def fan_out_ahead(
    limit: int = FAN_OUT_BATCH,
    *,
    capacity: Capacity = NO_CAPACITY,
    cursor: int = 0,
    exclude: Sequence[int] = (),
    at_once: bool = True,
    now: datetime,
) -> Iterator[FannedOut]:
    """Do the same as ``fan_out``, with a block that has its result ahead of the COMMIT, which its end waits for.

    The block may build requests meanwhile. None may be sent before its end, and none after an exception.
    """
    grant = claiming.grant_lease(now)
    # The statement would read all events of an excluded partition, to see whether there are others.
    if at_once and capacity.slots and not exclude:
        with sql.transaction():
            done = _fan_out_at_once(min(limit, FEW), capacity=capacity, cursor=cursor, grant=grant)
            if done is not None:
                yield done
        if done is not None:
            hit("fanned-out")
            return
    with sql.transaction():
        yield _fan_out(limit, capacity=capacity, cursor=cursor, exclude=exclude, grant=grant)
    hit("fanned-out")


def _fan_out_at_once(limit: int, *, capacity: Capacity, cursor: int, grant: LeaseGrant) -> FannedOut | None:
    """Fan out all events and claim all of their deliveries by one statement; return None if that is not possible."""
    params = capacity_params(capacity, now=grant.now) | {"slots": capacity.slots, "limit": limit}
    params |= {"lease": grant.lease, "until": grant.until}
    rows = sql.run(statements.FAN_OUT_AT_ONCE, params, commits=True, is_commit_awaited=False)
    is_possible, events = rows[0][:2]
    if not is_possible:
        return None
    claims = [
        Claim(grant.lease, grant.until, Destination(*row[10:-2]), row[2], 1, 0, grant.now, grant.now, *row[3:10])
        for row in sorted((row for row in rows if row[2] is not None), key=itemgetter(3))
    ]
    return FannedOut(events, len(claims), claims, cursor, at_once=True)


def _fan_out(limit: int, *, capacity: Capacity, cursor: int, exclude: Sequence[int], grant: LeaseGrant) -> FannedOut:
    params = capacity_params(capacity, now=grant.now) | {"slots": capacity.slots}
    taken = _take(limit, slots=capacity.slots, cursor=cursor, exclude=exclude, params=params)
    hit("fanning-out")
    if taken is None:
        return FannedOut(0, 0, [], cursor, must_wait=True)
    # Continue after the last partition read.
    events, cursor = taken.events, cursor if taken.partition is None else taken.partition
    # No webhook matched, other transactions have locked every event found, or the outbox is empty.
    if taken.pairs is None:
        return FannedOut(events, 0, [], cursor)
    pairs = filtering.accepted(taken.pairs) if taken.has_filters else taken.pairs
    if pairs is not None and taken.has_polled:
        pairs = poll_queues.put(pairs).others
    if pairs is None:
        return FannedOut(events, 0, [], cursor)
    destinations = taken.destinations
    params |= {"locked": arrays.bigints(destinations), "lease": grant.lease, "until": grant.until}
    is_limited = any(each.pace_interval is not None for each in destinations.values())
    insert = statements.INSERT_DELIVERY if pairs.is_one else statements.INSERT_DELIVERIES
    rows = sql.run(insert, params | pairs.parameters, commits=not is_limited, is_commit_awaited=False)
    claims = _claims(rows, destinations, grant)
    if is_limited:
        claims = claiming.with_turns(claims, now=grant.now, commits=True)
    return FannedOut(events, rows[0][0], claims, cursor)


class Taken(NamedTuple):
    """The events taken out of the outbox, the webhooks that match them, and those of them that were locked."""

    events: int
    # The last partition read, if partitions had turns.
    partition: int | None
    pairs: Pairs | None
    has_filters: bool
    has_polled: bool
    destinations: dict[int, Destination]


def _take(limit: int, *, slots: int, cursor: int, exclude: Sequence[int], params: Mapping[str, object]) -> Taken | None:
    """Take events out of the outbox, and lock webhooks; return None if it is not this large fan-out's turn."""
    batch = {**params, "limit": limit}
    # It would read all events of an excluded partition, to see whether there are others.
    if limit <= FEW and not exclude:
        rows = sql.run(statements.TAKE_FEW, batch)
        are_all, events = rows[0][:2]
        if are_all:
            return _taken(events, None, [row[2:] for row in rows])
    per_partition = events_per_partition(limit, slots=slots)
    batch |= {"per_partition": per_partition, "needed": -(-limit // per_partition)}
    batch |= {"cursor": cursor, "exclude": arrays.bigints(exclude), "small": limit <= LARGE_FAN_OUT}
    rows = sql.run(statements.TAKE_EVENTS, batch)
    has_turn, events, partition = rows[0][:3]
    return _taken(events, partition, [row[3:] for row in rows]) if has_turn else None


def _taken(events: int, partition: int | None, rows: Sequence[sql.Row]) -> Taken:
    pairs_events, pairs_webhooks, has_filters, has_polled = rows[0][:4]
    pairs = None if pairs_events is None else Pairs(arrays.Array(pairs_events), arrays.Array(pairs_webhooks))
    destinations = {row[4]: Destination(*row[4:]) for row in rows if row[4] is not None}
    return Taken(events, partition, pairs, has_filters, has_polled, destinations)


def events_per_partition(limit: int, *, slots: int) -> int:
    """Return how many events to take of a partition before the next has its turn, for this many free ``slots``.

    A caller that takes few events for many slots has seen that each goes to many webhooks. The events of a partition
    mostly go to the same webhooks, so several at a time would only exceed the limit of requests in flight of these.
    """
    return max(1, min(EVENTS_PER_PARTITION, EVENTS_PER_PARTITION * limit // slots)) if slots else EVENTS_PER_PARTITION


def next_partitions(cursor: int, *, exclude: Sequence[int]) -> list[int]:
    """Return the partition after ``cursor``, as a list of one or none; it may read the whole outbox."""
    rows = sql.run(statements.FIND_NEXT_PARTITION, {"cursor": cursor, "exclude": arrays.bigints(exclude)})
    return [partition for (partition,) in rows]


def _claims(rows: list[sql.Row], destinations: dict[int, Destination], grant: LeaseGrant) -> list[Claim]:
    """Return what INSERT_DELIVERIES claimed, in the order of the events.

    If it claimed nothing, its one row holds only the count.
    """
    return [
        Claim(grant.lease, grant.until, destinations[row[1]], row[2], 1, 0, grant.now, grant.now, *row[3:-1])
        for row in sorted((row for row in rows if row[2] is not None), key=itemgetter(3))
    ]
