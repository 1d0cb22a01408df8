"""The pipeline in a loop: what a worker does when the bell rings."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from deliveries import doorbell, pipeline, queue, stopping
from deliveries.attempts import Result
from deliveries.queue import Claim
from deliveries.sender import Request, Sender, make_sender

log = logging.getLogger("hookhub.drain")

# Results are written together: so many, or after so long, whichever comes first.
SETTLE_BATCH = 200
SETTLE_WITHIN = timedelta(milliseconds=20)
# How soon a drain that waits for answers looks for new work.
LOOK_AGAIN = timedelta(milliseconds=20)
# Between two looks of a drain that has nothing to do, while it lingers.
NAP = timedelta(milliseconds=3)
# After a database error: how long between two tries.
CATCH_BREATH = timedelta(seconds=0.5)
# What a drain that is to stop still waits for a database that is away.
PATIENCE_WHEN_STOPPING = timedelta(seconds=5)

Clock = Callable[[], datetime]


@dataclass(slots=True)
class Drained:
    """What one drain did: events fanned out, and attempts settled."""

    events: int = 0
    attempts: int = 0


def database_clock() -> Clock:
    """Give a clock that agrees with the database's, so that workers whose own clocks differ agree on leases."""
    base, started = queue.database_now(), time.monotonic()
    return lambda: base + timedelta(seconds=time.monotonic() - started)


_senders: dict[int, Sender] = {}


def sender_of_this_process() -> Sender:
    """Give this process's sender, which keeps its connections from one drain to the next."""
    pid = os.getpid()
    # A parent's sender stays where it is: to drop it here would close, and speak on, connections the parent still uses.
    if pid not in _senders:
        _senders[pid] = make_sender(slots=settings.HOOKHUB_SLOTS)
    return _senders[pid]


