"""Every request and response of Coregit's webhook documentation, literally."""

import hashlib
import hmac
import json
import re
from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from freezegun import freeze_time
from pytest_django import Settings

from deliveries import vault
from deliveries.models import Delivery, Organization, Webhook
from deliveries.sending.sender import Sender
from hookhub.models import Scope
from tests.api import Caller
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

# An IP address, so that no DNS lookup is needed.
URL = "https://93.184.215.14/webhooks/coregit"


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(slug="org_abc123", default_dialect="coregit")


@pytest.fixture
def master(organization: Organization) -> Caller:
    return Caller.of(organization, Scope.MASTER)


@pytest.fixture
def webhook_id(master: Caller) -> str:
    with freeze_time("2025-01-01T00:00:00.123Z"):
        return str(master.post("/v1/webhooks", {"url": URL, "events": ["push"]}).json()["id"])


# Create -------------------------------------------------------------------------------------------------------------


def test_create(master: Caller) -> None:
    answer = master.post("/v1/webhooks", {"url": URL, "events": ["push", "branch.created"]})

    created = answer.json()
    webhook = Webhook.objects.get()
    assert answer.status_code == 201
    assert list(created) == ["id", "url", "events", "secret", "active"]
    assert created == {
        "id": str(webhook.uid),
        "url": URL,
        "events": ["push", "branch.created"],
        "secret": vault.secrets_of(webhook)[0].text,
        "active": True,
    }
    assert re.fullmatch(r"whsec_[0-9a-f]{48}", created["secret"])
    assert (webhook.format, webhook.auto_disable, webhook.retry_schedule) == ("coregit", False, None)


@pytest.mark.parametrize("event", ["push", "repo.created", "repo.deleted", "branch.created", "branch.deleted", "*"])
def test_every_event_of_the_table_can_be_asked_for(master: Caller, event: str) -> None:
    assert master.post("/v1/webhooks", {"url": URL, "events": [event]}).json()["events"] == [event]


# List, get, update, delete --------------------------------------------------------------------------------------------


def test_list(master: Caller, webhook_id: str) -> None:
    answer = master.get("/v1/webhooks")

    assert answer.status_code == 200
    assert answer.json() == {
        "webhooks": [
            {"id": webhook_id, "url": URL, "events": ["push"], "active": True, "created_at": "2025-01-01T00:00:00Z"}
        ]
    }


def test_list_of_none(master: Caller) -> None:
    assert master.get("/v1/webhooks").json() == {"webhooks": []}


def test_get(master: Caller, webhook_id: str) -> None:
    answer = master.get(f"/v1/webhooks/{webhook_id}")

    assert (answer.status_code, answer.json()) == (200, master.get("/v1/webhooks").json()["webhooks"][0])


def test_update(master: Caller, webhook_id: str) -> None:
    changes = {"url": f"{URL}?v=2", "events": ["*"], "active": False}

    answer = master.patch(f"/v1/webhooks/{webhook_id}", changes)

    assert answer.status_code == 200
    assert answer.json() == {
        "id": webhook_id,
        # The query may contain a token, so only the response to the creating request shows it.
        "url": f"{URL}?v=********",
        "events": ["*"],
        "active": False,
        "created_at": "2025-01-01T00:00:00Z",
    }
    assert master.get(f"/v1/webhooks/{webhook_id}").json() == answer.json()


@pytest.mark.parametrize("changes", [{"url": f"{URL}?v=2"}, {"events": ["*"]}, {"active": False}, {}])
def test_all_fields_of_an_update_are_optional(master: Caller, webhook_id: str, changes: dict[str, Any]) -> None:
    before = master.get(f"/v1/webhooks/{webhook_id}").json()

    answer = master.patch(f"/v1/webhooks/{webhook_id}", changes)

    shown = {"url": f"{URL}?v=********"} if "url" in changes else changes
    assert (answer.status_code, answer.json()) == (200, {**before, **shown})


def test_an_update_to_another_path_makes_a_new_secret_and_shows_it_this_once(master: Caller, webhook_id: str) -> None:
    answer = master.patch(f"/v1/webhooks/{webhook_id}", {"url": f"{URL}/2"})

    [secret] = vault.secrets_of(Webhook.objects.get())
    assert answer.json()["secret"] == secret.text
    assert "secret" not in master.get(f"/v1/webhooks/{webhook_id}").json()


def test_delete(master: Caller, webhook_id: str) -> None:
    answer = master.delete(f"/v1/webhooks/{webhook_id}")

    assert (answer.status_code, answer.json()) == (200, {"deleted": True})
    assert master.get("/v1/webhooks").json() == {"webhooks": []}


