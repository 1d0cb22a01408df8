"""Real workers verify URLs and end leases, also after one of them was killed at any point of a verification."""

import hmac
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import requests

from deliveries.failpoints import OF_VERIFICATIONS
from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import wait_for, wait_until_dead
from tests.acceptance.instances import as_new, halted_at, idle_instance
from tests.receiver import Received, Receiver
from tests.story import challenge_in, echo

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Instance]:
    with idle_instance(HOOKHUB_FAILPOINTS=str(folder)) as running:
        yield running


@pytest.fixture
def instance(shared: Instance) -> Instance:
    return as_new(shared)


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


@pytest.fixture
def failpoints(folder: Path) -> Path:
    """Return the folder in which a file halts the first process that reaches the failpoint of its name."""
    for left in folder.iterdir():
        left.unlink()
    return folder


@pytest.fixture
def workers(shared: Instance, failpoints: Path) -> Instance:
    """Return the HookHub with two workers of one process each."""
    as_new(shared, worker=False)
    for name in ("worker", "worker-2"):
        shared.start(name, HOOKHUB_WORKER_PROCESSES="1")
    wait_for(lambda: all(shared.children_of(name) for name in ("worker", "worker-2")), "both workers")
    return shared


def kill_worker_of(process: psutil.Process, instance: Instance) -> None:
    """Kill the worker that a process belongs to."""
    [name] = [name for name in instance.running if process in instance.family_of(name)]
    with suppress(psutil.NoSuchProcess):
        instance.kill(name)


def count(what: str, instance: Instance, *parameters: object) -> int:
    return int(instance.ask(f"SELECT count(*) FROM {what}", *parameters))


LEASED = "hookhub_verification WHERE state = 'sending' AND lease IS NOT NULL"
VERIFIED = "hookhub_audit_entry WHERE action = 'webhook.verified'"


@pytest.mark.parametrize("point", OF_VERIFICATIONS)
def test_a_worker_killed_anywhere_in_a_verification_leaves_it_to_another(
    workers: Instance, receiver: Receiver, failpoints: Path, point: str
) -> None:
    echo(receiver)
    (failpoints / point).touch()
    made = workers.client.webhooks.create(receiver.url(), events=["*"], settings={"verify": "challenge"})
    process = halted_at(point, failpoints)
    is_asked, is_committed = point != "verification-claimed", point == "verification-concluded"
    assert len(receiver.received) == is_asked
    assert count(LEASED, workers) == (not is_committed)
    assert count(VERIFIED, workers) == is_committed
    assert status_of(workers, made["id"]) == ("active" if is_committed else "unverified")

    # To the other worker the URL is not proved until that is committed.
    publish_and_wait(workers, 1)
    kill_worker_of(process, workers)
    assert len(receiver.received) == is_asked + is_committed
    # Instead of waiting for half a minute.
    workers.ask("UPDATE hookhub_verification SET leased_until = now() WHERE lease IS NOT NULL RETURNING true")
    wait_for(lambda: status_of(workers, made["id"]) == "active", "the other worker's verification")

    challenges = [challenge for request in receiver.received if (challenge := challenge_in(request)) is not None]
    assert len(set(challenges)) == len(challenges) == (2 if is_asked and not is_committed else 1)
    assert count(VERIFIED, workers) == count("hookhub_verification WHERE state = 'verified'", workers) == 1
    assert count("hookhub_verification", workers) == 1
    publish_and_wait(workers, 2)
    assert len(receiver.received) - len(challenges) == 1 + is_committed
    workers.check_ledger()


def ask_hub(instance: Instance, receiver: Receiver, mode: str, **more: str) -> None:
    """Ask the hub without a key."""
    owner = instance.ask("SELECT slug FROM hookhub_organization")
    topic = f"{instance.url}/{owner}/widgets/events/push"
    form = {"hub.mode": mode, "hub.topic": topic, "hub.callback": receiver.url()}
    answer = requests.post(f"{instance.url}/hub", data=form | {f"hub.{name}": more[name] for name in more}, timeout=30)
    assert (answer.status_code, answer.text) == (202, "")


def signature_of(request: Received) -> str:
    return request.headers.get("x-hub-signature", "none").partition("=")[2]


def test_a_worker_killed_before_it_commits_an_echo_changes_no_subscription(
    workers: Instance, receiver: Receiver, failpoints: Path
) -> None:
    echo(receiver)
    headers = {"Authorization": f"Bearer {workers.key}"}
    body = {"name": "widgets", "private": False}
    assert requests.post(f"{workers.url}/v1/repositories", json=body, headers=headers, timeout=30).ok
    ask_hub(workers, receiver, "subscribe", secret="old")
    wait_for(lambda: count(VERIFIED, workers) == 1, "the subscription")

    def publish(number: int) -> Received:
        """Publish an event, and return the request that delivers it."""
        before = len(receiver.received)
        workers.client.publish("push", {"number": number}, repository="widgets")
        [request] = receiver.wait_for(before + 1)[before:]
        workers.wait_until_settled()
        return request

    def cut_off(mode: str, **more: str) -> None:
        """Ask the hub, and kill the worker that has the echo; the other worker asks again."""
        (failpoints / "verification-half-concluded").touch()
        ask_hub(workers, receiver, mode, **more)
        kill_worker_of(halted_at("verification-half-concluded", failpoints), workers)
        request = publish(1)
        assert signature_of(request) == hmac.digest(b"old", request.body, "sha256").hex()
        next(failpoints.glob("*.*")).unlink()
        workers.start(next(name for name in ("worker", "worker-2") if name not in workers.running))
        workers.ask("UPDATE hookhub_verification SET leased_until = now() WHERE lease IS NOT NULL RETURNING true")
        wait_for(lambda: not count("hookhub_verification WHERE finished_at IS NULL", workers), "the other worker")

    cut_off("subscribe", secret="new")
    assert count(VERIFIED, workers) == 2
    request = publish(2)
    assert signature_of(request) == hmac.digest(b"new", request.body, "sha256").hex()

    ask_hub(workers, receiver, "subscribe", secret="old")
    wait_for(lambda: count(VERIFIED, workers) == 3, "the old secret")
    cut_off("unsubscribe")
    assert count("hookhub_audit_entry WHERE action = 'webhook.deleted'", workers) == 1
    before = len(receiver.received)
    publish_and_wait(workers, 3)
    assert len(receiver.received) == before
    challenges = [challenge for each in receiver.received if (challenge := challenge_in(each)) is not None]
    # Two of the four exchanges were repeated.
    assert len(set(challenges)) == len(challenges) == 6
    workers.check_ledger()
