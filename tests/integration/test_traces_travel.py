"""A publisher's trace is stored with the event, through every door, and sent on every attempt."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client as Browser
from pytest_django import Settings

from deliveries import pipeline, redelivery, telemetry
from deliveries.models import Attempt, Delivery, Event
from deliveries.pipeline import claiming
from deliveries.sending.sender import Sender
from hookhub.models import ApiKey, Scope
from hookhub.publishing.redis_stream.entries import Entry, InvalidEntry, read
from hookhub.publishing.redis_stream.ingest import store
from tests.receiver import Answer
from tests.story import Forge, attempt_all

pytestmark = pytest.mark.django_db

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT, OTHER = f"00-{TRACE}-b7ad6b7169203331-01", f"00-{TRACE[::-1]}-b7ad6b7169203331-01"

Post = Callable[..., Any]


@pytest.fixture
def post(forge: Forge, now: datetime) -> Post:
    _, key = ApiKey.issue(organization=forge.organization, scope=Scope.MASTER, name="test", now=now)

    def call(path: str, body: Any, **headers: str) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {
            "Authorization": f"Bearer {key}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        content_type = headers.pop("Content-Type", "application/json")
        return Browser().post(path, content, content_type=content_type, headers=headers)

    return call


def traces() -> list[str | None]:
    return list(Event.objects.order_by("id").values_list("trace", flat=True))


# Accept is one that only the framework's content negotiation understands.
@pytest.mark.parametrize("accept", ["*/*", "application/json;q=0.5"], ids=["fast path", "view"])
def test_a_request_carries_its_trace_into_its_events(post: Post, accept: str) -> None:
    events = [{"type": "push", "data": 1}, {"type": "push", "data": 2, "trace": {"traceparent": OTHER}}]

    answered = post("/v1/events", events, traceparent=PARENT, tracestate="a=1", Accept=accept)

    assert answered.status_code == 202
    assert traces() == [f"{PARENT} a=1", OTHER]


@pytest.mark.parametrize("accept", ["*/*", "application/json;q=0.5"], ids=["fast path", "view"])
def test_an_invalid_trace_is_ignored(post: Post, accept: str) -> None:
    events = [{"type": "push", "data": 1, "trace": value} for value in ("00-xyz", {"traceparent": 7}, [], 1.5, None)]

    answered = post("/v1/events", events, traceparent="00-0-0-0", Accept=accept)

    assert answered.status_code == 202
    assert traces() == [None] * 5


def test_lines_carry_traces_too(post: Post) -> None:
    lines = b'{"type":"push","data":1,"trace":"%s"}\n{"type":"push","data":2}\n' % PARENT.encode()

    assert post("/v1/events", lines, **{"Content-Type": "application/x-ndjson"}).status_code == 202

    assert traces() == [PARENT, None]


def test_a_repeated_request_may_be_another_span(post: Post) -> None:
    event = {"type": "push", "data": 1, "id": "one"}

    first = post("/v1/events", event | {"trace": PARENT})
    again = post("/v1/events", event | {"trace": OTHER}, traceparent=OTHER)

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert traces() == [PARENT]


def test_entries_of_the_stream_carry_traces(forge: Forge, now: datetime) -> None:
    body = json.dumps([{"type": "push", "data": 1}, {"type": "push", "data": 2, "trace": OTHER}]).encode()
    entries = [
        Entry("1-0", [b"events", body, b"traceparent", PARENT.encode(), b"tracestate", b"a=1"]),
        Entry("2-0", [b"event", b'{"type":"push","data":3}', b"traceparent", b"\xff"]),
    ]

    parsed = [read(entry) for entry in entries]
    assert not [one for one in parsed if isinstance(one, InvalidEntry)]
    assert store([one for one in parsed if not isinstance(one, InvalidEntry)], now=now) == ([], [])

    assert sorted(map(str, traces())) == sorted([f"{PARENT} a=1", OTHER, "None"])


@pytest.mark.parametrize("door", ["ping", "test"])
def test_a_ping_or_a_test_event_is_part_of_the_request(forge: Forge, post: Post, now: datetime, door: str) -> None:
    webhook = forge.webhook(now=now, events=["push"])

    answered = post(f"/v1/webhooks/{webhook.uid}/{door}", {}, traceparent=PARENT)

    assert answered.status_code in {200, 202}, answered.content
    assert traces() == [PARENT]


def sent_traces(forge: Forge) -> list[tuple[str | None, str | None]]:
    return [
        (request.headers.get("traceparent"), request.headers.get("tracestate")) for request in forge.receiver.received
    ]


def test_every_attempt_retry_and_replay_passes_it_on_as_it_came(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(500)
    pipeline.accept([forge.event(now=now, trace=f"{PARENT} a=1")], now=now)
    # Claimed by the fan-out, then as a retry, then as a replay.
    claims = pipeline.fan_out(capacity=claiming.Capacity(1), now=now).claims
    pipeline.settle(attempt_all(claims, sender, now=now), now=now)
    forge.receiver.answers["/"] = Answer(200)
    later = now + timedelta(hours=1)
    claiming.promote_due(now=later)
    pipeline.settle(attempt_all(claiming.claim(1, now=later), sender, now=later), now=later)
    redelivery.redeliver([Delivery.objects.get().pk], now=later)
    pipeline.settle(attempt_all(claiming.claim(1, now=later), sender, now=later), now=later)

    assert sent_traces(forge) == [(PARENT, "a=1")] * 3
    assert f"traceparent: {PARENT}" in Attempt.objects.latest("number").request_headers


def test_without_a_trace_nothing_is_sent(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(1, now=now)

    attempt_all(claiming.claim(1, now=now), sender, now=now)

    assert sent_traces(forge) == [(None, None)]


def test_a_webhooks_own_headers_cannot_replace_it(post: Post, forge: Forge) -> None:
    body = {"url": forge.receiver.url(), "events": ["*"], "headers": {"Traceparent": PARENT}}

    answered = post("/v1/webhooks", body)

    assert answered.status_code == 422
    assert "trace" in answered.content.decode()


def test_the_access_log_names_the_trace(
    post: Post, settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.HOOKHUB_ACCESS_LOG = True
    monkeypatch.setattr("logging.Logger.propagate", True, raising=False)
    lines: list[str] = []
    monkeypatch.setattr("hookhub.http.access_log.log.info", lambda _, line: lines.append(line))

    post("/v1/events", {"type": "push", "data": 1}, traceparent=PARENT)

    assert json.loads(lines[0])["trace"] == TRACE


def test_a_polled_event_has_the_trace_of_its_publisher_also_while_attempts_are_spans(
    forge: Forge, post: Post, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"/v1/webhooks/{post('/v1/webhooks', {'kind': 'poll', 'events': ['push']}).json()['id']}"
    post("/v1/events", {"type": "push", "data": 1, "trace": {"traceparent": PARENT, "tracestate": "a=1"}})
    pipeline.fan_out(now=now)
    _, key = ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now)
    monkeypatch.setattr(telemetry, "tracer", object())

    [event] = Browser().get(f"{address}/poll", headers={"Authorization": f"Bearer {key}"}).json()["events"]

    assert (event["headers"]["traceparent"], event["headers"]["tracestate"]) == (PARENT, "a=1")
