"""A web server and a worker, and an agent that subscribes: also while one of them is away, or dies."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
import requests

from hookhub.mcp.waiting import PATIENCE
from testbed.instance import Instance
from testbed.processes import wait_for
from tests.acceptance.instances import as_new, idle_instance
from tests.chatgpt import ChatGPT, identities, playing_chatgpt
from tests.receiver import Answer

pytestmark = pytest.mark.acceptance

LONG = PATIENCE.total_seconds() + 30
WAITING = "SELECT count(*) FROM hookhub_verification WHERE state IN ('pending', 'sending')"
KEPT = "SELECT count(*) FROM hookhub_webhook WHERE deleted_at IS NULL"


@pytest.fixture
def chatgpt() -> Iterator[ChatGPT]:
    with playing_chatgpt() as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    authority, _ = identities()
    # Fewer threads than calls that wait.
    with idle_instance(HOOKHUB_CA_BUNDLE=str(authority), WEB_THREADS="2") as running:
        yield running


@pytest.fixture
def instance(shared: Instance) -> Instance:
    return as_new(shared)


@pytest.fixture
def without_worker(shared: Instance) -> Instance:
    return as_new(shared, worker=False)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as running:
        yield running


def wanted(chatgpt: ChatGPT, path: str = "/callback", **more: Any) -> dict[str, Any]:
    return {"name": "push", "delivery": chatgpt.delivery(path), **more}


def headers_of(instance: Instance, method: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {instance.key}", "Mcp-Method": method, "MCP-Protocol-Version": "2026-07-28"}


def call(instance: Instance, method: str, params: object) -> dict[str, Any]:
    answer = requests.post(
        f"{instance.url}/mcp",
        json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params},
        headers=headers_of(instance, method),
        timeout=LONG,
    )
    found: dict[str, Any] = answer.json()
    assert (found["id"], answer.headers["Content-Type"]) == (7, "application/json")
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    return found


def subscribing(pool: ThreadPoolExecutor, instance: Instance, params: object) -> "Future[dict[str, Any]]":
    """Begin to subscribe; return when the call waits for a verdict."""
    before = instance.ask(WAITING)
    begun = pool.submit(call, instance, "events/subscribe", params)
    wait_for(lambda: instance.ask(WAITING) > before, "the call to wait")
    return begun


def test_an_agent_subscribes_and_gets_what_matches(instance: Instance, chatgpt: ChatGPT) -> None:
    made = call(instance, "events/subscribe", wanted(chatgpt, arguments={"ref": "refs/heads/main"}))["result"]
    for ref in ("refs/heads/main", "refs/heads/next"):
        instance.client.publish("push", {"ref": ref, "note": "\0"})
    wait_for(lambda: instance.ask("SELECT count(*) FROM hookhub_outbox") == 0, "the fan-out")
    instance.wait_until_settled()

    assert [event["data"]["ref"] for event in chatgpt.events] == ["refs/heads/main"]
    assert {headers["x-mcp-subscription-id"] for headers in chatgpt.headers} == {made["id"]}
    assert chatgpt.unsigned == 0
    asked = {"name": "get_recent_events", "arguments": {}}
    [row] = call(instance, "tools/call", asked)["result"]["structuredContent"]["events"]
    assert (row["delivery"], row["data"]["note"]) == ("delivered", "\0")

    # It ends with a 410.
    chatgpt.answer = Answer(410)
    instance.client.publish("push", {"ref": "refs/heads/main"})
    wait_for(lambda: instance.ask(KEPT) == 0, "the end of the subscription")
    instance.check_ledger()


def test_a_callback_without_proof_leaves_nothing(instance: Instance, chatgpt: ChatGPT) -> None:
    chatgpt.proof = "another"

    found = call(instance, "events/subscribe", wanted(chatgpt))

    assert (found["error"]["code"], found["error"]["data"]) == (-32015, {"reason": "challenge_failed"})
    assert instance.ask(KEPT) == 0
    instance.check_ledger()


def test_calls_that_wait_for_a_worker_hold_no_thread_and_succeed_when_it_is_back(
    instance: Instance, chatgpt: ChatGPT, pool: ThreadPoolExecutor
) -> None:
    # Halted, and not stopped: on a busy machine its start may take longer than the calls wait.
    assert "result" in call(instance, "events/subscribe", wanted(chatgpt, "/before"))
    away = instance.family_of("worker")
    for process in away:
        process.suspend()
    try:
        begun = [subscribing(pool, instance, wanted(chatgpt, f"/{number}")) for number in range(6)]
        for _ in range(20):
            assert list(instance.client.webhooks.list())
        assert not any(each.done() for each in begun)
    finally:
        for process in away:
            process.resume()

    found = [each.result(LONG) for each in begun]
    assert all("result" in each for each in found), found
    assert len(chatgpt.verifications) == 7
    instance.check_ledger()


def test_without_a_worker_a_call_ends_in_time_and_leaves_nothing(without_worker: Instance, chatgpt: ChatGPT) -> None:
    found = call(without_worker, "events/subscribe", wanted(chatgpt))

    assert (found["error"]["code"], found["error"]["data"]) == (-32015, {"reason": "timeout"})
    assert without_worker.ask(KEPT) == 0
    assert without_worker.ask(WAITING) == 0
    assert chatgpt.verifications == []
    without_worker.check_ledger()


def test_a_caller_that_leaves_has_its_subscription_nevertheless(without_worker: Instance, chatgpt: ChatGPT) -> None:
    with closing(HTTPConnection("127.0.0.1", without_worker.port, timeout=LONG)) as caller:
        method = "events/subscribe"
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": wanted(chatgpt)})
        caller.request("POST", "/mcp", body, {**headers_of(without_worker, method), "Content-Type": "application/json"})
        wait_for(lambda: without_worker.ask(WAITING) == 1, "the call to wait")

    without_worker.start("worker")
    wait_for(lambda: without_worker.ask("SELECT count(verified_at) FROM hookhub_webhook") == 1, "the proof")

    again = call(without_worker, "events/subscribe", wanted(chatgpt))
    assert again["result"]["id"] == chatgpt.verifications[0]["x-mcp-subscription-id"]
    assert len(chatgpt.verifications) == 1
    without_worker.check_ledger()


@pytest.mark.parametrize("proof", ["echo", "another"])
def test_when_the_web_server_dies_the_verdict_stands(
    without_worker: Instance, chatgpt: ChatGPT, pool: ThreadPoolExecutor, proof: str
) -> None:
    chatgpt.proof = proof
    begun = subscribing(pool, without_worker, wanted(chatgpt))
    without_worker.kill("web")
    assert isinstance(begun.exception(LONG), requests.ConnectionError)

    without_worker.start("worker")
    without_worker.start("web")
    without_worker.wait_until_ready()

    if proof == "echo":
        wait_for(lambda: without_worker.ask("SELECT count(verified_at) FROM hookhub_webhook") == 1, "the proof")
        assert "result" in call(without_worker, "events/subscribe", wanted(chatgpt))
        assert without_worker.ask(KEPT) == 1
    else:
        wait_for(lambda: without_worker.ask(KEPT) == 0, "the subscription to be forgotten")
    assert len(chatgpt.verifications) == 1
    without_worker.check_ledger()
