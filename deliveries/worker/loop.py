"""The worker loop: runs the pipeline, after a wake-up, until nothing is left to do.

``dispatcher`` starts the requests and collects their results, and ``settler`` settles those. The decisions are pure:
``pacing`` (when to poll, how much to fan out), ``slots`` (how much fits), ``results`` (when to settle) and ``outage``
(when to try an unavailable database again).
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from django.conf import settings
from django.db import Error, OperationalError, close_old_connections, connection

from deliveries import pipeline, shutdown, wakeup
from deliveries.failpoints import hit
from deliveries.pipeline import claiming, fanning_out
from deliveries.pipeline.capacity import Capacity
from deliveries.sending.sender import Sender, make_sender
from deliveries.worker.database_clock import Clock, DatabaseClock
from deliveries.worker.dispatcher import Dispatcher
from deliveries.worker.outage import Outage
from deliveries.worker.pacing import FanOutPacer, Interval, PollTimer, Turns
from deliveries.worker.results import ResultBuffer
from deliveries.worker.settler import Settler
from deliveries.worker.slots import OVERCOMMIT, SlotTracker

log = logging.getLogger("hookhub.drain")

# How often a loop with more work than slots wakes its sibling processes.
WAKE_INTERVAL = timedelta(milliseconds=500)
# How often a busy loop marks due retries as ready.
PROMOTE_INTERVAL = timedelta(milliseconds=250)
# The interval between polls of an idle loop while it lingers.
LINGER_INTERVAL = timedelta(milliseconds=3)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one run: events fanned out, and attempts settled."""

    events: int
    attempts: int


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
    is_stopping: Callable[[], bool] = shutdown.is_requested

    def __post_init__(self) -> None:
        # The webhook served last, and the number of events fanned out.
        self.cursor = self.events = 0
        self.outage, self.results = Outage(), ResultBuffer()
        self.slots = SlotTracker(max(1, self.sender.slots // OVERCOMMIT))
        self.dispatcher = Dispatcher(self.sender, self.clock, slots=self.slots, results=self.results)
        self.settler = Settler(self.results, clock=self.clock, outage=self.outage)
        self.poll_timer = PollTimer(self.slots.total)
        self.fan_out_pacer = FanOutPacer(self.slots.total, max_events=fanning_out.FAN_OUT_BATCH)
        self.promote_interval, self.wake_interval = Interval(PROMOTE_INTERVAL), Interval(WAKE_INTERVAL)
        self.turns = Turns()

    def run(self) -> Progress:
        """Run until done and return the progress made."""
        over_at = time.monotonic() + self.time_slice.total_seconds()
        leave_at = None
        while True:
            is_over = self.is_stopping() or (time.monotonic() >= over_at and not self.sender.in_flight)
            found_work = not is_over and self._fill_slots()
            self._wait_for_results()
            if self.settler.is_due(in_flight=self.sender.in_flight):
                # Settling frees slots of the webhooks, so poll once more.
                found_work = True
                if self.settler.settle():
                    self.poll_timer.poll_at_once()
            if found_work or self.sender.in_flight or self.results.unsettled:
                leave_at = None
                if not self.sender.in_flight and self.is_stopping() and self.settler.must_abandon():
                    break
                continue
            # Counted from the first empty poll: due deliveries that cannot be claimed must not extend the lingering.
            leave_at = leave_at or time.monotonic() + self.linger.total_seconds()
            if is_over or time.monotonic() >= leave_at:
                break
            self._wait_for_work(until=leave_at)
        if is_over and not self.is_stopping() and self._is_anything_to_do():
            wakeup.notify()
        return Progress(self.events, self.settler.settled)

    def _fill_slots(self) -> bool:
        """Start requests in the free slots, if a poll is due; return whether there was anything to do."""
        started_at = time.monotonic()
        capacity, in_flight = self.slots.capacity(self.sender.free, now=started_at), self.sender.in_flight
        is_due = self.poll_timer.is_due(capacity.slots, in_flight=in_flight, now=started_at)
        if not is_due or self.outage.is_waiting(now=started_at):
            return False
        try:
            self.clock.resync()
            # After a poll that found nothing, a single cheap query decides whether to poll in full.
            may_find_work = not (in_flight and self.poll_timer.last_was_empty) or self._is_anything_to_do(capacity)
            found_work = may_find_work and self._poll(capacity)
        except Error as error:
            if not self.sender.in_flight and not self.results.unsettled:
                raise
            # Requests in flight must still be settled, so give the database time to come back.
            log.warning("The database is unavailable; %d requests are in flight: %s", self.sender.in_flight, error)
            connection.close()
            self.outage.failed(now=time.monotonic())
            return False
        self.poll_timer.polled(found_work=found_work, started_at=started_at, now=time.monotonic())
        return found_work

    def _poll(self, capacity: Capacity) -> bool:
        """Start requests, from claims and from fan-outs; return whether there was anything to do."""
        found_work = self._promote_due()
        before = self.sender.in_flight
        if self.turns.claim_first:
            found_work |= self._claim(capacity)
            capacity = self.slots.capacity(self.sender.free, now=time.monotonic())
            return (bool(capacity.slots) and self._fan_out(capacity)) or found_work
        found_work |= self._fan_out(capacity)
        if self.sender.in_flight == before:
            found_work |= self._claim(capacity)
        return found_work

    def _promote_due(self) -> bool:
        """Mark due retries as ready, at most once per interval; return whether there were any."""
        if not self.promote_interval.is_over(now=time.monotonic()):
            return False
        count = claiming.promote_due(now=self.clock())
        if count < claiming.PROMOTE_BATCH:
            self.promote_interval.begin(now=time.monotonic())
        return count > 0

    def _claim(self, capacity: Capacity) -> bool:
        """Claim and start ready deliveries; return whether there were any."""
        claims = pipeline.claim(capacity, cursor=self.cursor, now=self.clock())
        if claims:
            self.cursor = claims[-1].destination.webhook_id
        self.turns.claimed(fills_slots=len(claims) == capacity.slots)
        if len(claims) == capacity.slots:
            self._wake_siblings()
        self.dispatcher.start(claims)
        return bool(claims)

    def _fan_out(self, capacity: Capacity) -> bool:
        """Fan out events if that is due, and start the deliveries claimed; return whether there were any events."""
        pacer = self.fan_out_pacer
        limit = pacer.limit_for(capacity.slots, now=time.monotonic())
        if not limit:
            return False
        cursor, exclude = pacer.cursor, pacer.stuck_partitions
        try:
            done = pipeline.fan_out(limit, capacity=capacity, cursor=cursor, exclude=exclude, now=self.clock())
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
                raise
            self._skip_stuck(limit)
            return False
        self.events += done.events
        leaves_ready = done.deliveries > len(done.claims)
        self.turns.fanned_out(leaves_ready=leaves_ready)
        # Before the requests are built, so that siblings meanwhile take what does not fit here.
        if done.events == limit or leaves_ready:
            self._wake_siblings()
        self.dispatcher.start(done.claims)
        pacer.fanned_out(done, limit=limit, now=time.monotonic())
        return done.events > 0

    def _skip_stuck(self, limit: int) -> None:
        """After a statement timeout, fan out one event at a time; if that fails too, skip its partition in this run."""
        pacer = self.fan_out_pacer
        log.error("Fan-out of %d events exceeded HOOKHUB_STATEMENT_TIMEOUT_MS", limit)
        pacer.timed_out(now=time.monotonic())
        if limit == 1:
            pacer.stuck_partitions += fanning_out.next_partitions(pacer.cursor, exclude=pacer.stuck_partitions)

    def _wait_for_results(self) -> None:
        """Drive the requests in flight until one ends or it is time to poll."""
        if self.sender.in_flight:
            self.dispatcher.collect(self.poll_timer.interval)
            if self.sender.in_flight:
                hit("sent")
        elif self.results.unsettled and not self.settler.is_due(in_flight=0):
            # Do not spin while the results have to wait.
            time.sleep(LINGER_INTERVAL.total_seconds())

    def _wake_siblings(self) -> None:
        """Send a wake-up for other processes, at most once per interval; they then run for as long as there is work."""
        now = time.monotonic()
        if self.wake_interval.is_over(now=now):
            wakeup.notify()
            self.wake_interval.begin(now=now)

    def _wait_for_work(self, *, until: float) -> None:
        """Wait for work with a frequent and cheap poll, at most ``until``."""
        while time.monotonic() < until and not self.is_stopping():
            time.sleep(LINGER_INTERVAL.total_seconds())
            if self._is_anything_to_do():
                return

    def _is_anything_to_do(self, capacity: Capacity | None = None) -> bool:
        return claiming.is_anything_to_do(capacity, max_in_flight=settings.HOOKHUB_MAX_IN_FLIGHT, now=self.clock())


_senders: dict[int, Sender] = {}


def sender_of_this_process() -> Sender:
    """Return this process's sender, which keeps its connections from one run to the next."""
    pid = os.getpid()
    # Keep a sender inherited from the parent: destroying it would write to and close connections that the parent uses.
    if pid not in _senders:
        _senders[pid] = make_sender(slots=OVERCOMMIT * settings.HOOKHUB_SLOTS)
    return _senders[pid]


def run_until_idle(time_slice: timedelta, *, linger: timedelta = timedelta(0)) -> Progress:
    """Run the pipeline with this process's sender until nothing is due or ``time_slice`` is over; return progress.

    With nothing to do it polls for another ``linger`` before it returns.
    """
    # The database connection is kept from run to run; this replaces one that is broken or too old.
    close_old_connections()
    return WorkerLoop(sender_of_this_process(), DatabaseClock(), time_slice, linger).run()
