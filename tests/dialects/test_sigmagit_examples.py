"""What Sigmagit's webhook documentation shows: its routes, its payloads on the wire, its log and its statistics."""

import hashlib
import hmac
import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from deliveries import stats
from deliveries.formats.base import stamp
from deliveries.models import Attempt, Delivery, Event, Webhook
from deliveries.sending.sender import Sender
from hookhub.dialects.sigmagit import chat, log
from hookhub.models import Scope
from tests.api import Caller
from tests.receiver import Answer, refusing_port
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

HOOKS = "/api/repositories/acme/widgets/webhooks"
EVENTS = [
    "issues.opened", "issues.closed", "issues.reopened", "issues.edited", "issues.deleted",
    "pull_request.opened", "pull_request.closed", "pull_request.merged", "pull_request.reopened", "pull_request.edited",
    "push", "commit", "star.added", "star.removed", "fork.created",
]  # fmt: skip
REPOSITORY = {"id": "r1", "owner": "acme", "name": "widgets", "url": "https://sigmagit.example/acme/widgets"}
ISSUE = {
    "action": "opened",
    "repository": REPOSITORY,
    "issue": {
        "id": "i1", "number": 7, "title": "It broke", "body": None, "state": "open",
        "author": {"id": "u1", "username": "ada", "name": "Ada"}, "labels": [], "assignees": [],
        "url": "https://sigmagit.example/acme/widgets/issues/7",
        "createdAt": "2026-03-04T12:00:00.000Z", "updatedAt": "2026-03-04T12:00:00.000Z",
    },
    "sender": {"id": "u1", "username": "ada"},
}  # fmt: skip


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization, Scope.MANAGE)


def create(caller: Caller, url: str, **more: Any) -> dict[str, Any]:
    answer = caller.post(HOOKS, {"url": url, **more})
    assert answer.status_code == 200, answer.content
    created: dict[str, Any] = answer.json()["data"]
    return created


# Managing -------------------------------------------------------------------------------------------------------------


def test_create_without_events_asks_for_the_three_of_the_document(forge: Forge, caller: Caller) -> None:
    for said in ({}, {"events": None}):
        created = create(caller, forge.receiver.url(), **said)

        assert list(created) == ["id", "url", "events", "secret"]
        assert created["events"] == ["issues.opened", "pull_request.opened", "push"]
        assert re.fullmatch(r"[0-9a-f]{64}", created["secret"])
    webhook = Webhook.objects.latest("id")
    assert (webhook.format, webhook.repository, webhook.auto_disable) == ("sigmagit", forge.repository, True)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_of_the_list_can_be_asked_for(forge: Forge, caller: Caller, event: str) -> None:
    assert create(caller, forge.receiver.url(), events=[event])["events"] == [event]


def test_the_secret_is_shown_once_and_again_only_when_another_path_gets_a_new_one(forge: Forge, caller: Caller) -> None:
    created = create(caller, forge.receiver.url())
    address = f"/api/webhooks/{created['id']}"

    same_door = caller.patch(address, {"url": f"{created['url']}?other=query"}).json()["data"]
    moved = caller.patch(address, {"url": forge.receiver.url("/other")}).json()["data"]

    assert "secret" not in same_door
    assert re.fullmatch(r"[0-9a-f]{64}", moved["secret"])
    assert moved["secret"] != created["secret"]
    for path in (HOOKS, f"{address}/deliveries", f"{address}/stats"):
        assert moved["secret"] not in caller.get(path).content.decode()


