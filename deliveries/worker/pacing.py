"""When the worker loop polls the database, and how much it fans out; times are in seconds of a monotonic clock."""

from datetime import timedelta

from deliveries.pipeline.fanning_out import FannedOut
from deliveries.worker.outage import DB_RETRY_DELAY

# How soon a loop with requests in flight polls for new work: the busy interval if it is busy, the idle one with few in
# flight, which may all be waiting for receivers that hang.
BUSY_POLL_INTERVAL = timedelta(milliseconds=40)
IDLE_POLL_INTERVAL = timedelta(milliseconds=5)
# A loop is busy if more than this fraction of its slots is in use.
BUSY_FROM = 0.1
# After a poll that found nothing, wait at least this many times as long as the poll took.
EMPTY_POLL_BACKOFF = 4
# The first fan-out takes one event, because it is not known how many webhooks match. Each further one may take more, by
# the factor FAN_OUT_GROWTH, as long as the deliveries fit the free slots: a delivery sent at once need not be queued.
# With less than this part (1/RESERVED_PART) of the slots free, the fan-out waits, and after a while runs as if that
# part were free.
FIRST_FAN_OUT = 1
FAN_OUT_GROWTH = 4
RESERVED_PART = 4


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
    """Decides when to poll the database for work."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._next_poll_at = 0.0
        # How long to wait for a request to end before the loop checks again whether to poll.
        self.interval = IDLE_POLL_INTERVAL
        self.last_was_empty = False

    def is_due(self, free: int, *, in_flight: int, now: float) -> bool:
        """Return whether to poll now for this many free slots; also choose the interval by them.

        While requests are in flight, poll only if many slots are free and the last poll found work, or if the poll
        interval has passed.
        """
        self.interval = BUSY_POLL_INTERVAL if free < self._slots * (1 - BUSY_FROM) else IDLE_POLL_INTERVAL
        if not free:
            return False
        has_many = free >= self._slots // 2 and not self.last_was_empty
        return not in_flight or has_many or now >= self._next_poll_at

    def polled(self, *, found_work: bool, started_at: float, now: float) -> None:
        """Schedule the next poll: soon if the last one found nothing, but later if that took long."""
        self.last_was_empty = not found_work
        if found_work:
            self._next_poll_at = now + BUSY_POLL_INTERVAL.total_seconds()
        else:
            delay = max(IDLE_POLL_INTERVAL.total_seconds(), EMPTY_POLL_BACKOFF * (now - started_at))
            self._next_poll_at = now + delay

    def poll_at_once(self) -> None:
        """Make a poll due now."""
        self._next_poll_at = 0.0


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
        self._due_at = 0.0
        # From this time on, fan out even with few free slots.
        self._anyway_at = 0.0
        # The limit of the next fan-out, and the deliveries per event of the last one.
        self._limit = FIRST_FAN_OUT
        self._deliveries_per_event = 1.0

    def limit_for(self, free: int, *, now: float) -> int:
        """Return how many events to fan out now for this many free slots; 0 if none."""
        if now < self._due_at or (free < self._reserved and now < self._anyway_at):
            return 0
        self._anyway_at = now + BUSY_POLL_INTERVAL.total_seconds()
        fitting = int(max(free, self._reserved) / max(self._deliveries_per_event, 1))
        return max(1, min(fitting, self._limit))

    def fanned_out(self, done: FannedOut, *, limit: int, now: float) -> None:
        """Adapt to a fan-out of up to ``limit`` events."""
        is_end = done.events < limit and (done.events or done.cursor == self.cursor)
        self.cursor = done.cursor
        if is_end:
            self._due_at = now + BUSY_POLL_INTERVAL.total_seconds() / 2
        elif done.events == limit:
            self._limit = min(FAN_OUT_GROWTH * limit, self._max_events)
        if done.events:
            self._deliveries_per_event = done.deliveries / done.events

    def timed_out(self, *, now: float) -> None:
        """After a statement timeout, wait a moment and begin with a single event again."""
        self._due_at = now + DB_RETRY_DELAY.total_seconds()
        self._limit = FIRST_FAN_OUT
