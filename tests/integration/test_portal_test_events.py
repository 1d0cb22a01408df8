"""The portal's test events, and its pages that disable, enable and delete a webhook."""

import copy
import json
import re
from datetime import datetime
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deliveries import vault
from deliveries.models import AuditEntry, Delivery, Event, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from hookhub.event_types import examples, registry
from hookhub.portal import switching
from tests.api import Caller
from tests.portal import HOSTILE, shown, token_of, visitor
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

PAGES = ("test", "enable", "disable", "delete")


def payload_of(page: str) -> str:
    found = re.search(r'<textarea id="payload"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    assert found is not None, page
    return unescape(found[1])


def post(browser: Client, webhook: Webhook, page: str, **fields: Any) -> Any:
    """Send the form of a page of a webhook."""
    return browser.post(
        f"/portal/webhooks/{webhook.uid}/{page}", {"form_token": token_of(shown(browser, "/portal/")), **fields}
    )


# Test events ----------------------------------------------------------------------------------------------------------


def test_a_test_event_is_shown_beforehand_and_sent_as_it_was_shown(forge: Forge, owner: Client, sender: Sender) -> None:
    now = timezone.now()
    webhook = forge.webhook(now=now, path="/meant?key=k3y", events=["push"], headers={"X-Key": "v4lue"})
    forge.webhook(now=now, path="/other")
    [secret] = vault.secrets_of(Webhook.objects.get(pk=webhook.pk))
    page = shown(owner, f"/portal/webhooks/{webhook.uid}/test")

    assert json.loads(payload_of(page))["test"] is True
    assert "webhook-signature: v1,&lt;signature&gt;" in page
    assert "X-Key: ********" in page
    assert not {"k3y", "v4lue", secret.text} & set(re.findall(r"[\w+/=]+", page))
    assert not Event.objects.exists()
    answer = post(owner, webhook, "test", type="push", payload=payload_of(page), send="1")

    delivery = Delivery.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/portal/deliveries/{delivery.pk}")
    followed = owner.get(answer["Location"])
    assert "This is a test event" in followed.content.decode()
    deliver_due(sender, now=timezone.now())
    [received] = forge.receiver.received
    assert received.path == "/meant?key=k3y"
    sent = json.loads(received.body)
    request = unescape(re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[0])
    previewed = json.loads(request.partition("\n\n")[2])
    assert (
        (sent["type"], sent["data"]) == (previewed["type"], previewed["data"]) == ("push", json.loads(payload_of(page)))
    )
    names = {line.partition(":")[0].lower() for line in request.partition("\n\n")[0].splitlines()[1:]}
    assert names <= {name.lower() for name in received.headers}
    done = owner.get(answer["Location"])
    assert "Delivered on attempt 1." in done.content.decode()
    entry = AuditEntry.objects.get(action="webhook.test_sent")
    assert entry.actor_kind == "portal"


def test_an_edited_payload_is_sent_if_it_matches_the_schema(
    forge: Forge, owner: Client, now: datetime, settings: Any
) -> None:
    settings.HOOKHUB_PAYLOAD_LIMIT = 1000
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "my.type", "schema": schema, "example": {"n": 1}}
    registry.register(wanted, organization=forge.organization, now=now)
    webhook = forge.webhook(now=now, events=["my.type"])

    wrong = post(owner, webhook, "test", type="my.type", payload='{"n": "<b>one"}', send="1")
    assert wrong.status_code == 422
    assert "Data.n: must be of type integer." in wrong.content.decode()
    assert payload_of(wrong.content.decode()) == '{"n": "<b>one"}'
    for typed in ("{", "NaN", "[" * 100_000, '{"n": 1e999}', "", '{"n": 1' + "0" * 5000 + "}"):
        assert post(owner, webhook, "test", type="my.type", payload=typed, send="1").status_code == 422
    long = post(
        owner, webhook, "test", type="my.type", payload=" " * (4 * settings.HOOKHUB_PAYLOAD_LIMIT + 1), send="1"
    )
    assert "Data: must be at most" in long.content.decode()
    preview = post(owner, webhook, "test", type="my.type", payload='{"n": 2}', show="1")
    assert "{&quot;n&quot;:2}" in preview.content.decode()
    assert not Event.objects.exists()
    assert post(owner, webhook, "test", type="my.type", payload='{"n": 2}', send="1").status_code == 302
    assert bytes(Event.objects.get().payload) == b'{"n":2}'


