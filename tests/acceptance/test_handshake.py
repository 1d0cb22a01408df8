"""Real workers ask receivers for their consent, and send no faster than allowed, by the receivers' own log."""

import socket
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import wait_for
from tests.acceptance.instances import as_new, idle_instance
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.acceptance

# Requests a minute, and how many ten seconds have at most: those of two more seconds, because some may be late.
RATE = 60
IN_TEN_SECONDS = RATE * 12 // 62 + 1
EVENTS = 75
# An owner's limit, and the most that a window may have.
LIMIT, MOST = {"requests": 500, "per": 5}, 550
MANY = 800


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    # With a short lease, so that what a dead worker held is sent again soon.
    settings = {"HOOKHUB_LEASE": "6", "HOOKHUB_TIMEOUT": "3"}
    with idle_instance(HOOKHUB_PUBLIC_URL="https://hooks.example", **settings) as running:
        yield running


@pytest.fixture
def instance(shared: Instance) -> Instance:
    return as_new(shared)


def consent(receiver: Receiver, *, rate: str) -> list[float]:
    """Make a receiver consent; return the list to which it adds the time of each delivery."""
    log: list[float] = []

    def script(connection: socket.socket, request: Received) -> None:
        headers = {"Connection": "close"}
        if request.method == "OPTIONS":
            headers |= {"WebHook-Allowed-Origin": request.headers["webhook-request-origin"]}
            headers |= {"WebHook-Allowed-Rate": rate}
        else:
            log.append(time.monotonic())
        connection.sendall(Answer(headers=headers).encode())

    receiver.script = script
    return log


def beyond(log: list[float], *, most: int, seconds: float) -> list[float]:
    """Return how long each window was that had more requests than it may."""
    times = sorted(log)
    return [last - first for first, last in zip(times, times[most:], strict=False) if last - first < seconds]


def status_of(instance: Instance, webhook: str) -> str:
    return str(instance.client.webhooks.get(webhook)["status"])


def publish(instance: Instance, count: int) -> None:
    instance.client.publish_batch([Event("push", {"number": number}) for number in range(count)])


def test_a_receiver_gets_nothing_before_it_has_consented(instance: Instance, receiver: Receiver) -> None:
    settings = {"verify": "handshake", "format": "cloudevents-binary"}
    made = instance.client.webhooks.create(receiver.url(), events=["*"], settings=settings)
    receiver.wait_for(1)
    wait_for(lambda: instance.client.webhooks.get(made["id"])["verification"]["attempts"] == 1, "the refusal")
    publish(instance, 3)
    instance.wait_until_settled()
    shown = instance.client.webhooks.get(made["id"])
    assert (shown["status"], shown["allowed_rate"]) == ("unverified", None)
    assert shown["verification"]["error"] == "The receiver answered 200 without WebHook-Allowed-Origin."
    assert [request.method for request in receiver.received] == ["OPTIONS"]

    log = consent(receiver, rate="*")
    instance.client.webhooks.verify(made["id"])
    wait_for(lambda: status_of(instance, made["id"]) == "active", "the consent")
    publish(instance, 2)
    instance.wait_until_settled()

    assert len(log) == 2
    assert [request.method for request in receiver.received] == ["OPTIONS"] * 2 + ["POST"] * 2
    assert {request.headers["webhook-request-origin"] for request in receiver.received} == {"hooks.example"}
    instance.check_ledger()


def test_the_rate_holds_by_the_receivers_log_while_others_do_not_wait(instance: Instance, receiver: Receiver) -> None:
    other = Receiver()
    log = consent(receiver, rate=str(RATE))
    instance.start("worker-2")
    wanted = {"verify": "handshake", "max_in_flight": 100}
    made = instance.client.webhooks.create(receiver.url(), events=["*"], settings=wanted)
    wait_for(lambda: status_of(instance, made["id"]) == "active", "the consent")
    assert instance.client.webhooks.get(made["id"])["allowed_rate"] == RATE
    instance.client.webhooks.create(other.url(), events=["*"])

    publish(instance, EVENTS)
    wait_for(lambda: len(other.received) == EVENTS, "the other receiver's deliveries")
    assert len(log) < EVENTS
    # A worker that dies has counted what it was about to send.
    wait_for(lambda: len(log) >= 10, "some deliveries")
    instance.kill("worker-2")
    instance.start("worker-2")
    wait_for(lambda: len(log) >= EVENTS, "the last delivery", seconds=240)
    instance.wait_until_settled()

    other.close()
    assert beyond(log, most=RATE, seconds=60) == []
    assert beyond(log, most=IN_TEN_SECONDS, seconds=10) == []
    instance.check_ledger()


def test_an_owners_limit_holds_by_the_receivers_log_and_what_waits_is_sent_once_it_is_removed(
    instance: Instance, receiver: Receiver
) -> None:
    other, log = Receiver(), consent(receiver, rate="*")
    webhooks = instance.client.webhooks
    instance.start("worker-2")
    limited = {"rate_limit": LIMIT, "max_in_flight": 100}
    made = webhooks.create(receiver.url(), events=["*"], settings=limited)
    assert made["rate_limit"] == LIMIT
    webhooks.create(other.url(), events=["*"], settings={"max_in_flight": 100})

    publish(instance, MANY - 100)
    # Some wait for their turn in a worker that dies, and more come, also those that are sent again.
    wait_for(lambda: len(log) >= 100, "some deliveries")
    instance.kill("worker-2")
    instance.start("worker-2")
    publish(instance, 100)
    again = list(islice(instance.client.deliveries.list(webhook=made["id"], state="delivered"), 20))
    for delivery in again:
        instance.client.deliveries.redeliver(delivery["id"])
    wait_for(lambda: len(log) >= MANY + len(again), "the last delivery", seconds=240)
    instance.wait_until_settled()
    assert beyond(log, most=MOST, seconds=LIMIT["per"]) == []
    instance.check_ledger()

    webhooks.update(made["id"], {"rate_limit": {"requests": 1, "per": 10}})
    # What the dead worker had sent has come twice.
    before, other_before = len(log), len(other.received)
    publish(instance, 50)
    wait_for(lambda: len(other.received) >= other_before + 50, "the other receiver's deliveries")
    # The last of the fifty would come after eight minutes.
    assert len(log) < before + 50
    webhooks.update(made["id"], {"rate_limit": None})
    wait_for(lambda: len(log) >= before + 50, "what waited")
    other.close()
