"""`POST /mcp`: agents subscribe to events, prove their callbacks, get what matches, and look at it with tools."""

import base64
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from deliveries import pipeline
from deliveries.maintenance import invariants, leases
from deliveries.models import Attempt, AuditEntry, Delivery, Organization, Repository, Verification, Webhook
from deliveries.sending.sender import Sender, certificates_from_settings, make_sender
from deliveries.webhooks import lifecycle, mcp_subscribing, mcp_verdicts, verification_queue
from deliveries.webhooks.mcp_subscribing import Asked
from deliveries.webhooks.mcp_verdicts import Verdict
from hookhub import api_keys
from hookhub.event_types import registry
from hookhub.http import long_polls
from hookhub.mcp import tools, waiting
from hookhub.mcp.event_types import input_schema_of
from hookhub.mcp.jsonrpc import RpcError
from hookhub.mcp.waiting import PATIENCE
from hookhub.models import ApiKey, Scope
from tests.api import Caller
from tests.chatgpt import OTHER_SECRET, SECRET, ChatGPT, playing_chatgpt
from tests.receiver import Answer
from tests.story import Forge, deliver_due, verify_due

pytestmark = pytest.mark.django_db

VERSION = "2026-07-28"
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
DEPLOYED = {
    "type": "object",
    "properties": {
        "environment": {"type": "string", "enum": ["staging", "production"], "description": "Where."},
        "attempt": {"type": "integer"},
        "forced": {"type": ["boolean", "null"]},
        "commit": {"type": "object"},
        "tags": {"type": "array"},
        "level": {"enum": [1, 2]},
    },
}


@pytest.fixture
def chatgpt(settings: Settings) -> Iterator[ChatGPT]:
    with playing_chatgpt() as running:
        settings.HOOKHUB_CA_BUNDLE = str(running.authority)
        certificates_from_settings.cache_clear()
        yield running
    certificates_from_settings.cache_clear()


@pytest.fixture
def sender(chatgpt: ChatGPT) -> Iterator[Sender]:
    made = make_sender(slots=8)
    yield made
    made.close()


@pytest.fixture
def forge(forge: Forge) -> Forge:
    registry.register(
        {"type": "app.deployed", "description": "An app was deployed.", "schema": DEPLOYED},
        organization=forge.organization,
        now=timezone.now(),
    )
    return forge


@pytest.fixture
def agent(forge: Forge) -> Caller:
    """Return a client with a key that may only read."""
    return Caller.of(forge.organization, Scope.READ)


