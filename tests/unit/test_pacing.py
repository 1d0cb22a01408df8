"""Pacing: when the worker loop polls the database, and how many events it fans out."""

from datetime import timedelta

import pytest

from deliveries.pipeline.fanning_out import FannedOut
from deliveries.worker.pacing import BUSY_POLL_INTERVAL, IDLE_POLL_INTERVAL, FanOutPacer, Interval, PollTimer, Turns

SLOTS = 100
MAX_EVENTS = 500


def timer_after(*, found_work: bool, took: float = 0.0) -> PollTimer:
    """Return the timer of a loop whose last poll ended at 10."""
    timer = PollTimer(SLOTS)
    timer.polled(found_work=found_work, started_at=10 - took, now=10)
    return timer


def fanned_out(
    pacer: FanOutPacer, events: int, *, deliveries: int = 0, limit: int, now: float = 10, cursor: int = 0
) -> None:
    pacer.fanned_out(FannedOut(events, deliveries, [], cursor), limit=limit, now=now)


# Interval


def test_an_interval_is_over_until_it_begins_and_again_after_its_length() -> None:
    interval = Interval(timedelta(milliseconds=250))

    assert interval.is_over(now=0)
    interval.begin(now=10)
    assert not interval.is_over(now=10.249)
    assert interval.is_over(now=10.25)


# Polling


def test_a_new_loop_polls_at_once_and_without_a_cheap_query_first() -> None:
    timer = PollTimer(SLOTS)

    assert timer.interval == IDLE_POLL_INTERVAL
    assert timer.is_due(1, in_flight=99, now=0)
    assert not timer.last_was_empty


# label: (did the last poll find work, free slots, requests in flight, seconds since the last poll, is the next one due)
POLLS = {
    "no slot is free": (True, 0, 0, 60, False),
    "nothing is in flight": (False, 1, 0, 0, True),
    "half of the slots are free": (True, 50, 50, 0, True),
    "fewer are free": (True, 49, 51, 0, False),
    "fewer are free, a moment before the busy interval ends": (True, 49, 51, 0.039, False),
    "fewer are free, and the busy interval is over": (True, 49, 51, 0.04, True),
    "many are free, and the last poll found nothing": (False, 99, 1, 0, False),
    "the same, a moment before the idle interval ends": (False, 99, 1, 0.004, False),
    "the same, and the idle interval is over": (False, 99, 1, 0.005, True),
}


@pytest.mark.parametrize(("found_work", "free", "in_flight", "later", "is_due"), POLLS.values(), ids=POLLS)
def test_when_a_poll_is_due(*, found_work: bool, free: int, in_flight: int, later: float, is_due: bool) -> None:
    timer = timer_after(found_work=found_work)

    assert timer.is_due(free, in_flight=in_flight, now=10 + later) is is_due


@pytest.mark.parametrize(
    ("took", "delay"), [(0.0, 0.005), (0.001, 0.005), (0.00125, 0.005), (0.002, 0.008), (1.0, 4.0)]
)
def test_after_an_empty_poll_the_delay_grows_with_its_duration(took: float, delay: float) -> None:
    timer = timer_after(found_work=False, took=took)

    assert not timer.is_due(1, in_flight=99, now=10 + delay - 1e-6)
    assert timer.is_due(1, in_flight=99, now=10 + delay + 1e-6)


def test_after_a_poll_that_found_work_its_duration_does_not_matter() -> None:
    timer = timer_after(found_work=True, took=1.0)

    assert timer.is_due(1, in_flight=99, now=10.04)


def test_a_poll_can_be_requested_at_once() -> None:
    timer = timer_after(found_work=False, took=60)

    timer.poll_at_once()

    assert timer.is_due(1, in_flight=99, now=10)
    # It is preceded by a cheap query.
    assert timer.last_was_empty


@pytest.mark.parametrize(
    ("free", "interval"),
    [(100, IDLE_POLL_INTERVAL), (90, IDLE_POLL_INTERVAL), (89, BUSY_POLL_INTERVAL), (0, BUSY_POLL_INTERVAL)],
)
def test_a_loop_is_busy_when_more_than_a_tenth_of_its_slots_is_in_use(free: int, interval: timedelta) -> None:
    timer = PollTimer(SLOTS)

    timer.is_due(free, in_flight=SLOTS - free, now=10)

    assert timer.interval == interval


def test_a_loop_of_one_slot_polls_whenever_it_is_free() -> None:
    timer = PollTimer(1)
    timer.polled(found_work=True, started_at=10, now=10)

    assert timer.is_due(1, in_flight=1, now=10)


# Fan-out