def test_types_without_an_example_and_pings_can_be_tried(forge: Forge, owner: Client, now: datetime) -> None:
    registry.register({"type": "bare", "description": "x"}, organization=forge.organization, now=now)
    webhook = forge.webhook(now=now, events=["bare", "un.known"])
    page = shown(owner, f"/portal/webhooks/{webhook.uid}/test?type=un.known")

    assert re.findall(r"<option[^>]*>([^<]+)", page) == ["bare", "ping", "un.known"]
    assert json.loads(payload_of(page)) == {"test": True}
    assert post(owner, webhook, "test", type="un.known", payload='{"a": 1}', send="1").status_code == 302
    ping = payload_of(shown(owner, f"/portal/webhooks/{webhook.uid}/test?type=ping"))
    assert post(owner, webhook, "test", type="ping", payload='{"a": 1}', send="1").status_code == 422
    assert post(owner, webhook, "test", type="ping", payload=ping, send="1").status_code == 302
    assert [event.type for event in Event.objects.order_by("id")] == ["un.known", "ping"]
    # A type that the form has not offered is not taken from a forged one.
    assert post(owner, webhook, "test", type="push", payload='{"a": 1}', send="1").status_code == 302
    assert Event.objects.latest("id").type == "bare"


@pytest.mark.parametrize("text", ["\ud800", "\udc00\ud83d", "a\u202eb", "\x85\x00\u2028", "\U000e0041", "ü🎉"])
def test_an_example_of_any_text_is_shown_and_sent_as_it_is(
    forge: Forge, owner: Client, sender: Sender, text: str
) -> None:
    now, example = timezone.now(), {"title": text, text: 1}
    webhook = forge.webhook(now=now, events=["deploy"])
    registry.register({"type": "deploy", "example": example}, organization=forge.organization, now=now)

    payload = payload_of(shown(owner, f"/portal/webhooks/{webhook.uid}/test"))
    shown(owner, "/portal/event-types/deploy")

    assert json.loads(payload) == {**example, "test": True}
    assert all(mark.isprintable() for mark in payload.replace("\n", ""))
    answered = post(owner, webhook, "test", type="deploy", payload=payload, send="1")
    assert answered.status_code == 302, answered.content
    deliver_due(sender, now=timezone.now())
    assert json.loads(forge.receiver.received[0].body)["data"] == {**example, "test": True}


def test_test_events_of_a_webhook_are_limited_at_every_door(
    forge: Forge, caller: Caller, owner: Client, now: datetime, settings: Any
) -> None:
    settings.HOOKHUB_TEST_EVENTS = 2
    webhook, other = forge.webhook(now=now, events=["push"]), forge.webhook(now=now, events=["push"])
    payload = payload_of(shown(owner, f"/portal/webhooks/{webhook.uid}/test"))
    assert post(owner, webhook, "test", type="push", payload=payload, send="1").status_code == 302
    assert caller.post(f"/v1/webhooks/{webhook.uid}/test", {}).status_code == 202

    refused = post(owner, webhook, "test", type="push", payload=payload, send="1")

    assert refused.status_code == 429
    assert payload_of(refused.content.decode()) == payload
    assert caller.post(f"/v1/webhooks/{webhook.uid}/test", {}).status_code == 429
    assert caller.post(f"/v1/webhooks/{other.uid}/test", {}).status_code == 202
    assert Event.objects.count() == 3


