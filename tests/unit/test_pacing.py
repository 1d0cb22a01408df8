"""Pacing: when the worker loop polls the database, and how many events it fans out."""

from datetime import timedelta

import pytest

from deliveries.pipeline.fanning_out import LARGE_FAN_OUT, FannedOut
from deliveries.worker.pacing import (
    BUSY_POLL_INTERVAL,
    FAN_OUTS_IN_STEPS,
    IDLE_POLL_INTERVAL,
    MAX_FAN_OUT_PAUSE,
    FanOutPacer,
    Interval,
    PollTimer,
    Turns,
)

SLOTS = 100
MAX_EVENTS = 500


def timer_after(*, found_work: bool, took: float = 0.0) -> PollTimer:
    """Return the timer of a loop whose last poll ended at 10, and that still expects events."""
    timer = PollTimer(SLOTS)
    timer.polled(found_work=found_work, started_at=10 - took, now=10)
    return timer


def is_due(timer: PollTimer, free: int = SLOTS, *, in_flight: int = 0, listens: bool = True, now: float) -> bool:
    return timer.is_due(free, in_flight=in_flight, listens=listens, events_at=0, now=now)


def fanned_out(
    pacer: FanOutPacer,
    events: int,
    *,
    deliveries: int = 0,
    limit: int,
    now: float = 10,
    took: float = 0.0,
    cursor: int = 0,
) -> bool:
    done = FannedOut(events, deliveries, [], cursor)
    return pacer.fanned_out(done, limit=limit, started_at=now - took, now=now)


# Interval


def test_an_interval_is_over_until_it_begins_and_again_after_its_length() -> None:
    interval = Interval(timedelta(milliseconds=250))

    assert interval.is_over(now=0)
    interval.begin(now=10)
    assert not interval.is_over(now=10.249)
    assert interval.is_over(now=10.25)


# Polling


def test_a_new_loop_looks_at_once_for_all_there_may_be() -> None:
    timer = PollTimer(SLOTS)

    assert timer.interval == IDLE_POLL_INTERVAL
    assert timer.expects_events
    assert timer.expects_deliveries
    assert is_due(timer, 1, in_flight=99, now=0)


# label: (did the last poll find work, free slots, requests in flight, seconds since the last poll, is the next one due)
POLLS = {
    "no slot is free": (True, 0, 0, 60, False),
    "nothing is in flight": (True, 1, 0, 0, True),
    "half of the slots are free": (True, 50, 50, 0, True),
    "fewer are free": (True, 49, 51, 0, False),
    "fewer are free, a moment before the busy interval ends": (True, 49, 51, 0.039, False),
    "fewer are free, and the busy interval is over": (True, 49, 51, 0.04, True),
    "many are free, and the last poll found nothing": (False, 99, 1, 0, False),
    "nothing is in flight, and the last poll found nothing": (False, 99, 0, 0, False),
    "the same, a moment before the idle interval ends": (False, 99, 1, 0.004, False),
    "the same, and the idle interval is over": (False, 99, 1, 0.005, True),
}


@pytest.mark.parametrize(("found_work", "free", "in_flight", "later", "due"), POLLS.values(), ids=POLLS)
def test_when_a_poll_for_expected_work_is_due(
    *, found_work: bool, free: int, in_flight: int, later: float, due: bool
) -> None:
    timer = timer_after(found_work=found_work)

    assert is_due(timer, free, in_flight=in_flight, now=10 + later) is due


def nothing_expected() -> PollTimer:
    timer = timer_after(found_work=True)
    timer.expects_events = timer.expects_deliveries = False
    return timer


def test_deliveries_are_expected_once_their_moment_has_come() -> None:
    timer = nothing_expected()
    timer.expect_deliveries_at(12)
    timer.expect_deliveries_at(11)

    assert timer.deliveries_expected_in(now=10) == 1
    assert not timer.expect_due_deliveries(now=10.9)
    assert not timer.expects_work
    assert timer.expect_due_deliveries(now=11)
    assert (timer.expects_deliveries, timer.expects_events) == (True, False)
    assert is_due(timer, now=11)
    assert timer.deliveries_expected_in(now=11) == 1


