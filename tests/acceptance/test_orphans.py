"""Children of a killed worker parent settle what they have in flight, and end by themselves."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from hookhub.client import Event
from testbed.processes import wait_until_dead
from tests.acceptance.crew import Crew, prepared_home, wait_until
from tests.receiver import Receiver

pytestmark = pytest.mark.acceptance


@pytest.fixture
def crew() -> Iterator[Crew]:
    # The lease is so long that no test passes by waiting for it.
    with prepared_home() as home, Crew(home, HOOKHUB_LEASE="600") as running:
        yield running


def test_children_whose_parent_is_killed_under_load_settle_what_is_in_flight_and_end(
    crew: Crew, receiver: Receiver
) -> None:
    receiver.delay = 1.0
    crew.client.webhooks.create(receiver.url(), events=["*"])
    crew.client.publish_batch([Event("push", number) for number in range(60)])
    receiver.wait_for(5)

    children = crew.kill_parent("worker")

    assert children
    assert wait_until_dead(children, seconds=15) == []
    # More was queued than they delivered, and the outcome of everything they sent is known. Events not fanned out yet
    # have no state.
    states = crew.states()
    assert set(states) <= {"delivered", "pending"}
    assert states["delivered"] == len(receiver.received) < 60
    receiver.delay = 0
    crew.start("worker")
    wait_until(lambda: crew.states() == {"delivered": 60}, "the rest")
    assert set(Counter(request.headers["webhook-id"] for request in receiver.received).values()) == {1}
    crew.check_ledger()


def test_idle_children_whose_parent_is_killed_end(crew: Crew) -> None:
    wait_until(lambda: len(crew.children_of("worker")) >= 2, "the worker's children")
    # They send a wake-up at most once a second, and idle in between.
    time.sleep(1.0)

    children = crew.kill_parent("worker")

    assert wait_until_dead(children, seconds=15) == []
