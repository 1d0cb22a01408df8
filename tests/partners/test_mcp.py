"""PyPI's mcp 2.3, unmodified, as the client of `/mcp`; and the same calls to a published server of MCP Events."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Webhook
from deliveries.sending.sender import certificates_from_settings
from deliveries.worker import loop
from hookhub.event_types import registry
from hookhub.http import long_polls
from hookhub.models import ApiKey, Scope
from tests.api import Caller
from tests.chatgpt import OTHER_SECRET, SECRET, ChatGPT, playing_chatgpt
from tests.partners.live import Live, deliver
from tests.receiver import Answer
from tests.story import verify_due

NAME = "app.deployed"
DAY = timedelta(days=1)
PROPERTIES = {"environment": {"type": "string"}, "attempt": {"type": "integer"}}
Call = tuple[str, dict[str, Any]]


def package() -> Any:
    """Import PyPI's mcp, which takes a second, only in the process that runs these tests."""
    from tests.partners import mcp_package

    return mcp_package


def talk(url: str, key: str, use: Callable[[Any], Any], *, mode: str = "auto") -> Any:
    """Connect a client, and return what ``use`` returns for it."""
    return package().talk(url, key, use, mode=mode)


def calls_of(url: str, key: str, *calls: Call, mode: str = "auto") -> list[dict[str, Any]]:
    """Make some calls in one session, and return the result or the error of each."""
    found: list[dict[str, Any]] = package().calls_of(url, key, *calls, mode=mode)
    return found


@pytest.fixture
def chatgpt(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatGPT]:
    with playing_chatgpt() as running:
        settings.HOOKHUB_CA_BUNDLE = str(running.authority)
        monkeypatch.setenv("SSL_CERT_FILE", str(running.authority))
        certificates_from_settings.cache_clear()
        # The worker's loop keeps the sender that it made for earlier tests, which trusts others.
        monkeypatch.setattr(loop, "_senders", {})
        running.secrets = [SECRET, OTHER_SECRET]
        yield running
        for made in loop._senders.values():
            made.close()
    certificates_from_settings.cache_clear()