def test_what_sigmagit_does_not_read_is_passed_over(forge: Forge, caller: Caller) -> None:
    created = create(caller, forge.receiver.url(), secret="mine, please", active=False, colour="red")

    assert created["secret"] != "mine, please"
    assert Webhook.objects.get().active


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"url": "ftp://example.com"}, "url"),
        ({"url": 7}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"events": []}, "events"),
        ({"events": "push"}, "events"),
        ({"events": ["ticket.created"]}, "events"),
        ({"events": [None]}, "events"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_changes(
    forge: Forge, caller: Caller, wanted: dict[str, Any], field: str
) -> None:
    created = create(caller, forge.receiver.url())
    before = list(Webhook.objects.values())

    answers = [
        caller.post(HOOKS, {"url": forge.receiver.url(), **wanted}),
        caller.patch(f"/api/webhooks/{created['id']}", wanted),
    ]

    for answer in answers:
        assert (answer.status_code, list(answer.json())) == (422, ["error"])
        assert answer.json()["error"].startswith(f"{field}: ")
    assert list(Webhook.objects.values()) == before


def test_active_has_to_be_a_truth_value(forge: Forge, caller: Caller) -> None:
    created = create(caller, forge.receiver.url())

    answer = caller.patch(f"/api/webhooks/{created['id']}", {"active": "no", "events": ["push"]})

    assert (answer.status_code, answer.json()) == (422, {"error": "active: must be true or false"})
    assert Webhook.objects.get().events == created["events"]


def test_a_key_that_only_reads_is_told_so_in_one_word(forge: Forge, caller: Caller) -> None:
    created = create(caller, forge.receiver.url())
    reader = Caller.of(forge.organization, Scope.READ)
    address = f"/api/webhooks/{created['id']}"

    answers = [reader.post(HOOKS, {"url": "x"}), reader.patch(address, {"active": False}), reader.delete(address)]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(403, {"error": "Unauthorized"})] * 3
    assert reader.get(HOOKS).status_code == 200


def test_the_list_has_the_repositorys_webhooks_and_no_others(forge: Forge, caller: Caller, now: datetime) -> None:
    created = create(caller, forge.receiver.url())
    of_the_organization = forge.webhook(now=now)

    listed = caller.get(HOOKS).json()["data"]
    changed = caller.patch(f"/api/webhooks/{of_the_organization.uid}", {"active": False}).json()["data"]

    assert [row["id"] for row in listed] == [created["id"]]
    assert (changed["repositoryId"], changed["active"]) == (None, False)


# The wire -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("issues.opened", ISSUE),
        ("pull_request.merged",
         {"action": "merged", "repository": REPOSITORY, "pullRequest": {"id": "p1", "number": 8, "state": "merged"}}),
        ("push", {"repository": REPOSITORY, "ref": "refs/heads/main", "before": "0" * 40, "after": "1" * 40,
                  "commits": [{"oid": "1" * 40, "message": "ä", "author": {"name": "Ada", "email": "a@b.example"},
                               "timestamp": 1772625600}], "totalCommits": 1}),
    ],
)  # fmt: skip
def test_a_receiver_gets_the_data_itself_signed(
    forge: Forge, caller: Caller, sender: Sender, now: datetime, event_type: str, data: Any
) -> None:
    created = create(caller, forge.receiver.url(), events=[event_type])
    forge.accept(now=now, event_type=event_type, data=data)

    deliver_due(sender, now=now)

    [request] = forge.receiver.received
    expected = hmac.new(created["secret"].encode(), request.body, hashlib.sha256).hexdigest()
    assert json.loads(request.body) == data
    assert request.headers["x-sigmagit-event"] == event_type
    assert request.headers["x-sigmagit-signature"] == f"sha256={expected}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "Sigmagit-Webhook/1.0"


# The log and the statistics ------------------------------------------------------------------------------------------


