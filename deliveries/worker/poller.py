"""Polls the database for work: claims ready deliveries, fans out events, and starts the requests of both."""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

import psycopg
from django.db import OperationalError

from deliveries import telemetry, wakeup
from deliveries.pipeline import claiming, fanning_out
from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.claims import Claim
from deliveries.pipeline.request_rates import AHEAD
from deliveries.sending.sender import Sender
from deliveries.wakeup import Work
from deliveries.worker.database_clock import Clock
from deliveries.worker.dispatcher import Dispatcher
from deliveries.worker.pacing import FIRST_FAN_OUT, FanOutPacer, Interval, PollTimer, Turns
from deliveries.worker.slots import SlotTracker

log = logging.getLogger("hookhub.drain")

# How often a loop with more work than slots wakes its sibling processes.
WAKE_INTERVAL = timedelta(milliseconds=500)
# How often a busy loop marks due retries as ready.
PROMOTE_INTERVAL = timedelta(milliseconds=250)
# How long a loop that finds nothing keeps looking for ready deliveries that others have locked.
KEEP_LOOKING = timedelta(milliseconds=60)


class Poller:
    """Looks for work when ``timer`` says so, for as much of it as ``slots`` are free, and starts it.

    ``has_backlog`` says whether deliveries may wait for those in flight here to be settled, and ``quiet_since`` since
    when neither work was found nor a wake-up heard.
    """

    def __init__(self, sender: Sender, clock: Clock, *, slots: SlotTracker, dispatcher: Dispatcher) -> None:
        self._sender, self._clock, self._slots, self._dispatcher = sender, clock, slots, dispatcher
        self.timer = PollTimer(slots.total)
        self.pacer = FanOutPacer(slots.total, max_events=fanning_out.FAN_OUT_BATCH)
        self._turns = Turns()
        self._promote_interval, self._wake_interval = Interval(PROMOTE_INTERVAL), Interval(WAKE_INTERVAL)
        # The webhook served last, and the number of events fanned out.
        self.cursor = self.events = 0
        self.has_backlog = False
        self.quiet_since = time.monotonic()

    def expect(self, work: Work) -> None:
        """Expect the work that a wake-up announces."""
        self.quiet_since = time.monotonic()
        self.timer.expect(events=True, deliveries=work is Work.ANY)

    def poll(self, *, listens: bool) -> bool:
        """Start requests in the free slots, if a poll is due; return whether there was anything to do.

        A loop that ``listens`` hears of new work. Raises django.db.Error.
        """
        started_at = time.monotonic()
        if self.timer.expect_due_deliveries(now=started_at):
            self.quiet_since = started_at
        capacity = self._slots.capacity(self._sender.free, now=started_at)
        is_due = self.timer.is_due(
            capacity.slots,
            in_flight=self._sender.in_flight,
            listens=listens,
            events_at=self.pacer.due_at,
            now=started_at,
        )
        if not is_due:
            return False
        self._clock.resync()
        # Without wake-ups, a single cheap query decides whether to poll in full.
        if not self.timer.expects_work and self.is_anything_to_do(capacity):
            self.timer.expect(events=True, deliveries=True)
        found_work = self._claim_and_fan_out(capacity)
        # After the requests of new events have been started, which a retry does not delay.
        if not self.timer.expects_deliveries and self._promote_due():
            self.timer.expect(deliveries=True)
        now = time.monotonic()
        self.timer.polled(found_work=found_work, started_at=started_at, now=now)
        if found_work:
            self.quiet_since = now
        return found_work

    def _claim_and_fan_out(self, capacity: Capacity) -> bool:
        """Start requests, from claims and from fan-outs; return whether there was anything to do."""
        found_work = False
        before = self._sender.in_flight
        if self._turns.claim_first:
            found_work |= self._claim(capacity)
            capacity = self._slots.capacity(self._sender.free, now=time.monotonic())
            return (bool(capacity.slots) and self._fan_out(capacity)) or found_work
        found_work |= self._fan_out(capacity)
        if self._sender.in_flight == before:
            # What the fan-out has claimed for later turns has taken some of it.
            capacity = self._slots.capacity(self._sender.free, now=time.monotonic())
            found_work |= bool(capacity.slots) and self._claim(capacity)
        return found_work

    def _promote_due(self) -> bool:
        """Mark due retries as ready, at most once per interval; return whether there were any."""
        if not self._promote_interval.is_over(now=time.monotonic()):
            return False
        count = claiming.promote_due(now=self._clock())
        if count < claiming.PROMOTE_BATCH:
            self._promote_interval.begin(now=time.monotonic())
        return count > 0

    def _claim(self, capacity: Capacity) -> bool:
        """Claim and start ready deliveries, if any are expected; return whether there were any."""
        timer = self.timer
        if not timer.expects_deliveries:
            return False
        found_due = self._promote_due()
        began_at = telemetry.clock()
        with claiming.claim_ahead(capacity, cursor=self.cursor, now=self._clock()) as claims:
            rendered = self._dispatcher.render_ahead(claims)
        telemetry.claimed(claims, began_at=began_at)
        if claims:
            self.cursor = claims[-1].destination.webhook_id
            self.has_backlog = True
        self._turns.claimed(fills_slots=len(claims) == capacity.slots)
        if len(claims) == capacity.slots:
            self._wake_siblings()
        else:
            # Some may be left because another transaction had locked their webhook.
            is_quiet = time.monotonic() >= self.quiet_since + KEEP_LOOKING.total_seconds()
            timer.expects_deliveries = (
                not claims and not is_quiet and self.is_anything_to_do(capacity, includes_events=False)
            )
        self._expect_next(claims)
        self._dispatcher.start(claims, rendered=rendered)
        return found_due or bool(claims)

    def _fan_out(self, capacity: Capacity) -> bool:
        """Fan out events, if any are expected and it is time, and start the deliveries claimed; return whether any."""
        pacer, started_at = self.pacer, time.monotonic()
        limit = pacer.limit_for(capacity.slots, now=started_at) if self.timer.expects_events else 0
        if not limit:
            return False
        cursor, exclude = pacer.cursor, pacer.stuck_partitions
        began_at = telemetry.clock()
        try:
            with fanning_out.fan_out_ahead(
                limit, capacity=capacity, cursor=cursor, exclude=exclude, at_once=pacer.at_once, now=self._clock()
            ) as done:
                rendered = self._dispatcher.render_ahead(done.claims)
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
                raise
            self._skip_stuck(limit)
            # There was work; the pacer says when to try again.
            return True
        telemetry.fanned_out(events=done.events, deliveries=done.deliveries, claims=done.claims, began_at=began_at)
        self.events += done.events
        leaves_ready = done.deliveries > len(done.claims)
        self._turns.fanned_out(leaves_ready=leaves_ready)
        # Before the other requests are built, so that siblings meanwhile take what does not fit here.
        if done.events == limit > FIRST_FAN_OUT or leaves_ready:
            self._wake_siblings()
        self._dispatcher.start(done.claims, rendered=rendered)
        may_be_more = pacer.fanned_out(done, limit=limit, started_at=started_at, now=time.monotonic())
        self.timer.expects_events = may_be_more and (done.events > 0 or done.must_wait)
        if leaves_ready:
            self.timer.expects_deliveries = self.has_backlog = True
            self._expect_next(done.claims)
        return done.events > 0

    def _expect_next(self, claims: Sequence[Claim]) -> None:
        """Expect further deliveries of webhooks with a rate, halfway between when they may be claimed and their turn.

        So each claim takes several turns if they are close, and may be late without wasting one.
        """
        last = {claim.destination.webhook_id: claim for claim in claims if claim.starts_at is not None}
        if not last:
            return
        now, clock = time.monotonic(), self._clock()
        for claim in last.values():
            if claim.starts_at is not None and claim.destination.pace_interval is not None:
                turn = claim.starts_at + claim.destination.pace_interval
                self.timer.expect_deliveries_at(now + (turn - AHEAD / 2 - clock).total_seconds())

    def _skip_stuck(self, limit: int) -> None:
        """After a statement timeout, fan out one event at a time; if that fails too, skip its partition in this run."""
        pacer = self.pacer
        log.error("Fan-out of %d events exceeded HOOKHUB_STATEMENT_TIMEOUT_MS", limit)
        pacer.timed_out(now=time.monotonic())
        if limit == 1:
            pacer.stuck_partitions += fanning_out.next_partitions(pacer.cursor, exclude=pacer.stuck_partitions)

    def _wake_siblings(self) -> None:
        """Send a wake-up for other processes, at most once per interval; they then run for as long as there is work."""
        now = time.monotonic()
        if self._wake_interval.is_over(now=now):
            wakeup.notify_idle_process()
            self._wake_interval.begin(now=now)

    def is_anything_to_do(self, capacity: Capacity | None = None, *, includes_events: bool = True) -> bool:
        """Return whether an event or a delivery is ready; with a ``capacity``, one that fits it."""
        return claiming.is_anything_to_do(capacity, includes_events=includes_events, now=self._clock())