def test_a_loop_does_not_stay_for_what_comes_much_later() -> None:
    timer = nothing_expected()
    timer.expect_deliveries_at(20)

    assert timer.deliveries_expected_in(now=10) is None
    assert timer.deliveries_expected_in(now=18) == 2


def test_a_loop_that_only_waits_for_expected_deliveries_does_not_poll() -> None:
    timer = nothing_expected()
    assert is_due(timer, listens=False, now=20)
    timer.expect_deliveries_at(21)

    assert not is_due(timer, listens=False, now=20)
    assert is_due(timer, 99, in_flight=1, listens=False, now=20)


def test_a_loop_that_listens_does_not_poll_for_work_that_no_wake_up_told_of() -> None:
    timer = nothing_expected()

    assert not timer.expects_work
    assert not is_due(timer, in_flight=1, now=1000)
    assert not is_due(timer, now=1000)


def test_a_loop_that_cannot_listen_polls_at_intervals() -> None:
    timer = nothing_expected()

    assert not is_due(timer, in_flight=1, listens=False, now=10.039)
    assert is_due(timer, in_flight=1, listens=False, now=10.04)


def test_a_wake_up_makes_a_poll_due_at_once_for_what_it_tells_of() -> None:
    timer = nothing_expected()
    timer.polled(found_work=False, started_at=0, now=10)

    timer.expect(events=True)

    assert (timer.expects_events, timer.expects_deliveries) == (True, False)
    assert is_due(timer, 60, in_flight=40, now=10)
    timer.expect(deliveries=True)
    assert (timer.expects_events, timer.expects_deliveries) == (True, True)


def test_events_wait_for_the_next_fan_out_and_deliveries_do_not() -> None:
    timer = nothing_expected()
    timer.expect(events=True)

    assert not timer.is_due(SLOTS, in_flight=0, listens=True, events_at=10.002, now=10.001)
    assert timer.is_due(SLOTS, in_flight=0, listens=True, events_at=10.002, now=10.002)
    timer.expect(deliveries=True)
    assert timer.is_due(SLOTS, in_flight=0, listens=True, events_at=10.002, now=10.001)


@pytest.mark.parametrize(
    ("took", "delay"), [(0.0, 0.005), (0.001, 0.005), (0.00125, 0.005), (0.002, 0.008), (1.0, 4.0)]
)
def test_after_an_empty_poll_the_delay_grows_with_its_duration(took: float, delay: float) -> None:
    timer = timer_after(found_work=False, took=took)

    assert not is_due(timer, 1, in_flight=99, now=10 + delay - 1e-6)
    assert is_due(timer, 1, in_flight=99, now=10 + delay + 1e-6)


def test_after_a_poll_that_found_work_its_duration_does_not_matter() -> None:
    timer = timer_after(found_work=True, took=1.0)

    assert is_due(timer, 1, in_flight=99, now=10.04)


@pytest.mark.parametrize(
    ("free", "interval"),
    [(100, IDLE_POLL_INTERVAL), (90, IDLE_POLL_INTERVAL), (89, BUSY_POLL_INTERVAL), (0, BUSY_POLL_INTERVAL)],
)
def test_a_loop_is_busy_when_more_than_a_tenth_of_its_slots_is_in_use(free: int, interval: timedelta) -> None:
    timer = PollTimer(SLOTS)

    is_due(timer, free, in_flight=SLOTS - free, now=10)

    assert timer.interval == interval


def test_a_loop_of_one_slot_polls_whenever_it_is_free() -> None:
    timer = PollTimer(1)
    timer.polled(found_work=True, started_at=10, now=10)

    assert is_due(timer, 1, in_flight=1, now=10)


# Fan-out


