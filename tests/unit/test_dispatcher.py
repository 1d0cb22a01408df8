"""The order in which a worker loop builds and sends the requests of a large batch."""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import OperationalError

from deliveries.pipeline import attempting, claiming
from deliveries.pipeline.claims import Claim
from deliveries.sending.exchange import Exchange, Request
from deliveries.sending.sender import Sender
from deliveries.worker.dispatcher import AT_ONCE, Dispatcher, is_timely
from deliveries.worker.results import ResultBuffer
from deliveries.worker.slots import SlotTracker
from tests.story import Stopped
from tests.unit.made_up import NOW, a_claim, a_reply


class InstantSender:
    """Answers, each time that it is driven, all requests that were started before."""

    def __init__(self) -> None:
        self.started: list[Hashable] = []
        self.batches: list[int] = []

    def start(self, request: Request, *, token: Hashable) -> None:
        assert isinstance(request, Request)
        self.started.append(token)

    def wait(self, timeout: timedelta) -> list[tuple[Hashable, Exchange]]:
        assert timeout == timedelta(0)
        ended, self.started = self.started, []
        self.batches.append(len(ended))
        return [(token, Exchange(timedelta(milliseconds=1), a_reply(200))) for token in ended]


@dataclass
class Moving:
    """A clock that is set by hand."""

    moment: datetime = NOW

    def __call__(self) -> datetime:
        return self.moment

    def resync(self) -> None:
        """Do nothing, since the clock is always right."""


def start(count: int, *, now: datetime = NOW) -> tuple[InstantSender, ResultBuffer, SlotTracker]:
    sender, results, slots = InstantSender(), ResultBuffer(), SlotTracker(1000)
    dispatcher = Dispatcher(cast("Sender", sender), Stopped(now), slots=slots, results=results)
    dispatcher.start([a_claim() for _ in range(count)])
    return sender, results, slots


def test_the_first_requests_of_a_large_batch_are_sent_before_the_last_are_built() -> None:
    sender, results, slots = start(2 * AT_ONCE + 1)

    assert sender.batches == [AT_ONCE, AT_ONCE, 1]
    assert len(results.unsettled) == 2 * AT_ONCE + 1
    assert slots.capacity(1000, now=0).slots == 1000


def test_a_small_batch_is_sent_at_once() -> None:
    sender, results, _ = start(AT_ONCE)

    assert sender.batches == [AT_ONCE]
    assert (len(sender.started), len(results.unsettled)) == (0, AT_ONCE)


def test_what_was_rendered_ahead_is_sent_and_the_rest_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, results, slots = InstantSender(), ResultBuffer(), SlotTracker(1000)
    dispatcher = Dispatcher(cast("Sender", sender), Stopped(NOW), slots=slots, results=results)
    turns = [NOW, *[None] * (AT_ONCE + 1)]
    claims = [a_claim(delivery_id=uuid4(), starts_at=turn) for turn in turns]

    ahead = dispatcher.render_ahead(claims)
    dispatcher.start(claims, rendered=ahead)

    assert list(ahead) == [claim.delivery_id for claim in claims[1 : AT_ONCE + 1]]
    sent = {result.claim.delivery_id: result.request for result in results.unsettled}
    assert sent == {claim.delivery_id: attempting.render(claim, now=NOW) for claim in claims}
    assert all(sent[delivery] is request for delivery, request in ahead.items())
    monkeypatch.setattr(attempting, "render", lambda *_, **__: 1 / 0)
    assert dispatcher.render_ahead(claims) == {}


@pytest.mark.parametrize(("seconds", "is_kept"), [(1, True), (1.000001, False), (29, False)])
def test_what_has_waited_for_its_commit_is_signed_anew(seconds: float, *, is_kept: bool) -> None:
    sender, results, clock = InstantSender(), ResultBuffer(), Moving()
    dispatcher = Dispatcher(cast("Sender", sender), clock, slots=SlotTracker(1000), results=results)
    claim = a_claim(delivery_id=uuid4(), leased_until=NOW + settings.HOOKHUB_LEASE)

    ahead = dispatcher.render_ahead([claim])
    clock.moment += timedelta(seconds=seconds)
    dispatcher.start([claim], rendered=ahead)

    [result] = results.unsettled
    assert result.request == attempting.render(claim, now=NOW if is_kept else clock.moment)
    assert (result.request is ahead[claim.delivery_id]) is is_kept


