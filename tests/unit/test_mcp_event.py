"""The wire format of MCP Events: its body and headers, its limit, and what responses mean."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from standardwebhooks import Webhook as Verifier

from deliveries.formats import FORMATS
from deliveries.formats.mcp_event import MAX_BODY
from deliveries.policy.outcomes import Delivered, Failed, Gone, classify
from tests.golden.messages import NEWEST, OLDER, PUSH

MCP = FORMATS["mcp-event"]
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


def test_an_event_has_the_name_that_was_subscribed_to_and_the_publishers_own_bytes() -> None:
    subscription = {"id": "sub_1", "name": "issues", "events": "https://hooks.example/v1/events/"}
    message = PUSH._replace(event_type="issues.opened", payload=b'{"n": 1.0}', subscription=subscription)

    rendered = MCP.render(message)

    assert rendered.body == (
        b'{"eventId":"019cb8b8-1e00-753a-8f00-0a1b2c3d4e5f","name":"issues",'
        b'"timestamp":"2026-03-04T12:00:00.123Z","data":{"n": 1.0},"cursor":null}'
    )
    assert dict(rendered.headers)["X-MCP-Subscription-Id"] == "sub_1"
    assert dict(rendered.headers)["webhook-id"] == json.loads(rendered.body)["eventId"]


@pytest.mark.parametrize(
    ("event_type", "name", "told"),
    [
        ("issues.opened", "issues", "issues"),
        ("issues", "issues.opened", "issues.opened"),
        ("push", "push", "push"),
        ("ping", "push", "ping"),
        ("pushed", "push", "pushed"),
    ],
)
def test_a_ping_is_not_taken_for_the_event(event_type: str, name: str, told: str) -> None:
    message = PUSH._replace(event_type=event_type, subscription={"id": "sub_1", "name": name})

    assert json.loads(MCP.render(message).body)["name"] == told


def test_every_attempt_has_the_events_id_and_is_signed_afresh() -> None:
    later = PUSH.sent_at + timedelta(hours=2)

    first, again = (dict(MCP.render(PUSH._replace(attempt=n, sent_at=at)).headers) for n, at in ((1, NOON), (2, later)))

    assert first["webhook-id"] == again["webhook-id"] == PUSH.event_id
    assert first["webhook-signature"] != again["webhook-signature"]


@pytest.mark.parametrize("secret", [NEWEST, OLDER])
def test_both_secrets_of_a_rotation_verify(secret: str) -> None:
    rendered = MCP.render(PUSH._replace(secrets=(NEWEST, OLDER)))

    with freeze_time(PUSH.sent_at):
        Verifier(secret).verify(rendered.body, dict(rendered.headers))


def test_a_webhook_that_nobody_subscribed_is_its_own_subscription() -> None:
    rendered = MCP.render(PUSH._replace(subscription=None))

    assert dict(rendered.headers)["X-MCP-Subscription-Id"] == PUSH.webhook_id
    assert json.loads(rendered.body)["name"] == "push"


def test_an_event_of_the_longest_size_is_sent_whole_and_a_longer_one_as_a_summary() -> None:
    frame = len(MCP.render(PUSH._replace(payload=b"")).body)
    longest = b'"%s"' % (b"x" * (MAX_BODY - frame - 2))

    whole = MCP.render(PUSH._replace(payload=longest)).body
    summary = MCP.render(PUSH._replace(payload=longest + b" ")).body

    assert len(whole) == MAX_BODY == 262_144
    assert json.loads(whole)["data"] == json.loads(longest)
    assert json.loads(summary) == {
        **json.loads(whole),
        "data": {
            "summary": "This event is longer than 262,144 bytes. Read it at its url, with an API key.",
            "bytes": len(longest) + 1,
            "url": f"https://hooks.example/v1/events/{PUSH.event_id}",
        },
    }


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Delivered(200)),
        (204, Delivered(204)),
        (410, Gone(410)),
        (413, Failed(413, is_final=True)),
        (302, Failed(302)),
        (400, Failed(400)),
        (404, Failed(404)),
        (500, Failed(500)),
    ],
)
def test_410_ends_the_subscription_413_is_final_and_all_else_is_retried(status: int, outcome: object) -> None:
    assert classify(status, retry_after=None, wire_format=MCP, now=NOON) == outcome