def test_the_first_fan_out_takes_one_event_and_each_full_one_lets_the_next_take_four_times_as_many() -> None:
    pacer = FanOutPacer(1000, max_events=MAX_EVENTS)
    limits = []
    for _ in range(7):
        limits.append(pacer.limit_for(1000, now=10))
        fanned_out(pacer, limits[-1], deliveries=limits[-1], limit=limits[-1])

    assert limits == [1, 4, 16, 64, 256, 500, 500]


# label: (deliveries per event, free slots, events)
FITTING = {
    "one webhook per event": (1, 100, 100),
    "none": (0, 100, 100),
    "four per event": (4, 100, 25),
    "thirty per event": (30, 100, 3),
    "more than there are slots": (200, 100, 1),
    "fewer slots are free": (1, 60, 60),
    "few slots are free, as if a quarter were": (1, 3, 25),
    "no slot is free": (5, 0, 5),
}


@pytest.mark.parametrize(("per_event", "free", "events"), FITTING.values(), ids=FITTING)
def test_as_many_events_are_fanned_out_as_their_deliveries_fit_the_free_slots(
    per_event: int, free: int, events: int
) -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)
    fanned_out(pacer, 100, deliveries=100 * per_event, limit=100)

    assert pacer.limit_for(free, now=11) == events


def test_with_few_free_slots_the_fan_out_waits_and_then_runs_anyway() -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)
    assert pacer.limit_for(25, now=10) == 1
    fanned_out(pacer, 1, deliveries=1, limit=1)

    assert [pacer.limit_for(24, now=10 + later) for later in (0, 0.039, 0.04, 0.05)] == [0, 0, 4, 0]
    assert pacer.limit_for(25, now=10.05) == 4


# label: (events, limit, did the cursor advance, seconds until the next fan-out)
PAUSES = {
    "all that fit": (4, 4, True, 0),
    "the outbox is empty now": (3, 4, True, 0.02),
    "the outbox was empty": (0, 4, False, 0.02),
    "others have locked the events of a partition": (0, 4, True, 0),
}


@pytest.mark.parametrize(("events", "limit", "advances", "pause"), PAUSES.values(), ids=PAUSES)
def test_with_an_empty_outbox_the_fan_out_pauses(*, events: int, limit: int, advances: bool, pause: float) -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)

    fanned_out(pacer, events, deliveries=events, limit=limit, cursor=7 if advances else 0)

    assert pacer.cursor == (7 if advances else 0)
    assert (pacer.limit_for(SLOTS, now=10) > 0) is (pause == 0)
    assert (pacer.limit_for(SLOTS, now=10 + pause - 0.001) > 0) is (pause == 0)
    assert pacer.limit_for(SLOTS, now=10 + pause) > 0


def test_an_empty_fan_out_changes_neither_the_limit_nor_the_deliveries_per_event() -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)
    fanned_out(pacer, 4, deliveries=8, limit=4)

    fanned_out(pacer, 0, limit=16)

    assert [pacer.limit_for(free, now=11) for free in (100, 28)] == [16, 14]


def test_after_a_statement_timeout_the_fan_out_pauses_and_begins_with_one_event_again() -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)
    fanned_out(pacer, 64, deliveries=640, limit=64, cursor=7)

    pacer.timed_out(now=10)

    assert pacer.limit_for(SLOTS, now=10.499) == 0
    assert pacer.limit_for(SLOTS, now=10.5) == 1
    fanned_out(pacer, 1, deliveries=1, limit=1, cursor=8)
    assert pacer.limit_for(SLOTS, now=10.5) == 4


def test_a_loop_fans_out_first_as_long_as_nothing_is_left_ready() -> None:
    turns = Turns()
    assert not turns.claim_first

    turns.fanned_out(leaves_ready=False)

    assert not turns.claim_first


def test_what_a_fan_out_leaves_ready_is_claimed_before_the_next() -> None:
    turns = Turns()

    turns.fanned_out(leaves_ready=True)
    assert turns.claim_first
    turns.fanned_out(leaves_ready=False)
    assert turns.claim_first
    turns.claimed(fills_slots=False)

    assert not turns.claim_first


def test_after_claims_that_fill_all_slots_the_fan_out_has_a_turn() -> None:
    turns = Turns()
    turns.fanned_out(leaves_ready=True)

    turns.claimed(fills_slots=True)
    assert not turns.claim_first
    turns.fanned_out(leaves_ready=False)

    assert turns.claim_first


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_loop_of_few_slots_fans_out_one_event_at_a_time(slots: int) -> None:
    pacer = FanOutPacer(slots, max_events=MAX_EVENTS)
    fanned_out(pacer, 1, deliveries=5, limit=1)

    assert pacer.limit_for(slots, now=10) == 1