# Seconds since the claim, which is leased for a minute; since its turn, if it has one, which may be late by 0.1 s; and
# whether its request is still sent.
AGES = {
    "at once": (0, 0, True),
    "as late as its pace allows": (2, 0.1, True),
    "later": (2, 0.100001, False),
    "late, without a rate": (29, None, True),
    "too late for the lease": (31, None, False),
    "in turn, but too late for the lease": (31, 0, False),
}


@pytest.mark.parametrize(("age", "late", "is_sent"), AGES.values(), ids=AGES)
def test_a_request_follows_its_claim_and_its_turn(age: float, late: float | None, *, is_sent: bool) -> None:
    now = NOW + timedelta(seconds=age)
    turn = None if late is None else now - timedelta(seconds=late)
    claim = a_claim(leased_until=NOW + settings.HOOKHUB_LEASE, starts_at=turn, pace_lag=timedelta(seconds=0.1))

    assert is_timely(claim, now=now) is is_sent


@dataclass
class Turns:
    """A dispatcher with claims in turn, ten a second, of which the first is due; and what it releases."""

    clock: Moving
    sender: InstantSender
    slots: SlotTracker
    dispatcher: Dispatcher
    released: list[Claim]

    @property
    def started(self) -> int:
        return sum(self.sender.batches) + len(self.sender.started)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    clock, sender, slots = Moving(), InstantSender(), SlotTracker(8)
    dispatcher = Dispatcher(cast("Sender", sender), clock, slots=slots, results=ResultBuffer())
    released: list[Claim] = []
    monkeypatch.setattr(claiming, "release", released.extend)
    dispatcher.start([in_turn(0.1 * number) for number in range(4)])
    return Turns(clock, sender, slots, dispatcher, released)


def in_turn(seconds: float) -> Claim:
    turn = NOW + timedelta(seconds=seconds)
    return a_claim(starts_at=turn, pace_interval=timedelta(seconds=0.1), pace_lag=timedelta(seconds=0.05))


def test_requests_start_in_turn_and_none_that_waits_takes_a_slot(turns: Turns) -> None:
    assert (turns.started, turns.dispatcher.next_turn_in()) == (1, 0.1)
    assert turns.slots.capacity(16, now=0).slots == 8

    turns.clock.moment += timedelta(seconds=0.099)
    turns.dispatcher.start_due()
    assert turns.started == 1
    turns.clock.moment += timedelta(seconds=0.12)
    turns.dispatcher.start_due()

    # The turn of the second was over by then.
    assert (turns.started, turns.dispatcher.has_waiting) == (2, True)
    assert turns.released == []
    turns.dispatcher.release_late()
    assert [claim.starts_at for claim in turns.released] == [NOW + timedelta(seconds=0.1)]
    turns.dispatcher.release_late()
    assert len(turns.released) == 1


def test_what_no_longer_waits_is_released_once(turns: Turns) -> None:
    turns.dispatcher.stop_waiting()
    turns.dispatcher.release_late()

    assert (turns.started, len(turns.released), turns.dispatcher.next_turn_in()) == (1, 3, None)
    turns.clock.moment += timedelta(seconds=1)
    turns.dispatcher.start_due()
    assert turns.started == 1


def test_a_release_that_fails_is_repeated(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OperationalError

    turns.dispatcher.stop_waiting()
    monkeypatch.setattr(claiming, "release", fail)
    with pytest.raises(OperationalError):
        turns.dispatcher.release_late()
    monkeypatch.setattr(claiming, "release", turns.released.extend)
    turns.dispatcher.release_late()

    assert len(turns.released) == 3


def test_turns_of_one_moment_come_in_the_order_of_their_claims() -> None:
    clock, sender, slots = Moving(), InstantSender(), SlotTracker(1000)
    dispatcher = Dispatcher(cast("Sender", sender), clock, slots=slots, results=ResultBuffer())

    dispatcher.start([in_turn(0) for _ in range(2 * AT_ONCE + 1)])

    assert sender.batches == [AT_ONCE, AT_ONCE, 1]