def test_what_is_deleted_is_not_found_whatever_is_asked_of_it(master: Caller, webhook_id: str) -> None:
    address = f"/v1/webhooks/{webhook_id}"
    master.delete(address)

    for answer in (master.get(address), master.patch(address, {"active": True}), master.delete(address)):
        assert (answer.status_code, answer.json()) == (404, {"error": "Webhook not found", "code": "NOT_FOUND"})


# The SDK's example ----------------------------------------------------------------------------------------------------


def test_the_sdks_story(master: Caller) -> None:
    created = master.post("/v1/webhooks", {"url": f"{URL}/hook", "events": ["push", "repo.created"]}).json()
    address = f"/v1/webhooks/{created['id']}"

    listed = master.get("/v1/webhooks").json()["webhooks"]
    disabled = master.patch(address, {"active": False}).json()
    enabled = master.patch(address, {"active": True}).json()

    assert created["secret"].startswith("whsec_")
    assert [row["id"] for row in listed] == [created["id"]]
    assert (disabled["active"], enabled["active"]) == (False, True)
    assert master.delete(address).json() == {"deleted": True}


# Delivery -------------------------------------------------------------------------------------------------------------


def test_delivery(forge: Forge, sender: Sender) -> None:
    Organization.objects.filter(pk=forge.organization.pk).update(default_dialect="coregit", slug="org_abc123")
    forge.organization.refresh_from_db()
    data = {"repo": "my-repo", "branch": "main", "commit_sha": "7f3b..."}
    master = Caller.of(forge.organization)
    created = master.post("/v1/webhooks", {"url": forge.receiver.url("/hook"), "events": ["push"]}).json()
    now = datetime.fromisoformat("2025-06-15T12:00:00Z")
    forge.accept(now=now, data=data)

    deliver_due(sender, now=now)

    [request] = forge.receiver.received
    assert json.loads(request.body) == {
        "event": "push", "timestamp": "2025-06-15T12:00:00.000Z", "org_id": "org_abc123", "data": data,
    }  # fmt: skip
    expected = hmac.new(created["secret"].encode(), request.body, hashlib.sha256).hexdigest()
    told = {
        name: request.headers[name] for name in request.headers if name.startswith(("x-coregit", "user", "content-t"))
    }
    assert told == {
        "x-coregit-event": "push",
        "x-coregit-signature": f"sha256={expected}",
        "x-coregit-webhook-id": created["id"],
        "content-type": "application/json",
        "user-agent": "CoreGit-Webhook/1.0",
    }


def test_a_delivery_is_tried_once_and_the_webhook_stays_enabled(forge: Forge, sender: Sender, now: datetime) -> None:
    Organization.objects.filter(pk=forge.organization.pk).update(default_dialect="coregit")
    forge.organization.refresh_from_db()
    forge.receiver.answers["/"] = Answer(500)
    Caller.of(forge.organization).post("/v1/webhooks", {"url": forge.receiver.url(), "events": ["*"]})
    forge.accept(now=now)

    deliver_due(sender, now=now)

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.finish_reason, delivery.attempts_made) == ("failed", "exhausted", 1)
    assert Webhook.objects.get().active


def test_retries_and_disabling_can_be_turned_on_for_a_webhook(forge: Forge, sender: Sender, now: datetime) -> None:
    Organization.objects.filter(pk=forge.organization.pk).update(default_dialect="coregit")
    forge.organization.refresh_from_db()
    forge.receiver.answers["/"] = Answer(500)
    wanted = {"url": forge.receiver.url(), "events": ["*"], "retry_schedule": [60], "auto_disable": True}
    answer = Caller.of(forge.organization).post("/v1/webhooks", wanted)
    forge.accept(now=now)

    deliver_due(sender, now=now)
    deliver_due(sender, now=Delivery.objects.get().due_at or now)

    assert list(answer.json()) == ["id", "url", "events", "secret", "active"]
    assert (Delivery.objects.get().attempts_made, Webhook.objects.get().disabled_reason) == (2, "failing")


def test_the_key_may_come_as_coregits_own_clients_send_it(master: Caller, webhook_id: str) -> None:
    client = Client()

    listed = client.get("/v1/webhooks", headers={"X-Api-Key": master.key})
    wrong = [
        client.get("/v1/webhooks", headers={"X-Api-Key": key})
        for key in ("x", "Bearer x", f"{master.key}x", f"x {master.key}")
    ]
    # Of two keys, the one in the usual header counts.
    both = client.get("/v1/webhooks", headers={"X-Api-Key": master.key, "Authorization": "Bearer x"})

    assert [row["id"] for row in listed.json()["webhooks"]] == [webhook_id]
    assert [answer.status_code for answer in [*wrong, both]] == [401] * 5


