"""What a worker loop claims in one look at the database."""

from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import pytest

from deliveries.pipeline import claiming, fanning_out
from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.fanning_out import FannedOut
from deliveries.worker.dispatcher import Dispatcher
from deliveries.worker.poller import Poller
from deliveries.worker.results import ResultBuffer
from deliveries.worker.slots import OVERCOMMIT, SlotTracker
from tests.story import Stopped
from tests.unit.made_up import NOW, a_claim

SLOTS = 8


class IdleSender:
    """A sender in which nothing is in flight."""

    in_flight, free = 0, OVERCOMMIT * SLOTS


def waiting(count: int) -> list[Any]:
    """Return claims whose turn is yet to come."""
    return [a_claim(starts_at=NOW + timedelta(seconds=0.2)) for _ in range(count)]


@pytest.mark.parametrize(
    ("before", "fanned_out", "claimed"),
    [
        pytest.param(0, 8, [8], id="room for as many again"),
        pytest.param(6, 8, [2], id="room for some"),
        pytest.param(8, 8, [], id="no room"),
    ],
)
def test_what_a_fan_out_lets_wait_for_its_turn_leaves_less_to_claim(
    before: int, fanned_out: int, claimed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender: Any = IdleSender()
    slots, clock = SlotTracker(SLOTS), Stopped(NOW)
    dispatcher = Dispatcher(sender, clock, slots=slots, results=ResultBuffer())
    dispatcher.start(waiting(before))
    asked: list[int] = []

    def fan_out(*_: Any, **__: Any) -> AbstractContextManager[FannedOut]:
        return nullcontext(FannedOut(fanned_out, fanned_out, waiting(fanned_out), 0))

    def claim(capacity: Capacity, **_: Any) -> AbstractContextManager[list[Any]]:
        asked.append(capacity.slots)
        return nullcontext([])

    monkeypatch.setattr(fanning_out, "fan_out_ahead", fan_out)
    monkeypatch.setattr(claiming, "claim_ahead", claim)
    monkeypatch.setattr(claiming, "promote_due", lambda *_, **__: 0)
    monkeypatch.setattr(claiming, "is_anything_to_do", lambda *_, **__: False)

    Poller(sender, clock, slots=slots, dispatcher=dispatcher).poll(listens=True)

    assert asked == claimed
