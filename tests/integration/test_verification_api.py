"""Leases and verification at /v1/ and in the admin."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deliveries.models import Organization, Verification, Webhook
from tests.api import Caller, faults
from tests.receiver import Answer, Receiver
from tests.story import echo, verify_due

pytestmark = pytest.mark.django_db


def create(api: Caller, receiver: Receiver, **fields: Any) -> Any:
    return api.post("/v1/webhooks", {"url": receiver.url("/"), "events": ["*"], **fields})


def test_a_webhook_shows_its_verification_until_it_is_active(api: Caller, receiver: Receiver) -> None:
    made = create(api, receiver, verify="challenge")

    assert made.status_code == 201
    row = made.json()
    assert (row["verify"], row["verified_at"], row["status"], row["active"]) == ("challenge", None, "unverified", True)
    assert row["verification"] == {
        "id": row["verification"]["id"], "state": "pending", "url": receiver.url("/"), "attempts": 0,
        "due_at": row["verification"]["due_at"], "started_at": None, "duration": None, "status": None, "excerpt": "",
        "error": "", "created_at": row["verification"]["created_at"], "finished_at": None, "requests": [],
    }  # fmt: skip
    receiver.answers["/"] = Answer(503, body=b"not yet")
    now = timezone.now()
    verify_due(now=now)
    told = api.get(f"/v1/webhooks/{row['id']}").json()["verification"]
    assert (told["state"], told["attempts"], told["status"]) == ("pending", 1, 503)
    assert (told["excerpt"], told["error"]) == ("not yet", "The receiver answered 503.")

    echo(receiver)
    again = api.post(f"/v1/webhooks/{row['id']}/verify")
    verify_due(now=timezone.now())

    assert (again.status_code, again.json()["status"]) == (202, "unverified")
    [listed] = api.get("/v1/webhooks").json()["results"]
    assert (listed["status"], listed["verification"]["state"]) == ("active", "verified")
    assert listed["verified_at"] is not None
    failed, proved = listed["verification"]["requests"]
    assert failed.pop("started_at") == told["started_at"]
    assert failed.pop("duration") == told["duration"]
    assert failed == {
        "number": 1, "outcome": "failed", "status": 503, "excerpt": "not yet", "error": "The receiver answered 503.",
    }  # fmt: skip
    assert (proved["number"], proved["outcome"], proved["status"], proved["error"]) == (2, "verified", 200, "")


@pytest.mark.parametrize("status", ["active", "unverified", "disabled", "ended"])
def test_webhooks_are_listed_by_status(api: Caller, receiver: Receiver, status: str) -> None:
    soon = timezone.now() + timedelta(days=1)
    for name, more in {
        "active": {}, "unverified": {"verify": "challenge"}, "disabled": {"verify": "challenge", "active": False},
        "ended": {"verify": "challenge", "active": False, "expires_at": soon.isoformat()},
    }.items():  # fmt: skip
        assert create(api, receiver, name=name, **more).status_code == 201
    # The end goes before the other states that stop a webhook.
    Webhook.objects.filter(name="ended").update(expires_at=timezone.now())
    Webhook.objects.filter(name="active").update(expires_at=soon)

    rows = api.get(f"/v1/webhooks?status={status}").json()["results"]

    assert [(row["name"], row["status"]) for row in rows] == [(status, status)]


@pytest.mark.parametrize("status", ["deleted", "verified", "Active", "1"])
def test_an_unknown_status_is_refused(api: Caller, status: str) -> None:
    refused = api.get(f"/v1/webhooks?status={status}")
    assert (refused.status_code, faults(refused)) == (
        422, {"status": "must be one of: active, unverified, disabled, ended"},
    )  # fmt: skip


def test_a_move_shows_the_new_url_and_its_secret(api: Caller, receiver: Receiver) -> None:
    made = create(api, receiver, verify="challenge").json()
    echo(receiver)
    verify_due(now=timezone.now())

    moved = api.patch(f"/v1/webhooks/{made['id']}", {"url": receiver.url("/new")}).json()

    assert (moved["url"], moved["verification"]["url"]) == (receiver.url("/"), receiver.url("/new"))
    assert (moved["status"], moved["verification"]["state"]) == ("active", "pending")
    assert moved["secret"] not in {None, made["secret"]}


@pytest.mark.parametrize("value", ["websub", "yes", True, 1, {}])
def test_only_the_challenge_can_be_asked_for(api: Caller, receiver: Receiver, value: object) -> None:
    refused = create(api, receiver, verify=value)

    assert (refused.status_code, faults(refused)) == (
        422,
        {"verify": 'must be "challenge" or "handshake", or null for no verification'},
    )
    assert not Webhook.objects.exists()


def test_a_ping_to_an_unverified_webhook_is_a_conflict(api: Caller, receiver: Receiver) -> None:
    made = create(api, receiver, verify="challenge").json()

    answers = [api.post(f"/v1/webhooks/{made['id']}/{action}") for action in ("ping", "test")]

    assert [answer.status_code for answer in answers] == [409, 409]
    assert "unverified" in answers[0].json()["error"]["message"]


def test_an_end_is_set_shown_and_removed(api: Caller, receiver: Receiver) -> None:
    end = datetime(2100, 1, 1, tzinfo=UTC)
    made = create(api, receiver, expires_at="2100-01-01T00:00:00Z").json()
    assert (made["expires_at"], made["status"]) == ("2100-01-01T00:00:00Z", "active")
    assert Webhook.objects.get().expires_at == end

    past = api.patch(f"/v1/webhooks/{made['id']}", {"expires_at": "2020-01-01T00:00:00Z"})
    assert (past.status_code, faults(past)) == (422, {"expires_at": "must be in the future"})
    Webhook.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    ended = api.get(f"/v1/webhooks/{made['id']}").json()
    assert ended["status"] == "ended"
    assert api.post(f"/v1/webhooks/{made['id']}/ping").status_code == 409

    assert api.patch(f"/v1/webhooks/{made['id']}", {"expires_at": None}).json()["status"] == "active"


def test_an_organization_may_demand_it(api: Caller, organization: Organization, receiver: Receiver) -> None:
    changed = api.patch("/v1/organizations/acme", {"verify_webhooks": True})
    assert changed.json()["verify_webhooks"] is True

    assert create(api, receiver).json()["status"] == "unverified"
    assert faults(create(api, receiver, verify=None)) == {
        "verify": "cannot be null: the organization has the URLs of all webhooks verified"
    }
    assert "format" in faults(create(api, receiver, format="slack"))
    assert Webhook.objects.get().proof == "challenge"


def test_another_organization_cannot_ask(other: Caller, api: Caller, receiver: Receiver) -> None:
    made = create(api, receiver).json()

    assert other.post(f"/v1/webhooks/{made['id']}/verify").status_code == 404
    assert not Verification.objects.exists()


def test_many_webhooks_are_listed_with_as_many_queries_as_one(
    api: Caller, receiver: Receiver, django_assert_num_queries: Any
) -> None:
    create(api, receiver, verify="challenge")
    with CaptureQueriesContext(connection) as one:
        api.get("/v1/webhooks")
    count = len(one)
    for number in range(3):
        create(api, receiver, url=receiver.url(f"/{number}"), verify="challenge")

    with django_assert_num_queries(count):
        assert len(api.get("/v1/webhooks").json()["results"]) == 4


# The admin ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_the_page_shows_the_verification_and_starts_another(admin: Client, api: Caller, receiver: Receiver) -> None:
    create(api, receiver, verify="challenge")
    webhook = Webhook.objects.get()
    receiver.answers["/"] = Answer(404, body=b"<b>nothing here</b>")
    verify_due(now=timezone.now())

    page = admin.get(f"/admin/deliveries/webhook/{webhook.pk}/change/").content.decode()

    assert "Unverified" in page
    assert "&lt;b&gt;nothing here&lt;/b&gt;" in page
    assert "The receiver answered 404." in page
    assert "Request 1" in page
    assert admin.post(f"/admin/deliveries/webhook/{webhook.pk}/act/", {"action": "verify_url"}).status_code == 302
    due_at = Verification.objects.get().due_at
    assert due_at is not None
    assert due_at <= timezone.now()


def test_the_form_sets_proof_and_end(admin: Client, api: Caller, receiver: Receiver) -> None:
    create(api, receiver)
    webhook = Webhook.objects.get()
    form = admin.get(f"/admin/deliveries/webhook/{webhook.pk}/change/").context["adminform"].form
    fields = {name: value for name, value in form.initial.items() if value not in {None, ""} and name in form.fields}
    fields = {name: value for name, value in fields.items() if value is not False}

    done = admin.post(
        f"/admin/deliveries/webhook/{webhook.pk}/change/",
        {**fields, "verify": "challenge", "expires_at_0": "2100-01-01", "expires_at_1": "00:00:00"},
    )

    assert done.status_code == 302, done.context["errors"]
    webhook.refresh_from_db()
    assert webhook.expires_at == datetime(2100, 1, 1, tzinfo=UTC)
    assert Verification.objects.get().state == "pending"


@pytest.mark.parametrize("condition", ["unverified", "ended"])
def test_the_list_is_filtered_by_status(admin: Client, api: Caller, receiver: Receiver, condition: str) -> None:
    create(api, receiver, name="plain")
    create(api, receiver, name="new", verify="challenge")
    create(api, receiver, name="old")
    Webhook.objects.filter(name="old").update(expires_at=timezone.now() - timedelta(seconds=1))

    page = admin.get(f"/admin/deliveries/webhook/?condition={condition}")

    assert [webhook.name for webhook in page.context["cl"].result_list] == [
        {"unverified": "new", "ended": "old"}[condition]
    ]