@pytest.fixture(autouse=True)
def _worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker send what is due whenever a call waits."""
    monkeypatch.setattr(long_polls, "sleep", lambda _: verify_due(now=timezone.now()))


def rpc(
    caller: Caller, method: str, params: object = None, *, headers: dict[str, str] | None = None, call_id: Any = 1
) -> Any:
    """Return the response to a call, as the stateless version sends it."""
    body = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": {} if params is None else params}
    told = {"Mcp-Method": method, "MCP-Protocol-Version": VERSION} if headers is None else headers
    return caller.post("/mcp", body, headers=told)


def result(caller: Caller, method: str, params: object = None) -> dict[str, Any]:
    answer = rpc(caller, method, params)
    body = answer.json()
    assert (answer.status_code, body.get("error"), body["id"]) == (200, None, 1)
    found: dict[str, Any] = body["result"]
    assert found.pop("resultType") == "complete"
    return found


def error(caller: Caller, method: str, params: object = None) -> dict[str, Any]:
    body = rpc(caller, method, params).json()
    assert "result" not in body
    found: dict[str, Any] = body["error"]
    return found


def wanted(chatgpt: ChatGPT, name: str = "app.deployed", *, secret: str = SECRET, **more: Any) -> dict[str, Any]:
    return {"name": name, "arguments": {}, "delivery": chatgpt.delivery(secret=secret), **more}


def subscribe(caller: Caller, chatgpt: ChatGPT, **more: Any) -> dict[str, Any]:
    return result(caller, "events/subscribe", wanted(chatgpt, **more))


def publish(forge: Forge, sender: Sender, *data: object, event_type: str = "app.deployed") -> None:
    now = timezone.now()
    pipeline.accept([forge.event(event_type, each, now=now) for each in data], now=now)
    pipeline.fan_out(now=now)
    deliver_due(sender, now=now)


def tool(caller: Caller, tool_name: str, **arguments: Any) -> Any:
    found = result(caller, "tools/call", {"name": tool_name, "arguments": arguments})
    if found["isError"]:
        return found["content"][0]["text"]
    assert json.loads(found["content"][0]["text"]) == found["structuredContent"]
    return found["structuredContent"]


# Introduction ---------------------------------------------------------------------------------------------------------


def test_the_server_says_that_it_has_events_and_tools(agent: Caller) -> None:
    found = result(agent, "server/discover")

    assert found["capabilities"] == {"tools": {}, "events": {}}
    assert found["supportedVersions"] == ["2026-07-28", "2025-11-25", "2025-06-18"]
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "hookhub"
    assert (found["cacheScope"], found["ttlMs"]) == ("private", 60_000)


@pytest.mark.parametrize(
    ("asked", "agreed"), [("2025-06-18", "2025-06-18"), ("2024-11-05", "2025-11-25"), (7, "2025-11-25")]
)
def test_clients_with_a_handshake_need_no_header_for_the_method(agent: Caller, asked: object, agreed: str) -> None:
    greeted = rpc(agent, "initialize", {"protocolVersion": asked, "capabilities": {}, "clientInfo": {}}, headers={})
    assert greeted.json()["result"]["protocolVersion"] == agreed
    assert greeted.json()["result"]["capabilities"] == {"tools": {}, "events": {}}
    assert "resultType" not in greeted.json()["result"]

    told = {"MCP-Protocol-Version": agreed}
    ready = agent.post("/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=told)
    assert (ready.status_code, ready.content) == (202, b"")
    assert rpc(agent, "ping", headers=told).json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert len(rpc(agent, "tools/list", headers=told).json()["result"]["tools"]) == 3


def test_the_tools_are_read_only(agent: Caller) -> None:
    listed = result(agent, "tools/list")["tools"]

    assert [each["name"] for each in listed] == ["list_event_types", "get_recent_events", "get_delivery"]
    assert all(each["annotations"]["readOnlyHint"] for each in listed)
    assert all(each["inputSchema"]["type"] == "object" for each in listed)


def test_events_are_those_of_the_organization_with_what_they_may_be_filtered_by(agent: Caller) -> None:
    events = {each["name"]: each for each in result(agent, "events/list")["events"]}

    own = events["app.deployed"]
    assert next(iter(events)) == "app.deployed"
    assert own["description"] == "An app was deployed."
    assert own["delivery"] == ["webhook"]
    assert own["payloadSchema"]["anyOf"][0] == DEPLOYED
    repository = own["inputSchema"]["properties"].pop("repository")
    assert repository["type"] == "string"
    assert own["inputSchema"] == {
        "type": "object",
        "properties": {
            "environment": {"type": "string", "enum": ["staging", "production"], "description": "Where."},
            "attempt": {"type": "integer"},
            "forced": {"type": ["boolean", "null"]},
            "level": {"enum": [1, 2]},
        },
        "additionalProperties": False,
    }
    assert "push" in events
    assert [row["name"] for row in tool(agent, "list_event_types")["eventTypes"]] == list(events)


# Subscribing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [MINUTE, -MINUTE])
def test_a_web_server_whose_clock_is_wrong_is_no_reason_to_wait(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    monkeypatch.setattr("deliveries.timezone.now", lambda: timezone.now() + ahead)
    monkeypatch.setattr(waiting, "PATIENCE", timedelta(seconds=2))

    subscribe(agent, chatgpt)

    assert abs(Verification.objects.get().created_at - timezone.now()) < MINUTE / 2


def test_a_callback_that_echoes_the_challenge_gets_the_events(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    before = timezone.now()

    made = subscribe(agent, chatgpt)

    assert made == {"id": made["id"], "refreshBefore": made["refreshBefore"], "cursor": None, "truncated": False}
    until = datetime.fromisoformat(made["refreshBefore"])
    assert made["refreshBefore"].endswith("Z")
    assert timedelta(0) <= until - (before + 7 * DAY) + MINUTE <= 2 * MINUTE
    [asked] = chatgpt.verifications
    assert asked["x-mcp-subscription-id"] == made["id"]
    assert asked["webhook-id"].startswith("msg_verification_")
    webhook = Webhook.objects.get()
    assert (webhook.format, webhook.events, webhook.proof) == ("mcp-event", ["app.deployed"], "mcp")

    publish(forge, sender, {"environment": "staging"}, {"environment": "production"})
    publish(forge, sender, {"n": 1}, event_type="push")

    assert [(each["name"], each["cursor"]) for each in chatgpt.events] == [("app.deployed", None)] * 2
    assert {each["data"]["environment"] for each in chatgpt.events} == {"staging", "production"}
    for headers, event in zip(chatgpt.headers[1:], chatgpt.events, strict=True):
        assert headers["webhook-id"] == event["eventId"]
        assert headers["x-mcp-subscription-id"] == made["id"]
    assert chatgpt.unsigned == 0
    assert not [each for each in invariants.check_all(now=timezone.now()) if each.verdict not in {"ok", "waiting"}]


def test_nothing_is_sent_before_the_proof(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(_: float) -> None:
        publish(forge, sender, {"environment": "staging"})
        verify_due(now=timezone.now())

    monkeypatch.setattr(long_polls, "sleep", meanwhile)

    subscribe(agent, chatgpt)

    assert chatgpt.events == []
    assert Delivery.objects.count() == 0


# label: (how the callback answers, the reason)
REFUSED: dict[str, tuple[Any, str]] = {
    "another challenge": ("another", "challenge_failed"),
    "no JSON": (Answer(body=b"ok"), "challenge_failed"),
    "an error": (Answer(500), "challenge_failed"),
    "a redirect": (Answer(302, {"Location": "/elsewhere"}), "challenge_failed"),
    "gone": (Answer(410), "challenge_failed"),
    "invalid HTTP": (Answer(raw=b"\x16\x03\x01\r\n\r\n"), "connection_failed"),
    "a closed connection": (Answer(raw=b""), "connection_failed"),
}


@pytest.mark.parametrize(("proof", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_callback_without_proof_has_no_subscription(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender, proof: Any, reason: str
) -> None:
    chatgpt.proof = proof

    found = error(agent, "events/subscribe", wanted(chatgpt))

    assert (found["code"], found["data"]) == (-32015, {"reason": reason})
    assert not Webhook.objects.kept().exists()
    # Asked once: its caller waits.
    assert len(chatgpt.verifications) == 1
    assert Verification.objects.get().state == "failed"
    publish(forge, sender, {"environment": "staging"})
    assert chatgpt.events == []


def test_a_callback_that_cannot_be_reached_or_is_not_trusted_has_none_either(
    agent: Caller, chatgpt: ChatGPT, settings: Settings
) -> None:
    settings.HOOKHUB_CA_BUNDLE = ""
    certificates_from_settings.cache_clear()
    assert error(agent, "events/subscribe", wanted(chatgpt))["data"] == {"reason": "tls_error"}

    params = wanted(chatgpt)
    chatgpt.receiver.close()
    assert error(agent, "events/subscribe", params)["data"] == {"reason": "connection_failed"}
    assert not Webhook.objects.kept().exists()


def test_a_slow_callback_has_none_either(agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification_queue, "TIMEOUT", timedelta(milliseconds=300))
    chatgpt.receiver.delay = 30

    found = error(agent, "events/subscribe", wanted(chatgpt))

    assert (found["code"], found["data"]) == (-32015, {"reason": "timeout"})
    assert len(chatgpt.verifications) == 1
    assert not Webhook.objects.kept().exists()


def test_without_a_worker_the_call_ends_and_leaves_nothing(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_polls, "sleep", lambda _: None)
    monkeypatch.setattr(waiting, "PATIENCE", timedelta(0))

    found = error(agent, "events/subscribe", wanted(chatgpt))

    assert (found["code"], found["data"]) == (-32015, {"reason": "timeout"})
    assert not Webhook.objects.kept().exists()
    assert verify_due(now=timezone.now()) == []
    assert chatgpt.verifications == []


def test_no_transaction_is_open_while_a_call_waits(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = len(connection.savepoint_ids)
    seen: list[int] = []

    def look(_: float) -> None:
        seen.append(len(connection.savepoint_ids) - depth)
        verify_due(now=timezone.now())

    monkeypatch.setattr(long_polls, "sleep", look)
    subscribe(agent, chatgpt)

    assert seen == [0]


URLS = {
    "http": ("http://receiver.example/hook", "insecure_url"),
    "another scheme": ("ftp://receiver.example/hook", "invalid_url"),
    "no host": ("https:///hook", "invalid_url"),
    "a password": ("https://user:pass@receiver.example/", "invalid_url"),
    "a fragment": ("https://receiver.example/#x", "invalid_url"),
    "an inner address": ("https://10.0.0.1/hook", "blocked_address"),
    "metadata": ("https://169.254.169.254/latest", "blocked_address"),
    "loopback in disguise": ("https://2130706433/hook", "blocked_address"),
    "a port of mail": ("https://receiver.example:25/", "blocked_address"),
}


@pytest.mark.parametrize(("url", "reason"), URLS.values(), ids=URLS)
def test_only_https_to_allowed_addresses_is_sent_to(
    agent: Caller, chatgpt: ChatGPT, settings: Settings, url: str, reason: str
) -> None:
    settings.HOOKHUB_DEVELOPMENT = False
    params = wanted(chatgpt, delivery={**chatgpt.delivery(), "url": url})

    found = error(agent, "events/subscribe", params)

    assert (found["code"], found["data"]) == (-32015, {"reason": reason})
    assert not Webhook.objects.exists()


def test_a_name_that_leads_to_an_inner_address_is_blocked_when_it_is_connected_to(
    agent: Caller, chatgpt: ChatGPT, settings: Settings
) -> None:
    settings.HOOKHUB_DEVELOPMENT = False
    port = chatgpt.receiver.port
    params = wanted(chatgpt, delivery={**chatgpt.delivery(), "url": f"https://localhost:{port}/callback"})

    found = error(agent, "events/subscribe", params)

    assert (found["code"], found["data"]["reason"]) == (-32015, "blocked_address")
    assert chatgpt.receiver.connections == 0


SECRETS = {
    "none": None,
    "a number": 7,
    "empty": "",
    "without a prefix": base64.b64encode(b"x" * 32).decode(),
    "not base64": "whsec_!!!",
    "23 bytes": "whsec_" + base64.b64encode(b"x" * 23).decode(),
    "65 bytes": "whsec_" + base64.b64encode(b"x" * 65).decode(),
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_whsec_and_24_to_64_bytes(agent: Caller, chatgpt: ChatGPT, secret: Any) -> None:
    delivery = {**chatgpt.delivery(), "secret": secret}
    if secret is None:
        del delivery["secret"]

    found = error(agent, "events/subscribe", wanted(chatgpt, delivery=delivery))

    assert found["code"] == -32602
    assert "secret" in found["message"]
    assert not Webhook.objects.exists()
    assert str(secret) not in found["message"] or not secret


PARAMS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown event": ({"name": "nothing"}, "name"),
    "a family": ({"name": "app"}, "name"),
    "everything": ({"name": "*"}, "name"),
    "no name": ({"name": None}, "name"),
    "arguments as a list": ({"arguments": []}, "arguments"),
    "an unknown argument": ({"arguments": {"colour": "red"}}, "arguments.colour"),
    "an argument of another type": ({"arguments": {"attempt": "1"}}, "arguments.attempt"),
    "an argument outside of the enumeration": ({"arguments": {"environment": "x"}}, "arguments.environment"),
    "an argument that is no scalar": ({"arguments": {"commit": {}}}, "arguments.commit"),
    "a nested argument": ({"arguments": {"environment": {"a": 1}}}, "arguments.environment"),
    "an unknown repository": ({"arguments": {"repository": "nowhere"}}, "arguments.repository"),
    "a repository with NUL": ({"arguments": {"repository": "a\0"}}, "arguments.repository"),
    "huge arguments": ({"arguments": {"repository": "x" * 5000}}, "arguments"),
    "no delivery": ({"delivery": None}, "delivery.mode"),
    "polling": ({"delivery": {"mode": "poll"}}, "delivery.mode"),
    "no URL": ({"delivery": {"mode": "webhook", "secret": SECRET}}, "delivery.url"),
    "a URL that is a number": ({"delivery": {"mode": "webhook", "secret": SECRET, "url": 7}}, "delivery.url"),
    "no time": ({"ttlMs": 0}, "ttlMs"),
    "a negative time": ({"ttlMs": -1}, "ttlMs"),
    "true as time": ({"ttlMs": True}, "ttlMs"),
    "a time as text": ({"ttlMs": "1000"}, "ttlMs"),
}


@pytest.mark.parametrize(("more", "named"), PARAMS.values(), ids=PARAMS)
def test_invalid_parameters_are_named(agent: Caller, chatgpt: ChatGPT, more: dict[str, Any], named: str) -> None:
    found = error(agent, "events/subscribe", {**wanted(chatgpt), **more})

    assert found["code"] == -32602
    assert found["message"].startswith(named)
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, 7 * DAY),
        (1, timedelta(hours=1)),
        (3_600_000, timedelta(hours=1)),
        (86_400_000, DAY),
        (86_400_000.5, DAY),
        (10**15, 7 * DAY),
        (1e300, 7 * DAY),
    ],
)
def test_a_subscription_lasts_as_asked_within_bounds(
    agent: Caller, chatgpt: ChatGPT, asked: Any, granted: timedelta
) -> None:
    made = subscribe(agent, chatgpt, ttlMs=asked)

    until = datetime.fromisoformat(made["refreshBefore"])
    assert abs(until - timezone.now() - granted) < MINUTE
    assert Webhook.objects.get().expires_at.replace(microsecond=0) == until  # type: ignore[union-attr]


def test_the_same_request_is_the_same_subscription_whatever_the_order_of_its_arguments(
    agent: Caller, chatgpt: ChatGPT
) -> None:
    first = subscribe(agent, chatgpt, arguments={"environment": "staging", "attempt": 1}, ttlMs=3_600_000)
    again = subscribe(agent, chatgpt, arguments={"attempt": 1.0, "environment": "staging"})

    assert again["id"] == first["id"]
    assert again["refreshBefore"] > first["refreshBefore"]
    assert Webhook.objects.count() == 1


def test_another_caller_name_callback_or_argument_is_another_subscription(
    agent: Caller, chatgpt: ChatGPT, forge: Forge
) -> None:
    made = [
        subscribe(agent, chatgpt),
        subscribe(agent, chatgpt, arguments={"environment": "staging"}),
        subscribe(agent, chatgpt, arguments={"environment": "production"}),
        subscribe(agent, chatgpt, name="push"),
        subscribe(agent, chatgpt, delivery=chatgpt.delivery("/other")),
        subscribe(Caller.of(forge.organization, Scope.READ), chatgpt),
    ]

    assert len({each["id"] for each in made}) == Webhook.objects.kept().count() == 6


def test_a_proof_is_remembered_for_a_day_per_caller_and_callback(agent: Caller, chatgpt: ChatGPT, forge: Forge) -> None:
    subscribe(agent, chatgpt)
    assert len(chatgpt.verifications) == 1

    subscribe(agent, chatgpt, name="push")
    subscribe(agent, chatgpt)
    assert len(chatgpt.verifications) == 1
    subscribe(agent, chatgpt, delivery=chatgpt.delivery("/other"))
    assert len(chatgpt.verifications) == 2
    subscribe(Caller.of(forge.organization, Scope.READ), chatgpt)
    assert len(chatgpt.verifications) == 3

    Webhook.objects.update(verified_at=timezone.now() - DAY)
    subscribe(agent, chatgpt)
    assert len(chatgpt.verifications) == 4


def test_a_proof_is_remembered_after_the_subscription_has_ended(agent: Caller, chatgpt: ChatGPT) -> None:
    subscribe(agent, chatgpt)
    assert result(agent, "events/unsubscribe", wanted(chatgpt)) == {}

    made = subscribe(agent, chatgpt)

    assert len(chatgpt.verifications) == 1
    assert Webhook.objects.kept().get().subscription["id"] == made["id"]  # type: ignore[index]


def test_a_changed_secret_signs_along_with_the_old_one_for_a_day(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    chatgpt.secrets = [SECRET, OTHER_SECRET]
    subscribe(agent, chatgpt)
    subscribe(agent, chatgpt, secret=OTHER_SECRET)

    publish(forge, sender, {"environment": "staging"})
    assert chatgpt.headers[-1]["webhook-signature"].count("v1,") == 2
    assert chatgpt.verified_by(chatgpt.receiver.received[-1]) == [SECRET, OTHER_SECRET]

    later = timezone.now() + DAY + MINUTE
    forge.accept(event_type="app.deployed", now=later)
    deliver_due(sender, now=later)
    assert chatgpt.receiver.received[-1].headers["webhook-signature"].count("v1,") == 1
    Delivery.objects.all().delete()

    # The same secret again, and the first one again: no copy of either is left.
    subscribe(agent, chatgpt, secret=OTHER_SECRET)
    subscribe(agent, chatgpt, secret=SECRET)
    publish(forge, sender, {"environment": "staging"})
    assert chatgpt.headers[-1]["webhook-signature"].count("v1,") == 2


def test_a_renewal_whose_callback_is_not_proved_changes_nothing(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    subscribe(agent, chatgpt, ttlMs=86_400_000)
    Webhook.objects.update(verified_at=timezone.now() - 2 * DAY)
    before = Webhook.objects.get()
    chatgpt.proof, chatgpt.secrets = "another", [SECRET, OTHER_SECRET]

    assert error(agent, "events/subscribe", wanted(chatgpt, secret=OTHER_SECRET))["code"] == -32015

    after = Webhook.objects.get()
    assert (after.expires_at, bytes(after.sealed_secrets)) == (before.expires_at, bytes(before.sealed_secrets))
    publish(forge, sender, {"environment": "staging"})
    assert chatgpt.verified_by(chatgpt.receiver.received[-1]) == [SECRET]


def test_a_renewal_that_no_worker_verifies_in_time_changes_nothing_either(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(agent, chatgpt)
    Webhook.objects.update(verified_at=timezone.now() - 2 * DAY)
    monkeypatch.setattr(long_polls, "sleep", lambda _: None)
    monkeypatch.setattr(waiting, "PATIENCE", timedelta(0))

    assert error(agent, "events/subscribe", wanted(chatgpt, secret=OTHER_SECRET))["data"] == {"reason": "timeout"}

    assert Webhook.objects.kept().count() == 1
    assert verify_due(now=timezone.now()) == []


def test_the_same_asked_twice_at_once_is_answered_twice_with_one_subscription(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: list[Any] = []
    monkeypatch.setattr(waiting, "ROOM_IN_THREADS", waiting.ROOM)

    def another(_: float) -> None:
        monkeypatch.setattr(long_polls, "sleep", lambda _: verify_due(now=timezone.now()))
        inner.append(subscribe(agent, chatgpt, secret=OTHER_SECRET))

    chatgpt.secrets = [SECRET, OTHER_SECRET]
    monkeypatch.setattr(long_polls, "sleep", another)
    outer = subscribe(agent, chatgpt)

    assert outer == inner[0]
    assert Webhook.objects.count() == 1
    assert len(chatgpt.verifications) == 1


@pytest.mark.parametrize("end", ["give up", "revoke"])
def test_a_subscription_that_ends_while_its_renewal_waits_is_not_left_behind(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    subscribe(agent, chatgpt)
    Webhook.objects.update(verified_at=timezone.now() - 2 * DAY)

    def expire(_: float) -> None:
        Webhook.objects.update(expires_at=timezone.now() - MINUTE)
        leases.end_expired(now=timezone.now())
        assert Webhook.objects.kept().get().ended_at is not None
        if end == "revoke":
            key_of(agent).revoke(now=timezone.now())
        monkeypatch.setattr(long_polls.Wait, "is_over", True)

    monkeypatch.setattr(long_polls, "sleep", expire)

    assert error(agent, "events/subscribe", wanted(chatgpt))["code"] == -32015
    assert not Webhook.objects.kept().exists()


def test_a_call_that_waits_hears_that_its_subscription_was_ended(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(_: float) -> None:
        lifecycle.delete(Webhook.objects.kept().get().pk, now=timezone.now())

    monkeypatch.setattr(long_polls, "sleep", end)

    assert error(agent, "events/subscribe", wanted(chatgpt))["data"] == {"reason": "subscription_ended"}


@pytest.mark.parametrize("query", [1, 2, 3])
def test_a_callback_that_proves_itself_while_its_verdict_is_read_is_proved(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch, query: int
) -> None:
    verdict_on, left = mcp_verdicts.verdict_on, [query]

    def conclude(execute: Callable[..., Any], *args: Any) -> Any:
        found = execute(*args)
        left[0] -= 1
        if left[0] == 0:
            verify_due(now=timezone.now())
        return found

    def meanwhile(asked: Asked) -> Verdict | None:
        with connection.execute_wrapper(conclude):
            return verdict_on(asked)

    monkeypatch.setattr(mcp_verdicts, "verdict_on", meanwhile)

    assert subscribe(agent, chatgpt)["id"]
    assert left[0] <= 0


def test_only_so_many_calls_wait_at_a_time(agent: Caller, chatgpt: ChatGPT, forge: Forge) -> None:
    room = waiting.ROOM
    here = {long_polls.POLL: None}
    places = [waiting.enter(forge.organization.pk, here) for _ in range(room.of_organization)]

    with pytest.raises(RpcError, match="Too many callbacks"):
        waiting.enter(forge.organization.pk, here)
    assert waiting.ROOM_IN_THREADS._waiting == []
    waiting.enter(0, here).end()
    for place in places:
        place.end()
        place.end()
    assert waiting.ROOM._waiting == []


def test_of_a_server_that_waits_in_threads_one_is_taken(agent: Caller, chatgpt: ChatGPT, forge: Forge) -> None:
    # The test's client is such a server.
    place = waiting.enter(forge.organization.pk, {})

    assert error(agent, "events/subscribe", wanted(chatgpt))["data"] == {"limit": "waiting"}
    assert not Webhook.objects.exists()
    place.end()
    subscribe(agent, chatgpt)
    # What was refused or has failed does not count.
    error(agent, "events/subscribe", wanted(chatgpt, name="nothing"))
    assert waiting.ROOM_IN_THREADS._waiting == []


def test_a_lost_call_counts_no_more_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = waiting.enter(1, {})
    monkeypatch.setattr(long_polls, "monotonic", lambda: lost.deadline + 10)

    waiting.enter(1, {}).end()

    assert waiting.ROOM_IN_THREADS._waiting == []


@pytest.mark.parametrize("patience", [PATIENCE, timedelta(0)], ids=["in time", "too late"])
def test_a_database_that_is_away_while_a_call_waits_may_come_back(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch, patience: timedelta
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", patience)
    verdict_on, failures = mcp_verdicts.verdict_on, [OperationalError("away"), InterfaceError("away")]

    def fails_first(asked: Asked) -> Verdict | None:
        if failures:
            raise failures.pop()
        return verdict_on(asked)

    monkeypatch.setattr(mcp_verdicts, "verdict_on", fails_first)

    found = rpc(agent, "events/subscribe", wanted(chatgpt)).json()

    assert ("result" in found) is bool(patience)
    assert patience or found["error"]["code"] == -32000
    assert waiting.ROOM_IN_THREADS._waiting == []


def test_a_key_that_is_revoked_while_a_renewal_waits_has_no_subscription(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(agent, chatgpt)
    Webhook.objects.update(verified_at=timezone.now() - 2 * DAY)
    monkeypatch.setattr(long_polls, "sleep", lambda _: key_of(agent).revoke(now=timezone.now()))

    assert error(agent, "events/subscribe", wanted(chatgpt))["data"] == {"reason": "subscription_ended"}


# Filters --------------------------------------------------------------------------------------------------------------


def test_arguments_filter_by_repository_and_by_fields_of_the_data(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    forge.organization.repositories.create(name="gadgets")
    subscribe(agent, chatgpt, arguments={"repository": "widgets", "environment": "production"})
    subscribe(agent, chatgpt, arguments={"repository": "gadgets"})
    subscribe(agent, chatgpt, arguments={"attempt": 2, "forced": None})

    publish(
        forge,
        sender,
        {"environment": "production", "attempt": 1},
        {"environment": "staging", "attempt": 2, "forced": None},
        {"environment": "production", "attempt": 2, "forced": None},
        {"environment": "staging"},
    )

    got = [(each["data"].get("environment"), each["data"].get("attempt")) for each in chatgpt.events]
    assert sorted(got) == [("production", 1), ("production", 2), ("production", 2), ("staging", 2)]


def test_a_renewal_is_for_the_repository_that_has_the_name_now(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    first = subscribe(agent, chatgpt, arguments={"repository": "widgets"})
    Repository.objects.filter(pk=forge.repository.pk).update(name="gadgets")
    forge.organization.repositories.create(name="widgets")

    again = subscribe(agent, chatgpt, arguments={"repository": "widgets"})
    publish(forge, sender, {"environment": "of the repository with a new name"})

    assert again["id"] == first["id"]
    assert [each.repository.name for each in Webhook.objects.kept() if each.repository] == ["widgets"]
    assert chatgpt.events == []


# Ending ---------------------------------------------------------------------------------------------------------------


def test_unsubscribing_cancels_what_is_pending(agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender) -> None:
    subscribe(agent, chatgpt, arguments={"attempt": 1})
    forge.accept(event_type="app.deployed", data={"attempt": 1}, now=timezone.now())

    params = wanted(chatgpt, arguments={"attempt": 1})
    del params["delivery"]["secret"]
    assert result(agent, "events/unsubscribe", params) == {}

    assert not Webhook.objects.kept().exists()
    assert [each.state for each in Delivery.objects.all()] == ["cancelled"]
    assert deliver_due(sender, now=timezone.now()) == set()
    # Again, and what never was.
    assert result(agent, "events/unsubscribe", params) == {}
    assert result(agent, "events/unsubscribe", {**params, "name": "nothing"}) == {}


def test_an_event_type_that_was_deleted_can_be_unsubscribed(agent: Caller, chatgpt: ChatGPT, forge: Forge) -> None:
    subscribe(agent, chatgpt)
    forge.organization.event_types.all().delete()

    assert result(agent, "events/unsubscribe", wanted(chatgpt)) == {}
    assert not Webhook.objects.kept().exists()


def test_410_ends_the_subscription(agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender) -> None:
    subscribe(agent, chatgpt)
    chatgpt.answer = Answer(410)

    publish(forge, sender, {"environment": "staging"})

    assert not Webhook.objects.kept().exists()
    assert [(each.state, each.finish_reason) for each in Delivery.objects.all()] == [("failed", "gone")]
    publish(forge, sender, {"environment": "staging"})
    assert len(chatgpt.events) == 1


@pytest.mark.parametrize(("status", "state"), [(413, "failed"), (500, "pending"), (404, "pending"), (302, "pending")])
def test_413_is_final_and_other_errors_follow_the_schedule(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender, status: int, state: str
) -> None:
    subscribe(agent, chatgpt)
    chatgpt.answer = Answer(status)

    publish(forge, sender, {"environment": "staging"})

    assert Delivery.objects.get().state == state
    assert Webhook.objects.kept().get().active


def test_a_subscription_ends_with_its_time_and_can_be_made_again(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    made = subscribe(agent, chatgpt)
    Webhook.objects.update(expires_at=timezone.now() - MINUTE, expiry_warning_at=None)

    publish(forge, sender, {"environment": "staging"})
    leases.end_expired(now=timezone.now())

    assert (chatgpt.events, Webhook.objects.kept().count()) == ([], 0)
    assert subscribe(agent, chatgpt)["id"] == made["id"]


def test_its_owner_is_not_warned_of_its_end(agent: Caller, chatgpt: ChatGPT) -> None:
    subscribe(agent, chatgpt)
    subscribe(agent, chatgpt)
    subscribe(agent, chatgpt, name="push")

    assert not Webhook.objects.filter(expiry_warning_at__isnull=False).exists()


def test_a_subscription_that_the_owner_has_disabled_cannot_be_renewed(agent: Caller, chatgpt: ChatGPT) -> None:
    subscribe(agent, chatgpt)
    lifecycle.disable(Webhook.objects.get().pk, now=timezone.now())

    assert error(agent, "events/subscribe", wanted(chatgpt))["code"] == -32012


@pytest.mark.parametrize("way", ["ended by the agent", "ended by the agent twice", "lease ended", "callback gone"])
def test_a_subscription_that_the_owner_has_disabled_stays_so_after_its_end(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, way: str
) -> None:
    made = subscribe(agent, chatgpt)
    forge.accept(now=timezone.now(), event_type="app.deployed", data={"environment": "production"})
    webhook = Webhook.objects.get()
    lifecycle.disable(webhook.pk, now=timezone.now())

    for _ in range(way.startswith("ended") + way.endswith("twice")):
        assert result(agent, "events/unsubscribe", wanted(chatgpt)) == {}
    if way == "lease ended":
        Webhook.objects.update(expires_at=timezone.now() - MINUTE)
    if way == "callback gone":
        Webhook.objects.update(gone_at=timezone.now())
        pipeline.review(now=timezone.now())
        Webhook.objects.update(expires_at=timezone.now() - MINUTE)
    assert error(agent, "events/subscribe", wanted(chatgpt))["code"] == -32012
    leases.end_expired(now=timezone.now())

    assert error(agent, "events/subscribe", wanted(chatgpt))["code"] == -32012
    assert list(Delivery.objects.values_list("state", flat=True)) == ["cancelled"]
    lifecycle.enable(webhook.pk, release_held=False, now=timezone.now())
    assert subscribe(agent, chatgpt)["id"] == made["id"]
    assert Webhook.objects.get().status(now=timezone.now()) == "active"


def test_one_disabled_by_its_owner_goes_with_the_key(agent: Caller, chatgpt: ChatGPT) -> None:
    subscribe(agent, chatgpt)
    lifecycle.disable(Webhook.objects.get().pk, now=timezone.now())

    key_of(agent).revoke(now=timezone.now())

    assert not Webhook.objects.kept().exists()


def test_one_that_kept_failing_can_be_ended_and_asked_for_again(agent: Caller, chatgpt: ChatGPT) -> None:
    subscribe(agent, chatgpt)
    with transaction.atomic():
        lifecycle.disable_locked(Webhook.objects.get(), reason=Webhook.DisabledReason.FAILING, now=timezone.now())

    refused = error(agent, "events/subscribe", wanted(chatgpt))
    assert (refused["code"], "kept failing" in refused["message"]) == (-32012, True)
    result(agent, "events/unsubscribe", wanted(chatgpt))
    subscribe(agent, chatgpt)

    assert Webhook.objects.kept().get().active


def test_a_url_that_the_owner_has_changed_is_the_agents_again_after_a_renewal(agent: Caller, chatgpt: ChatGPT) -> None:
    subscribe(agent, chatgpt)
    webhook = Webhook.objects.get()
    webhook.url = "https://elsewhere.example/"
    webhook.save()

    subscribe(agent, chatgpt)

    assert Webhook.objects.get().url == chatgpt.url()


# Keys -----------------------------------------------------------------------------------------------------------------


def key_of(caller: Caller) -> ApiKey:
    return ApiKey.objects.get(key_id=caller.key.split("_")[1])


def test_a_revoked_key_takes_its_subscriptions_with_it(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    subscribe(agent, chatgpt)
    subscribe(agent, chatgpt, name="push")
    survivor = Caller.of(forge.organization, Scope.READ)
    kept = subscribe(survivor, chatgpt)

    key_of(agent).revoke(now=timezone.now())

    publish(forge, sender, {"environment": "staging"})
    assert [each["x-mcp-subscription-id"] for each in chatgpt.headers if "msg" not in each["webhook-id"]] == [
        kept["id"]
    ]
    leases.end_expired(now=timezone.now() + MINUTE)
    assert [each.subscription["id"] for each in Webhook.objects.kept()] == [kept["id"]]  # type: ignore[index]
    assert rpc(agent, "events/subscribe", wanted(chatgpt)).status_code == 401


def test_a_key_that_is_revoked_while_its_call_waits_gets_no_subscription(
    agent: Caller, chatgpt: ChatGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoke(_: float) -> None:
        key_of(agent).revoke(now=timezone.now())
        verify_due(now=timezone.now())
        leases.end_expired(now=timezone.now() + MINUTE)

    monkeypatch.setattr(long_polls, "sleep", revoke)

    assert error(agent, "events/subscribe", wanted(chatgpt))["code"] == -32015
    assert not Webhook.objects.kept().exists()
    assert chatgpt.verifications == []


def test_no_subscription_lasts_longer_than_its_key(agent: Caller, chatgpt: ChatGPT) -> None:
    key = key_of(agent)
    tomorrow = (timezone.now() + DAY).replace(microsecond=0)
    subscribe(agent, chatgpt)

    api_keys.change(key, {"expires_at": tomorrow}, now=timezone.now())

    assert Webhook.objects.get().expires_at == tomorrow
    made = subscribe(agent, chatgpt)
    assert abs(datetime.fromisoformat(made["refreshBefore"]) - tomorrow) <= timedelta(seconds=1)
    assert Webhook.objects.get().expires_at <= tomorrow + timedelta(seconds=1)  # type: ignore[operator]


def test_a_rolled_key_keeps_its_subscriptions(agent: Caller, chatgpt: ChatGPT) -> None:
    made = subscribe(agent, chatgpt)
    _, text = api_keys.roll(key_of(agent), now=timezone.now())

    assert subscribe(Caller(text), chatgpt)["id"] == made["id"]


def test_strangers_see_and_end_nothing(
    agent: Caller, other: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    subscribe(agent, chatgpt)
    publish(forge, sender, {"environment": "staging"})
    [row] = tool(agent, "get_recent_events")["events"]
    colleague = Caller.of(forge.organization)

    for stranger in (other, colleague):
        assert result(stranger, "events/unsubscribe", wanted(chatgpt)) == {}
        assert tool(stranger, "get_recent_events") == {"events": []}
        assert tool(stranger, "get_delivery", id=row["deliveryId"]) == "None of your subscriptions has this delivery."
    assert error(other, "events/subscribe", wanted(chatgpt))["code"] == -32602
    assert Webhook.objects.kept().count() == 1


def test_the_operators_key_names_the_organization(operator: Caller, chatgpt: ChatGPT, forge: Forge) -> None:
    Organization.objects.create(slug="second")
    told = {"Mcp-Method": "events/list"}

    unnamed = rpc(operator, "events/list")
    assert (unnamed.status_code, unnamed.json()["error"]["code"]) == (422, -32602)
    named = operator.post(
        f"/mcp?organization={forge.organization.slug}",
        {"jsonrpc": "2.0", "id": 1, "method": "events/list"},
        headers=told,
    )
    assert named.json()["result"]["events"][0]["name"] == "app.deployed"
    unknown = operator.post(
        "/mcp?organization=none", {"jsonrpc": "2.0", "id": 1, "method": "events/list"}, headers=told
    )
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, -32011)


def test_a_key_that_may_only_publish_may_not_subscribe(forge: Forge, chatgpt: ChatGPT) -> None:
    answer = rpc(Caller.of(forge.organization, Scope.PUBLISH), "events/subscribe", wanted(chatgpt))

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, -32012)


def test_there_is_a_limit_of_their_own(agent: Caller, chatgpt: ChatGPT, settings: Settings, forge: Forge) -> None:
    settings.HOOKHUB_MCP_SUBSCRIPTIONS, settings.HOOKHUB_WEBHOOKS_PER_ORGANIZATION = 2, 1
    forge.webhook(now=timezone.now())
    subscribe(agent, chatgpt)
    subscribe(agent, chatgpt, name="push")

    found = error(agent, "events/subscribe", wanted(chatgpt, arguments={"attempt": 1}))

    assert (found["code"], found["data"]) == (-32013, {"limit": "subscriptions"})
    subscribe(agent, chatgpt)


def test_changes_are_limited_by_rate(agent: Caller, chatgpt: ChatGPT, settings: Settings) -> None:
    settings.HOOKHUB_WEBHOOK_CHANGES = 1
    subscribe(agent, chatgpt)

    answer = rpc(agent, "events/subscribe", wanted(chatgpt))

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, -32013)
    assert answer.headers["Retry-After"]


# Tools ----------------------------------------------------------------------------------------------------------------


def test_recent_events_are_the_newest_of_the_callers_own_each_once(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    subscribe(agent, chatgpt)
    second = subscribe(agent, chatgpt, arguments={"attempt": 3})
    publish(forge, sender, *({"attempt": n} for n in range(4)))
    chatgpt.answer = Answer(500)
    publish(forge, sender, {"attempt": 9})

    newest = tool(agent, "get_recent_events", limit=2)["events"]
    assert [(each["data"], each["delivery"]) for each in newest] == [
        ({"attempt": 9}, "pending"), ({"attempt": 3}, "delivered"),
    ]  # fmt: skip
    assert newest[0]["name"] == "app.deployed"
    assert newest[0]["eventId"] == chatgpt.events[-1]["eventId"]
    assert newest[0]["repository"] == "widgets"
    assert len(tool(agent, "get_recent_events")["events"]) == 5
    assert len(tool(agent, "get_recent_events", limit=-3)["events"]) == 1
    assert len(tool(agent, "get_recent_events", limit=10**9)["events"]) == 5
    assert [each["data"] for each in tool(agent, "get_recent_events", arguments={"attempt": 2})["events"]] == [
        {"attempt": 2}
    ]
    assert tool(agent, "get_recent_events", arguments={"repository": "gadgets"}) == {"events": []}
    assert len(tool(agent, "get_recent_events", arguments={"repository": "widgets"}, limit=9)["events"]) == 5
    assert tool(agent, "get_recent_events", name="push") == {"events": []}
    # An owner's filter is no argument, and this one would be invalid.
    assert tool(agent, "get_recent_events", arguments={"$filter": {"data": {"$or": 5}}}) == {"events": []}
    assert second["id"]


def test_a_field_named_like_an_owners_filter_is_no_argument() -> None:
    schema = {"properties": {"$filter": {"type": "string"}, "attempt": {"type": "integer"}}}

    assert input_schema_of(schema)["properties"].keys() == {"repository", "attempt"}


def test_a_delivery_shows_its_attempts_and_no_secret(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    made = subscribe(agent, chatgpt)
    chatgpt.answer = Answer(500)
    publish(forge, sender, {"attempt": 9})
    [row] = tool(agent, "get_recent_events")["events"]

    found = tool(agent, "get_delivery", id=row["deliveryId"])

    assert (found["state"], found["subscriptionId"], found["eventId"]) == ("pending", made["id"], row["eventId"])
    assert [(each["number"], each["outcome"], each["status"]) for each in found["attempts"]] == [(1, "failed", 500)]
    assert SECRET not in json.dumps(found)


def test_long_and_odd_data_is_returned_as_a_summary(
    agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender
) -> None:
    subscribe(agent, chatgpt)
    publish(forge, sender, {"text": "x" * 300_000})

    [row] = tool(agent, "get_recent_events")["events"]

    assert row["data"]["url"] == f"http://testserver/v1/events/{row['eventId']}"
    assert row["data"] == chatgpt.events[0]["data"]


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("get_delivery", {}, "'id' is required"),
        ("get_delivery", {"id": "x"}, "arguments.id"),
        ("get_delivery", {"id": 7}, "arguments.id"),
        ("get_recent_events", {"limit": "x"}, "arguments.limit"),
        ("get_recent_events", {"more": 1}, "arguments.more"),
    ],
)
def test_a_tool_says_what_is_wrong(agent: Caller, name: str, arguments: dict[str, Any], told: str) -> None:
    message = tool(agent, name, **arguments)

    assert isinstance(message, str)
    assert told.strip("'").split("'")[0] in message


def test_unknown_tools_and_methods_are_errors(agent: Caller) -> None:
    assert error(agent, "tools/call", {"name": "delete_everything"})["code"] == -32602
    assert error(agent, "tools/call", {"name": "list_event_types", "arguments": []})["code"] == -32602
    answer = rpc(agent, "events/poll")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)


# The envelope ---------------------------------------------------------------------------------------------------------

HEADERS: dict[str, tuple[dict[str, str], dict[str, Any], int | None]] = {
    "none": ({}, {}, -32020),
    "another method": ({"Mcp-Method": "events/list"}, {}, -32020),
    "the method in another case": ({"Mcp-Method": "Tools/List"}, {}, -32020),
    "the stateless version without a method": ({"MCP-Protocol-Version": VERSION}, {}, -32020),
    "a method with a handshake's version": (
        {"MCP-Protocol-Version": "2025-11-25", "Mcp-Method": "events/list"}, {}, -32020,
    ),
    "an unknown version": ({"MCP-Protocol-Version": "2099-01-01", "Mcp-Method": "tools/list"}, {}, -32022),
    "another version in the body": (
        {"MCP-Protocol-Version": "2025-11-25"}, {"_meta": {"io.modelcontextprotocol/protocolVersion": VERSION}}, -32020,
    ),
    "the method alone": ({"Mcp-Method": "tools/list"}, {}, None),
    "a handshake's version alone": ({"MCP-Protocol-Version": "2025-11-25"}, {}, None),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "params", "code"), HEADERS.values(), ids=HEADERS)
def test_headers_must_agree_with_the_body(
    agent: Caller, headers: dict[str, str], params: dict[str, Any], code: int | None
) -> None:
    answer = rpc(agent, "tools/list", params, headers=headers)

    assert answer.json().get("error", {}).get("code") == code
    assert answer.status_code == (200 if code is None else 400)
    assert answer.json()["id"] == 1


def test_a_name_in_a_header_must_be_the_tools(agent: Caller) -> None:
    told = {"Mcp-Method": "tools/call", "Mcp-Name": "get_delivery"}

    answer = rpc(agent, "tools/call", {"name": "list_event_types"}, headers=told)

    assert answer.json()["error"]["code"] == -32020


BODIES: dict[str, tuple[Any, int]] = {
    "nothing": (b"", -32700),
    "no JSON": (b"{", -32700),
    "not UTF-8": (b'{"a": "\xff"}', -32700),
    "NaN": (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": NaN}}', -32700),
    "deep nesting": (b"[" * 30_000, -32700),
    "a batch": ([{"jsonrpc": "2.0", "id": 1, "method": "ping"}], -32600),
    "an empty batch": ([], -32600),
    "text": ("ping", -32600),
    "another version": ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, -32600),
    "no method": ({"jsonrpc": "2.0", "id": 1}, -32600),
    "a response": ({"jsonrpc": "2.0", "id": 1, "result": {}}, -32600),
    "a method that is a number": ({"jsonrpc": "2.0", "id": 1, "method": 1}, -32600),
    "null as id": ({"jsonrpc": "2.0", "id": None, "method": "ping"}, -32600),
    "true as id": ({"jsonrpc": "2.0", "id": True, "method": "ping"}, -32600),
    "a long id": ({"jsonrpc": "2.0", "id": "x" * 300, "method": "ping"}, -32600),
    "params as a list": ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}, -32602),
    "deep params": (
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": json.loads("[" * 300 + "]" * 300)}}, -32602,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code"), BODIES.values(), ids=BODIES)
def test_what_is_not_one_call_is_refused(agent: Caller, body: Any, code: int) -> None:
    answer = agent.post("/mcp", body, headers={"Mcp-Method": "ping"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert answer.json()["jsonrpc"] == "2.0"


@pytest.mark.parametrize("call_id", ["a", "", 0, -7, 2**53])
def test_an_answer_has_the_id_of_its_call(agent: Caller, call_id: Any) -> None:
    assert rpc(agent, "ping", call_id=call_id).json()["id"] == call_id


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_other_methods_of_http_are_405(agent: Caller, method: str) -> None:
    for caller in (agent, Caller("")):
        answer = caller.send(method, "/mcp", None)
        assert (answer.status_code, "POST" in answer.headers["Allow"]) == (405, True)


def test_without_a_key_it_is_401_in_jsonrpc(forge: Forge, chatgpt: ChatGPT) -> None:
    for caller in (Caller(""), Caller("hh_unknown")):
        answer = rpc(caller, "events/subscribe", wanted(chatgpt))
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.json()["error"]["data"] == {"code": "unauthenticated"}


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://testserver", 200),
        ("http://127.0.0.1:8000", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://testserver:81", 403),
    ],
)
def test_pages_of_other_sites_are_refused(agent: Caller, origin: str, status: int) -> None:
    told = {"Mcp-Method": "ping", "Origin": origin}

    assert rpc(agent, "ping", headers=told).status_code == status


ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1e300, 1e999, 2**70, "", "x", "\0", "\ud800", "a" * 300, [], ["x"], {}, {"a": {"b": [1]}},
    "https://127.0.0.1:1/", "http://x", "app.deployed", "webhook",
)  # fmt: skip
NAMES = (
    "name",
    "arguments",
    "delivery",
    "ttlMs",
    "cursor",
    "_meta",
    "protocolVersion",
    "mode",
    "url",
    "secret",
    "limit",
)


def test_no_odd_call_is_a_500(agent: Caller, chatgpt: ChatGPT, settings: Settings) -> None:
    settings.HOOKHUB_REQUESTS_PER_ADDRESS = settings.HOOKHUB_REQUESTS_PER_KEY = 0
    draw = random.Random(5)

    def odd(depth: int = 0) -> Any:
        if depth < 3 and draw.random() < 0.25:
            return {draw.choice(NAMES): odd(depth + 1) for _ in range(4)}
        return draw.choice(ODD)

    for _ in range(300):
        method = draw.choice(("events/subscribe", "events/unsubscribe", "tools/call", "initialize"))
        params = {**wanted(chatgpt), "name": draw.choice(("app.deployed", *tools.TOOLS)), draw.choice(NAMES): odd()}
        params["delivery"] = draw.choice((params["delivery"], {**chatgpt.delivery(), draw.choice(NAMES): odd()}))
        # Python writes a number that is too large as a word, which is no JSON.
        text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).replace("Infinity", "1e999")
        answer = agent.post("/mcp", text.encode(), headers={"Mcp-Method": method})
        assert answer.status_code in {200, 400}, (text, answer.content)
        assert {"result", "error"} & answer.json().keys()


def test_no_secret_is_shown_or_recorded(agent: Caller, chatgpt: ChatGPT, forge: Forge, sender: Sender) -> None:
    subscribe(agent, chatgpt)
    publish(forge, sender, {"attempt": 1})
    owner = Caller.of(forge.organization)
    shown = owner.get("/v1/webhooks").content + owner.get("/v1/deliveries").content + owner.get("/v1/audit").content
    stored = json.dumps([list(AuditEntry.objects.values_list()), list(Attempt.objects.values_list())], default=str)

    for text in (SECRET, SECRET.removeprefix("whsec_"), agent.key):
        assert text not in shown.decode()
        assert text not in stored


# Where webhooks show --------------------------------------------------------------------------------------------------


def test_the_owner_sees_what_was_subscribed(agent: Caller, chatgpt: ChatGPT, forge: Forge) -> None:
    made = subscribe(agent, chatgpt, arguments={"repository": "widgets", "attempt": 1})
    owner = Caller.of(forge.organization)

    [row] = owner.get("/v1/webhooks").json()["results"]

    assert row["subscription"] == {
        "id": made["id"], "name": "app.deployed", "arguments": {"repository": "widgets", "attempt": 1},
        "api_key": key_of(agent).key_id,
    }  # fmt: skip
    assert (row["format"], row["repository"], row["status"]) == ("mcp-event", "widgets", "active")
    actions = list(
        AuditEntry.objects.filter(action__startswith="webhook.").order_by("pk").values_list("action", flat=True)
    )
    assert actions == ["webhook.created", "webhook.verification_started", "webhook.verified"]
    assert owner.delete(f"/v1/webhooks/{row['id']}").status_code == 204
    assert Verification.objects.filter(webhook=None).count() == 0


def test_the_admin_shows_what_was_subscribed(admin_client: Client, agent: Caller, chatgpt: ChatGPT) -> None:
    made = subscribe(agent, chatgpt, arguments={"environment": "staging"})
    subscribe(agent, chatgpt, name="push")

    for webhook in Webhook.objects.all():
        page = admin_client.get(f"/admin/deliveries/webhook/{webhook.pk}/change/").content.decode()
        assert key_of(agent).key_id in page
        assert SECRET not in page
    assert (
        made["id"]
        in admin_client.get(
            f"/admin/deliveries/webhook/{Webhook.objects.get(events=['app.deployed']).pk}/change/"
        ).content.decode()
    )


def test_a_number_that_no_json_can_hold_is_an_error_of_the_parameters(agent: Caller, chatgpt: ChatGPT) -> None:
    for method in ("events/subscribe", "events/unsubscribe"):
        content = json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": method, "params": wanted(chatgpt, arguments={"attempt": 7})}
        ).replace('"attempt": 7', '"attempt": 1e999')
        answer = agent.post("/mcp", content.encode(), headers={"Mcp-Method": method})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


def test_a_verification_that_the_owner_asks_for_is_the_agents(agent: Caller, chatgpt: ChatGPT, forge: Forge) -> None:
    made = subscribe(agent, chatgpt)
    [row] = Caller.of(forge.organization).get("/v1/webhooks").json()["results"]

    assert Caller.of(forge.organization).post(f"/v1/webhooks/{row['id']}/verify").status_code == 202
    assert verify_due(now=timezone.now()) == ["verified"]

    assert chatgpt.verifications[-1]["x-mcp-subscription-id"] == made["id"]


# A webhook's row again and again, each time of another subscription, caller and callback.
MANY_SUBSCRIPTIONS = """
INSERT INTO hookhub_webhook
SELECT (jsonb_populate_record(w, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('hookhub_webhook', 'id')), 'uid', gen_random_uuid(),
    'subscription', w.subscription || jsonb_build_object('id', 's' || n, 'api_key', 'k' || n, 'callback', 'c' || n)
))).*
FROM hookhub_webhook w, generate_series(1, 3000) AS n
"""


def test_a_subscription_is_found_by_an_index(agent: Caller, chatgpt: ChatGPT) -> None:
    subscribe(agent, chatgpt)
    organization_id = Webhook.objects.get().organization_id
    with CaptureQueriesContext(connection) as queries:
        key = mcp_subscribing.Key(organization_id, "k7", "https://a.example/", "n", {})
        mcp_subscribing.last_proof(key, now=timezone.now().astimezone(UTC))
        list(mcp_subscribing.of_caller(organization_id, "k7"))
    with connection.cursor() as cursor:
        cursor.execute(MANY_SUBSCRIPTIONS)
        # With so many rows only one plan is cheap, whatever other tests have left.
        cursor.execute("ANALYZE hookhub_webhook")
        plans = []
        for query in queries:
            cursor.execute("EXPLAIN " + query["sql"])
            plans.append("\n".join(row[0] for row in cursor.fetchall()))
    assert "webhook_of_callback" in plans[0]
    assert "webhook_of_api_key" in plans[1]