@dataclass(slots=True)
class Drain:
    """One run through the pipeline until nothing is left to do, or it is time to stop.

    After ``slice_of_time`` it ends as soon as nothing is in flight. It does not wait for the slowest request with idle
    slots: while anything is in flight the freed slots are filled. ``is_stopping`` ends the filling at once. With
    nothing left to do it lingers for a moment, because the bell rings at most once in so long.
    """

    sender: Sender
    clock: Clock
    slice_of_time: timedelta
    linger: timedelta = timedelta(0)
    is_stopping: Callable[[], bool] = stopping.is_set
    after: int = 0
    done: Drained = field(default_factory=Drained)
    _ended: list[Result] = field(default_factory=list)
    _ended_since: float = 0.0
    _look_at: float = 0.0
    # While the database does not answer: since when, and when it is asked again.
    _away_since: float | None = None
    _settle_at: float = 0.0

    def run(self) -> Drained:
        """Drain, and give what was done."""
        over_at = time.monotonic() + self.slice_of_time.total_seconds()
        leave_at = None
        while True:
            is_over = self.is_stopping() or (time.monotonic() >= over_at and not self.sender.in_flight)
            found_work = not is_over and self._top_up()
            self._listen()
            if self._is_time_to_settle():
                self._settle()
                # What was settled made room in its webhooks' shares, so there is one more look.
                found_work = True
            if found_work or self.sender.in_flight or self._ended:
                leave_at = None
                if self._is_hopeless():
                    break
                continue
            # Counted from the first empty look: what is due and cannot be had must not keep anybody looking.
            leave_at = leave_at or time.monotonic() + self.linger.total_seconds()
            if is_over or time.monotonic() >= leave_at:
                break
            self._nap(until=leave_at)
        if is_over and not self.is_stopping() and self._is_anything_to_do():
            doorbell.ring()
        return self.done

    def _nap(self, *, until: float) -> None:
        """Wait for something to do, looking often and cheaply."""
        while time.monotonic() < until and not self.is_stopping():
            time.sleep(NAP.total_seconds())
            if self._is_anything_to_do():
                return

    def _is_anything_to_do(self) -> bool:
        return queue.is_anything_to_do(max_in_flight=settings.HOOKHUB_MAX_IN_FLIGHT, now=self.clock())

    def _top_up(self) -> bool:
        """Fill the free slots with due deliveries; tell whether there was anything to do."""
        room = self.sender.free
        # While requests are in flight a look is worth it for many slots, or after a while.
        is_worth_it = not self.sender.in_flight or room >= self.sender.slots // 4 or time.monotonic() >= self._look_at
        if not room or not is_worth_it or time.monotonic() < self._settle_at:
            return False
        try:
            events, _ = pipeline.fan_out(now=self.clock())
            # The lease begins here and not before the fan-out, which may have taken its time.
            claims = pipeline.claim(room, after=self.after, now=self.clock())
        except (OperationalError, InterfaceError):
            if not self.sender.in_flight and not self._ended:
                raise
            # What is in flight must still be settled, so the database gets time to come back.
            log.warning("The database does not answer; %d requests are in flight", self.sender.in_flight)
            connection.close()
            self._settle_at = time.monotonic() + CATCH_BREATH.total_seconds()
            return False
        if claims:
            self.after = claims[-1].webhook_id
            self._begin(claims)
        if len(claims) == room or events == pipeline.FAN_OUT_BATCH:
            doorbell.ring()
        self.done.events += events
        found_work = bool(events or claims)
        self._look_at = time.monotonic() + LOOK_AGAIN.total_seconds()
        return found_work

    def _begin(self, claims: list[Claim]) -> None:
        """Begin to send what was claimed, but for what was claimed so long ago that its lease might not outlive it."""
        now = self.clock()
        timely = [claimed for claimed in claims if claimed.leased_until - now >= settings.HOOKHUB_TIMEOUT_MOST]
        if len(timely) < len(claims):
            pipeline.release([claimed for claimed in claims if claimed not in timely])
        for result in pipeline.attempt(timely, sender=self.sender, now=now):
            self._keep(result)

    def _listen(self) -> None:
        """Let the requests go forward, until one ends or it is time to look up."""
        if not self.sender.in_flight:
            # Results that wait for the database must not make the loop spin.
            if self._ended and time.monotonic() < self._settle_at:
                time.sleep(NAP.total_seconds())
            return
        for token, exchange in self.sender.wait(LOOK_AGAIN):
            claimed, request, started_at = _read_token(token)
            self._keep(pipeline.finish(claimed, request, exchange, started_at=started_at, now=self.clock()))

    def _keep(self, result: Result) -> None:
        if not self._ended:
            self._ended_since = time.monotonic()
        self._ended.append(result)

    def _is_time_to_settle(self) -> bool:
        if not self._ended or time.monotonic() < self._settle_at:
            return False
        is_old = time.monotonic() - self._ended_since >= SETTLE_WITHIN.total_seconds()
        return is_old or len(self._ended) >= SETTLE_BATCH or not self.sender.in_flight

    def _settle(self) -> None:
        """Write the results down; when the database is away they wait, and the requests in flight go on meanwhile."""
        try:
            pipeline.settle(self._ended, now=self.clock())
        except (OperationalError, InterfaceError) as error:
            self._wait_for_the_database(error)
            return
        except DatabaseError:
            log.exception("A batch of %d results is refused; they are written down one by one", len(self._ended))
            self._settle_one_by_one()
            return
        self.done.attempts += len(self._ended)
        self._ended, self._away_since = [], None
        # A settled delivery frees its webhook's share of slots, so look at once.
        self._look_at = 0.0
        try:
            pipeline.review(now=self.clock())
        except (DatabaseError, InterfaceError):
            # What there is to review stays written on the webhook, and the worker's clock reviews it too.
            log.exception("The review failed; it is made again within a second")
            connection.close()

    def _wait_for_the_database(self, error: Exception) -> None:
        connection.close()
        self._away_since = self._away_since or time.monotonic()
        self._settle_at = time.monotonic() + CATCH_BREATH.total_seconds()
        log.warning("The database does not answer; %d results wait to be written down: %s", len(self._ended), error)

    def _settle_one_by_one(self) -> None:
        """Find the result that the database refuses, and keep it from taking its neighbours along.

        Its lease runs out, and after a few times its delivery is given up as poisonous.
        """
        while self._ended:
            result = self._ended[-1]
            try:
                pipeline.settle([result], now=self.clock())
                self.done.attempts += 1
            except (OperationalError, InterfaceError) as error:
                self._wait_for_the_database(error)
                return
            except DatabaseError:
                log.exception("The result of delivery %s cannot be written down", result.claim.delivery_id)
            self._ended.pop()

    def _is_hopeless(self) -> bool:
        """Tell whether to give up on a database that is away, because we are to stop and cannot wait for ever."""
        if self._away_since is None or not self.is_stopping() or self.sender.in_flight:
            return False
        is_over = time.monotonic() - self._away_since >= PATIENCE_WHEN_STOPPING.total_seconds()
        if is_over:
            log.error("%d results could not be written down; their deliveries will be repeated", len(self._ended))
        return is_over


def _read_token(token: object) -> tuple[Claim, Request, datetime]:
    match token:
        case (Claim() as claimed, Request() as request, datetime() as started_at):
            return claimed, request, started_at
    raise TypeError(f"the sender gave back {token!r}, which the drain did not give it")


def drain_once(slice_of_time: timedelta, *, linger: timedelta = timedelta(0)) -> Drained:
    """Run the pipeline on this process's sender until nothing is due, or about ``slice_of_time`` is over."""
    return Drain(sender_of_this_process(), database_clock(), slice_of_time, linger).run()
