"""Processes killed and servers stopped for real: nothing is lost, and HookHub recovers by itself."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from hookhub.client import Event
from tests.acceptance.crew import PATIENCE_SECONDS, Crew, prepared_home, wait_until
from tests.receiver import Received, Receiver

pytestmark = pytest.mark.acceptance

DELIVERIES = 800
WEBHOOKS = 4
KILLS = 6
SEED = 20260304


@pytest.fixture
def crew() -> Iterator[Crew]:
    # A short lease, so that the deliveries of a killed worker are soon claimed again.
    with prepared_home() as home, Crew(
        home, HOOKHUB_LEASE="4", HOOKHUB_TIMEOUT="2", HOOKHUB_MAX_IN_FLIGHT="5"
    ) as running:  # fmt: skip
        yield running


def arrived(receiver: Receiver) -> Counter[str]:
    return Counter(request.headers["webhook-id"] for request in list(receiver.received))


def test_workers_killed_at_random_lose_nothing(crew: Crew, receiver: Receiver) -> None:
    chance = random.Random(SEED)
    # Slow responses, so that requests are in flight at each kill.
    receiver.delay = 0.03
    for number in range(WEBHOOKS):
        crew.client.webhooks.create(receiver.url(f"/{number}"), events=["*"])
    crew.client.publish_batch(Event("push", {"number": number}) for number in range(DELIVERIES // WEBHOOKS))

    for kill in range(KILLS):
        before = len(receiver.received)
        if before >= DELIVERIES:
            break
        wait_until(
            lambda: len(receiver.received) >= min(DELIVERIES, before + chance.randint(20, 120)),  # noqa: B023 - used at once
            "deliveries to go on",
        )
        if kill % 3 == 2:
            crew.kill("worker")
            crew.start("worker")
        else:
            for child in chance.sample(crew.children_of("worker"), k=1):
                child.kill()

    wait_until(lambda: crew.states() == {"delivered": DELIVERIES}, "every delivery")
    counts = arrived(receiver)
    assert len(counts) == DELIVERIES
    # At least once: only requests in flight at a kill may be repeated.
    assert sum(counts.values()) - DELIVERIES <= KILLS * WEBHOOKS * 5
    crew.check_ledger()


def test_redis_hung_killed_flushed_or_back_again_delays_and_loses_nothing(crew: Crew, receiver: Receiver) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])
    expected = 0

    def publish(*, while_: str) -> None:
        nonlocal expected
        crew.client.publish_batch([Event("push", {"while": while_})] * 3)
        expected += 3
        wait_until(lambda: len(arrived(receiver)) >= expected, f"events published with Redis {while_}")

    publish(while_="well")
    valkey = crew.server("valkey")
    valkey.suspend()
    publish(while_="hung")
    valkey.resume()
    publish(while_="resumed")
    valkey.kill()
    publish(while_="killed")
    crew.revive_servers()
    publish(while_="back, and empty")
    # Wherever the wake-up for an event is at that moment, delivery does not depend on it.
    crew.client.publish("push", {"while": "flushed"})
    crew.flush_redis()
    expected += 1
    wait_until(lambda: len(arrived(receiver)) >= expected, "the event published before the flush")

    assert len(arrived(receiver)) == expected
    crew.check_ledger()


def test_a_worker_that_never_saw_redis_delivers_all_the_same(crew: Crew, receiver: Receiver) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])
    # No earlier wake-up may help: this worker starts without a Redis to receive one from.
    crew.kill("worker")
    crew.server("valkey").kill()
    crew.start("worker")

    crew.client.publish_batch([Event("push", number) for number in range(5)])

    wait_until(lambda: crew.states() == {"delivered": 5}, "every delivery, without Redis")
    assert set(arrived(receiver).values()) == {1}
    crew.check_ledger()


def test_a_worker_whose_child_dies_before_redis_is_there_lives_on(crew: Crew, receiver: Receiver) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])
    crew.kill("worker")
    valkey = crew.server("valkey")
    valkey.suspend()
    try:
        crew.start("worker")
        wait_until(lambda: len(crew.children_of("worker")) == 2, "the worker's children")
        crew.children_of("worker")[0].kill()
        # Long enough to try to connect to Redis, without an answer.
        time.sleep(3)
    finally:
        valkey.resume()
    worker = crew.running["worker"]

    crew.client.publish("push", {"a": 1})

    wait_until(lambda: crew.states() == {"delivered": 1}, "the delivery")
    wait_until(lambda: len(crew.children_of("worker")) == 2, "another child in its place")
    assert worker.poll() is None


def test_postgres_killed_and_back_again_loses_nothing_that_was_accepted(crew: Crew, receiver: Receiver) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])
    receiver.delay = 0.5
    first = crew.client.publish_batch([Event("push", number) for number in range(10)])
    receiver.wait_for(3)

    postgres = crew.server("postgres")
    family = [postgres, *postgres.children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=30)
    crew.revive_servers()
    wait_until(crew.is_ready, "the database to be back")
    second = crew.client.publish_batch([Event("push", number) for number in range(10, 20)])

    wait_until(lambda: crew.states() == {"delivered": len(first) + len(second)}, "every delivery")
    crew.check_ledger()


def test_a_worker_told_to_stop_finishes_what_is_in_flight_and_sends_nothing_twice(
    crew: Crew, receiver: Receiver
) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])
    receiver.delay = 1.0
    crew.client.publish_batch([Event("push", number) for number in range(30)])
    receiver.wait_for(5)

    code = crew.stop("worker")
    in_flight = crew.states().get("sending", 0)
    sent_before = len(receiver.received)
    crew.start("worker")
    receiver.delay = 0
    wait_until(lambda: crew.states() == {"delivered": 30}, "the rest")

    assert (code, in_flight, sent_before < 30) == (0, 0, True)
    assert set(arrived(receiver).values()) == {1}
    crew.check_ledger()


def test_a_worker_told_to_stop_while_redis_hangs_stops(crew: Crew, receiver: Receiver) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])
    crew.client.publish("push", {"a": 1})
    wait_until(lambda: crew.states() == {"delivered": 1}, "the worker to be at work")
    valkey = crew.server("valkey")
    valkey.suspend()
    try:
        started = time.monotonic()
        code = crew.stop("worker")
        took = time.monotonic() - started
    finally:
        valkey.resume()

    # On shutdown the worker sends Redis several commands, none of which is answered.
    assert (code, took < 20) == (0, True)


def test_a_worker_told_to_stop_while_a_bell_is_on_its_way_to_a_child_stops(crew: Crew, receiver: Receiver) -> None:
    # The pool discards a task that no child has acknowledged. A child that had received it would stay until its end was
    # noticed: half a minute.
    crew.client.webhooks.create(receiver.url(), events=["*"])
    crew.client.publish("push", {"a": 1})
    wait_until(lambda: crew.states() == {"delivered": 1}, "the worker to be at work")
    # Until no child has a task.
    time.sleep(1)
    children = crew.children_of("worker")
    for child in children:
        child.suspend()
    crew.client.publish("push", {"a": 2})
    # The scheduler sends a wake-up every second, too.
    time.sleep(2.5)
    worker = crew.terminate("worker")
    time.sleep(2.5)
    for child in children:
        child.resume()

    started = time.monotonic()
    code = worker.wait(PATIENCE_SECONDS)

    assert (code, time.monotonic() - started < 20) == (0, True)


def test_a_second_worker_takes_over_what_the_first_had_in_hand(crew: Crew, receiver: Receiver) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])

    def hang(connection: object, request: Received) -> None:
        receiver.closing.wait(30)

    receiver.script = hang
    crew.client.publish("push", {"a": 1})
    receiver.wait_for(1)
    crew.kill("worker")
    receiver.script = None
    crew.start("worker")

    wait_until(lambda: crew.states() == {"delivered": 1}, "the delivery")
    [row] = crew.client.deliveries.list()
    attempts = crew.client.deliveries.get(row["id"])["attempts"]
    assert [(attempt["number"], attempt["outcome"]) for attempt in attempts] == [(1, "unknown"), (2, "delivered")]
    assert row["failures"] == 0
    crew.check_ledger()