def test_the_first_fan_out_takes_few_events_and_each_full_one_lets_the_next_take_four_times_as_many() -> None:
    pacer = FanOutPacer(1000, max_events=MAX_EVENTS)
    limits = []
    for _ in range(5):
        limits.append(pacer.limit_for(1000, now=10))
        fanned_out(pacer, limits[-1], deliveries=limits[-1], limit=limits[-1])

    assert limits == [8, 32, 128, 500, 500]


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
    assert pacer.limit_for(25, now=10) == 8
    fanned_out(pacer, 8, deliveries=8, limit=8)

    assert [pacer.limit_for(24, now=10 + later) for later in (0, 0.039, 0.04, 0.05)] == [0, 0, 25, 0]
    assert pacer.limit_for(26, now=10.05) == 26


# label: (events, limit, did the cursor advance, may there be more)
ENDS = {
    "all that fit": (4, 4, True, True),
    "the outbox is empty now": (3, 4, True, False),
    "the outbox was empty": (0, 4, False, False),
    "others have locked the events of a partition": (0, 4, True, True),
}


@pytest.mark.parametrize(("events", "limit", "advances", "may_be_more"), ENDS.values(), ids=ENDS)
def test_with_an_empty_outbox_the_fan_out_pauses_for_as_long_as_it_took(
    *, events: int, limit: int, advances: bool, may_be_more: bool
) -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)
    cursor = 7 if advances else 0

    assert fanned_out(pacer, events, deliveries=events, limit=limit, took=0.003, cursor=cursor) is may_be_more

    assert pacer.cursor == cursor
    assert pacer.due_at == (0 if may_be_more else pytest.approx(10.003))
    assert (pacer.limit_for(SLOTS, now=10) > 0) is may_be_more
    assert pacer.limit_for(SLOTS, now=10.004) > 0


def test_after_a_slow_fan_out_the_pause_is_bounded() -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)

    fanned_out(pacer, 1, deliveries=1, limit=8, took=1.0)

    assert pacer.due_at == 10 + MAX_FAN_OUT_PAUSE.total_seconds()


def test_a_large_fan_out_that_has_to_wait_is_tried_again_soon_and_after_a_while_as_a_small_one() -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)
    fanned_out(pacer, 16, deliveries=16, limit=16, cursor=7)
    must_wait = FannedOut(0, 0, [], 7, must_wait=True)

    assert pacer.fanned_out(must_wait, limit=64, started_at=10, now=10)

    assert (pacer.cursor, pacer.due_at) == (7, 10 + IDLE_POLL_INTERVAL.total_seconds())
    assert [pacer.limit_for(SLOTS, now=now) for now in (10, 10.005, 10.249, 10.25)] == [0, 64, 64, LARGE_FAN_OUT]
    # The wait goes on until a large one has had its turn.
    pacer.fanned_out(must_wait, limit=64, started_at=10.2, now=10.2)
    fanned_out(pacer, LARGE_FAN_OUT, deliveries=LARGE_FAN_OUT, limit=LARGE_FAN_OUT, now=10.25)
    assert pacer.limit_for(SLOTS, now=10.26) == LARGE_FAN_OUT
    fanned_out(pacer, 64, deliveries=64, limit=64, now=10.3)
    assert pacer.limit_for(SLOTS, now=10.6) == SLOTS


def test_an_empty_fan_out_changes_neither_the_limit_nor_the_deliveries_per_event() -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)
    fanned_out(pacer, 4, deliveries=8, limit=4)

    fanned_out(pacer, 0, limit=16)

    assert [pacer.limit_for(free, now=11) for free in (100, 28)] == [16, 14]


def test_after_a_statement_timeout_the_fan_out_pauses_and_begins_with_a_single_event_again() -> None:
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


def test_after_one_statement_was_not_enough_the_next_fan_outs_go_in_steps() -> None:
    pacer = FanOutPacer(SLOTS, max_events=MAX_EVENTS)
    tried = []

    for at_once in (True, False, *[False] * FAN_OUTS_IN_STEPS, True, True):
        tried.append(pacer.at_once)
        pacer.fanned_out(FannedOut(1, 1, [], 0, at_once=at_once), limit=8, started_at=9, now=10)

    assert tried == [True, True, *[False] * FAN_OUTS_IN_STEPS, True, True]
