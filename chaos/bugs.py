"""Bugs on purpose, to see that the harness finds them: patches applied to running processes, never part of HookHub.

Only chaos.celery and chaos.asgi apply them, by the name in CHAOS_BUG.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any
from uuid import UUID

from chaos.events import LONG

BUG, CLOCK = "CHAOS_BUG", "CHAOS_CLOCK_SECONDS"
# How much later than it is said to be an event is stored, under the bugs that are too quick.
AHEAD = timedelta(seconds=0.5)
# What may pass between two looks at a clock.
CLOCK_SLACK = timedelta(seconds=60)


def set_clock_wrong() -> None:
    """Set this process's clock off by CHAOS_CLOCK_SECONDS; call it before anything else is imported."""
    off = float(os.environ.get(CLOCK, "0"))
    if not off:
        return
    right_time = time.time

    class WrongDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "WrongDatetime":
            return super().now(tz) + timedelta(seconds=off)

        @classmethod
        def utcnow(cls) -> "WrongDatetime":
            return super().utcnow() + timedelta(seconds=off)

    time.time = lambda: right_time() + off
    vars(sys.modules["datetime"])["datetime"] = WrongDatetime


def prove_clock_wrong() -> None:
    """Raise RuntimeError unless all that tells Django the time is off by CHAOS_CLOCK_SECONDS; Django must be ready."""
    from django.utils import timezone

    wanted = float(os.environ.get(CLOCK, "0"))
    for told in (time.time(), timezone.now().timestamp()):
        # The system's own clock is asked past all that was changed here.
        off = told - time.clock_gettime(time.CLOCK_REALTIME)
        if abs(off - wanted) > CLOCK_SLACK.total_seconds():
            raise RuntimeError(f"the clock is off by {off:.1f} s and should be by {wanted:g} s")


def apply() -> None:
    """Apply the bug that CHAOS_BUG names, if any; Django must be ready."""
    if name := os.environ.get(BUG, ""):
        BUGS[name]()


def settle_without_fencing() -> None:
    """A worker whose lease ran out moves the delivery all the same."""
    from deliveries import queue

    _change(queue, "SETTLE", " AND d.lease = r.lease", "")


def bell_inside_the_transaction() -> None:
    """The bell is rung before the COMMIT, and a worker that hears it finds nothing."""
    from deliveries import doorbell, pipeline, queue

    change = queue.change

    def ring_first(sql: str, parameters: Mapping[str, object]) -> int:
        if sql == queue.STORE_EVENTS:
            doorbell.ring_now()
        return change(sql, parameters)

    queue.change = ring_first
    pipeline._ring = lambda: None


def claim_without_lease() -> None:
    """What is claimed belongs to nobody in particular, and for ever."""
    from deliveries import pipeline
    from deliveries.claiming import Leasing

    leasing = pipeline._leasing
    ages = timedelta(days=365)

    def for_ever(now: datetime) -> Leasing:
        return leasing(now)._replace(lease=UUID(bytes=os.urandom(16)), until=now + ages)

    pipeline._leasing = for_ever


def lease_shorter_than_the_deadline() -> None:
    """Another worker may take a delivery while the first still waits for its answer."""
    from deliveries import claiming, fanning_out

    short = "%(now)s::timestamptz + interval '0.4 s'"
    _change(claiming, "CLAIM", "leased_until = %(until)s", f"leased_until = {short}")
    _change(fanning_out, "OWE", "%(until)s::timestamptz", short)


def accept_answering_before_commit() -> None:
    """202 is said of what is stored a moment later, if the process lives."""
    from deliveries import pipeline
    from deliveries.events import Accepted, NewEvent
    from deliveries.ids import uuid7s

    accept = pipeline.accept

    def later(events: Sequence[NewEvent], how: dict[str, Any]) -> None:
        time.sleep(AHEAD.total_seconds())
        accept(events, **how)

    def accept_later(events: Sequence[NewEvent], **how: Any) -> list[Accepted]:
        threading.Thread(target=later, args=(events, how), daemon=True).start()
        ids = uuid7s(how["now"], len(events))
        return [Accepted(id_, each.type, how["now"], is_repeat=False) for id_, each in zip(ids, events, strict=True)]

    pipeline.accept = accept_later


def signature_over_reserialised_json() -> None:
    """What is signed is not what is sent, unless the publisher happens to write JSON as Python does."""
    from deliveries.formats import standard_webhooks

    render = standard_webhooks.StandardWebhooks.render

    def render_twice(self: Any, message: Any) -> Any:
        again = message._replace(payload=json.dumps(json.loads(message.payload)).encode())
        return render(self, again)._replace(body=render(self, message).body)

    standard_webhooks.StandardWebhooks.render = render_twice  # type: ignore[method-assign]


