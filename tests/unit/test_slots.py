"""Slot accounting: fast receivers keep their slots, whatever the slow ones do."""

import pytest

from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.claims import Claim
from deliveries.worker.slots import SlotTracker
from tests.unit.made_up import a_claim


def started(tracker: SlotTracker, count: int, *, now: float, webhook_id: int = 1, slow: bool = False) -> list[Claim]:
    claims = [a_claim(webhook_id=webhook_id, slow=slow) for _ in range(count)]
    for claim in claims:
        tracker.start(claim, now=now)
    return claims


def test_an_idle_worker_has_all_its_slots_and_a_quarter_of_them_for_slow_receivers() -> None:
    assert SlotTracker(8).capacity(16, now=0) == Capacity(8, slow_slots=2, stalled_webhooks=[])


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 7])
def test_a_worker_of_few_slots_has_one_for_slow_receivers(slots: int) -> None:
    assert SlotTracker(slots).capacity(16, now=0).slow_slots == 1


def test_the_capacity_is_at_most_what_the_sender_has_free() -> None:
    assert SlotTracker(8).capacity(3, now=0) == Capacity(3, slow_slots=2, stalled_webhooks=[])


# label: (in flight: (count, age in seconds, is slow), (free slots, free slots for slow webhooks))
IN_FLIGHT = {
    "prompt and young": ([(3, 0.5, False)], (5, 2)),
    "prompt and of the very age": ([(3, 1.0, False)], (8, 0)),
    "slow and young": ([(1, 0.5, True)], (7, 1)),
    "slow and old": ([(2, 5.0, True)], (8, 0)),
    "full of young ones": ([(8, 0.1, False)], (0, 2)),
    "full of ones that hang": ([(8, 2.0, False)], (8, 0)),
    "some hang": ([(6, 2.0, False), (5, 0.1, False)], (3, 0)),
    "full to the brim": ([(16, 2.0, False)], (0, 0)),
    "nearly so": ([(14, 2.0, False), (1, 0.1, False)], (1, 0)),
}


@pytest.mark.parametrize(("requests", "expected"), IN_FLIGHT.values(), ids=IN_FLIGHT)
def test_stalled_requests_give_their_slots_back(
    requests: list[tuple[int, float, bool]], expected: tuple[int, int]
) -> None:
    tracker = SlotTracker(8)
    for count, age, slow in requests:
        started(tracker, count, now=100 - age, slow=slow)

    found = tracker.capacity(16, now=100)

    assert (found.slots, found.slow_slots) == expected


def test_those_that_wait_for_their_turn_take_slots_only_beyond_as_many_as_there_are() -> None:
    tracker = SlotTracker(8)
    waiting = [a_claim(slow=number < 1) for number in range(10)]

    free = []
    for claim in waiting:
        tracker.wait(claim)
        free.append(tracker.capacity(16, now=0).slots)

    assert free == [8] * 8 + [7, 6]
    # A slow one counts as such while it waits.
    assert tracker.capacity(16, now=0).slow_slots == 1
    for claim in waiting:
        tracker.end_wait(claim)
    assert tracker.capacity(16, now=0) == Capacity(8, slow_slots=2, stalled_webhooks=[])


def test_webhooks_with_stalled_requests_are_named_once() -> None:
    tracker = SlotTracker(8)
    started(tracker, 2, now=0, webhook_id=3)
    started(tracker, 1, now=0, webhook_id=2)
    started(tracker, 1, now=9.5, webhook_id=1)

    assert list(tracker.capacity(16, now=10).stalled_webhooks) == [2, 3]


def test_an_ended_request_leaves_no_trace() -> None:
    tracker = SlotTracker(8)
    claims = started(tracker, 4, now=0, slow=True)
    for claim in claims:
        tracker.end(claim)
    tracker.end(claims[0])

    assert tracker.capacity(16, now=100) == Capacity(8, slow_slots=2, stalled_webhooks=[])


def test_the_same_delivery_in_flight_twice_is_counted_twice() -> None:
    tracker = SlotTracker(8)
    [claim] = started(tracker, 1, now=0)
    tracker.start(claim._replace(), now=0)

    tracker.end(claim)

    assert tracker.capacity(16, now=0.5).slots == 7
