"""A worker without Redis: its own processes deliver, are replaced when they die, and settle before they end."""

from collections.abc import Iterator
from functools import partial

import psutil
import pytest

from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import is_alive, wait_for, wait_until_dead
from tests.acceptance.instances import as_new, idle_instance
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    # The lease is so long that no test passes by waiting for it.
    with idle_instance(HOOKHUB_LEASE="600") as running:
        yield running


@pytest.fixture
def instance(shared: Instance) -> Instance:
    return as_new(shared, worker=False)


def start_without_redis(instance: Instance) -> None:
    """Start a worker without a Redis that could wake it."""
    instance.servers.process("valkey").kill()
    instance.start("worker")


def hang(receiver: Receiver, _connection: object, _request: Received) -> None:
    receiver.closing.wait(30)


def test_children_whose_worker_is_killed_settle_what_is_in_flight_and_end(
    instance: Instance, receiver: Receiver
) -> None:
    receiver.delay = 1.0
    instance.client.webhooks.create(receiver.url(), events=["*"])
    start_without_redis(instance)
    instance.client.publish_batch([Event("push", number) for number in range(60)])
    receiver.wait_for(5)

    children = instance.kill_parent("worker")

    assert wait_until_dead(children, seconds=30) == []
    # Events not fanned out yet have no state.
    states = instance.states()
    assert set(states) <= {"delivered", "pending"}
    assert states["delivered"] == len(receiver.received) < 60


def test_what_a_killed_child_had_in_flight_is_taken_back_at_once_and_sent_by_another(
    instance: Instance, receiver: Receiver
) -> None:
    receiver.script = partial(hang, receiver)
    instance.client.webhooks.create(receiver.url(), events=["*"])
    start_without_redis(instance)
    instance.client.publish("push", {"a": 1})
    receiver.wait_for(1)

    receiver.script, receiver.answers["/"] = None, Answer(200)
    for child in instance.children_of("worker"):
        child.kill()

    wait_for(lambda: instance.states() == {"delivered": 1}, "the delivery")
    [row] = instance.client.deliveries.list()
    attempts = instance.client.deliveries.get(row["id"])["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["unknown", "delivered"]


def test_children_that_die_while_redis_is_away_are_replaced_and_left_alone_when_it_is_back(
    instance: Instance, receiver: Receiver
) -> None:
    instance.start("worker")
    instance.client.webhooks.create(receiver.url(), events=["*"])
    # This worker has seen Redis before; those of the other tests have not.
    instance.client.publish("push", 1)
    receiver.wait_for(1)
    instance.servers.process("valkey").kill()
    killed = instance.children_of("worker")
    for child in killed:
        child.kill()

    instance.client.publish("push", 2)
    receiver.wait_for(2)
    wait_for(lambda: len(instance.children_of("worker")) == len(killed), "a process for each that was killed")
    replaced = instance.children_of("worker")
    instance.servers.revive()
    instance.client.publish("push", 3)

    wait_for(lambda: instance.states() == {"delivered": 3}, "every delivery")
    assert not {child.pid for child in replaced} & {child.pid for child in killed}
    assert {child.pid for child in instance.children_of("worker")} == {child.pid for child in replaced}
    instance.check_ledger()


def test_a_worker_told_to_stop_waits_for_its_children(instance: Instance, receiver: Receiver) -> None:
    receiver.delay = 1.0
    instance.client.webhooks.create(receiver.url(), events=["*"])
    start_without_redis(instance)
    instance.client.publish_batch([Event("push", number) for number in range(60)])
    receiver.wait_for(5)
    children: list[psutil.Process] = instance.children_of("worker")

    # Only the worker gets the signal; it passes it on to its children.
    parent = instance.running.pop("worker")
    parent.terminate()

    assert parent.wait(60) == 0
    assert not any(is_alive(child) for child in children)
    # Events not fanned out yet have no state.
    states = instance.states()
    assert set(states) <= {"delivered", "pending"}
    assert states["delivered"] == len(receiver.received) < 60
