"""When the worker loop polls the database, and how much it fans out; times are in seconds of a monotonic clock."""

from datetime import timedelta
from heapq import heappop, heappush

from deliveries.pipeline.fanning_out import LARGE_FAN_OUT, FannedOut
from deliveries.worker.outage import DB_RETRY_DELAY

# How soon a loop with requests in flight polls for new work: the busy interval if it is busy, the idle one with few in
# flight, which may all be waiting for receivers that hang.
BUSY_POLL_INTERVAL = timedelta(milliseconds=40)
IDLE_POLL_INTERVAL = timedelta(milliseconds=5)
# A loop is busy if more than this fraction of its slots is in use.
BUSY_FROM = 0.1
# After a poll that found nothing, wait at least this many times as long as the poll took.
EMPTY_POLL_BACKOFF = 4
# The first fan-out takes few events, because it is not known how many webhooks match. Each further one may take more,
# by the factor FAN_OUT_GROWTH, as long as the deliveries fit the free slots: one sent at once need not be queued.
# With less than this part (1/RESERVED_PART) of the slots free, the fan-out waits, and after a while runs as if that
# part were free.
FIRST_FAN_OUT = 8
FAN_OUT_GROWTH = 4
RESERVED_PART = 4
# Once the outbox is empty, wait before the next fan-out as long as the last one took, but not longer than this: events
# that come in the meantime share a statement, the more of them the busier the machine is.
MAX_FAN_OUT_PAUSE = timedelta(milliseconds=20)
# After one statement was not enough for a fan-out, it is not tried for so many others: there are probably more events
# than it takes, or webhooks with a filter, a rate or too little capacity.
FAN_OUTS_IN_STEPS = 16
# After waiting this long for the turn of a large fan-out, fan out few events at a time: the process whose turn it is
# may have been stopped.
MAX_TURN_WAIT = timedelta(milliseconds=250)
# A loop stays for deliveries that it expects within this time. Those that come later are found by a scheduler, which
# looks for them once a second.
STAY_FOR = timedelta(seconds=2)


class Interval:
    """Limits how often something is done."""

    def __init__(self, length: timedelta) -> None:
        self._length = length.total_seconds()
        self._ends_at = 0.0

    def is_over(self, *, now: float) -> bool:
        """Return whether the interval is over; it is until ``begin`` is called for the first time."""
        return now >= self._ends_at

    def begin(self, *, now: float) -> None:
        """Begin the interval."""
        self._ends_at = now + self._length