@pytest.fixture
def live(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Live:
    """Run HookHub, with a worker that verifies whenever a call waits."""
    monkeypatch.setattr(long_polls, "sleep", lambda _: verify_due(now=timezone.now()))
    made = Live.make(live_server.url)
    registry.register(
        {"type": NAME, "description": "An app was deployed.", "schema": {"type": "object", "properties": PROPERTIES}},
        organization=made.organization,
        now=timezone.now(),
    )
    return made


@pytest.fixture
def key(live: Live) -> str:
    return ApiKey.issue(organization=live.organization, scope=Scope.READ, now=timezone.now())[1]


def wanted(chatgpt: ChatGPT, **more: Any) -> dict[str, Any]:
    return {"name": NAME, "arguments": {}, "delivery": chatgpt.delivery(), **more}


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
def test_the_client_connects_lists_and_calls_tools(live: Live, key: str, mode: str) -> None:
    async def use(client: Any) -> tuple[Any, ...]:
        tools = await client.list_tools()
        called = await client.call_tool("list_event_types", {})
        return client.protocol_version, client.server_info, tools, called

    version, server, tools, called = talk(f"{live.url}/mcp", key, use, mode=mode)

    assert version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
    assert mode == "2026-07-28" or server.name == "hookhub"
    assert [tool.name for tool in tools.tools] == ["list_event_types", "get_recent_events", "get_delivery"]
    assert called.is_error is False
    assert called.structured_content["eventTypes"][0]["name"] == NAME


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_client_subscribes_gets_events_and_unsubscribes(live: Live, key: str, chatgpt: ChatGPT, mode: str) -> None:
    params = wanted(chatgpt, arguments={"environment": "production"})
    url = f"{live.url}/mcp"

    [listed, made] = calls_of(url, key, ("events/list", {}), ("events/subscribe", params), mode=mode)
    assert listed["events"][0]["inputSchema"]["properties"].keys() == {"repository", *PROPERTIES}
    assert made["id"].startswith("sub_")
    for environment in ("staging", "production"):
        live.publish(NAME, {"environment": environment})
    deliver()
    assert [event["data"] for event in chatgpt.events] == [{"environment": "production"}]
    assert chatgpt.headers[-1]["x-mcp-subscription-id"] == made["id"]
    assert chatgpt.unsigned == 0

    async def look(client: Any) -> Any:
        return await client.call_tool("get_recent_events", {"limit": 1})

    recent = talk(url, key, look, mode=mode).structured_content["events"]
    assert [(row["eventId"], row["delivery"]) for row in recent] == [(chatgpt.events[0]["eventId"], "delivered")]

    calls_of(url, key, ("events/unsubscribe", params), mode=mode)
    live.publish(NAME, {"environment": "production"})
    deliver()
    assert len(chatgpt.events) == 1


def test_a_receiver_that_is_slow_or_gone_or_finds_an_event_too_long(live: Live, key: str, chatgpt: ChatGPT) -> None:
    url = f"{live.url}/mcp"
    chatgpt.receiver.delay = 0.5
    [made] = calls_of(url, key, ("events/subscribe", wanted(chatgpt)))
    assert made["id"]
    chatgpt.receiver.delay = 0

    chatgpt.answer = Answer(413)
    live.publish(NAME, {"attempt": 1})
    deliver()
    assert Webhook.objects.kept().count() == 1
    chatgpt.answer = Answer(410)
    live.publish(NAME, {"attempt": 2})
    deliver()
    assert Webhook.objects.kept().count() == 0
    assert [event["data"]["attempt"] for event in chatgpt.events] == [1, 2]


def test_a_request_without_the_header_of_its_method_is_refused(live: Live, key: str) -> None:
    answer = Caller(key).post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "events/list"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


# The same calls to a published server --------------------------------------------------------------------------------


@pytest.fixture
def published(chatgpt: ChatGPT, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """Run a published server with the same event; yield its address, and what publishes."""
    with package().published_server(NAME, PROPERTIES, folder=tmp_path) as running:
        yield running


def told(found: dict[str, Any]) -> dict[str, Any]:
    """Return what both servers must say alike; ids and times are their own."""
    if "error" in found:
        return {"code": found["error"]["code"], "reason": (found["error"]["data"] or {}).get("reason")}
    shown = {name: value for name, value in found.items() if name not in {"id", "refreshBefore", "_meta"}}
    if "refreshBefore" in found:
        left = datetime.fromisoformat(found["refreshBefore"]) - timezone.now()
        shown["hours"] = round(left / timedelta(hours=1))
    if "events" in found:
        shown["events"] = [
            {name: event[name] for name in ("name", "description", "delivery")}
            for event in found["events"]
            if event["name"] == NAME
        ]
    return shown


def test_both_servers_answer_the_same_calls_alike(
    live: Live, key: str, chatgpt: ChatGPT, published: tuple[str, Any]
) -> None:
    bad = "whsec_c2hvcnQ="
    http = {**chatgpt.delivery(), "url": chatgpt.url().replace("https", "http")}
    script: list[tuple[str, str, dict[str, Any]]] = [
        ("echo", "server/discover", {}),
        ("echo", "events/list", {}),
        ("echo", "events/subscribe", wanted(chatgpt)),
        ("echo", "events/subscribe", wanted(chatgpt)),
        ("echo", "events/subscribe", wanted(chatgpt, ttlMs=1)),
        ("echo", "events/subscribe", wanted(chatgpt, ttlMs=86_400_000)),
        ("echo", "events/subscribe", wanted(chatgpt, ttlMs=10**13)),
        ("echo", "events/subscribe", wanted(chatgpt, ttlMs=-1)),
        ("echo", "events/subscribe", wanted(chatgpt, arguments={"attempt": 1, "environment": "x"})),
        ("echo", "events/subscribe", wanted(chatgpt, arguments={"environment": "x", "attempt": 1})),
        ("echo", "events/subscribe", wanted(chatgpt, arguments={"attempt": "x"})),
        ("echo", "events/subscribe", wanted(chatgpt, arguments={"colour": "x"})),
        ("echo", "events/subscribe", wanted(chatgpt, name="nothing")),
        ("echo", "events/subscribe", wanted(chatgpt, delivery=chatgpt.delivery(secret=bad))),
        ("echo", "events/subscribe", wanted(chatgpt, delivery={"mode": "poll"})),
        ("echo", "events/subscribe", wanted(chatgpt, delivery=http)),
        ("echo", "events/subscribe", wanted(chatgpt, delivery=chatgpt.delivery(secret=OTHER_SECRET))),
        ("another", "events/subscribe", wanted(chatgpt, delivery=chatgpt.delivery("/other"))),
        ("echo", "events/unsubscribe", wanted(chatgpt)),
        ("echo", "events/unsubscribe", wanted(chatgpt)),
    ]

    def run(url: str) -> tuple[list[dict[str, Any]], list[str], int]:
        ids: list[str] = []
        answers = []
        chatgpt.forget()
        for proof, method, params in script:
            chatgpt.proof = proof
            [found] = calls_of(url, key, (method, params))
            answers.append(told(found))
            if "id" in found:
                ids.append(found["id"])
        return answers, [str(ids.index(each)) for each in ids], len(chatgpt.verifications)

    ours, our_ids, our_challenges = run(f"{live.url}/mcp")
    theirs, their_ids, their_challenges = run(published[0])

    discovered = [each.pop("capabilities")["events"] for each in (ours[0], theirs[0])]
    assert discovered == [{}, {}]
    assert ours[1:] == theirs[1:]
    # The same request has the same id, and each callback was asked as often.
    assert our_ids == their_ids
    assert our_challenges == their_challenges


def test_both_servers_send_the_same_requests(
    live: Live, key: str, chatgpt: ChatGPT, published: tuple[str, Any]
) -> None:
    url, events = published
    data = [{"environment": "staging", "attempt": 1}, {"environment": "production", "attempt": 2}]
    subscriptions = [wanted(chatgpt), wanted(chatgpt, arguments={"attempt": 2})]

    def sent(where: str, publish: Callable[[dict[str, Any]], object], send: Callable[[], object]) -> list[Any]:
        chatgpt.forget()
        made = calls_of(where, key, *(("events/subscribe", each) for each in subscriptions))
        names = {each["id"]: number for number, each in enumerate(made)}
        for each in data:
            publish(each)
        send()
        rows = []
        for headers, body in zip(chatgpt.headers[1:], chatgpt.events, strict=True):
            assert headers["webhook-id"] == body["eventId"]
            datetime.fromisoformat(body["timestamp"])
            shown = {**body, "eventId": "", "timestamp": ""}
            told_headers = {name for name in headers if name.startswith(("webhook-", "x-mcp", "content-type"))}
            rows.append(
                (names[headers["x-mcp-subscription-id"]], json.dumps(shown, sort_keys=True), sorted(told_headers))
            )
        return sorted(rows)

    ours = sent(f"{live.url}/mcp", lambda each: live.publish(NAME, each), deliver)
    theirs = sent(url, lambda each: events.publish(NAME, each), events.deliver_pending)

    assert [row[0] for row in ours] == [0, 0, 1]
    assert [(number, json.loads(body), headers) for number, body, headers in ours] == [
        (number, json.loads(body), headers) for number, body, headers in theirs
    ]
    assert chatgpt.unsigned == 0
