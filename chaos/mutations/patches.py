"""Mutations that prove that the checker detects bugs: patches of running processes, never part of HookHub.

Only the entry points beside this module apply them, by the name in CHAOS_BUG.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chaos.workload.events import LONG

BUG = "CHAOS_BUG"
# Under the mutations that act too early, the event is stored this much later than announced.
AHEAD = timedelta(seconds=0.5)


def apply() -> None:
    """Apply the mutation that CHAOS_BUG names, if any; Django must be set up."""
    if name := os.environ.get(BUG, ""):
        MUTATIONS[name]()


def settle_without_fencing() -> None:
    """Settle a delivery even when the worker's lease has expired."""
    from deliveries.pipeline import settling

    _change(settling, "SETTLE", " AND d.lease = r.lease", "")


def bell_inside_the_transaction() -> None:
    """Send the wake-up before the COMMIT, so that the worker that receives it finds nothing."""
    from deliveries import wakeup
    from deliveries.db import sql
    from deliveries.pipeline import accepting
    from hookhub.postgresql import asynchronous

    change, storing = sql.change, {accepting.STORE_EVENT, accepting.STORE_EVENTS}

    def ring_first(statement: str, parameters: Mapping[str, object]) -> int:
        if statement in storing:
            wakeup.notify_now()
        return change(statement, parameters)

    in_a_group = asynchronous.AsyncConnection.change

    async def ring_first_in_a_group(self: Any, statement: str, parameters: Mapping[str, object]) -> int:
        if statement in storing:
            wakeup.notify_now()
        return await in_a_group(self, statement, parameters)

    _put(sql, "change", ring_first)
    _put(asynchronous.AsyncConnection, "change", ring_first_in_a_group)
    _put(accepting, "_committed", lambda _events: None)


def claim_without_lease() -> None:
    """Lease deliveries to no identifiable process and practically forever."""
    from deliveries.pipeline import claiming

    leasing = claiming.grant_lease
    ages = timedelta(days=365)

    def for_ever(now: datetime) -> claiming.LeaseGrant:
        return leasing(now)._replace(lease=UUID(bytes=os.urandom(16)), until=now + ages)

    _put(claiming, "grant_lease", for_ever)


def lease_shorter_than_the_deadline() -> None:
    """Lease for less than the request deadline, so that a second worker claims a delivery still in flight."""
    from deliveries.pipeline import claiming, fan_out_statements

    short = "%(now)s::timestamptz + interval '0.4 s'"
    _change(claiming, "CLAIM", "leased_until = %(until)s", f"leased_until = {short}")
    for name in ("FAN_OUT_AT_ONCE", "INSERT_DELIVERY", "INSERT_DELIVERIES"):
        _change(fan_out_statements, name, "%(until)s::timestamptz", short)


def accept_answering_before_commit() -> None:
    """Answer 202 before the event is stored; if the process dies in between, the event is lost."""
    from deliveries import pipeline
    from deliveries.db.ids import uuid7s
    from deliveries.events import Batch, NewEvent, Receipt
    from deliveries.pipeline import accepting

    accept, accept_group = pipeline.accept, accepting.accept_group

    def later(events: Sequence[NewEvent], how: dict[str, Any]) -> None:
        time.sleep(AHEAD.total_seconds())
        accept(events, **how)

    def accept_later(events: Sequence[NewEvent], **how: Any) -> list[Receipt]:
        threading.Thread(target=later, args=(events, how), daemon=True).start()
        ids = uuid7s(how["now"], len(events))
        return [Receipt(id_, each.type, how["now"], is_repeat=False) for id_, each in zip(ids, events, strict=True)]

    async def group_later(batches: Sequence[Batch], how: dict[str, Any]) -> None:
        await asyncio.sleep(AHEAD.total_seconds())
        await accept_group(batches, **how)

    async def accept_group_later(batches: Sequence[Batch], **how: Any) -> list[list[Receipt]]:
        running.append(asyncio.create_task(group_later(batches, how)))
        return [
            [Receipt(id_, each.type, how["now"], is_repeat=False) for id_, each in zip(ids, batch.events, strict=True)]
            for batch in batches
            for ids in [uuid7s(how["now"], len(batch.events))]
        ]

    running: list[asyncio.Task[None]] = []
    _put(pipeline, "accept", accept_later)
    _put(accepting, "accept_group", accept_group_later)


def signature_over_reserialised_json() -> None:
    """Sign re-serialized JSON, which differs from the body unless the publisher formats JSON exactly as Python does."""
    from deliveries.formats import standard_webhooks

    render = standard_webhooks.StandardWebhooks.render

    def render_twice(self: Any, message: Any) -> Any:
        again = message._replace(payload=json.dumps(json.loads(message.payload)).encode())
        return render(self, again)._replace(body=render(self, message).body)

    _put(standard_webhooks.StandardWebhooks, "render", render_twice)


def retry_measured_from_the_wrong_time() -> None:
    """Count the wait before a retry from the start of the attempt instead of its end."""
    from deliveries.pipeline import attempting
    from deliveries.policy.retry import decide

    build_result = attempting.build_result

    def conclude_early(claim: Any, *args: Any, started_at: datetime, jitter: float, **more: Any) -> Any:
        result = build_result(claim, *args, started_at=started_at, jitter=jitter, **more)
        terms = {"failures": claim.failures, "schedule": attempting.schedule_of(claim.destination), "jitter": jitter}
        return result._replace(decision=decide(result.outcome, now=started_at, **terms))

    _put(attempting, "build_result", conclude_early)


def large_bodies_never_sent() -> None:
    """Record a body too large for one packet as not answered, without sending it."""
    from deliveries.pipeline import attempting

    render = attempting.render

    def render_small(claim: Any, **how: Any) -> Any:
        if len(claim.payload) > LONG:
            raise ValueError("too large to send")
        return render(claim, **how)

    _put(attempting, "render", render_small)


