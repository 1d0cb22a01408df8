"""HookHub writes its own JSON as JavaScript's JSON.stringify does, so that receivers may verify either form."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from deliveries import compact_json, redelivery, system_events
from deliveries.event_types import catalogue
from deliveries.events import targeted_event
from deliveries.formats import FORMATS
from deliveries.models import Delivery, Event
from deliveries.sending.sender import Sender
from deliveries.systems import SYSTEMS
from deliveries.webhooks import recording
from hookhub.dialects.social_gateway import pings
from hookhub.models import Scope
from tests.api import Caller
from tests.golden.messages import PUSH, messages_for
from tests.story import Forge, deliver_due


def stringified(body: bytes) -> bytes:
    """Return a JSON text as ``JSON.stringify(JSON.parse(text))`` does; fail on numbers that JavaScript may rewrite."""

    def refuse(number: str) -> float:
        raise AssertionError(f"{number} is written in another way by JavaScript")

    value = json.loads(body, parse_float=refuse)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(inner)


WRITTEN = {
    "no blanks": ({"a": [1, 2], "b": None}, b'{"a":[1,2],"b":null}'),
    "letters as they are": ({"name": "Grüße, 世界 🎉"}, '{"name":"Grüße, 世界 🎉"}'.encode()),
    "half a character": ({"name": "\ud83c"}, b'{"name":"\\ud83c"}'),
    "control characters": ("\x00\x1f\x7f\u2028/", '"\\u0000\\u001f\x7f\u2028/"'.encode()),
    "whole floats": ([1.0, -0.0, 1e3, (9.5, True)], b"[1,0,1000,[9.5,true]]"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_own_json_is_written_as_javascript_writes_it(case: str) -> None:
    value, written = WRITTEN[case]

    assert compact_json.encode(value) == written


def test_own_json_never_holds_what_is_no_json() -> None:
    for value in (float("nan"), [float("inf")]):
        with pytest.raises(ValueError, match="not JSON compliant"):
            compact_json.encode(value)


@pytest.mark.parametrize("dialect", SYSTEMS)
def test_every_documented_example_is_what_javascript_would_sign(dialect: str) -> None:
    for event_type in catalogue.of(dialect).types.values():
        payload = targeted_event(
            1, event_type.type, event_type.example, organization_id=1, repository_id=None, now=PUSH.sent_at
        ).payload

        assert payload == stringified(payload)
        # JavaScript moves numeric names to the front.
        assert not [name for name in texts_in(event_type.example) if name.isdecimal()]


@pytest.mark.parametrize("slug", FORMATS)
def test_every_format_writes_around_a_payload_as_javascript_would(slug: str) -> None:
    for message in messages_for(FORMATS[slug]).values():
        # Real names and event types are ASCII, but the function must not depend on it.
        compact = message._replace(
            payload=stringified(message.payload) if message.payload[:2] != b"{ " else b'{"a":1}',
            content_type="json",
            event_type="grüße.世界",
        )
        body = FORMATS[slug].render(compact).body

        if FORMATS[slug].secret_policy.allows_secret or body.startswith(b"{"):
            assert body == stringified(body)


def test_the_publishers_bytes_stay_as_they_are() -> None:
    for slug in ("standard-webhooks", "coregit", "codmir", "github", "sigmagit"):
        assert (
            b'{ "a" : 1.0, "\\u00fc":1e3 }'
            in FORMATS[slug].render(PUSH._replace(payload=b'{ "a" : 1.0, "\\u00fc":1e3 }')).body
        )


@pytest.mark.django_db
@pytest.mark.parametrize("slug", FORMATS)
def test_a_ping_of_every_format_is_what_javascript_would_sign(forge: Forge, now: datetime, slug: str) -> None:
    webhook = forge.webhook(now=now, events=["*", "price.changed"])
    redelivery.ping(webhook, now=now)
    payload = bytes(Event.objects.get().payload)

    message = PUSH._replace(payload=payload, event_type="ping")
    message = message if FORMATS[slug].secret_policy.allows_secret else message._replace(secrets=())
    body = FORMATS[slug].render(message).body

    assert (
        payload
        == (
            '{"message":"HookHub can reach this receiver.",'
            f'"webhook":{{"id":"{webhook.uid}","events":["*","price.changed"]}}}}'
        ).encode()
    )
    if body.startswith(b"{"):
        assert body == stringified(body)


@pytest.mark.django_db
def test_a_disabled_webhooks_news_is_what_javascript_would_sign(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    webhook.name, webhook.disabled_reason, webhook.failure_count = "Größe 🎉", "failing", 3

    payload = system_events.about_change(
        "webhook.disabled", webhook, recording.disabled_facts(webhook, now=now), now=now
    ).payload

    assert payload == stringified(payload)
    assert "Größe 🎉".encode() in payload
    whole = system_events.about_webhook("webhook.x", webhook, {"ü": 1.0}, now=now).payload
    assert whole.endswith(',"ü":1}'.encode())


@pytest.mark.django_db
def test_a_test_of_a_registered_type_is_what_javascript_would_sign(forge: Forge, sender: Sender, now: datetime) -> None:
    ours = Caller.of(forge.organization, Scope.MASTER)
    webhook = forge.webhook(now=now, events=["price.changed"])
    answer = ours.post("/v1/event-types", {"type": "price.changed", "example": {"preis": 10.00, "für": "Müller"}})
    assert answer.status_code == 201, answer.content

    assert ours.post(f"/v1/webhooks/{webhook.uid}/test", {"type": "price.changed"}).status_code == 202

    deliver_due(sender, now=Delivery.objects.get().created_at)
    body = forge.receiver.received[0].body
    assert body == stringified(body)
    assert body.endswith('"data":{"preis":10,"für":"Müller","test":true}}'.encode())


@pytest.mark.django_db
def test_the_documented_push_of_a_tested_hook_is_what_javascript_would_sign(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, events=["push"])

    pings.test(webhook, forge.repository, now=now)

    payload = bytes(Event.objects.get().payload)
    assert payload == stringified(payload)
    assert json.loads(payload) == catalogue.of("social-gateway").types["push"].example
