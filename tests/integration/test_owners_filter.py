"""The filter that an owner sets: by the API, in the portal or in the admin; and which events the webhook gets then."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from deliveries import pipeline
from deliveries.models import AuditEntry, Delivery, Webhook
from hookhub import replays
from hookhub.models import Scope
from tests.admin_pages import page_of
from tests.api import Caller, faults
from tests.integration.test_portal_webhooks import send, text_of
from tests.portal import shown, visitor
from tests.story import Forge

pytestmark = pytest.mark.django_db

FILTER = {"data": {"action": "opened", "issue": {"labels": "bug", "draft": {"$neq": True}}}}
HOOKS = "/v1/webhooks"


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization, scope=Scope.MASTER)


def stored(webhook: Webhook) -> Any:
    return Webhook.objects.get(pk=webhook.pk).own_filter


def test_a_webhook_gets_the_events_that_its_filter_accepts(forge: Forge, caller: Caller, now: datetime) -> None:
    made = caller.post(HOOKS, {"url": forge.receiver.url(), "events": ["*"], "filter": FILTER})
    assert (made.status_code, made.json()["filter"]) == (201, FILTER)
    data = [
        {"action": "opened", "issue": {"labels": ["ui", "bug"]}},
        {"action": "opened", "issue": {"labels": ["ui"]}},
        {"action": "closed", "issue": {"labels": ["bug"]}},
        {"action": "opened", "issue": {"labels": ["bug"], "draft": True}},
        [1, 2],
        None,
    ]

    moment = timezone.now()
    receipts = pipeline.accept([forge.event(now=moment, data=each) for each in data], now=moment)
    pipeline.fan_out(now=moment)

    assert list(Delivery.objects.values_list("event", flat=True)) == [receipts[0].id]
    uid = made.json()["id"]
    assert caller.post(f"{HOOKS}/{uid}/ping").status_code == 202
    changed = caller.patch(f"{HOOKS}/{uid}", {"filter": None})
    assert (changed.status_code, changed.json()["filter"]) == (200, None)
    forge.accept(now=timezone.now())
    assert Delivery.objects.count() == 3


def test_a_change_is_recorded_and_others_leave_it(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    address = f"{HOOKS}/{webhook.uid}"

    caller.patch(address, {"filter": FILTER})
    caller.patch(address, {"name": "ci"})

    assert caller.get(address).json()["filter"] == FILTER
    entry = AuditEntry.objects.filter(action="webhook.updated").order_by("id")[0]
    assert (json.loads(entry.before or ""), json.loads(entry.after or "")) == ({"filter": None}, {"filter": FILTER})


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ("x", 'must be an object such as {"data": {"action": "opened"}}'),
        (
            {"data": {"a": {"$regex": "x"}}},
            "$regex is not an operator; use one of: $eq, $neq, $gt, $gte, $lt, $lte, $in,",
        ),
        ({"data": {"a": "\0"}}, "at 'data.a': must be a text of up to 500 characters, without NUL"),
        ({"data": {"a": [1]}}, "at data.a: must not be a list; write an operator, such as $in"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_by_name(
    forge: Forge, caller: Caller, now: datetime, wanted: object, error: str
) -> None:
    webhook = forge.webhook(now=now)

    made = caller.post(HOOKS, {"url": forge.receiver.url("/b"), "events": ["*"], "filter": wanted})
    changed = caller.patch(f"{HOOKS}/{webhook.uid}", {"filter": wanted})

    for answer in (made, changed):
        assert answer.status_code == 422
        assert faults(answer)["filter"].startswith(error)
    assert (Webhook.objects.count(), stored(webhook)) == (1, None)


def test_what_it_never_got_is_filtered_too(forge: Forge, now: datetime) -> None:
    now = timezone.now() - timedelta(minutes=1)
    for number in range(3):
        pipeline.accept([forge.event(now=now, data={"n": number})], now=now)
    pipeline.fan_out(now=now)
    webhook = forge.webhook(now=now, filter={"data": {"n": {"$gte": 1}}})

    replays.start_missing(webhook, after=now - timedelta(hours=1), before=timezone.now(), now=timezone.now())
    replays.run_replays(now=timezone.now())

    assert sorted(json.loads(bytes(each.event.payload))["n"] for each in Delivery.objects.select_related("event")) == [
        1,
        2,
    ]


def test_a_subscriber_has_said_what_it_wants(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    Webhook.objects.filter(pk=webhook.pk).update(subscription={"id": "s"}, payload_filter={"branch": "main"})

    answer = caller.patch(f"{HOOKS}/{webhook.uid}", {"filter": FILTER})

    assert faults(answer) == {"filter": "cannot be set: its subscriber has said which events it wants"}
    assert caller.get(f"{HOOKS}/{webhook.uid}").json()["filter"] is None
    assert Webhook.objects.get().payload_filter == {"branch": "main"}
    browser = visitor(caller, role="manage")
    assert 'name="filter"' not in shown(browser, f"/portal/webhooks/{webhook.uid}/settings")


def test_the_portal_sets_and_removes_it_and_says_what_is_wrong(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook, browser = forge.webhook(now=now), visitor(caller, role="manage")
    address = f"/portal/webhooks/{webhook.uid}/settings"

    assert send(browser, address, filter=json.dumps(FILTER)).status_code == 302
    assert stored(webhook) == FILTER
    # A form that was not changed changes nothing.
    assert send(browser, address).status_code == 302
    assert stored(webhook) == FILTER
    broken = send(browser, address, filter='{"data": ')
    wrong = send(browser, address, filter='{"data": {"a": {"$gt": true}}}')
    assert (broken.status_code, wrong.status_code) == (422, 422)
    assert "This is not JSON" in text_of(broken)
    assert "At data.a.$gt: must be a number or a text." in text_of(wrong)
    assert stored(webhook) == FILTER
    assert send(browser, address, filter=" ").status_code == 302
    assert stored(webhook) is None


def test_the_admin_sets_it(forge: Forge, admin_client: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    page = admin_client.get(page_of(webhook))
    form = page.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    sent = {name: value for name, value in values.items() if value not in {None, False}} | {
        "filter": json.dumps(FILTER)
    }

    answer = admin_client.post(page_of(webhook), sent)

    assert answer.status_code == 302, answer.context["errors"]
    assert stored(webhook) == FILTER
    refused = admin_client.post(page_of(webhook), {**sent, "filter": "{"})
    assert refused.context["adminform"].form.errors["filter"][0].startswith("Enter valid JSON")
