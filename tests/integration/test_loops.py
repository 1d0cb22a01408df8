"""Deliveries that publish events end, at whichever entry point the events come in."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from deliveries import pipeline
from deliveries.models import Attempt, Delivery, Event, Organization, Webhook
from deliveries.policy import hops
from deliveries.sending.sender import Sender
from deliveries.webhooks import creating
from hookhub.publishing.redis_stream import entries, ingest
from hookhub.publishing.redis_stream.entries import Entry
from tests.api import Caller, faults
from tests.story import deliver_due

EVENT = {"type": "push", "data": {"n": 1}}


def passed(settings: Settings, times: int) -> dict[str, str]:
    return {hops.HEADER: f"{settings.HOOKHUB_DEPLOYMENT_ID}={times}"}


@pytest.mark.django_db(transaction=True)
def test_webhooks_that_lead_to_our_own_intake_end_after_a_few_rounds(
    live_server: LiveServer, settings: Settings, sender: Sender, now: datetime
) -> None:
    organization = Organization.objects.create(slug="acme")
    api = Caller.of(organization)
    wanted = {
        "url": f"{live_server.url}/v1/events", "events": ["*"], "headers": {"Authorization": f"Bearer {api.key}"},
        "retry_schedule": [],
    }  # fmt: skip
    for _ in range(2):
        creating.create(wanted, organization=organization, repository=None, now=now)
    assert api.post("/v1/events", EVENT).status_code == 202

    for step in range(10):
        at = now + timedelta(seconds=step)
        pipeline.fan_out(now=at)
        deliver_due(sender, now=at)

    rounds = [Event.objects.filter(hops=hops_).count() for hops_ in (
        f"{settings.HOOKHUB_DEPLOYMENT_ID}={count}" for count in range(1, 6)
    )]  # fmt: skip
    assert (settings.HOOKHUB_MAX_HOPS, rounds) == (3, [2, 4, 8, 0, 0])
    assert Event.objects.exclude(type="webhook.disabled").count() == 1 + 2 + 4 + 8
    assert Delivery.objects.exclude(state__in=("delivered", "failed")).count() == 0
    last = Attempt.objects.filter(outcome="failed")
    assert {(each.status, b"loop_detected" in bytes(each.response_body)) for each in last} == {(422, True)}


@pytest.mark.django_db
@pytest.mark.parametrize("accept", ["*/*", "application/json;q=1"], ids=["the fast path", "the long path"])
@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
def test_an_event_that_came_back_too_often_is_refused(
    organization: Organization, settings: Settings, accept: str, content_type: str
) -> None:
    api = Caller.of(organization, accept=accept)

    answers = [
        api.post("/v1/events", EVENT, content_type=content_type, headers=passed(settings, times)) for times in (3, 4)
    ]

    assert [answer.status_code for answer in answers] == [202, 422]
    assert answers[1].json()["error"]["code"] == "loop_detected"
    assert list(faults(answers[1])) == [hops.HEADER]
    assert [event.hops for event in Event.objects.all()] == [f"{settings.HOOKHUB_DEPLOYMENT_ID}=3"]


@pytest.mark.django_db
@pytest.mark.parametrize("accept", ["*/*", "application/json;q=1"], ids=["the fast path", "the long path"])
def test_a_header_that_hookhub_did_not_write_is_refused(organization: Organization, accept: str) -> None:
    answer = Caller.of(organization, accept=accept).post("/v1/events", EVENT, headers={hops.HEADER: "none"})

    assert (answer.status_code, list(faults(answer))) == (422, [hops.HEADER])
    assert Event.objects.count() == 0


@pytest.mark.django_db
def test_a_delivery_tells_how_often_its_event_has_passed(
    api: Caller, receiver: Any, sender: Sender, settings: Settings, now: datetime
) -> None:
    created = api.post("/v1/webhooks", {"url": receiver.url(), "events": ["*"]}).json()
    api.post("/v1/events", EVENT)
    api.post("/v1/events", EVENT, headers={hops.HEADER: f"ffffffffffff=2, {settings.HOOKHUB_DEPLOYMENT_ID}=1"})
    api.post(f"/v1/webhooks/{created['id']}/ping")
    later = now + timedelta(days=1000)

    pipeline.fan_out(now=later)
    deliver_due(sender, now=later)

    ours = settings.HOOKHUB_DEPLOYMENT_ID
    sent = sorted(request.headers[hops.HEADER.lower()] for request in receiver.wait_for(3))
    assert sent == sorted([f"{ours}=1", f"{ours}=1", f"ffffffffffff=2, {ours}=2"])
    assert all(f"{hops.HEADER}: " in attempt.request_headers for attempt in Attempt.objects.all())
    assert not any(f"{hops.HEADER}: ***" in attempt.request_headers for attempt in Attempt.objects.all())


@pytest.mark.django_db
def test_a_delivery_starts_no_ping_no_test_and_no_redelivery(api: Caller, settings: Settings) -> None:
    created = api.post("/v1/webhooks", {"url": "http://127.0.0.1:9999/", "events": ["*"]}).json()
    address = f"/v1/webhooks/{created['id']}"
    doors = [("POST", f"{address}/ping"), ("POST", f"{address}/test"), ("POST", "/v1/replays"), ("DELETE", address)]

    answers = [api.send(method, door, {}, headers={hops.HEADER: "ffffffffffff=1"}) for method, door in doors]

    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(422, "loop_detected")}
    assert (Event.objects.count(), Webhook.objects.kept().count()) == (0, 1)
    assert api.client.get(address, headers={**api.headers, hops.HEADER: "ffffffffffff=1"}).status_code == 200


@pytest.mark.django_db
def test_what_comes_through_the_stream_counts_as_well(
    organization: Organization, settings: Settings, now: datetime
) -> None:
    ours = settings.HOOKHUB_DEPLOYMENT_ID
    event = b'{"type": "push", "data": 1}'
    few, many = (
        entries.read(Entry(f"{count}-0", [b"event", event, b"hops", f"{ours}={count}".encode()])) for count in (3, 4)
    )

    assert isinstance(many, entries.InvalidEntry)
    assert many.error.startswith(f"{hops.HEADER}: Loop detected: the event has been published here 4 times in a row")
    assert isinstance(few, entries.ParsedEntry)
    ingest.store([few], now=now)
    assert Event.objects.get().hops == f"{ours}=3"


@pytest.mark.django_db
def test_a_webhook_to_hookhub_itself_is_refused_unless_its_host_is_allowed(api: Caller, settings: Settings) -> None:
    settings.HOOKHUB_PUBLIC_URL = "http://localhost:8123"
    wanted = {"url": "http://localhost:8123/v1/events", "events": ["*"]}
    created = api.post("/v1/webhooks", {**wanted, "url": "http://127.0.0.1:9999/"}).json()

    refused = api.post("/v1/webhooks", wanted)
    moved = api.patch(f"/v1/webhooks/{created['id']}", {"url": wanted["url"]})

    assert [(each.status_code, list(faults(each))) for each in (refused, moved)] == [(422, ["url"]), (422, ["url"])]
    assert "leads back to HookHub itself" in faults(refused)["url"]
    assert Webhook.objects.get().url == "http://127.0.0.1:9999/"
    settings.HOOKHUB_ALLOWED_HOSTS = frozenset({"localhost"})
    assert api.post("/v1/webhooks", wanted).status_code == 201


@pytest.mark.django_db
def test_a_webhook_cannot_send_the_header_itself(api: Caller) -> None:
    answer = api.post(
        "/v1/webhooks", {"url": "http://127.0.0.1:9999/", "events": ["*"], "headers": {"hookhub-hops": "0" * 12 + "=1"}}
    )

    assert (answer.status_code, list(faults(answer)), Webhook.objects.count()) == (422, ["headers"], 0)