def test_nothing_is_sent_to_a_webhook_that_gets_nothing(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    for change, words in (
        ({"disabled_at": now, "disabled_reason": "by_owner"}, "The webhook is disabled"),
        ({"disabled_at": None, "disabled_reason": None, "proof": "challenge"}, "has yet to prove"),
        ({"proof": None, "expires_at": now}, "The webhook has ended"),
    ):
        Webhook.objects.update(**change)
        page = shown(owner, f"/portal/webhooks/{webhook.uid}/test")
        assert words in page
        assert 'name="send"' not in page
        assert post(owner, webhook, "test", type="push", payload=payload_of(page), send="1").status_code == 200
    assert not Event.objects.exists()


def test_hostile_examples_and_names_are_escaped(forge: Forge, owner: Client, now: datetime) -> None:
    example = {"text": f"</textarea></pre>{HOSTILE}"}
    registry.register({"type": "my.type", "example": example}, organization=forge.organization, now=now)
    webhook = forge.webhook(now=now, name=HOSTILE, events=["my.type"], headers={"X-A": HOSTILE})

    for page in PAGES:
        assert HOSTILE not in shown(owner, f"/portal/webhooks/{webhook.uid}/{page}")
    assert HOSTILE not in shown(owner, f"/portal/webhooks/{webhook.uid}/test?type={HOSTILE}")
    assert HOSTILE not in post(owner, webhook, "test", type="my.type", payload=HOSTILE, send="1").content.decode()


def test_a_test_with_data_by_the_api(forge: Forge, caller: Caller, now: datetime) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    registry.register({"type": "my.type", "schema": schema}, organization=forge.organization, now=now)
    webhook = forge.webhook(now=now, events=["my.type", "issues"])
    address = f"/v1/webhooks/{webhook.uid}/test"
    refused: list[tuple[dict[str, Any], str]] = [
        ({"data": {"n": 1}}, "type"),
        ({"type": "push", "data": {}}, "type"),
        ({"type": "webhook.disabled", "data": {}}, "type"),
        ({"type": "no type!", "data": {}}, "type"),
        ({"type": "my.type", "data": {"n": "1"}}, "data.n"),
        ({"type": "my.type", "data": {"n": 1, "deep": json.loads("[" * 201 + "]" * 201)}}, "data"),
        ({"type": "my.type", "data": {"n": 1, "long": "x" * (1 << 20)}}, "data"),
    ]

    for body, field in refused:
        answer = caller.post(address, body)
        assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, field)
    assert not Event.objects.exists()
    assert caller.post(address, {"type": "my.type", "data": {"n": 1}}).status_code == 202
    assert caller.post(address, {"type": "issues.opened", "data": None}).status_code == 202
    assert [(event.type, bytes(event.payload)) for event in Event.objects.order_by("id")] == [
        ("my.type", b'{"n":1}'), ("issues.opened", b"null"),
    ]  # fmt: skip


# Disable, enable, delete ----------------------------------------------------------------------------------------------


def held(forge: Forge, webhook: Webhook, *, now: datetime) -> None:
    forge.accept(3, now=now)
    lifecycle.disable(webhook.pk, now=now)


def states(webhook: Webhook) -> list[str]:
    return sorted(Delivery.objects.filter(webhook=webhook).values_list("state", flat=True))


