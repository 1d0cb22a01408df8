"""Slot accounting: fast receivers keep their slots, whatever the slow ones do."""

import pytest

from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.claiming import Claim
from deliveries.worker.slots import SlotTracker
from tests.unit.made_up import a_claim


def begun(lanes: SlotTracker, count: int, *, at: float, webhook_id: int = 1, slow: bool = False) -> list[Claim]:
    claims = [a_claim(webhook_id=webhook_id, slow=slow) for _ in range(count)]
    for claim in claims:
        lanes.begin(claim, at=at)
    return claims


def test_an_idle_worker_has_room_for_all_its_slots_and_a_quarter_of_them_for_slow_ones() -> None:
    assert SlotTracker(8).wanted(at=0) == Capacity(8, slow_slots=2, stalled_webhooks=[])


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 7])
def test_a_worker_of_few_slots_has_one_for_slow_receivers(slots: int) -> None:
    assert SlotTracker(slots).wanted(at=0).slow_slots == 1


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


@pytest.mark.parametrize(("requests", "wanted"), IN_FLIGHT.values(), ids=IN_FLIGHT)
def test_those_that_take_long_give_their_slots_back(
    requests: list[tuple[int, float, bool]], wanted: tuple[int, int]
) -> None:
    lanes = SlotTracker(8)
    for count, age, slow in requests:
        begun(lanes, count, at=100 - age, slow=slow)

    found = lanes.wanted(at=100)

    assert (found.slots, found.slow_slots) == wanted


def test_webhooks_whose_requests_take_long_are_named_once() -> None:
    lanes = SlotTracker(8)
    begun(lanes, 2, at=0, webhook_id=3)
    begun(lanes, 1, at=0, webhook_id=2)
    begun(lanes, 1, at=9.5, webhook_id=1)

    assert list(lanes.wanted(at=10).stalled_webhooks) == [2, 3]


def test_what_is_over_leaves_no_trace() -> None:
    lanes = SlotTracker(8)
    claims = begun(lanes, 4, at=0, slow=True)
    for claim in claims:
        lanes.end(claim)
    lanes.end(claims[0])

    assert lanes.wanted(at=100) == Capacity(8, slow_slots=2, stalled_webhooks=[])


def test_the_same_delivery_in_flight_twice_is_counted_twice() -> None:
    lanes = SlotTracker(8)
    [claim] = begun(lanes, 1, at=0)
    lanes.begin(claim._replace(), at=0)

    lanes.end(claim)

    assert lanes.wanted(at=0.5).slots == 7