def retry_measured_from_the_wrong_time() -> None:
    """The wait before a retry begins when the attempt began, and not when it ended."""
    from deliveries import attempts, pipeline
    from deliveries.retry import decide

    conclude = attempts.conclude

    def conclude_early(claimed: Any, *args: Any, started_at: datetime, jitter: float, **more: Any) -> Any:
        result = conclude(claimed, *args, started_at=started_at, jitter=jitter, **more)
        terms = {"failures": claimed.failures, "schedule": attempts.schedule_of(claimed), "jitter": jitter}
        return result._replace(decision=decide(result.outcome, now=started_at, **terms))

    vars(pipeline)["conclude"] = conclude_early


def large_bodies_never_sent() -> None:
    """What fits into no single packet is said to be lost, and nobody tried."""
    from deliveries import pipeline

    render = pipeline.render  # type: ignore[attr-defined]

    def render_small(claimed: Any, **how: Any) -> Any:
        if len(claimed.payload) > LONG:
            raise ValueError("this is too much to be sent")
        return render(claimed, **how)

    vars(pipeline)["render"] = render_small


def results_thrown_away_when_the_database_is_away() -> None:
    """A drain that finds the database away forgets which requests ended meanwhile, and how."""
    from deliveries.drain import Drain

    is_time_to_settle = Drain._is_time_to_settle

    def forget(self: Drain) -> bool:
        if time.monotonic() < self._settle_at:
            self._ended = []
        return is_time_to_settle(self)

    Drain._is_time_to_settle = forget  # type: ignore[method-assign]


def always_the_first_step() -> None:
    """However often a delivery has failed, the wait is that after its first attempt."""
    from deliveries import attempts

    schedule_of = attempts.schedule_of
    attempts.schedule_of = lambda claimed: [schedule_of(claimed)[0]] * len(schedule_of(claimed))


def ids_swapped() -> None:
    """Two that are begun together at one webhook are sent under each other's ids."""
    from deliveries import pipeline

    attempt, render = pipeline.attempt, pipeline.render  # type: ignore[attr-defined]

    def attempt_swapped(claims: Sequence[Any], **how: Any) -> Any:
        pairs = [(one, other) for one, other in zip(claims[::2], claims[1::2], strict=False) if one.to == other.to]
        ids = {one.delivery_id: other.delivery_id for pair in pairs for one, other in (pair, pair[::-1])}

        def render_swapped(claimed: Any, **how: Any) -> Any:
            other = ids.get(claimed.delivery_id, claimed.delivery_id)
            return render(claimed._replace(delivery_id=other), **how)

        vars(pipeline)["render"] = render_swapped
        return attempt(claims, **how)

    pipeline.attempt = attempt_swapped


def stream_entries_finished_before_they_are_stored() -> None:
    """Redis is told to forget its entries while PostgreSQL does not know them yet."""
    from hookhub.stream.reader import Reader

    publish = Reader._publish

    def finish_first(self: Reader, entries: Sequence[Any], *, now: datetime) -> None:
        self.consumer.finish(entries)
        time.sleep(AHEAD.total_seconds())
        publish(self, entries, now=now)

    Reader._publish = finish_first  # type: ignore[method-assign]


def a_crash_uses_up_a_step() -> None:
    """An attempt whose outcome nobody lived to tell counts as one that failed."""
    from deliveries import queue

    for name in ("RECLAIM_LEASES", "RECLAIM_EXPIRED"):
        _change(queue, name, "SET state", "SET failures = d.failures + 1, state")


BUGS: Mapping[str, Callable[[], None]] = {
    "settle-without-fencing": settle_without_fencing,
    "bell-inside-the-transaction": bell_inside_the_transaction,
    "claim-without-lease": claim_without_lease,
    "lease-shorter-than-the-deadline": lease_shorter_than_the_deadline,
    "accept-answering-before-commit": accept_answering_before_commit,
    "signature-over-reserialised-json": signature_over_reserialised_json,
    "retry-measured-from-the-wrong-time": retry_measured_from_the_wrong_time,
    "large-bodies-never-sent": large_bodies_never_sent,
    "results-thrown-away-when-the-database-is-away": results_thrown_away_when_the_database_is_away,
    "always-the-first-step": always_the_first_step,
    "ids-swapped": ids_swapped,
    "stream-entries-finished-before-they-are-stored": stream_entries_finished_before_they_are_stored,
    "a-crash-uses-up-a-step": a_crash_uses_up_a_step,
}


def _change(module: Any, name: str, words: str, others: str) -> None:
    """Change a statement; raises ValueError when it does not say what the bug is about any more."""
    sql = getattr(module, name)
    if words not in sql:
        raise ValueError(f"{name} does not say {words!r}: this bug has to be written anew")
    setattr(module, name, sql.replace(words, others))
