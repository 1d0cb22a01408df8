"""End to end through the public interfaces: the Python client, a live HookHub, and an independent verifier."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as IndependentVerifier

from hookhub.client import Event, HookHubError
from hookhub.receiving import verify
from testbed.instance import Instance
from testbed.processes import wait_for
from tests.acceptance.instances import as_new, idle_instance
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    with idle_instance() as running:
        yield running


@pytest.fixture
def instance(shared: Instance) -> Instance:
    return as_new(shared)


def test_a_days_work_with_the_client(instance: Instance, receiver: Receiver) -> None:
    client = instance.client
    created = client.webhooks.create(receiver.url("/all"), events=["*"], name="all", settings={"max_in_flight": 50})
    failing = client.webhooks.create(
        receiver.url("/failing"), events=["issues"], settings={"retry_schedule": [1], "auto_disable": False}
    )
    receiver.answers["/failing"] = Answer(503)

    published = client.publish_batch(Event("push", {"number": number, "text": "é🎉"}) for number in range(1500))
    again = client.publish("issues.opened", {"n": 1}, id="once")
    assert client.publish("issues.opened", {"n": 1}, id="once").id == again.id
    with pytest.raises(HookHubError) as conflict:
        client.publish("issues.opened", {"n": 2}, id="once")
    wait_for(lambda: instance.states() == {"delivered": 1501, "failed": 1}, "every delivery")

    # The body that arrived is the one published, and independent code accepts its signature.
    verifier = IndependentVerifier(created["secret"])
    arrived = [request for request in receiver.received if request.path == "/all"]
    assert len({request.headers["webhook-id"] for request in arrived}) == len(arrived) == len(published) + 1
    for request in arrived[:50]:
        assert verifier.verify(request.body, request.headers)["type"] in {"push", "issues.opened"}
    assert conflict.value.status == 409

    # Redeliver: first one, then all failed deliveries, after the receiver has recovered.
    [failed] = client.deliveries.list(state="failed")
    attempts = client.deliveries.get(failed["id"])["attempts"]
    assert [(attempt["outcome"], attempt["status"]) for attempt in attempts] == [("failed", 503)] * 2
    receiver.answers["/failing"] = Answer(200)
    job = client.replay(webhook=failing["id"], state="failed").wait(timedelta(seconds=60))
    assert (job.details["total"], job.details["redelivered"]) == (1, 1)
    wait_for(lambda: instance.states() == {"delivered": 1502}, "the replay")
    client.deliveries.redeliver(failed["id"])
    wait_for(lambda: client.deliveries.get(failed["id"])["attempts_made"] == 4, "the redelivery")

    # While it is disabled, no delivery is created, which is certain once another webhook has the event. When it is
    # enabled again, held deliveries are sent.
    client.webhooks.disable(created["id"])
    client.webhooks.update(failing["id"], {"events": ["push"]})
    client.publish("push", {"while": "disabled"})
    wait_for(lambda: instance.states() == {"delivered": 1503}, "the delivery to the other")
    client.webhooks.enable(created["id"], release_held=True)
    client.webhooks.ping(created["id"])
    wait_for(lambda: instance.states() == {"delivered": 1504}, "the ping alone")

    stats = client.webhooks.stats(created["id"])
    assert (stats["deliveries"], stats["success_rate"]) == ({"delivered": 1502}, 1.0)
    instance.check_ledger()


def test_an_operations_webhook_hears_of_changes_and_of_each_delivery_that_is_given_up(
    instance: Instance, receiver: Receiver
) -> None:
    client, count = instance.client, 300
    operations = client.webhooks.create(receiver.url("/operations"), events=["webhook", "delivery.exhausted"])
    broken = client.webhooks.create(
        receiver.url("/broken"), events=["push"], settings={"retry_schedule": [1], "auto_disable": False}
    )
    receiver.answers["/broken"] = Answer(503)
    client.publish_batch([Event("push", number) for number in range(count)])
    wait_for(lambda: instance.states().get("failed") == count, "the last attempts")
    client.webhooks.update(broken["id"], {"name": "broken", "headers": {"X-Token": "s3cret"}})
    client.webhooks.disable(broken["id"])
    client.webhooks.delete(broken["id"])
    wait_for(lambda: not instance.unsettled(), "every delivery")

    told = Counter[str]()
    given_up = set()
    for request in [request for request in list(receiver.received) if request.path == "/operations"]:
        event = verify(request.body, request.headers, secrets=operations["secret"])
        told[event.type] += 1
        if event.type == "delivery.exhausted":
            given_up.add(event.data["delivery"]["id"])
        elif event.data["webhook"]["id"] == broken["id"]:
            assert event.data["actor"]["kind"] == "api_key"
    assert given_up == {row["id"] for row in client.deliveries.list(state="failed")}
    assert told == {
        "webhook.created": 2, "webhook.updated": 1, "webhook.disabled": 1, "webhook.deleted": 1,
        "delivery.exhausted": count,
    }  # fmt: skip
    assert not [request for request in receiver.received if b"s3cret" in request.body]
    instance.check_ledger()


def test_a_worker_writes_a_line_of_json_for_each_attempt_unless_it_is_to_be_quiet(
    instance: Instance, receiver: Receiver
) -> None:
    instance.client.webhooks.create(receiver.url(), events=["*"])

    instance.client.publish_batch([Event("push", number) for number in range(3)])
    wait_for(lambda: len(told(instance)) == 3, "a line for each attempt")
    instance.stop("worker")
    instance.start("worker", HOOKHUB_LOG_LEVEL="WARNING")
    instance.client.publish("push", "unheard")
    wait_for(lambda: instance.states() == {"delivered": 4}, "the last delivery")
    instance.stop("worker")

    lines = told(instance)
    rows = [row for row in instance.client.deliveries.list() if row["id"] in {line["delivery"] for line in lines}]
    assert len(rows) == len(lines) == 3
    assert {(line["attempt"], line["outcome"], line["status"], line["was_ours"]) for line in lines} == {
        (1, "delivered", 200, True)
    }


def told(instance: Instance) -> list[dict[str, Any]]:
    """Return the log records about attempts in the worker's log."""
    lines = (instance.logs / "worker.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
