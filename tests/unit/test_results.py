"""The result buffer: when the worker loop settles, and what becomes of deferred results."""

import pytest

from deliveries.worker.results import ResultBuffer
from tests.unit.made_up import a_reply, a_result

RESULT = a_result(a_reply(200))


def buffer_of(count: int, *, now: float) -> ResultBuffer:
    buffer = ResultBuffer()
    for _ in range(count):
        buffer.add(RESULT, now=now)
    return buffer


# label: (results, seconds since the first one, is it urgent, is settling due)
SETTLING = {
    "there are none": (0, 60, True, False),
    "one that is new": (1, 0, False, False),
    "one, a moment before it is old": (1, 0.029, False, False),
    "one that is old": (1, 0.03, False, True),
    "one that others wait for": (1, 0, True, True),
    "almost a batch": (249, 0, False, False),
    "a batch": (250, 0, False, True),
}


@pytest.mark.parametrize(("count", "age", "is_urgent", "is_due"), SETTLING.values(), ids=SETTLING)
def test_when_settling_is_due(*, count: int, age: float, is_urgent: bool, is_due: bool) -> None:
    assert buffer_of(count, now=0).is_due(is_urgent=is_urgent, now=age) is is_due


def test_results_are_due_when_the_first_one_is_old_and_deferred_ones_after_a_moment() -> None:
    buffer = buffer_of(1, now=10)
    assert buffer.due_in(now=10.01) == pytest.approx(0.02)

    buffer.settled([RESULT], now=20)

    assert buffer.due_in(now=20.01) == pytest.approx(0.02)


def test_the_age_of_a_batch_is_that_of_its_first_result() -> None:
    buffer = buffer_of(1, now=0)
    buffer.add(RESULT, now=0.025)

    assert buffer.is_due(is_urgent=False, now=0.03)


def test_settled_results_are_removed_and_the_next_batch_has_an_age_of_its_own() -> None:
    buffer = buffer_of(2, now=10)

    buffer.settled([], now=10.03)
    assert buffer.unsettled == []
    buffer.add(RESULT, now=10.03)

    assert not buffer.is_due(is_urgent=False, now=10.059)
    assert buffer.is_due(is_urgent=False, now=10.061)


def test_deferred_results_stay_and_are_settled_again_after_a_moment() -> None:
    buffer = buffer_of(2, now=10)
    deferred = [RESULT]

    buffer.settled(deferred, now=20)

    assert buffer.unsettled == deferred
    assert not buffer.is_due(is_urgent=True, now=20.029)
    assert buffer.is_due(is_urgent=False, now=20.031)


def test_new_results_wait_with_deferred_ones() -> None:
    buffer = buffer_of(1, now=10)
    buffer.settled([RESULT], now=20)
    for _ in range(250):
        buffer.add(RESULT, now=20)

    assert not buffer.is_due(is_urgent=False, now=20.029)
    assert buffer.is_due(is_urgent=False, now=20.031)
