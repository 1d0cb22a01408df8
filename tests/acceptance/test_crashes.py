"""Processes killed and servers stopped for real: nothing is lost, and HookHub recovers by itself."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import requests

from deliveries import missing
from deliveries.failpoints import OF_REPLAYS
from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import STARTS_WITHIN_SECONDS, wait_for
from tests.acceptance.instances import as_new, halted_at, idle_instance
from tests.receiver import Received, Receiver

pytestmark = pytest.mark.acceptance

DELIVERIES = 800
WEBHOOKS = 4
KILLS = 6
SEED = 20260304


@pytest.fixture(scope="module")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which a file halts the first process that reaches the failpoint of its name."""
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="module")
def shared(failpoints: Path) -> Iterator[Instance]:
    # A short lease, so that the deliveries of a killed worker are soon claimed again.
    settings = {"HOOKHUB_LEASE": "4", "HOOKHUB_TIMEOUT": "2", "HOOKHUB_MAX_IN_FLIGHT": "5"}
    with idle_instance(HOOKHUB_FAILPOINTS=str(failpoints), **settings) as running:
        yield running


@pytest.fixture
def instance(shared: Instance) -> Instance:
    return as_new(shared)


@pytest.fixture
def without_worker(shared: Instance) -> Instance:
    return as_new(shared, worker=False)


def arrived(receiver: Receiver) -> Counter[str]:
    return Counter(request.headers["webhook-id"] for request in list(receiver.received))


