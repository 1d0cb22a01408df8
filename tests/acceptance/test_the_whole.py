"""End to end through the public interfaces: the Python client, a live HookHub, and an independent verifier."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as IndependentVerifier

from hookhub.client import Event, HookHubError
from tests.acceptance.crew import Crew, prepared_home, wait_until
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.acceptance


@pytest.fixture
def crew() -> Iterator[Crew]:
    with prepared_home() as home, Crew(home) as running:
        yield running


def test_a_days_work_with_the_client(crew: Crew, receiver: Receiver) -> None:
    client = crew.client
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
    wait_until(lambda: crew.states() == {"delivered": 1501, "failed": 1}, "every delivery")

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
    assert [(attempt["outcome"], attempt["status"]) for attempt in attempts] == [("refused", 503)] * 2
    receiver.answers["/failing"] = Answer(200)
    job = client.replay(webhook=failing["id"], state="failed").wait(timedelta(seconds=60))
    assert (job.details["total"], job.details["redelivered"]) == (1, 1)
    wait_until(lambda: crew.states() == {"delivered": 1502}, "the replay")
    client.deliveries.redeliver(failed["id"])
    wait_until(lambda: client.deliveries.get(failed["id"])["attempts_made"] == 4, "the redelivery")

    # While it is disabled, no delivery is created, which is certain once another webhook has the event. When it is
    # enabled again, held deliveries are sent.
    client.webhooks.disable(created["id"])
    client.webhooks.update(failing["id"], {"events": ["push"]})
    client.publish("push", {"while": "disabled"})
    wait_until(lambda: crew.states() == {"delivered": 1503}, "the delivery to the other")
    client.webhooks.enable(created["id"], release_held=True)
    client.webhooks.ping(created["id"])
    wait_until(lambda: crew.states() == {"delivered": 1504}, "the ping alone")

    stats = client.webhooks.stats(created["id"])
    assert (stats["deliveries"], stats["success_rate"]) == ({"delivered": 1502}, 1.0)
    crew.check_ledger()


def test_a_worker_writes_a_line_of_json_for_each_attempt_unless_it_is_to_be_quiet(
    crew: Crew, receiver: Receiver
) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])

    crew.client.publish_batch([Event("push", number) for number in range(3)])
    wait_until(lambda: len(told(crew)) == 3, "a line for each attempt")
    crew.stop("worker")
    crew.start("worker", HOOKHUB_LOG_LEVEL="WARNING")
    crew.client.publish("push", "unheard")
    wait_until(lambda: crew.states() == {"delivered": 4}, "the last delivery")
    crew.stop("worker")

    lines = told(crew)
    rows = [row for row in crew.client.deliveries.list() if row["id"] in {line["delivery"] for line in lines}]
    assert len(rows) == len(lines) == 3
    assert {(line["attempt"], line["outcome"], line["status"], line["was_ours"]) for line in lines} == {
        (1, "delivered", 200, True)
    }


def told(crew: Crew) -> list[dict[str, Any]]:
    """Return the log records about attempts in the worker's log."""
    lines = (crew.logs / "worker.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
