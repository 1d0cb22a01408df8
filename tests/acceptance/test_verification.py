"""Real workers verify URLs and end leases, also after one of them was killed in the middle of a verification."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import wait_for, wait_until_dead
from tests.acceptance.instances import running_instance
from tests.receiver import Receiver
from tests.story import challenge_in, echo

pytestmark = pytest.mark.acceptance


@pytest.fixture
def instance() -> Iterator[Instance]:
    with running_instance() as running:
        yield running


def status_of(instance: Instance, webhook: str) -> str:
    return str(instance.client.webhooks.get(webhook)["status"])


def publish_and_wait(instance: Instance, number: int) -> None:
    """Publish an event that a webhook without lease or proof receives too, and wait until it has it."""
    instance.client.publish_batch([Event("push", {"number": number})])
    wait_for(lambda: instance.ask("SELECT count(*) FROM hookhub_outbox") == 0, "the fan-out")
    instance.wait_until_settled()


def test_a_webhook_is_verified_gets_events_and_ends(instance: Instance, receiver: Receiver) -> None:
    made = instance.client.webhooks.create(receiver.url(), events=["*"], settings={"verify": "challenge"})
    wait_for(lambda: len(receiver.received) == 1, "the first challenge")
    assert challenge_in(receiver.received[0]) is not None
    publish_and_wait(instance, 1)
    assert len(receiver.received) == 1

    echo(receiver)
    instance.client.webhooks.verify(made["id"])
    wait_for(lambda: status_of(instance, made["id"]) == "active", "the verification")
    publish_and_wait(instance, 2)
    assert len(receiver.received) == 3

    soon = datetime.now(UTC) + timedelta(seconds=2)
    instance.client.webhooks.update(made["id"], {"expires_at": soon.isoformat()})
    ended = "SELECT count(*) = 1 FROM hookhub_webhook WHERE ended_at IS NOT NULL"
    wait_for(lambda: bool(instance.ask(ended)), "the end of the lease")
    publish_and_wait(instance, 3)

    assert status_of(instance, made["id"]) == "ended"
    assert len(receiver.received) == 3
    instance.check_ledger()


def test_a_worker_that_is_killed_while_it_waits_for_an_echo_is_replaced(instance: Instance, receiver: Receiver) -> None:
    receiver.script = lambda _connection, _request: receiver.closing.wait(60)
    made = instance.client.webhooks.create(receiver.url(), events=["*"], settings={"verify": "challenge"})
    receiver.wait_for(1)

    assert wait_until_dead(instance.kill_parent("worker"), seconds=15) == []
    assert instance.ask("SELECT state FROM hookhub_verification") == "sending"
    # Instead of waiting for half a minute.
    instance.ask("UPDATE hookhub_verification SET leased_until = now() RETURNING true")
    echo(receiver)
    instance.start("worker")
    wait_for(lambda: status_of(instance, made["id"]) == "active", "the second verification")

    challenges = {challenge_in(request) for request in receiver.received}
    assert len(challenges) == len(receiver.received) == 2
    assert instance.client.webhooks.get(made["id"])["verification"]["attempts"] == 2
    instance.check_ledger()