# What the document rules out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [Scope.MANAGE, Scope.READ, Scope.PUBLISH])
def test_no_key_but_a_master_key_will_do(organization: Organization, webhook_id: str, scope: Scope) -> None:
    caller = Caller.of(organization, scope)
    address = f"/v1/webhooks/{webhook_id}"

    answers = [
        caller.get("/v1/webhooks"),
        caller.post("/v1/webhooks", {"url": URL, "events": ["*"]}),
        caller.get(address),
        caller.patch(address, {"active": False}),
        caller.delete(address),
        # Endpoints that Coregit does not have are no way around this, and neither is HookHub's native dialect.
        caller.post(f"{address}/disable"),
        caller.post(f"{address}/rotate-secret"),
    ]
    roundabout = caller.send("GET", address, None, headers={"HookHub-Dialect": "native"})

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "FORBIDDEN")] * 7
    assert (roundabout.status_code, roundabout.json()["error"]["code"]) == (403, "forbidden")
    assert Webhook.objects.get().active


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        pytest.param({"events": ["push"]}, "url", id="no url"),
        pytest.param({"url": URL}, "events", id="no events"),
        pytest.param({"url": URL, "events": []}, "events", id="empty"),
        pytest.param({"url": URL, "events": None}, "events", id="null"),
        pytest.param({"url": URL, "events": "push"}, "events", id="a text"),
        pytest.param({"url": URL, "events": ["issues.opened"]}, "events", id="not in the table"),
        pytest.param({"url": URL, "events": ["push", "branch"]}, "events", id="a family"),
        pytest.param({"url": "ftp://93.184.215.14/", "events": ["push"]}, "url", id="scheme"),
        pytest.param({"url": 7, "events": ["push"]}, "url", id="a number"),
        pytest.param({"url": URL, "events": ["push"], "colour": "red"}, "colour", id="unknown"),
        pytest.param({"url": URL, "events": ["push"], "active": "yes"}, "active", id="active as text"),
    ],
)
def test_a_wrong_field_is_named_with_coregits_shape(master: Caller, wanted: dict[str, Any], field: str) -> None:
    answer = master.post("/v1/webhooks", wanted)

    told = answer.json()
    assert (answer.status_code, told["code"], set(told)) == (400, "VALIDATION_ERROR", {"error", "code"})
    assert told["error"].startswith(f"{field}: ")
    assert not Webhook.objects.exists()


@pytest.mark.parametrize("url", ["http://93.184.215.14/", "HTTP://93.184.215.14/"])
def test_outside_development_the_url_must_use_https(
    master: Caller, webhook_id: str, settings: Settings, url: str
) -> None:
    settings.HOOKHUB_DEVELOPMENT = False

    refused = [
        master.post("/v1/webhooks", {"url": url, "events": ["push"]}),
        master.patch(f"/v1/webhooks/{webhook_id}", {"url": url}),
    ]

    assert [answer.status_code for answer in refused] == [400, 400]
    assert refused[0].json()["error"].startswith("url: must use HTTPS")
    assert [webhook.url for webhook in Webhook.objects.all()] == [URL]


def test_in_development_http_will_do(master: Caller) -> None:
    assert master.post("/v1/webhooks", {"url": "http://127.0.0.1:9999/", "events": ["push"]}).status_code == 201


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "VALIDATION_ERROR"),
        (b'{"url": NaN}', "application/json", 400, "VALIDATION_ERROR"),
        (b"[" * 100_000, "application/json", 400, "VALIDATION_ERROR"),
        (b"[]", "application/json", 400, "VALIDATION_ERROR"),
        (b"url=x", "application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
def test_what_cannot_be_read_is_refused_in_coregits_shape(
    master: Caller, content: bytes, content_type: str, status: int, code: str
) -> None:
    answer = master.post("/v1/webhooks", content, content_type=content_type)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert isinstance(answer.json()["error"], str)


def test_of_very_many_webhooks_the_header_leads_to_the_rest(organization: Organization, master: Caller) -> None:
    Webhook.objects.bulk_create(
        Webhook(organization=organization, url=URL, events=["*"], format="coregit", sealed_secrets=b"")
        for _ in range(1001)
    )

    first = master.get("/v1/webhooks")
    rest = master.get(first.headers["Link"].partition(">")[0].removeprefix("<http://testserver"))

    assert (len(first.json()["webhooks"]), len(rest.json()["webhooks"]), "Link" in rest.headers) == (1000, 1, False)
    ids = {row["id"] for answer in (first, rest) for row in answer.json()["webhooks"]}
    assert len(ids) == 1001
