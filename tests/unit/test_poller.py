"""What a worker loop claims in one look at the database."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from deliveries.pipeline import attempting, claiming, fanning_out
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


class NotingSender(IdleSender):
    """Notes for each request that is started, and for each time that requests are sent, whether its claim had ended."""

    def __init__(self) -> None:
        self.is_committed = False
        self.seen: list[bool] = []

    def start(self, request: Any, *, token: Any) -> None:
        self.seen.append(self.is_committed)

    def wait(self, timeout: timedelta) -> list[Any]:
        self.seen.append(self.is_committed)
        return []


@pytest.mark.parametrize("door", ["fan_out_ahead", "claim_ahead"])
def test_requests_are_built_during_the_commit_and_sent_after_it(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sender: Any = NotingSender()
    slots, clock = SlotTracker(SLOTS), Stopped(NOW)
    dispatcher = Dispatcher(sender, clock, slots=slots, results=ResultBuffer())
    rendered: list[bool] = []
    render = attempting.render

    def note(*given: Any, **how: Any) -> Any:
        rendered.append(sender.is_committed)
        return render(*given, **how)

    @contextmanager
    def commit(claims: Any) -> Iterator[Any]:
        yield claims
        sender.is_committed = True

    found = [a_claim(delivery_id=uuid4()) for _ in range(3)]
    fanned_out = FannedOut(3, 3, found, 0) if door == "fan_out_ahead" else FannedOut(0, 0, [], 0)
    with_fan_out = commit if door == "fan_out_ahead" else nullcontext
    monkeypatch.setattr(attempting, "render", note)
    monkeypatch.setattr(fanning_out, "fan_out_ahead", lambda *_, **__: with_fan_out(fanned_out))
    monkeypatch.setattr(claiming, "claim_ahead", lambda *_, **__: commit(found if door == "claim_ahead" else []))
    monkeypatch.setattr(claiming, "promote_due", lambda *_, **__: 0)
    monkeypatch.setattr(claiming, "is_anything_to_do", lambda *_, **__: False)

    Poller(sender, clock, slots=slots, dispatcher=dispatcher).poll(listens=True)

    assert rendered == [False] * 3
    assert sender.seen == [True] * 4
