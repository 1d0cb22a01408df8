"""Which process of a worker stays in its loop when there is nothing to do."""

import os
from collections.abc import Iterator

import pytest

from deliveries.worker import residency
from deliveries.worker.residency import VALID_FOR


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [100.0]
    monkeypatch.setattr(residency.time, "monotonic", lambda: moment[0])
    return moment


@pytest.fixture(autouse=True)
def seat() -> Iterator[None]:
    residency.open_seat()
    yield
    residency.close_seat()


def in_a_child(what: str) -> bool:
    """Call a function of the module in a forked process and return its answer."""
    pid = os.fork()
    if pid == 0:
        os._exit(bool(getattr(residency, what)()))
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def test_one_process_of_a_worker_stays_and_may_renew_its_stay(clock: list[float]) -> None:
    assert residency.take_seat()

    assert not in_a_child("take_seat")
    clock[0] += VALID_FOR.total_seconds() - 1
    assert residency.take_seat()
    clock[0] += VALID_FOR.total_seconds() - 1
    assert not in_a_child("take_seat")


def test_a_process_that_leaves_makes_room_for_another(clock: list[float]) -> None:
    assert residency.take_seat()

    residency.leave_seat()

    assert in_a_child("take_seat")
    assert not residency.take_seat()
    # Only the holder can leave it.
    residency.leave_seat()
    assert not residency.take_seat()


def test_a_process_that_died_or_hangs_makes_room_after_a_while(clock: list[float]) -> None:
    assert in_a_child("take_seat")

    clock[0] += VALID_FOR.total_seconds() - 0.001
    assert not residency.take_seat()
    clock[0] += 0.001

    assert residency.take_seat()


def test_without_a_seat_no_process_stays() -> None:
    residency.close_seat()

    assert not residency.take_seat()
    residency.leave_seat()
