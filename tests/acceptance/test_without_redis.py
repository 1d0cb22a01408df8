"""A worker without Redis: its own processes deliver, are replaced when they die, and settle before they end."""

from collections.abc import Iterator
from functools import partial

import psutil
import pytest

from hookhub.client import Event
from testbed.processes import is_alive, wait_until_dead
from tests.acceptance.crew import Crew, prepared_home, wait_until
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.acceptance


@pytest.fixture
def crew() -> Iterator[Crew]:
    # The lease is so long that no test passes by waiting for it.
    with prepared_home() as home, Crew(home, HOOKHUB_LEASE="600") as running:
        yield running


def start_without_redis(crew: Crew) -> None:
    """Restart the worker without a Redis that could wake it."""
    crew.kill("worker")
    crew.server("valkey").kill()
    crew.start("worker")


def hang(receiver: Receiver, _connection: object, _request: Received) -> None:
    receiver.closing.wait(30)


def test_children_whose_worker_is_killed_settle_what_is_in_flight_and_end(crew: Crew, receiver: Receiver) -> None:
    receiver.delay = 1.0
    crew.client.webhooks.create(receiver.url(), events=["*"])
    start_without_redis(crew)
    crew.client.publish_batch([Event("push", number) for number in range(60)])
    receiver.wait_for(5)

    children = crew.kill_parent("worker")

    assert wait_until_dead(children, seconds=30) == []
    # Events not fanned out yet have no state.
    states = crew.states()
    assert set(states) <= {"delivered", "pending"}
    assert states["delivered"] == len(receiver.received) < 60


def test_what_a_killed_child_had_in_flight_is_taken_back_at_once_and_sent_by_another(
    crew: Crew, receiver: Receiver
) -> None:
    receiver.script = partial(hang, receiver)
    crew.client.webhooks.create(receiver.url(), events=["*"])
    start_without_redis(crew)
    crew.client.publish("push", {"a": 1})
    receiver.wait_for(1)

    receiver.script, receiver.answers["/"] = None, Answer(200)
    for child in crew.children_of("worker"):
        child.kill()

    wait_until(lambda: crew.states() == {"delivered": 1}, "the delivery")
    [row] = crew.client.deliveries.list()
    attempts = crew.client.deliveries.get(row["id"])["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["unknown", "delivered"]


def test_children_that_die_while_redis_is_away_are_replaced_and_left_alone_when_it_is_back(
    crew: Crew, receiver: Receiver
) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])
    # This worker has seen Redis before; those of the other tests have not.
    crew.client.publish("push", 1)
    receiver.wait_for(1)
    crew.server("valkey").kill()
    killed = crew.children_of("worker")
    for child in killed:
        child.kill()

    crew.client.publish("push", 2)
    receiver.wait_for(2)
    wait_until(lambda: len(crew.children_of("worker")) == len(killed), "a process for each that was killed")
    replaced = crew.children_of("worker")
    crew.revive_servers()
    crew.client.publish("push", 3)

    wait_until(lambda: crew.states() == {"delivered": 3}, "every delivery")
    assert not {child.pid for child in replaced} & {child.pid for child in killed}
    assert {child.pid for child in crew.children_of("worker")} == {child.pid for child in replaced}
    crew.check_ledger()


def test_a_worker_told_to_stop_waits_for_its_children(crew: Crew, receiver: Receiver) -> None:
    receiver.delay = 1.0
    crew.client.webhooks.create(receiver.url(), events=["*"])
    start_without_redis(crew)
    crew.client.publish_batch([Event("push", number) for number in range(60)])
    receiver.wait_for(5)
    children: list[psutil.Process] = crew.children_of("worker")

    # Only the worker gets the signal; it passes it on to its children.
    parent = crew.running.pop("worker")
    parent.terminate()

    assert parent.wait(60) == 0
    assert not any(is_alive(child) for child in children)
    # Events not fanned out yet have no state.
    states = crew.states()
    assert set(states) <= {"delivered", "pending"}
    assert states["delivered"] == len(receiver.received) < 60