def test_a_webhook_is_disabled_and_its_deliveries_are_held(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(3, now=now)
    assert f"/portal/webhooks/{webhook.uid}/disable" in shown(owner, f"/portal/webhooks/{webhook.uid}")
    assert "Deliveries that wait now (3) are held" in shown(owner, f"/portal/webhooks/{webhook.uid}/disable")

    assert post(owner, webhook, "disable").status_code == 302

    assert states(webhook) == ["held"] * 3
    assert "Disabled: by its owner" in shown(owner, f"/portal/webhooks/{webhook.uid}")
    assert AuditEntry.objects.get(action="webhook.disabled").actor_kind == "portal"


@pytest.mark.parametrize(("choice", "state"), [("send", "pending"), ("keep", "held"), ("cancel", "cancelled")])
def test_an_enabled_webhook_does_with_held_deliveries_as_chosen(
    forge: Forge, owner: Client, now: datetime, choice: str, state: str
) -> None:
    webhook, other = forge.webhook(now=now), forge.webhook(now=now)
    held(forge, webhook, now=now)
    lifecycle.disable(other.pk, now=now)
    page = shown(owner, f"/portal/webhooks/{webhook.uid}/enable")
    assert "Held deliveries: 3" in page
    assert "by its owner" in page
    assert post(owner, webhook, "enable").status_code == 200
    assert post(owner, webhook, "enable", held="<b>").status_code == 200
    assert states(webhook) == ["held"] * 3

    assert post(owner, webhook, "enable", held=choice).status_code == 302

    assert states(webhook) == [state] * 3
    assert states(other) == ["held"] * 3
    webhook.refresh_from_db()
    assert webhook.active
    link = f"/portal/webhooks/{webhook.uid}/enable"
    assert (link in shown(owner, f"/portal/webhooks/{webhook.uid}")) == (choice == "keep")
    if choice == "keep":
        assert post(owner, webhook, "enable", held="send").status_code == 302
        assert states(webhook) == ["pending"] * 3


def test_more_than_one_request_cancels_is_said(
    forge: Forge, owner: Client, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = forge.webhook(now=now)
    held(forge, webhook, now=now)
    monkeypatch.setattr(switching.sql, "BATCH", 1)
    monkeypatch.setattr(switching, "CANCELLED_AT_ONCE", 2)

    first = post(owner, webhook, "enable", held="cancel")

    assert "there are more" in first.content.decode()
    assert states(webhook) == ["cancelled", "cancelled", "held"]
    webhook.refresh_from_db()
    assert not webhook.active
    assert post(owner, webhook, "enable", held="cancel").status_code == 302
    assert states(webhook) == ["cancelled"] * 3


def test_a_deleted_webhook_is_gone_with_what_the_page_said(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(2, now=now)
    page = shown(owner, f"/portal/webhooks/{webhook.uid}/delete")
    assert "Deliveries that wait (2) or are held (0) are cancelled." in page
    assert "keeps them for 30 days" in page

    answer = post(owner, webhook, "delete")

    assert (answer.status_code, answer["Location"]) == (302, "/portal/")
    assert Webhook.objects.get().deleted_at is not None
    assert states(webhook) == ["cancelled"] * 2
    assert AuditEntry.objects.get(action="webhook.deleted").actor_kind == "portal"
    for each in PAGES:
        assert post(owner, webhook, each).status_code == 404


# Who may --------------------------------------------------------------------------------------------------------------


def test_strangers_readers_and_other_sites_change_nothing(
    forge: Forge, caller: Caller, owner: Client, sender: Sender, now: datetime
) -> None:
    forge.receiver.answers["/"] = Answer(200)
    webhook, seen = forge.webhook(now=now), forge.webhook(now=now, path="/seen")
    stranger = visitor(Caller.of(Forge.make(forge.receiver, "globex").organization), role="manage")
    narrow = visitor(caller, role="manage", scope={"webhooks": [str(seen.uid)]})
    reader = visitor(caller)
    before = list(Webhook.objects.values())
    fields = {"type": "push", "payload": "{}", "send": "1", "held": "send"}

    for page in PAGES:
        for browser, status in ((stranger, 404), (narrow, 404), (reader, 403)):
            assert browser.get(f"/portal/webhooks/{webhook.uid}/{page}").status_code == status
            assert post(browser, webhook, page, **fields).status_code == status
        for token in ("", "x" * 64):
            assert post(owner, webhook, page, **{**fields, "form_token": token}).status_code == 403
        assert f"/{page}" not in shown(reader, f"/portal/webhooks/{webhook.uid}")
    assert list(Webhook.objects.values()) == before
    assert not Event.objects.exists()


def test_the_pages_ask_few_questions_however_many_rows(
    forge: Forge, owner: Client, now: datetime, django_assert_max_num_queries: Any
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(30, now=now)
    held(forge, webhook, now=now)

    for page in (*PAGES, "settings", "secret"):
        with django_assert_max_num_queries(9):
            shown(owner, f"/portal/webhooks/{webhook.uid}/{page}")


def test_marking_the_examples_of_many_types_costs_no_more_than_one_validation(
    forge: Forge, owner: Client, now: datetime
) -> None:
    # What it costs is counted by the length of the list, and is done at once.
    heavy = {"allOf": [{"minItems": 1}] * 200}
    wanted = {"schema": {"properties": {"n": heavy}}, "example": {"n": list(range(1000))}}
    first = registry.register({"type": "a", **wanted}, organization=forge.organization, now=now)
    # To register one takes a validation, too.
    for name in ("b", "c", "d"):
        another = copy.copy(first)
        another.pk, another.type = None, name
        another.save(force_insert=True)
    webhook = forge.webhook(now=now, events=["a", "b", "c", "d"])

    marked = ["test" in example.data for example in examples.by_name(webhook).values()]

    assert marked[0]
    assert not marked[-1]
    assert shown(owner, f"/portal/webhooks/{webhook.uid}/test?type=d")


def test_whether_deliveries_are_held_is_read_from_their_index(forge: Forge, now: datetime) -> None:
    mine, other = forge.webhook(now=now), forge.webhook(now=now)
    finished = {"finished_at": now, "finish_reason": "delivered"}
    rows = [
        Delivery(event_id=uuid4(), webhook=hook, organization=forge.organization, event_type="push", **fields)
        for hook, fields in ((mine, {"state": "delivered", **finished}), (other, {"state": "held"}))
        for _ in range(1000)
    ]
    Delivery.objects.bulk_create(rows)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE hookhub_delivery")

    with CaptureQueriesContext(connection) as asked:
        assert not lifecycle.has_held(mine)
        assert lifecycle.has_held(other)

    with connection.cursor() as cursor:
        for query in asked.captured_queries:
            cursor.execute(f"EXPLAIN {query['sql']}")
            assert "delivery_held" in str(cursor.fetchall())
