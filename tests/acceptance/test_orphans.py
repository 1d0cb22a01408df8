"""Children of a killed worker parent settle what they have in flight, and end by themselves."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import wait_for, wait_until_dead
from tests.acceptance.instances import as_new, idle_instance
from tests.receiver import Receiver

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    # The lease is so long that no test passes by waiting for it.
    with idle_instance(HOOKHUB_LEASE="600") as running:
        yield running


@pytest.fixture
def instance(shared: Instance) -> Instance:
    return as_new(shared)


def test_children_whose_parent_is_killed_under_load_settle_what_is_in_flight_and_end(
    instance: Instance, receiver: Receiver
) -> None:
    receiver.delay = 1.0
    instance.client.webhooks.create(receiver.url(), events=["*"])
    instance.client.publish_batch([Event("push", number) for number in range(60)])
    receiver.wait_for(5)

    children = instance.kill_parent("worker")

    assert children
    assert wait_until_dead(children, seconds=60) == []
    # More was queued than they delivered, and the outcome of everything they sent is known. Events not fanned out yet
    # have no state.
    states = instance.states()
    assert set(states) <= {"delivered", "pending"}
    assert states["delivered"] == len(receiver.received) < 60
    receiver.delay = 0
    instance.start("worker")
    wait_for(lambda: instance.states() == {"delivered": 60}, "the rest")
    assert set(Counter(request.headers["webhook-id"] for request in receiver.received).values()) == {1}
    instance.check_ledger()


def test_idle_children_whose_parent_is_killed_end(instance: Instance) -> None:
    wait_for(lambda: len(instance.children_of("worker")) >= 2, "the worker's children")
    # They send a wake-up at most once a second, and idle in between.
    time.sleep(1.0)

    children = instance.kill_parent("worker")

    assert wait_until_dead(children, seconds=60) == []