class PollTimer:
    """Decides when to poll the database, and for what: for work that a wake-up or the last poll lets expect."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._next_poll_at = 0.0
        self._last_was_empty = False
        # Which work may be there; a new loop has to look.
        self.expects_events = self.expects_deliveries = True
        # When further deliveries of webhooks with a rate may be claimed, as a heap.
        self._deliveries_at: list[float] = []
        # How long to wait for a request to end before the loop checks again whether to poll.
        self.interval = IDLE_POLL_INTERVAL

    @property
    def expects_work(self) -> bool:
        """Whether there may be work of any kind."""
        return self.expects_events or self.expects_deliveries

    def expect(self, *, events: bool = False, deliveries: bool = False) -> None:
        """Note that there may be such work, so that it is looked for as soon as there are slots for it."""
        self.expects_events |= events
        self.expects_deliveries |= deliveries
        self._last_was_empty, self._next_poll_at = False, 0.0

    def expect_deliveries_at(self, moment: float) -> None:
        """Note that there may be deliveries from this moment on."""
        heappush(self._deliveries_at, moment)

    def deliveries_expected_in(self, *, now: float) -> float | None:
        """Return in how many seconds that moment comes; None if the loop would not stay for it."""
        if not self._deliveries_at or self._deliveries_at[0] > now + STAY_FOR.total_seconds():
            return None
        return self._deliveries_at[0] - now

    def expect_due_deliveries(self, *, now: float) -> bool:
        """Expect the deliveries whose moment has come; return whether there are any."""
        has_come = False
        while self._deliveries_at and self._deliveries_at[0] <= now:
            heappop(self._deliveries_at)
            has_come = True
        if has_come:
            self.expect(deliveries=True)
        return has_come

    def is_due(self, free: int, *, in_flight: int, listens: bool, events_at: float, now: float) -> bool:
        """Return whether to poll now for this many free slots; also choose the interval by them.

        Events are fanned out from ``events_at`` on. While requests are in flight, poll only if many slots are free, or
        if the poll interval has passed. A loop that hears no wake-ups polls at intervals without expecting anything.
        """
        self.interval = BUSY_POLL_INTERVAL if free < self._slots * (1 - BUSY_FROM) else IDLE_POLL_INTERVAL
        if not free:
            return False
        if not self.expects_work:
            waits = self.deliveries_expected_in(now=now) is not None and not in_flight
            return not listens and not waits and now >= self._next_poll_at
        if not self.expects_deliveries and now < events_at:
            return False
        has_many = not in_flight or free >= self._slots // 2
        return (has_many and not self._last_was_empty) or now >= self._next_poll_at

    def polled(self, *, found_work: bool, started_at: float, now: float) -> None:
        """Schedule the next poll: soon if the last one found nothing, but later if that took long."""
        self._last_was_empty = not found_work
        if found_work:
            self._next_poll_at = now + BUSY_POLL_INTERVAL.total_seconds()
        else:
            delay = max(IDLE_POLL_INTERVAL.total_seconds(), EMPTY_POLL_BACKOFF * (now - started_at))
            self._next_poll_at = now + delay


class Turns:
    """Decides whether a poll claims ready deliveries before it fans out events.

    As long as a webhook has ready deliveries, a fan-out can only add to them, and each of them is written once more by
    its claim. So they come first, and the fan-out gets the slots that are left. After claims that filled all slots, the
    fan-out has a turn, so that new events do not wait for a backlog.
    """

    def __init__(self) -> None:
        self._may_be_ready = self._claims_filled_slots = False

    @property
    def claim_first(self) -> bool:
        """Return whether to claim first."""
        return self._may_be_ready and not self._claims_filled_slots

    def claimed(self, *, fills_slots: bool) -> None:
        """Note a claim, and whether it filled all free slots."""
        self._may_be_ready = self._claims_filled_slots = fills_slots

    def fanned_out(self, *, leaves_ready: bool) -> None:
        """Note a fan-out, and whether deliveries that it created were not claimed at once."""
        self._claims_filled_slots = False
        self._may_be_ready |= leaves_ready


class FanOutPacer:
    """Decides when to fan out, from which partition on, and how many events at a time (at most ``max_events``)."""

    def __init__(self, slots: int, *, max_events: int) -> None:
        self._reserved = slots // RESERVED_PART
        self._max_events = max_events
        # The outbox partition served last, and those with an event whose fan-out exceeds the statement timeout.
        self.cursor = 0
        self.stuck_partitions: list[int] = []
        # When the next fan-out is due.
        self.due_at = 0.0
        # From this time on, fan out even with few free slots.
        self._anyway_at = 0.0
        # The limit of the next fan-out, and the deliveries per event of the last one.
        self._limit = FIRST_FAN_OUT
        self._deliveries_per_event = 1.0
        # Since when large fan-outs have waited for their turn, or None.
        self._waiting_since: float | None = None
        # How many fan-outs are not to be tried by one statement.
        self._in_steps = 0

    @property
    def at_once(self) -> bool:
        """Return whether to try the next fan-out by one statement."""
        return not self._in_steps

    def limit_for(self, free: int, *, now: float) -> int:
        """Return how many events to fan out now for this many free slots; 0 if none."""
        if now < self.due_at or (free < self._reserved and now < self._anyway_at):
            return 0
        self._anyway_at = now + BUSY_POLL_INTERVAL.total_seconds()
        fitting = int(max(free, self._reserved) / max(self._deliveries_per_event, 1))
        has_waited = self._waiting_since is not None and now - self._waiting_since >= MAX_TURN_WAIT.total_seconds()
        return max(1, min(fitting, LARGE_FAN_OUT if has_waited else self._limit))

    def fanned_out(self, done: FannedOut, *, limit: int, started_at: float, now: float) -> bool:
        """Adapt to a fan-out of up to ``limit`` events, and return whether there may be more of them."""
        if not done.at_once:
            self._in_steps = self._in_steps - 1 if self._in_steps else FAN_OUTS_IN_STEPS
        if done.must_wait:
            self.due_at = now + IDLE_POLL_INTERVAL.total_seconds()
            self._waiting_since = now if self._waiting_since is None else self._waiting_since
            return True
        if limit > LARGE_FAN_OUT:
            self._waiting_since = None
        is_end = done.events < limit and (done.events or done.cursor == self.cursor)
        self.cursor = done.cursor
        if is_end:
            self.due_at = now + min(now - started_at, MAX_FAN_OUT_PAUSE.total_seconds())
        elif done.events == limit:
            self._limit = min(FAN_OUT_GROWTH * limit, self._max_events)
        if done.events:
            self._deliveries_per_event = done.deliveries / done.events
        return not is_end

    def timed_out(self, *, now: float) -> None:
        """After a statement timeout, wait a moment and begin with a single event again."""
        self.due_at = now + DB_RETRY_DELAY.total_seconds()
        self._limit = 1
