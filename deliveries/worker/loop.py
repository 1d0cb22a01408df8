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
from deliveries.wakeup import Work
from deliveries.worker import residency
from deliveries.worker.database_clock import Clock, DatabaseClock
from deliveries.worker.dispatcher import Dispatcher
from deliveries.worker.listener import listener_of_this_process
from deliveries.worker.outage import Outage
from deliveries.worker.pacing import FIRST_FAN_OUT, FanOutPacer, Interval, PollTimer, Turns
from deliveries.worker.results import ResultBuffer
from deliveries.worker.settler import Settler
from deliveries.worker.slots import OVERCOMMIT, SlotTracker

log = logging.getLogger("hookhub.drain")

# How often a loop with more work than slots wakes its sibling processes.
WAKE_INTERVAL = timedelta(milliseconds=500)
# How often a busy loop marks due retries as ready.
PROMOTE_INTERVAL = timedelta(milliseconds=250)
# How long a loop waits at most before it looks whether its time slice is over or its parent has died.
MAX_WAIT = timedelta(milliseconds=500)
# How long a loop that finds nothing keeps looking for ready deliveries that others have locked.
KEEP_LOOKING = timedelta(milliseconds=60)


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
    left to do, it stays for ``stay`` and listens for wake-ups, unless another process of this worker does.
    """

    sender: Sender
    clock: Clock
    time_slice: timedelta
    stay: timedelta = timedelta(0)
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
        self.listener = listener_of_this_process()
        # Whether a wake-up would have been heard during the last wait.
        self._listens = False
        # Whether deliveries may wait for those in flight here to be settled.
        self._has_backlog = False
        # Since when neither work was found nor a wake-up heard, and whether it was looked for after that.
        self._quiet_since = time.monotonic()
        self._looked_again = False

    def run(self) -> Progress:
        """Run until done and return the progress made."""
        over_at = time.monotonic() + self.time_slice.total_seconds()
        while True:
            is_over = self.is_stopping() or (time.monotonic() >= over_at and not self.sender.in_flight)
            if not is_over and self._fill_slots():
                self._note_work()
            self._wait(is_over=is_over)
            self._settle_if_due(is_over=is_over)
            if self.sender.in_flight or self.results.unsettled:
                if not self.sender.in_flight and self.is_stopping() and self.settler.must_abandon():
                    break
            elif (is_over or self._is_idle()) and self._may_leave(is_over=is_over):
                break
        return Progress(self.events, self.settler.settled)

    def _note_work(self) -> None:
        self._quiet_since, self._looked_again = time.monotonic(), False

    def _is_idle(self) -> bool:
        """Return whether there is nothing to do and this process does not stay any longer."""
        if self.poll_timer.expects_work:
            return False
        is_stay_over = time.monotonic() >= self._quiet_since + self.stay.total_seconds()
        return is_stay_over or not self._listens

    def _may_leave(self, *, is_over: bool) -> bool:
        """Stop listening, and return whether to end: not if there is work of which a wake-up was not heard."""
        residency.leave_seat()
        may_have_missed = self.listener.withdraw()
        if self.is_stopping() or self._looked_again or not (may_have_missed or is_over):
            return True
        if not self._is_anything_to_do():
            return True
        self._looked_again = True
        if is_over:
            wakeup.notify_idle_process()
            return True
        self.poll_timer.expect(events=True, deliveries=True)
        return False

    def _fill_slots(self) -> bool:
        """Start requests in the free slots, if a poll is due; return whether there was anything to do."""
        started_at = time.monotonic()
        capacity, in_flight = self.slots.capacity(self.sender.free, now=started_at), self.sender.in_flight
        is_due = self.poll_timer.is_due(
            capacity.slots,
            in_flight=in_flight,
            listens=self._listens,
            events_at=self.fan_out_pacer.due_at,
            now=started_at,
        )
        if not is_due or self.outage.is_waiting(now=started_at):
            return False
        try:
            self.clock.resync()
            # Without wake-ups, a single cheap query decides whether to poll in full.
            if not self.poll_timer.expects_work and self._is_anything_to_do(capacity):
                self.poll_timer.expect(events=True, deliveries=True)
            found_work = self._poll(capacity)
            # After the requests of new events have been started, which a retry does not delay.
            if not self.poll_timer.expects_deliveries and self._promote_due():
                self.poll_timer.expect(deliveries=True)
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
        found_work = False
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
        """Claim and start ready deliveries, if any are expected; return whether there were any."""
        timer = self.poll_timer
        if not timer.expects_deliveries:
            return False
        found_due = self._promote_due()
        claims = pipeline.claim(capacity, cursor=self.cursor, now=self.clock())
        if claims:
            self.cursor = claims[-1].destination.webhook_id
            self._has_backlog = True
        self.turns.claimed(fills_slots=len(claims) == capacity.slots)
        if len(claims) == capacity.slots:
            self._wake_siblings()
        else:
            # Some may be left because another transaction had locked their webhook.
            is_quiet = time.monotonic() >= self._quiet_since + KEEP_LOOKING.total_seconds()
            timer.expects_deliveries = not claims and not is_quiet and self._is_anything_ready(capacity)
        self.dispatcher.start(claims)
        return found_due or bool(claims)

    def _fan_out(self, capacity: Capacity) -> bool:
        """Fan out events, if any are expected and it is time, and start the deliveries claimed; return whether any."""
        pacer, started_at = self.fan_out_pacer, time.monotonic()
        limit = pacer.limit_for(capacity.slots, now=started_at) if self.poll_timer.expects_events else 0
        if not limit:
            return False
        cursor, exclude = pacer.cursor, pacer.stuck_partitions
        try:
            done = pipeline.fan_out(limit, capacity=capacity, cursor=cursor, exclude=exclude, now=self.clock())
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
                raise
            self._skip_stuck(limit)
            # There was work; the pacer says when to try again.
            return True
        self.events += done.events
        leaves_ready = done.deliveries > len(done.claims)
        self.turns.fanned_out(leaves_ready=leaves_ready)
        # Before the requests are built, so that siblings meanwhile take what does not fit here.
        if done.events == limit > FIRST_FAN_OUT or leaves_ready:
            self._wake_siblings()
        self.dispatcher.start(done.claims)
        may_be_more = pacer.fanned_out(done, limit=limit, started_at=started_at, now=time.monotonic())
        self.poll_timer.expects_events = may_be_more and (done.events > 0 or done.must_wait)
        if leaves_ready:
            self.poll_timer.expects_deliveries = self._has_backlog = True
        return done.events > 0

    def _skip_stuck(self, limit: int) -> None:
        """After a statement timeout, fan out one event at a time; if that fails too, skip its partition in this run."""
        pacer = self.fan_out_pacer
        log.error("Fan-out of %d events exceeded HOOKHUB_STATEMENT_TIMEOUT_MS", limit)
        pacer.timed_out(now=time.monotonic())
        if limit == 1:
            pacer.stuck_partitions += fanning_out.next_partitions(pacer.cursor, exclude=pacer.stuck_partitions)

    def _settle_if_due(self, *, is_over: bool) -> None:
        """Settle the results, if that is due; what has waited for them becomes expected work."""
        is_urgent = not self.sender.in_flight and (is_over or self._has_backlog)
        if self.settler.is_due(is_urgent=is_urgent) and self.settler.settle():
            self._has_backlog = self.settler.found_ready
            if self._has_backlog:
                self.poll_timer.expect(deliveries=True)

    def _wait(self, *, is_over: bool) -> None:
        """Wait until a request ends, a wake-up comes, or it is time to poll or to settle."""
        timer = self.poll_timer
        self._listens = not (is_over or timer.expects_work) and self._listen()
        patience = self._patience(now=time.monotonic())
        if self.sender.in_flight:
            self.sender.let_interrupt(self.listener.link if self._listens else None)
            self.dispatcher.collect(timedelta(seconds=patience))
            if self.sender.in_flight:
                hit("sent")
        elif self._listens or self.results.unsettled or timer.expects_work:
            self.listener.wait(patience)
            if self._listens and self.listener.take_from_pipe():
                self._hear(Work.ANY)
        if self._listens and (work := self.listener.heard()) is not None:
            self._hear(work)

    def _patience(self, *, now: float) -> float:
        """Return for how many seconds to wait at most."""
        timer, longest = self.poll_timer, MAX_WAIT.total_seconds()
        limits = [longest if self._listens else timer.interval.total_seconds()]
        if self.results.unsettled and not self.outage.is_waiting(now=now):
            limits.append(self.results.due_in(now=now))
        if timer.expects_events and not timer.expects_deliveries:
            limits.append(self.fan_out_pacer.due_at - now)
        return max(0.0, min(limits))

    def _listen(self) -> bool:
        """Listen for wake-ups; return False if Redis is away, or if another process of this worker stays instead."""
        has_seat = residency.take_seat()
        stays = self.sender.in_flight or self.results.unsettled or (has_seat and self.stay)
        return bool(stays) and self.listener.arm(marks=has_seat)

    def _hear(self, work: Work) -> None:
        """Expect the work of which a wake-up tells."""
        hit("woken")
        self._note_work()
        self.poll_timer.expect(events=True, deliveries=work is Work.ANY)

    def _wake_siblings(self) -> None:
        """Send a wake-up for other processes, at most once per interval; they then run for as long as there is work."""
        now = time.monotonic()
        if self.wake_interval.is_over(now=now):
            wakeup.notify_idle_process()
            self.wake_interval.begin(now=now)

    def _is_anything_to_do(self, capacity: Capacity | None = None) -> bool:
        return claiming.is_anything_to_do(capacity, max_in_flight=settings.HOOKHUB_MAX_IN_FLIGHT, now=self.clock())

    def _is_anything_ready(self, capacity: Capacity) -> bool:
        limit = settings.HOOKHUB_MAX_IN_FLIGHT
        return claiming.is_anything_to_do(capacity, max_in_flight=limit, includes_events=False, now=self.clock())


_senders: dict[int, Sender] = {}


def sender_of_this_process() -> Sender:
    """Return this process's sender, which keeps its connections from one run to the next."""
    pid = os.getpid()
    # Keep a sender inherited from the parent: destroying it would write to and close connections that the parent uses.
    if pid not in _senders:
        _senders[pid] = make_sender(slots=OVERCOMMIT * settings.HOOKHUB_SLOTS)
    return _senders[pid]


def run_until_idle(time_slice: timedelta, *, stay: timedelta = timedelta(0)) -> Progress:
    """Run the pipeline with this process's sender until nothing is due or ``time_slice`` is over; return progress.

    With nothing to do it listens for wake-ups for another ``stay``, if it is the process of its worker that may.
    """
    # The database connection is kept from run to run; this replaces one that is broken or too old.
    close_old_connections()
    return WorkerLoop(sender_of_this_process(), DatabaseClock(), time_slice, stay).run()