def test_workers_killed_at_random_lose_nothing(instance: Instance, receiver: Receiver) -> None:
    chance = random.Random(SEED)
    # Slow responses, so that requests are in flight at each kill.
    receiver.delay = 0.03
    for number in range(WEBHOOKS):
        instance.client.webhooks.create(receiver.url(f"/{number}"), events=["*"])
    instance.client.publish_batch(Event("push", {"number": number}) for number in range(DELIVERIES // WEBHOOKS))

    for kill in range(KILLS):
        before = len(receiver.received)
        if before >= DELIVERIES:
            break
        wait_for(
            lambda: len(receiver.received) >= min(DELIVERIES, before + chance.randint(20, 120)),  # noqa: B023 - used at once
            "deliveries to go on",
        )
        if kill % 3 == 2:
            instance.kill("worker")
            instance.start("worker")
        else:
            for child in chance.sample(instance.children_of("worker"), k=1):
                child.kill()

    wait_for(lambda: instance.states() == {"delivered": DELIVERIES}, "every delivery")
    counts = arrived(receiver)
    assert len(counts) == DELIVERIES
    # At least once: only requests in flight at a kill may be repeated.
    assert sum(counts.values()) - DELIVERIES <= KILLS * WEBHOOKS * 5
    instance.check_ledger()


def test_redis_hung_killed_flushed_or_back_again_delays_and_loses_nothing(
    instance: Instance, receiver: Receiver
) -> None:
    instance.client.webhooks.create(receiver.url(), events=["*"])
    expected = 0

    def publish(*, while_: str) -> None:
        nonlocal expected
        instance.client.publish_batch([Event("push", {"while": while_})] * 3)
        expected += 3
        wait_for(lambda: len(arrived(receiver)) >= expected, f"events published with Redis {while_}")

    publish(while_="well")
    valkey = instance.servers.process("valkey")
    valkey.suspend()
    publish(while_="hung")
    valkey.resume()
    publish(while_="resumed")
    valkey.kill()
    publish(while_="killed")
    instance.servers.revive()
    publish(while_="back, and empty")
    # Wherever the wake-up for an event is at that moment, delivery does not depend on it.
    instance.client.publish("push", {"while": "flushed"})
    instance.servers.flush_redis()
    expected += 1
    wait_for(lambda: len(arrived(receiver)) >= expected, "the event published before the flush")

    assert len(arrived(receiver)) == expected
    instance.check_ledger()


def test_a_worker_that_never_saw_redis_delivers_all_the_same(without_worker: Instance, receiver: Receiver) -> None:
    without_worker.client.webhooks.create(receiver.url(), events=["*"])
    # No earlier wake-up may help: the worker starts without a Redis to receive one from.
    without_worker.servers.process("valkey").kill()
    without_worker.start("worker")

    without_worker.client.publish_batch([Event("push", number) for number in range(5)])

    wait_for(lambda: without_worker.states() == {"delivered": 5}, "every delivery, without Redis")
    assert set(arrived(receiver).values()) == {1}
    without_worker.check_ledger()


def test_a_worker_whose_child_dies_before_redis_is_there_lives_on(without_worker: Instance, receiver: Receiver) -> None:
    without_worker.client.webhooks.create(receiver.url(), events=["*"])
    valkey = without_worker.servers.process("valkey")
    valkey.suspend()
    try:
        without_worker.start("worker")
        wait_for(lambda: len(without_worker.children_of("worker")) == 2, "the worker's children")
        without_worker.children_of("worker")[0].kill()
        # Long enough to try to connect to Redis, without an answer.
        time.sleep(3)
    finally:
        valkey.resume()
    worker = without_worker.running["worker"]

    without_worker.client.publish("push", {"a": 1})

    wait_for(lambda: without_worker.states() == {"delivered": 1}, "the delivery")
    wait_for(lambda: len(without_worker.children_of("worker")) == 2, "another child in its place")
    assert worker.poll() is None


def test_postgres_killed_and_back_again_loses_nothing_that_was_accepted(instance: Instance, receiver: Receiver) -> None:
    instance.client.webhooks.create(receiver.url(), events=["*"])
    receiver.delay = 0.5
    first = instance.client.publish_batch([Event("push", number) for number in range(10)])
    receiver.wait_for(3)

    postgres = instance.servers.process("postgres")
    family = [postgres, *postgres.children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=30)
    instance.servers.revive()
    wait_for(instance.is_ready, "the database to be back")
    second = instance.client.publish_batch([Event("push", number) for number in range(10, 20)])

    wait_for(lambda: instance.states() == {"delivered": len(first) + len(second)}, "every delivery")
    instance.check_ledger()


def test_a_worker_told_to_stop_finishes_what_is_in_flight_and_sends_nothing_twice(
    instance: Instance, receiver: Receiver
) -> None:
    instance.client.webhooks.create(receiver.url(), events=["*"])
    receiver.delay = 1.0
    instance.client.publish_batch([Event("push", number) for number in range(30)])
    receiver.wait_for(5)

    code = instance.stop("worker")
    in_flight = instance.states().get("sending", 0)
    sent_before = len(receiver.received)
    instance.start("worker")
    receiver.delay = 0
    wait_for(lambda: instance.states() == {"delivered": 30}, "the rest")

    assert (code, in_flight, sent_before < 30) == (0, 0, True)
    assert set(arrived(receiver).values()) == {1}
    instance.check_ledger()


def test_a_worker_told_to_stop_while_redis_hangs_stops(instance: Instance, receiver: Receiver) -> None:
    instance.client.webhooks.create(receiver.url(), events=["*"])
    instance.client.publish("push", {"a": 1})
    wait_for(lambda: instance.states() == {"delivered": 1}, "the worker to be at work")
    valkey = instance.servers.process("valkey")
    valkey.suspend()
    try:
        started = time.monotonic()
        code = instance.stop("worker")
        took = time.monotonic() - started
    finally:
        valkey.resume()

    # On shutdown the worker sends Redis several commands, none of which is answered.
    assert (code, took < 20) == (0, True)


def test_a_worker_told_to_stop_while_a_bell_is_on_its_way_to_a_child_stops(
    instance: Instance, receiver: Receiver
) -> None:
    # The pool discards a task that no child has acknowledged. A child that had received it would stay until its end was
    # noticed: half a minute.
    instance.client.webhooks.create(receiver.url(), events=["*"])
    instance.client.publish("push", {"a": 1})
    wait_for(lambda: instance.states() == {"delivered": 1}, "the worker to be at work")
    # Until no child has a task.
    time.sleep(1)
    children = instance.children_of("worker")
    for child in children:
        child.suspend()
    instance.client.publish("push", {"a": 2})
    # The scheduler sends a wake-up every second, too.
    time.sleep(2.5)
    worker = instance.terminate("worker")
    time.sleep(2.5)
    for child in children:
        child.resume()

    started = time.monotonic()
    code = worker.wait(STARTS_WITHIN_SECONDS)

    assert (code, time.monotonic() - started < 20) == (0, True)


def test_a_second_worker_takes_over_what_the_first_had_in_hand(instance: Instance, receiver: Receiver) -> None:
    instance.client.webhooks.create(receiver.url(), events=["*"])

    def hang(connection: object, request: Received) -> None:
        receiver.closing.wait(30)

    receiver.script = hang
    instance.client.publish("push", {"a": 1})
    receiver.wait_for(1)
    instance.kill("worker")
    receiver.script = None
    instance.start("worker")

    wait_for(lambda: instance.states() == {"delivered": 1}, "the delivery")
    [row] = instance.client.deliveries.list()
    attempts = instance.client.deliveries.get(row["id"])["attempts"]
    assert [(attempt["number"], attempt["outcome"]) for attempt in attempts] == [(1, "unknown"), (2, "delivered")]
    assert row["failures"] == 0
    instance.check_ledger()


# What a replay had done of its first batch when it was killed.
DONE = {"replay-half-done": 0, "replay-done": missing.MAX_DELIVERED}


@pytest.mark.parametrize("point", OF_REPLAYS)
def test_a_worker_killed_in_a_batch_of_what_a_webhook_never_got_loses_and_doubles_nothing(
    instance: Instance, receiver: Receiver, failpoints: Path, point: str
) -> None:
    count = missing.MAX_DELIVERED * 2 + 50
    for first in range(0, count, 100):
        instance.client.publish_batch(Event("push", number) for number in range(first, min(first + 100, count)))
    wait_for(lambda: instance.ask("SELECT count(*) FROM hookhub_outbox") == 0, "the fan-out to nobody")
    webhook = instance.client.webhooks.create(receiver.url(), events=["*"])["id"]
    (failpoints / point).touch()
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    begun = requests.post(
        f"{instance.url}/v1/webhooks/{webhook}/replay-missing",
        json={"after": since}, headers={"Authorization": f"Bearer {instance.key}"}, timeout=30,
    )  # fmt: skip
    assert begun.status_code == 202, begun.text

    halted = halted_at(point, failpoints)
    progress = "SELECT array[examined, redelivered]::text FROM hookhub_replay"
    assert instance.ask(progress) == f"{{{DONE[point]},{DONE[point]}}}"
    assert instance.ask("SELECT count(*) FROM hookhub_delivery") == DONE[point]
    halted.kill()
    instance.kill("worker")
    instance.start("worker")

    wait_for(lambda: instance.ask("SELECT state FROM hookhub_replay") == "finished", "the replay")
    wait_for(lambda: instance.states() == {"delivered": count}, "every delivery")
    assert instance.ask(progress) == f"{{{count},{count}}}"
    assert instance.ask("SELECT count(DISTINCT event_id) FROM hookhub_delivery") == count
    assert len(arrived(receiver)) == count
    # A request may be in flight only if the batch had been committed.
    assert DONE[point] or set(arrived(receiver).values()) == {1}
    instance.check_ledger()