def results_thrown_away_when_the_database_is_away() -> None:
    """Discard the results of requests that end while the database is unavailable."""
    from deliveries.worker.settler import Settler

    is_due = Settler.is_due

    def forget(self: Settler, *, is_urgent: bool) -> bool:
        if self._outage.is_waiting(now=time.monotonic()):
            self._results.unsettled = []
        return is_due(self, is_urgent=is_urgent)

    _put(Settler, "is_due", forget)


def always_the_first_step() -> None:
    """Wait after each failure as long as after the first, whatever the number of failures."""
    from deliveries.pipeline import attempting

    schedule_of = attempting.schedule_of
    _put(attempting, "schedule_of", lambda webhook: [schedule_of(webhook)[0]] * len(schedule_of(webhook)))


def ids_swapped() -> None:
    """Send two deliveries of one webhook that start together under each other's ids."""
    from deliveries import pipeline
    from deliveries.pipeline import attempting

    attempt, render = pipeline.attempt, attempting.render

    def attempt_swapped(claims: Sequence[Any], **how: Any) -> Any:
        neighbours = zip(claims[::2], claims[1::2], strict=False)
        pairs = [(one, other) for one, other in neighbours if one.destination == other.destination]
        ids = {one.delivery_id: other.delivery_id for pair in pairs for one, other in (pair, pair[::-1])}

        def render_swapped(claim: Any, **how: Any) -> Any:
            other = ids.get(claim.delivery_id, claim.delivery_id)
            return render(claim._replace(delivery_id=other), **how)

        _put(attempting, "render", render_swapped)
        return attempt(claims, **how | {"rendered": {}})

    _put(pipeline, "attempt", attempt_swapped)


def stream_entries_finished_before_they_are_stored() -> None:
    """Acknowledge stream entries in Redis before PostgreSQL has stored their events."""
    from hookhub.publishing.redis_stream.reader import Reader

    publish = Reader._publish

    def finish_first(self: Reader, entries: Sequence[Any], *, now: datetime) -> None:
        self.consumer.acknowledge(entries)
        time.sleep(AHEAD.total_seconds())
        publish(self, entries, now=now)

    _put(Reader, "_publish", finish_first)


def a_crash_uses_up_a_step() -> None:
    """Count an attempt with an unknown outcome as a failure."""
    from deliveries.pipeline import rescue

    for name in ("RESCUE_LEASES", "RESCUE_EXPIRED"):
        _change(rescue, name, "SET state", "SET failures = d.failures + 1, state")


def leases_that_never_end() -> None:
    """Match and claim webhooks whose lease has ended, and cancel nothing."""
    from deliveries.maintenance import leases
    from deliveries.pipeline import claiming, fan_out_statements
    from deliveries.pipeline.capacity import LEASE_LASTS

    for name in ("FAN_OUT_AT_ONCE", "TAKE_FEW", "TAKE_EVENTS"):
        _change(fan_out_statements, name, LEASE_LASTS, "true")
    _change(claiming, "LOCK_WEBHOOKS", LEASE_LASTS, "true")
    _put(leases, "end_expired", lambda **_: 0)


def proofs_that_are_not_awaited() -> None:
    """Match webhooks that have not proved themselves: create them as verified."""
    from deliveries.webhooks import creating

    insert = creating.insert

    def insert_verified(cleaned: dict[str, object], *, verification: Any, now: datetime, **how: Any) -> Any:
        verified = {} if verification is None else {"verified_at": now}
        return insert({**cleaned, **verified}, verification=verification, now=now, **how)

    _put(creating, "insert", insert_verified)


def echoes_that_are_not_compared() -> None:
    """Take any 2xx response for a proof."""
    from deliveries.proofs import challenge, websub

    for module in (challenge, websub):
        _put(module, "is_echo", lambda *_: True)


def filters_that_are_ignored() -> None:
    """Create the deliveries of all webhooks that match the type of an event, whatever their filter says."""
    from deliveries.pipeline import filtering

    _put(filtering, "accepted", lambda pairs: pairs)


def requests_that_are_not_counted() -> None:
    """Claim whatever may be sent at once, again and again."""
    from deliveries.pipeline import request_rates

    _change(request_rates, "TAKE_TURNS", "claimed.requests *", "0 *")


MUTATIONS: Mapping[str, Callable[[], None]] = {
    mutation.__name__.replace("_", "-"): mutation
    for mutation in (
        settle_without_fencing, bell_inside_the_transaction, claim_without_lease, lease_shorter_than_the_deadline,
        accept_answering_before_commit, signature_over_reserialised_json, retry_measured_from_the_wrong_time,
        large_bodies_never_sent, results_thrown_away_when_the_database_is_away, always_the_first_step, ids_swapped,
        stream_entries_finished_before_they_are_stored, a_crash_uses_up_a_step, leases_that_never_end,
        proofs_that_are_not_awaited, echoes_that_are_not_compared, filters_that_are_ignored,
        requests_that_are_not_counted,
    )
}  # fmt: skip


def _put(owner: Any, name: str, value: object) -> None:
    """Replace an attribute that must exist: a bug that misses its target would be no bug."""
    assert name in vars(owner), f"{owner} has no {name}"
    setattr(owner, name, value)


def _change(module: Any, name: str, words: str, others: str) -> None:
    """Replace text in an SQL statement; raise ValueError when the mutation would change nothing."""
    sql = getattr(module, name)
    if words not in sql:
        raise ValueError(f"{name} does not contain {words!r}: update this mutation")
    setattr(module, name, sql.replace(words, others))
