"""The worker loop: runs the pipeline, after a wake-up, until nothing is left to do.

``poller`` looks for work, ``dispatcher`` starts its requests and collects their results, and ``settler`` settles those.
The decisions are pure: ``pacing`` (when to poll, how much to fan out), ``slots`` (how much fits), ``results`` (when to
settle) and ``outage`` (when to try an unavailable database again).
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import Error, close_old_connections, connection

from deliveries import shutdown, telemetry, wakeup
from deliveries.failpoints import hit
from deliveries.sending.sender import Sender, make_sender
from deliveries.wakeup import Work
from deliveries.worker import residency
from deliveries.worker.database_clock import Clock, DatabaseClock
from deliveries.worker.dispatcher import Dispatcher
from deliveries.worker.listener import listener_of_this_process
from deliveries.worker.outage import Outage
from deliveries.worker.poller import Poller
from deliveries.worker.results import ResultBuffer
from deliveries.worker.settler import Settler
from deliveries.worker.slots import OVERCOMMIT, SlotTracker

log = logging.getLogger("hookhub.drain")

# How long a loop waits at most before it looks whether its time slice is over or its parent has died.
MAX_WAIT = timedelta(milliseconds=500)


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
        self.outage, self.results = Outage(), ResultBuffer()
        self.slots = SlotTracker(max(1, self.sender.slots // OVERCOMMIT))
        self.dispatcher = Dispatcher(self.sender, self.clock, slots=self.slots, results=self.results)
        self.settler = Settler(self.results, clock=self.clock, outage=self.outage)
        self.poller = Poller(self.sender, self.clock, slots=self.slots, dispatcher=self.dispatcher)
        self.listener = listener_of_this_process()
        # Whether a wake-up would have been heard during the last wait.
        self._listens = False
        # Whether work was looked for once more since the last wake-up, or the last poll that found any.
        self._looked_again = False

    def run(self) -> Progress:
        """Run until done and return the progress made."""
        try:
            return self._run(over_at=time.monotonic() + self.time_slice.total_seconds())
        finally:
            telemetry.in_flight(0)

    def _run(self, *, over_at: float) -> Progress:
        while True:
            is_over = self.is_stopping() or (time.monotonic() >= over_at and not self.sender.in_flight)
            if is_over:
                self._release_waiting()
            else:
                self._fill_slots()
            telemetry.in_flight(self.sender.in_flight)
            self._wait(is_over=is_over)
            self._settle_if_due(is_over=is_over)
            if self.sender.in_flight or self.results.unsettled or self.dispatcher.has_waiting:
                if not self.sender.in_flight and self.is_stopping() and self.settler.must_abandon():
                    break
            elif (is_over or self._is_idle()) and self._may_leave(is_over=is_over):
                break
        return Progress(self.poller.events, self.settler.settled)

    def _is_idle(self) -> bool:
        """Return whether there is nothing to do and this process does not stay any longer."""
        if self.poller.timer.expects_work or self._waits():
            return False
        is_stay_over = time.monotonic() >= self.poller.quiet_since + self.stay.total_seconds()
        return is_stay_over or not self._listens

    def _may_leave(self, *, is_over: bool) -> bool:
        """Stop listening, and return whether to end: not if there is work of which a wake-up was not heard."""
        residency.leave_seat()
        may_have_missed = self.listener.withdraw()
        if self.is_stopping() or self._looked_again or not (may_have_missed or is_over):
            return True
        if not self.poller.is_anything_to_do():
            return True
        self._looked_again = True
        if is_over:
            wakeup.notify_idle_process()
            return True
        self.poller.timer.expect(events=True, deliveries=True)
        return False

    def _fill_slots(self) -> None:
        """Start what waits for its turn; poll for work and start it, unless an unavailable database is left alone."""
        self.dispatcher.start_due()
        if self.outage.is_waiting(now=time.monotonic()):
            return
        try:
            self.dispatcher.release_late()
            if self.poller.poll(listens=self._listens):
                self._looked_again = False
        except Error as error:
            if not (self.sender.in_flight or self.results.unsettled or self._holds_claims()):
                raise
            # Requests in flight must still be settled, and claims released, so give the database time to come back.
            log.warning("The database is unavailable; %d requests are in flight: %s", self.sender.in_flight, error)
            connection.close()
            self.outage.failed(now=time.monotonic())

    def _release_waiting(self) -> None:
        """Release the deliveries that wait for their turn; without the database their leases end."""
        self.dispatcher.stop_waiting()
        with suppress(Error):
            self.dispatcher.release_late()

    def _settle_if_due(self, *, is_over: bool) -> None:
        """Settle the results, if that is due; what has waited for them becomes expected work."""
        is_urgent = not self.sender.in_flight and (is_over or self.poller.has_backlog)
        if self.settler.is_due(is_urgent=is_urgent) and self.settler.settle():
            self.poller.has_backlog = self.settler.found_ready
            if self.poller.has_backlog:
                self.poller.timer.expect(deliveries=True)

    def _wait(self, *, is_over: bool) -> None:
        """Wait until a request ends, a wake-up comes, or it is time to poll or to settle."""
        timer = self.poller.timer
        self._listens = not (is_over or timer.expects_work) and self._listen()
        patience = self._patience(is_over=is_over, now=time.monotonic())
        if self.sender.in_flight:
            self.sender.let_interrupt(self.listener.link if self._listens else None)
            self.dispatcher.collect(timedelta(seconds=patience))
            if self.sender.in_flight:
                hit("sent")
        elif self._listens or self.results.unsettled or timer.expects_work or self._waits():
            self.listener.wait(patience)
            if (self._listens or self._waits_for_turn()) and self.listener.take_from_pipe():
                self._hear(Work.ANY)
        if self._listens and (work := self.listener.heard()) is not None:
            self._hear(work)

    def _holds_claims(self) -> bool:
        """Return whether there are claims without a request: they wait for their turn, or are to be released."""
        return self.dispatcher.has_waiting or self.dispatcher.has_late

    def _waits_for_turn(self) -> bool:
        """Return whether deliveries of webhooks with a rate wait, here or to be claimed soon."""
        expected = self.poller.timer.deliveries_expected_in(now=time.monotonic())
        return self.dispatcher.has_waiting or expected is not None

    def _waits(self) -> bool:
        """Return whether there is a turn to wait for, or the database, for claims to be released."""
        return self._waits_for_turn() or self.dispatcher.has_late

    def _patience(self, *, is_over: bool, now: float) -> float:
        """Return for how many seconds to wait at most."""
        timer, longest = self.poller.timer, MAX_WAIT.total_seconds()
        limits = [longest if self._listens else timer.interval.total_seconds()]
        if (turn := self.dispatcher.next_turn_in()) is not None:
            limits.append(turn)
        is_away = self.outage.is_waiting(now=now)
        if not (is_over or is_away) and (expected := timer.deliveries_expected_in(now=now)) is not None:
            limits.append(expected)
        if self.results.unsettled and not is_away:
            limits.append(self.results.due_in(now=now))
        if timer.expects_events and not timer.expects_deliveries:
            limits.append(self.poller.pacer.due_at - now)
        return max(0.0, min(limits))

    def _listen(self) -> bool:
        """Listen for wake-ups; return False if Redis is away, or if another process of this worker stays instead."""
        has_seat = residency.take_seat()
        stays = self.sender.in_flight or self.results.unsettled or (has_seat and self.stay) or self._waits_for_turn()
        return bool(stays) and self.listener.arm(marks=has_seat)

    def _hear(self, work: Work) -> None:
        """Expect the work that a wake-up announces."""
        hit("woken")
        self._looked_again = False
        self.poller.expect(work)


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