def test_the_log_has_one_row_an_attempt_newest_first(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    created = create(caller, forge.receiver.url("/in"))
    forge.receiver.answers["/in"] = [Answer(500, body=b"<b>\0\xff</b>"), Answer(204, body=b"")]
    forge.accept(now=now, event_type="issues.opened", data=ISSUE)
    deliver_due(sender, now=now)
    failed = caller.get(HOOKS).json()["data"][0]
    later = Delivery.objects.get().due_at
    assert later is not None
    deliver_due(sender, now=later)
    well = caller.get(HOOKS).json()["data"][0]

    answer = caller.get(f"/api/webhooks/{created['id']}/deliveries")

    attempts = list(Attempt.objects.order_by("-id"))
    second, first = answer.json()["data"]
    assert list(first) == ["id", "webhookId", "eventType", "payload", "statusCode", "response", "deliveredAt"]
    assert [second["id"], first["id"]] == [str(attempt.pk) for attempt in attempts]
    assert (first["statusCode"], first["response"], second["statusCode"], second["response"]) == (
        500, "<b>\\x00\\xff</b>", 204, "",
    )  # fmt: skip
    for row in (first, second):
        assert (row["webhookId"], row["eventType"], row["payload"]) == (created["id"], "issues.opened", ISSUE)
        assert re.fullmatch(r"2026-03-04T12:0\d:\d\d\.\d{3}Z", row["deliveredAt"])
    assert (failed["lastDeliveryStatus"], failed["failureCount"]) == ("failed", 1)
    assert (well["lastDeliveryStatus"], well["failureCount"]) == ("success", 0)
    assert well["lastDeliveryAt"] == stamp(later, milliseconds=True)


def test_what_got_no_answer_says_why_and_counts_as_neither(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    with refusing_port() as port:
        created = create(caller, f"http://127.0.0.1:{port}/", events=["push"])
        forge.accept(now=now)
        deliver_due(sender, now=now)
    address = f"/api/webhooks/{created['id']}"

    [row] = caller.get(f"{address}/deliveries").json()["data"]

    assert (row["statusCode"], row["response"]) == (None, Attempt.objects.get().error)
    assert row["response"] != ""
    assert caller.get(f"{address}/stats").json() == {"data": {"total": 1, "success": 0, "failed": 0, "successRate": 0}}
    assert caller.get(HOOKS).json()["data"][0]["lastDeliveryStatus"] == "failed"


def test_the_success_rate_is_in_per_cent_of_all_attempts(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    created = create(caller, forge.receiver.url("/in"), events=["push"])
    forge.receiver.answers["/in"] = [Answer(200), Answer(302), Answer(404), Answer(201)]
    for minute in range(4):
        forge.accept(now=now + timedelta(seconds=minute))
        deliver_due(sender, now=now + timedelta(seconds=minute))

    counted = caller.get(f"/api/webhooks/{created['id']}/stats").json()["data"]

    assert counted == {"total": 4, "success": 2, "failed": 1, "successRate": 50.0}


def test_of_very_many_attempts_the_latest_are_counted(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "MAX_COUNTED", 2)
    webhook = forge.webhook(now=now)
    fill_log(forge, webhook, [b"1"], now=now, attempts=3)
    Attempt.objects.filter(number=1).update(status=500)

    counted = caller.get(f"/api/webhooks/{webhook.uid}/stats").json()["data"]

    assert counted == {"total": 2, "success": 2, "failed": 0, "successRate": 100.0}


def fill_log(forge: Forge, webhook: Webhook, payloads: list[bytes], *, now: datetime, attempts: int = 1) -> None:
    """Create deliveries of events with these payloads, with ``attempts`` attempts each, interleaved."""
    deliveries = []
    for number, payload in enumerate(payloads):
        event = Event.objects.create(
            organization=forge.organization, type=f"n{number}", topics=["*"], payload=payload, occurred_at=now,
            accepted_at=now,
        )  # fmt: skip
        deliveries.append(
            Delivery.objects.create(
                event=event, webhook=webhook, organization=forge.organization, event_type=event.type, due_at=now
            )
        )
    for turn in range(attempts):
        for delivery in deliveries:
            Attempt.objects.create(
                delivery=delivery, webhook=webhook, number=turn + 1, started_at=now, url="", request_headers="",
                outcome="delivered", status=200, response_headers="", response_body=b"", error="",
            )  # fmt: skip


def test_the_log_ends_after_a_hundred_rows(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    fill_log(forge, webhook, [b"%d" % number for number in range(101)], now=now)

    rows = caller.get(f"/api/webhooks/{webhook.uid}/deliveries").json()["data"]

    assert [row["payload"] for row in rows] == list(range(100, 0, -1))


def test_large_payloads_come_as_a_stream_and_whole(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "PAYLOADS_AT_ONCE", 100)
    webhook = forge.webhook(now=now)
    # Each payload alone exceeds the limit of what is loaded at once, and each is needed several times, in turns.
    payloads = [json.dumps([str(number) * 120, "\ud800"]).encode() for number in range(3)]
    fill_log(forge, webhook, payloads, now=now, attempts=3)

    answer = caller.get(f"/api/webhooks/{webhook.uid}/deliveries")

    assert answer.streaming
    rows = json.loads(b"".join(answer.streaming_content))["data"]
    assert [row["payload"][0][0] for row in rows] == ["2", "1", "0"] * 3
    assert [row["eventType"] for row in rows] == ["n2", "n1", "n0"] * 3


def test_a_payload_that_retention_took_is_null(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    fill_log(forge, webhook, [b"1", b"2"], now=now)
    Event.objects.filter(type="n0").delete()

    rows = caller.get(f"/api/webhooks/{webhook.uid}/deliveries").json()["data"]

    assert [row["payload"] for row in rows] == [2, None]


# Slack and Discord ----------------------------------------------------------------------------------------------------

SLACK = "https://hooks.slack.com/services/T0/B0/verysecret"
DISCORD = "https://discord.com/api/webhooks/1/verysecret"


@pytest.mark.parametrize(
    ("url", "wire_format"),
    [
        (SLACK, "slack"),
        ("https://HOOKS.SLACK.COM/services/T0/B0/verysecret", "slack"),
        ("https://hooks.slack-gov.com/services/T0/B0/verysecret", "slack"),
        ("https://hooks.slack.com/elsewhere", "sigmagit"),
        ("https://hooks.slack.com.example.com/services/T0/B0/x", "sigmagit"),
        (DISCORD, "discord"),
        ("https://ptb.discord.com/api/v10/webhooks/1/x", "discord"),
        ("https://discordapp.com/api/webhooks/1/x?thread_id=7", "discord"),
        ("https://discord.com/api/users/1", "sigmagit"),
        ("https://[broken", "sigmagit"),
        (7, "sigmagit"),
    ],
)
def test_the_url_tells_what_its_receiver_understands(url: object, wire_format: str) -> None:
    assert chat.format_for(url) == wire_format


@pytest.mark.parametrize("word", ["slack", "github"])
def test_discords_addresses_for_others_messages_are_refused_with_a_way_out(caller: Caller, word: str) -> None:
    answer = caller.post(HOOKS, {"url": f"{DISCORD}/{word}"})

    assert (answer.status_code, answer.json()) == (
        422, {"error": f"url: must not end in /{word}: HookHub sends messages in Discord's own format"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "wire_format", "masked"),
    [(SLACK, "slack", "https://hooks.slack.com/********"), (DISCORD, "discord", "https://discord.com/********")],
)
def test_a_webhook_for_a_chat_speaks_its_language_and_hides_its_url(
    caller: Caller, url: str, wire_format: str, masked: str
) -> None:
    created = create(caller, url)

    webhook = Webhook.objects.get()
    assert created == {
        "id": str(webhook.uid), "url": masked, "secret": None,
        "events": ["issues.opened", "pull_request.opened", "push"],
    }  # fmt: skip
    assert (webhook.format, webhook.url) == (wire_format, url)
    assert "verysecret" not in caller.get(HOOKS).content.decode()


def test_what_was_read_of_a_chats_webhook_can_be_sent_back(caller: Caller) -> None:
    created = create(caller, SLACK)

    answer = caller.patch(f"/api/webhooks/{created['id']}", {"url": created["url"], "events": ["push"]})

    assert (answer.status_code, answer.json()["data"]["events"]) == (200, ["push"])
    assert (Webhook.objects.get().url, Webhook.objects.get().format) == (SLACK, "slack")


def test_a_webhook_that_moves_to_a_chat_and_back_changes_its_language_with_it(forge: Forge, caller: Caller) -> None:
    created = create(caller, forge.receiver.url())
    address = f"/api/webhooks/{created['id']}"

    there = caller.patch(address, {"url": DISCORD}).json()["data"]
    in_between = Webhook.objects.get().format
    back = caller.patch(address, {"url": forge.receiver.url()}).json()["data"]

    assert ("secret" in there, in_between, Webhook.objects.get().format) == (False, "discord", "sigmagit")
    assert re.fullmatch(r"[0-9a-f]{64}", back["secret"])
    assert back["secret"] != created["secret"]


def test_a_format_chosen_elsewhere_stays_when_the_url_changes(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="standard-webhooks")

    caller.patch(f"/api/webhooks/{webhook.uid}", {"url": forge.receiver.url("/other")})

    assert Webhook.objects.get().format == "standard-webhooks"


def test_an_issue_reaches_slack_in_words(forge: Forge, caller: Caller, sender: Sender, now: datetime) -> None:
    created = create(caller, SLACK)
    # Slack itself is unreachable in tests, so the webhook is redirected to the test's receiver.
    Webhook.objects.filter(uid=created["id"]).update(stored_url=forge.receiver.url(), sealed_url=None)
    forge.receiver.answers["/"] = Answer(200, body=b"ok")
    forge.accept(now=now, event_type="issues.opened", data=ISSUE)

    deliver_due(sender, now=now)

    body = json.loads(forge.receiver.received[0].body)
    assert body["text"].startswith("acme/widgets: ")
    assert "It broke" in body["text"]
    assert body["attachments"][0]["title"] == "It broke"
    assert caller.get(f"/api/webhooks/{created['id']}/stats").json()["data"]["success"] == 1
