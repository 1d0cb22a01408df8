"""The process in which a worker works while Redis is away: it ends with its worker and leaves nothing behind."""

from collections.abc import Iterator

import psutil
import pytest

from chaos.crew import is_alive, wait_until_dead
from hookhub.client import Event
from tests.acceptance.crew import Crew, home_of_its_own, wait_until
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.acceptance


@pytest.fixture
def crew() -> Iterator[Crew]:
    # A lease so long that no test here waits for it in vain.
    with home_of_its_own() as home, Crew(home, HOOKHUB_LEASE="600") as running:
        yield running


def start_without_redis(crew: Crew) -> None:
    """Start the worker anew where there is no Redis from which to hear a bell."""
    crew.kill("worker")
    crew.server("valkey").kill()
    crew.start("worker")


def poller_of(crew: Crew) -> psutil.Process | None:
    """Give the process that does the work of the worker while Redis is away."""
    found = [child for child in crew.children_of("worker") if "--for-worker" in child.cmdline()]
    return found[0] if found else None


def test_a_poller_whose_worker_is_killed_settles_what_is_in_flight_and_ends(crew: Crew, receiver: Receiver) -> None:
    receiver.delay = 1.0
    crew.client.webhooks.create(receiver.url(), events=["*"])
    start_without_redis(crew)
    crew.client.publish_batch([Event("push", number) for number in range(60)])
    receiver.wait_for(5)
    assert poller_of(crew) is not None

    children = crew.kill_parent("worker")

    assert wait_until_dead(children, seconds=15) == []
    # What is not fanned out yet has no state.
    states = crew.states()
    assert set(states) <= {"delivered", "pending"}
    assert states["delivered"] == len(receiver.received) < 60


def test_what_a_killed_poller_had_in_hand_is_taken_back_at_once(crew: Crew, receiver: Receiver) -> None:
    def hang(connection: object, request: Received) -> None:
        receiver.closing.wait(30)

    receiver.script = hang
    crew.client.webhooks.create(receiver.url(), events=["*"])
    start_without_redis(crew)
    crew.client.publish("push", {"a": 1})
    receiver.wait_for(1)
    poller = poller_of(crew)
    assert poller is not None

    receiver.script, receiver.answers["/"] = None, Answer(200)
    poller.kill()

    wait_until(lambda: crew.states() == {"delivered": 1}, "the delivery")
    [row] = crew.client.deliveries.list()
    attempts = crew.client.deliveries.get(row["id"])["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["unknown", "delivered"]


def test_a_worker_told_to_stop_waits_for_its_poller(crew: Crew, receiver: Receiver) -> None:
    receiver.delay = 1.0
    crew.client.webhooks.create(receiver.url(), events=["*"])
    start_without_redis(crew)
    crew.client.publish_batch([Event("push", number) for number in range(60)])
    receiver.wait_for(5)
    poller = poller_of(crew)
    assert poller is not None

    # The worker alone hears it: it is a matter between it and its poller.
    parent = crew.processes.pop("worker")
    parent.terminate()

    assert parent.wait(60) == 0
    assert not is_alive(poller)
    # What is not fanned out yet has no state.
    states = crew.states()
    assert set(states) <= {"delivered", "pending"}
    assert states["delivered"] == len(receiver.received) < 60
