"""The worker loop: runs the pipeline, after a wake-up, until nothing is left to do."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import psycopg
from django.conf import settings
from django.db import DatabaseError, Error, InterfaceError, OperationalError, close_old_connections, connection

from deliveries import pipeline, shutdown, wakeup
from deliveries.failpoints import hit
from deliveries.pipeline import attempting, claiming, fanning_out
from deliveries.pipeline.attempting import AttemptResult
from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.claiming import Claim
from deliveries.policy.outcomes import Delivered
from deliveries.sending.sender import Sender, make_sender
from deliveries.sending.transfer import Request
from deliveries.worker.database_clock import DatabaseClock
from deliveries.worker.slots import OVERCOMMIT, SlotTracker

log = logging.getLogger("hookhub.drain")

# Results are settled in batches: of this size, or after this time, whichever comes first.
SETTLE_BATCH = 250
SETTLE_WITHIN = timedelta(milliseconds=30)
# The first fan-out takes one event, because it is not known how many webhooks match. Each further one may take more, by
# the factor FAN_OUT_GROWTH, as long as the deliveries fit the free slots: a delivery sent at once need not be queued.
# With less than this part (1/SMALL_PART) of the slots free, the fan-out waits, and after a while runs as if that part
# were free.
FAN_OUT_FIRST = 1
FAN_OUT_GROWTH = 4
SMALL_PART = 4
# How soon a loop with requests in flight polls for new work: the busy interval if it is busy, the idle one with few in
# flight, which may all be waiting for receivers that hang.
BUSY_POLL_INTERVAL = timedelta(milliseconds=40)
IDLE_POLL_INTERVAL = timedelta(milliseconds=5)
# A loop is busy if more than this fraction of its slots is in use.
BUSY_FROM = 0.1
# After a poll that found nothing, wait at least this many times as long as the poll took.
EMPTY_POLL_BACKOFF = 4
# How often a loop with more work than slots wakes its sibling processes.
CALL_EVERY = timedelta(milliseconds=500)
# How often a busy loop marks due retries as ready.
LINE_UP_EVERY = timedelta(milliseconds=250)
# The interval between polls of an idle loop while it lingers.
LINGER_INTERVAL = timedelta(milliseconds=3)
# The delay between two tries after a database error.
CATCH_BREATH = timedelta(seconds=0.5)
# How long a loop that is shutting down waits for an unavailable database.
SHUTDOWN_DB_TIMEOUT = timedelta(seconds=5)


class Clock(Protocol):
    """The clock that a worker loop uses."""

    def __call__(self) -> datetime:
        """Return the current time."""

    def resync(self) -> None:
        """Resynchronize with the database if that is due; raises the database's errors."""


@dataclass(slots=True)
class Drained:
    """The progress of one run: events fanned out, and attempts settled."""

    events: int = 0
    attempts: int = 0


_senders: dict[int, Sender] = {}


def sender_of_this_process() -> Sender:
    """Return this process's sender, which keeps its connections from one run to the next."""
    pid = os.getpid()
    # Keep a sender inherited from the parent: destroying it would write to and close connections that the parent uses.
    if pid not in _senders:
        _senders[pid] = make_sender(slots=OVERCOMMIT * settings.HOOKHUB_SLOTS)
    return _senders[pid]


