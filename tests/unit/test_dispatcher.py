"""The order in which a worker loop builds and sends the requests of a large batch."""

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import cast

import pytest
from django.conf import settings

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


def start(count: int, *, now: datetime = NOW) -> tuple[InstantSender, ResultBuffer, SlotTracker]:
    sender, results, slots = InstantSender(), ResultBuffer(), SlotTracker(1000)
    dispatcher = Dispatcher(cast("Sender", sender), Stopped(now), slots=slots, results=results)
    dispatcher.start([a_claim() for _ in range(count)])
    return sender, results, slots


def test_the_first_requests_of_a_large_batch_are_sent_before_the_last_are_built() -> None:
    sender, results, slots = start(2 * AT_ONCE + 1)

    assert sender.batches == [AT_ONCE, AT_ONCE]
    assert len(sender.started) == 1
    assert len(results.unsettled) == 2 * AT_ONCE
    assert slots.capacity(1000, now=0).slots == 999


def test_a_small_batch_is_built_in_one_go() -> None:
    sender, results, _ = start(AT_ONCE)

    assert sender.batches == []
    assert (len(sender.started), len(results.unsettled)) == (AT_ONCE, 0)


# Seconds since the claim, which is leased for a minute; the rate; and whether its request is still sent.
AGES = {
    "at once": (0, 60, True),
    "two seconds later": (2, 60, True),
    "later than a rate allows": (2.001, 60, False),
    "later, without a rate": (29, None, True),
    "too late for the lease": (31, None, False),
}


@pytest.mark.parametrize(("age", "rate", "is_sent"), AGES.values(), ids=AGES)
def test_a_request_that_counts_against_a_rate_follows_its_claim(age: float, rate: int | None, *, is_sent: bool) -> None:
    claim = a_claim(leased_until=NOW + settings.HOOKHUB_LEASE, allowed_rate=rate)

    assert is_timely(claim, now=NOW + timedelta(seconds=age)) is is_sent