@dataclass
class WorkerLoop:
    """One run of the pipeline, until nothing is left to do or shutdown is requested.

    After ``time_slice`` it ends as soon as nothing is in flight. Until then free slots are filled even while it
    waits for the slowest request. Once ``is_stopping`` returns true, no further work is started. When there is nothing
    left to do, it polls for another ``linger``, because wake-ups are sent at most once per interval.
    """

    sender: Sender
    clock: Clock
    time_slice: timedelta
    linger: timedelta = timedelta(0)
    is_stopping: Callable[[], bool] = shutdown.is_set
    # The webhook and the outbox partition that were served last.
    after: int = 0
    _fan_out_after: int = 0
    _fan_out_first: bool = True
    done: Drained = field(default_factory=Drained)
    _ended: list[AttemptResult] = field(default_factory=list)
    _ended_since: float = 0.0
    _look_at: float = 0.0
    _line_up_at: float = 0.0
    _fan_out_at: float = 0.0
    # From this time on, fan out even with few free slots.
    _fan_out_anyway_at: float = 0.0
    # The maximum of events per fan-out, and the deliveries per event of the last one.
    _fan_out_most: int = FAN_OUT_FIRST
    _deliveries_per_event: float = 1.0
    # Partitions with an event whose fan-out exceeds the statement timeout.
    _stuck: list[int] = field(default_factory=list)
    _call_at: float = 0.0
    _is_busy: bool = False
    _found_nothing: bool = False
    # While the database is unavailable: since when, and the time of the next try.
    _db_down_since: float | None = None
    _settle_at: float = 0.0
    # When to settle the results that were deferred because another worker had locked their webhook.
    _retry_deferred_at: float = 0.0

    def __post_init__(self) -> None:
        self.lanes = SlotTracker(max(1, self.sender.slots // OVERCOMMIT))

    def run(self) -> Drained:
        """Run until done and return the progress made."""
        over_at = time.monotonic() + self.time_slice.total_seconds()
        leave_at = None
        while True:
            is_over = self.is_stopping() or (time.monotonic() >= over_at and not self.sender.in_flight)
            found_work = not is_over and self._top_up()
            self._listen()
            if self._is_time_to_settle():
                self._settle()
                # Settling freed slots of the webhooks, so poll once more.
                found_work = True
            if found_work or self.sender.in_flight or self._ended:
                leave_at = None
                if self._must_abandon():
                    break
                continue
            # Counted from the first empty poll: due deliveries that cannot be claimed must not extend the lingering.
            leave_at = leave_at or time.monotonic() + self.linger.total_seconds()
            if is_over or time.monotonic() >= leave_at:
                break
            self._nap(until=leave_at)
        if is_over and not self.is_stopping() and self._is_anything_to_do():
            wakeup.notify()
        return self.done

    def _nap(self, *, until: float) -> None:
        """Wait for work with a frequent and cheap poll, at most ``until``."""
        while time.monotonic() < until and not self.is_stopping():
            time.sleep(LINGER_INTERVAL.total_seconds())
            if self._is_anything_to_do():
                return

    def _is_anything_to_do(self, wanted: Capacity | None = None) -> bool:
        return claiming.is_anything_to_do(wanted, max_in_flight=settings.HOOKHUB_MAX_IN_FLIGHT, now=self.clock())

    def _top_up(self) -> bool:
        """Fill the free slots; return whether there was anything to do."""
        looked_at = time.monotonic()
        wanted = self.lanes.wanted(at=looked_at)
        room = min(wanted.slots, self.sender.free)
        # While requests are in flight, poll only if many slots are free and the last poll found work, or if the poll
        # interval has passed.
        has_many = room >= self.lanes.slots // 2 and not self._found_nothing
        is_worth_it = not self.sender.in_flight or has_many or looked_at >= self._look_at
        self._is_busy = wanted.slots < self.lanes.slots * (1 - BUSY_FROM)
        if not room or not is_worth_it or looked_at < self._settle_at:
            return False
        try:
            self.clock.resync()
            # After a poll that found nothing, a single cheap query decides whether to poll in full.
            if self.sender.in_flight and self._found_nothing and not self._is_anything_to_do(wanted):
                self._look_later(looked_at)
                return False
            self._found_nothing = not self._look(replace(wanted, slots=room))
        except Error as error:
            if not self.sender.in_flight and not self._ended:
                raise
            # Requests in flight must still be settled, so give the database time to come back.
            log.warning("The database is unavailable; %d requests are in flight: %s", self.sender.in_flight, error)
            connection.close()
            self._settle_at = time.monotonic() + CATCH_BREATH.total_seconds()
            return False
        if self._found_nothing:
            self._look_later(looked_at)
        else:
            self._look_at = time.monotonic() + BUSY_POLL_INTERVAL.total_seconds()
        return not self._found_nothing

    def _look(self, wanted: Capacity) -> bool:
        """Start requests, from claims and from fan-outs in alternation; return whether there was anything to do.

        They alternate so that neither waits for a backlog of the other. If one starts no request, the other runs too.
        """
        is_anything_done = self._line_up()
        before = self.sender.in_flight
        looks = (self._fan_out, self._claim) if self._fan_out_first else (self._claim, self._fan_out)
        self._fan_out_first = not self._fan_out_first
        for look in looks:
            is_anything_done |= look(wanted)
            if self.sender.in_flight > before:
                break
        return is_anything_done

    def _claim(self, wanted: Capacity) -> bool:
        """Claim and start ready deliveries; return whether there were any."""
        claims = pipeline.claim(wanted, cursor=self.after, now=self.clock())
        if claims:
            self.after = claims[-1].destination.webhook_id
            self._begin(claims)
        if len(claims) == wanted.slots:
            self._wake_siblings()
        return bool(claims)

    def _look_later(self, looked_at: float) -> None:
        """Schedule the next poll soon, but later if the poll that found nothing took long."""
        now = time.monotonic()
        self._look_at = now + max(IDLE_POLL_INTERVAL.total_seconds(), EMPTY_POLL_BACKOFF * (now - looked_at))

    def _wake_siblings(self) -> None:
        """Send a wake-up for other processes, at most once per interval; they then run for as long as there is work."""
        if time.monotonic() >= self._call_at:
            wakeup.notify()
            self._call_at = time.monotonic() + CALL_EVERY.total_seconds()

    def _line_up(self) -> bool:
        """Mark due retries as ready, at most once per interval; return whether there were any."""
        if time.monotonic() < self._line_up_at:
            return False
        count = claiming.promote_due(now=self.clock())
        if count < claiming.PROMOTE_BATCH:
            self._line_up_at = time.monotonic() + LINE_UP_EVERY.total_seconds()
        return count > 0

    def _fan_out(self, wanted: Capacity) -> bool:
        """Fan out events if that is due, start the deliveries claimed, and adjust the size of the next batch.

        Return whether there were any events.
        """
        now = time.monotonic()
        if now < self._fan_out_at or (wanted.slots < self.lanes.slots // SMALL_PART and now < self._fan_out_anyway_at):
            return False
        self._fan_out_anyway_at = now + BUSY_POLL_INTERVAL.total_seconds()
        fitting = int(max(wanted.slots, self.lanes.slots // SMALL_PART) / max(self._deliveries_per_event, 1))
        batch = max(1, min(fitting, self._fan_out_most))
        before = self._fan_out_after
        try:
            done = pipeline.fan_out(batch, capacity=wanted, cursor=before, exclude=self._stuck, now=self.clock())
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
                raise
            self._skip_stuck(batch)
            return False
        self._fan_out_after = done.cursor
        self.done.events += done.events
        self._begin(done.claims)
        if done.events < batch and (done.events or done.cursor == before):
            self._fan_out_at = time.monotonic() + BUSY_POLL_INTERVAL.total_seconds() / 2
        elif done.events == batch:
            self._wake_siblings()
            self._fan_out_most = min(FAN_OUT_GROWTH * batch, fanning_out.FAN_OUT_BATCH)
        if done.events:
            self._deliveries_per_event = done.deliveries / done.events
        return done.events > 0

    def _skip_stuck(self, batch: int) -> None:
        """After a statement timeout, fan out one event at a time; if that fails too, skip its partition in this run."""
        log.error("Fan-out of %d events exceeded HOOKHUB_STATEMENT_TIMEOUT_MS", batch)
        self._fan_out_at = time.monotonic() + CATCH_BREATH.total_seconds()
        self._fan_out_most, self._deliveries_per_event = 1, 1.0
        if batch == 1:
            self._stuck += fanning_out.next_partitions(self._fan_out_after, exclude=self._stuck)

    def _begin(self, claims: list[Claim]) -> None:
        """Start the claimed deliveries, and release those whose lease might expire before their attempt ends."""
        now = self.clock()
        timely = [claimed for claimed in claims if claimed.leased_until - now >= settings.HOOKHUB_MAX_TIMEOUT]
        for claimed in timely:
            self.lanes.begin(claimed, at=time.monotonic())
        for result in pipeline.attempt(timely, sender=self.sender, now=now):
            self._keep(result)
        # Last, because it may fail; the requests have been started by then.
        if len(timely) < len(claims):
            begun = {claimed.delivery_id for claimed in timely}
            claiming.release([claimed for claimed in claims if claimed.delivery_id not in begun])

    def _listen(self) -> None:
        """Drive the requests in flight, until one ends or it is time to poll, and buffer the results."""
        if not self.sender.in_flight:
            # Do not spin while the results have to wait.
            if self._ended and time.monotonic() < max(self._settle_at, self._retry_deferred_at):
                time.sleep(LINGER_INTERVAL.total_seconds())
            return
        for token, exchange in self.sender.wait(BUSY_POLL_INTERVAL if self._is_busy else IDLE_POLL_INTERVAL):
            claimed, request, started_at = _read_token(token)
            self._keep(attempting.finish(claimed, request, exchange, started_at=started_at, now=self.clock()))
        if self.sender.in_flight:
            hit("sent")

    def _keep(self, result: AttemptResult) -> None:
        self.lanes.end(result.claim)
        if not self._ended:
            self._ended_since = time.monotonic()
        self._ended.append(result)

    def _is_time_to_settle(self) -> bool:
        if not self._ended or time.monotonic() < max(self._settle_at, self._retry_deferred_at):
            return False
        is_old = time.monotonic() - self._ended_since >= SETTLE_WITHIN.total_seconds()
        return is_old or len(self._ended) >= SETTLE_BATCH or not self.sender.in_flight

    def _settle(self) -> None:
        """Settle the buffered results; if the database is unavailable, keep them while the requests go on."""
        try:
            self.clock.resync()
            left = pipeline.settle(self._ended, is_repeated=self._db_down_since is not None, now=self.clock()).deferred
        except (OperationalError, InterfaceError) as error:
            self._wait_for_the_database(error)
            return
        except DatabaseError:
            log.exception("The database rejected a batch of %d results; settling them one by one", len(self._ended))
            self._settle_one_by_one()
            return
        self.done.attempts += len(self._ended) - len(left)
        is_to_be_reviewed = any(not isinstance(result.outcome, Delivered) for result in self._ended)
        self._ended, self._db_down_since = left, None
        if left:
            self._retry_deferred_at = time.monotonic() + SETTLE_WITHIN.total_seconds()
        # A settled delivery frees a slot of its webhook, so poll at once.
        self._look_at = 0.0
        if not is_to_be_reviewed:
            return
        try:
            pipeline.review(now=self.clock())
        except (DatabaseError, InterfaceError):
            # The webhooks to review stay marked, and the worker's scheduler reviews them too.
            log.exception("Review failed; retrying within a second")
            connection.close()

    def _wait_for_the_database(self, error: Exception) -> None:
        connection.close()
        self._db_down_since = self._db_down_since or time.monotonic()
        self._settle_at = time.monotonic() + CATCH_BREATH.total_seconds()
        log.warning("The database is unavailable; %d results are waiting to be settled: %s", len(self._ended), error)

    def _settle_one_by_one(self) -> None:
        """Settle results one by one after the database rejected the batch, so that only the bad one is lost.

        The lease of its delivery expires; after a few such losses the delivery fails as a poison message.
        """
        left: list[AttemptResult] = []
        while self._ended:
            result = self._ended[-1]
            try:
                put_off = pipeline.settle(
                    [result], is_repeated=self._db_down_since is not None, now=self.clock()
                ).deferred
                left += put_off
                self.done.attempts += 1 - len(put_off)
            except (OperationalError, InterfaceError) as error:
                self._ended += left
                self._wait_for_the_database(error)
                return
            except DatabaseError:
                log.exception("Could not settle the result of delivery %s", result.claim.delivery_id)
            self._ended.pop()
        self._ended, self._db_down_since = left, None

    def _must_abandon(self) -> bool:
        """Return whether to abandon the results: shutdown is requested and the database has been away for too long."""
        if self._db_down_since is None or not self.is_stopping() or self.sender.in_flight:
            return False
        is_over = time.monotonic() - self._db_down_since >= SHUTDOWN_DB_TIMEOUT.total_seconds()
        if is_over:
            log.error("Abandoned %d unsettled results; their deliveries will be repeated", len(self._ended))
        return is_over


def _read_token(token: object) -> tuple[Claim, Request, datetime]:
    match token:
        case (Claim() as claimed, Request() as request, datetime() as started_at):
            return claimed, request, started_at
    raise TypeError(f"the sender returned an unknown token: {token!r}")


def run_until_idle(time_slice: timedelta, *, linger: timedelta = timedelta(0)) -> Drained:
    """Run the pipeline with this process's sender until nothing is due or ``time_slice`` is over; return progress.

    With nothing to do it polls for another ``linger`` before it returns.
    """
    # The database connection is kept from run to run; this replaces one that is broken or too old.
    close_old_connections()
    return WorkerLoop(sender_of_this_process(), DatabaseClock(), time_slice, linger).run()
