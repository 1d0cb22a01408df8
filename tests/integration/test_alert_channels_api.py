"""`/v1/alert-channels` and `/v1/alerts`: who may do what, what is refused with which field, and what is shown."""

from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from deliveries.models import AuditEntry, Repository, Webhook
from hookhub.alerts import channels, sending
from hookhub.models import Alert, AlertChannel, Scope
from tests.admin_pages import hidden_in, page, page_of
from tests.alerts import notify
from tests.api import Caller, faults
from tests.story import Forge

pytestmark = pytest.mark.django_db

CHANNELS, ALERTS = "/v1/alert-channels", "/v1/alerts"
URL = "https://93.184.215.14/services/T0/secret"


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization, Scope.MANAGE)


def made(caller: Caller, **fields: Any) -> dict[str, Any]:
    answer = caller.post(CHANNELS, {"type": "email", **fields})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_a_channel_is_created_listed_changed_and_deleted(forge: Forge, caller: Caller) -> None:
    created = caller.post(CHANNELS, {"type": "slack", "url": URL, "name": "ops", "repository": "widgets"})

    shown = created.json()
    assert "no-store" in created["Cache-Control"]
    uid = shown.pop("id")
    assert {name: shown[name] for name in shown if not name.endswith("_at")} == {
        "name": "ops", "type": "slack", "kinds": ["failing", "disabled", "recovered", "lease_ending"],
        "from_percent": 50, "repository": "widgets", "recipients": [], "url": "https://93.184.215.14/********",
        "enabled": True, "failing_since": None, "last_error": "", "secret": None,
    }  # fmt: skip
    assert [each["id"] for each in caller.get(CHANNELS).json()["results"]] == [uid]
    changes = {"kinds": ["disabled"], "from_percent": 90, "repository": None, "enabled": False, "name": ""}
    changed = caller.patch(f"{CHANNELS}/{uid}", changes).json()
    assert {name: changed[name] for name in changes} == changes
    # The masked URL comes back from a form unchanged.
    assert caller.patch(f"{CHANNELS}/{uid}", {"url": "https://93.184.215.14/********"}).status_code == 200
    assert AlertChannel.objects.get().url == URL
    assert caller.delete(f"{CHANNELS}/{uid}").status_code == 204
    assert caller.get(f"{CHANNELS}/{uid}").status_code == 404
    entries = AuditEntry.objects.filter(target_kind="alert_channel").order_by("id")
    assert [entry.action for entry in entries] == [
        "alert_channel.created", "alert_channel.updated", "alert_channel.deleted",
    ]  # fmt: skip
    assert "secret" not in str(entries.values("before", "after"))


def test_the_secret_of_a_webhook_is_shown_once(caller: Caller) -> None:
    created = made(caller, type="webhook", url="https://93.184.215.14/alerts?token=hidden")

    assert created["secret"].startswith("whsec_")
    assert created["url"] == "https://93.184.215.14/alerts?token=********"
    again = caller.get(f"{CHANNELS}/{created['id']}").content.decode()
    assert "whsec_" not in again
    assert "hidden" not in again


def test_the_secret_is_rotated_and_the_new_one_shown_once(caller: Caller) -> None:
    created = made(caller, type="webhook", url=URL)
    address = f"{CHANNELS}/{created['id']}"

    rotated = caller.post(f"{address}/rotate-secret", {"overlap": 3600})

    assert (rotated.status_code, rotated["Cache-Control"]) == (200, "no-store")
    assert rotated.json()["secret"].startswith("whsec_")
    assert rotated.json()["secret"] != created["secret"]
    assert rotated.json()["secret"] not in caller.get(address).content.decode()
    for wrong in (-1, 2_592_001, "3600", True, 1.5):
        assert list(faults(caller.post(f"{address}/rotate-secret", {"overlap": wrong}))) == ["overlap"]
    assert list(faults(caller.post(f"{address}/rotate-secret", {"secret": "whsec_x"}))) == ["secret"]
    email = made(caller)
    assert faults(caller.post(f"{CHANNELS}/{email['id']}/rotate-secret", {})) == {
        "secret": "cannot be rotated: a channel of type email has none"
    }
    assert caller.get(f"{address}/rotate-secret").status_code == 405


# label: (fields, the field that is at fault)
INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({}, "type"),
    "an unknown type": ({"type": "pager"}, "type"),
    "an unknown kind": ({"type": "email", "kinds": ["everything"]}, "kinds.0"),
    "no kinds": ({"type": "email", "kinds": []}, "kinds"),
    "another percentage": ({"type": "email", "from_percent": 60}, "from_percent"),
    "a percentage as text": ({"type": "email", "from_percent": "50"}, "from_percent"),
    "no address": ({"type": "email", "recipients": ["nobody"]}, "recipients.0"),
    "an address with a line break": (
        {"type": "email", "recipients": ["a@b.example\nBcc: c@d.example"]},
        "recipients.0",
    ),
    "too many addresses": ({"type": "email", "recipients": [f"a{n}@b.example" for n in range(11)]}, "recipients"),
    "an e-mail with a URL": ({"type": "email", "url": URL}, "url"),
    "Slack without a URL": ({"type": "slack"}, "url"),
    "Slack with addresses": ({"type": "slack", "url": URL, "recipients": ["a@b.example"]}, "recipients"),
    "an inner address": ({"type": "webhook", "url": "http://169.254.169.254/"}, "url"),
    "another scheme": ({"type": "teams", "url": "file:///etc/passwd"}, "url"),
    "a masked URL": ({"type": "slack", "url": "https://93.184.215.14/********"}, "url"),
    "another's repository": ({"type": "email", "repository": "gadgets"}, "repository"),
    "a name of two lines": ({"type": "email", "name": "a\nb"}, "name"),
    "an unknown field": ({"type": "email", "secret": "whsec_x"}, "secret"),
    "enabled as text": ({"type": "email", "enabled": "no"}, "enabled"),
}


@pytest.mark.parametrize(("fields", "field"), INVALID.values(), ids=INVALID)
def test_what_is_invalid_is_refused_and_named(forge: Forge, caller: Caller, fields: dict[str, Any], field: str) -> None:
    Repository.objects.create(organization=Forge.make(forge.receiver, "globex").organization, name="gadgets")

    answer = caller.post(CHANNELS, fields)

    assert answer.status_code == 422, answer.content
    assert list(faults(answer)) == [field]
    assert AlertChannel.objects.count() == 0


def test_the_type_cannot_be_changed_and_there_are_so_many_channels(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "MAX_CHANNELS", 1)
    uid = made(caller)["id"]

    assert list(faults(caller.patch(f"{CHANNELS}/{uid}", {"type": "slack"}))) == ["type"]
    assert list(faults(caller.post(CHANNELS, {"type": "email"}))) == ["organization"]


@pytest.mark.parametrize("scope", [Scope.READ, Scope.PUBLISH])
def test_who_may_only_read_changes_nothing_and_who_publishes_sees_nothing(
    forge: Forge, caller: Caller, scope: Scope
) -> None:
    uid = made(caller)["id"]
    other = Caller.of(forge.organization, scope)

    looks = [other.get(path).status_code for path in (CHANNELS, f"{CHANNELS}/{uid}", ALERTS)]
    changes = [
        other.post(CHANNELS, {"type": "email"}).status_code,
        other.patch(f"{CHANNELS}/{uid}", {"name": "x"}).status_code,
        other.delete(f"{CHANNELS}/{uid}").status_code,
        other.post(f"{CHANNELS}/{uid}/test").status_code,
    ]

    assert looks == [200 if scope == Scope.READ else 403] * 3
    assert changes == [403] * 4
    assert (AlertChannel.objects.get().name, Alert.objects.count()) == ("", 0)


def test_a_repository_takes_its_channels_with_it(forge: Forge, caller: Caller) -> None:
    made(caller, repository="widgets")
    kept = made(caller)["id"]

    assert Caller.of(forge.organization).delete("/v1/repositories/widgets").status_code == 204

    assert [str(channel.pk) for channel in AlertChannel.objects.all()] == [kept]
    assert AuditEntry.objects.filter(action="alert_channel.deleted").count() == 1


def test_one_channel_too_many_is_said_in_the_admin(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "MAX_CHANNELS", 0)
    client = Client()
    client.force_login(User.objects.create_superuser("op", "op@example.com"))
    fields = {"organization": forge.organization.pk, "type": "email", "kinds": "disabled", "from_percent": "50"}

    page = client.post("/admin/hookhub/alertchannel/add/", fields, follow=True).content.decode()
    refused = client.post("/admin/hookhub/alertchannel/add/", {**fields, "recipients": "nobody"}).content.decode()

    assert "has 0 alert channels, the maximum" in page
    assert "must be e-mail addresses" in refused
    assert AlertChannel.objects.count() == 0


def test_the_admins_form_changes_only_what_its_user_has_changed(forge: Forge, caller: Caller) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("op", "op@example.com"))
    address = f"{CHANNELS}/{made(caller)['id']}"
    channel = AlertChannel.objects.get()
    loaded = hidden_in(page(client, page_of(channel)))
    caller.patch(address, {"kinds": ["disabled"], "enabled": False})
    kinds = loaded["initial-kinds"]
    fields = {"name": "Ours", "type": channel.type, "kinds": kinds, "from_percent": "50", "enabled": "on"}

    answer = client.post(page_of(channel), {**fields, "recipients": "", **loaded})

    assert answer.status_code == 302, answer.context["errors"]
    stored = caller.get(address).json()
    assert len(kinds) > 1
    assert (stored["name"], stored["kinds"], stored["enabled"]) == ("Ours", ["disabled"], False)


def test_a_stranger_finds_nothing(forge: Forge, caller: Caller, now: datetime) -> None:
    uid = made(caller)["id"]
    alert = caller.post(f"{CHANNELS}/{uid}/test").json()["id"]
    stranger = Caller.of(Forge.make(forge.receiver, "globex").organization)

    assert [
        stranger.get(f"{CHANNELS}/{uid}").status_code,
        stranger.patch(f"{CHANNELS}/{uid}", {"name": "x"}).status_code,
        stranger.delete(f"{CHANNELS}/{uid}").status_code,
        stranger.post(f"{CHANNELS}/{uid}/test").status_code,
        stranger.get(f"{ALERTS}/{alert}").status_code,
        stranger.get(f"{CHANNELS}/no-id").status_code,
    ] == [404] * 6
    webhook = forge.webhook(now=now)
    for path in (CHANNELS, ALERTS, f"{ALERTS}?channel={uid}", f"{ALERTS}?webhook={webhook.uid}"):
        assert stranger.get(path).json()["results"] == []


def test_a_test_is_sent_and_its_outcome_can_be_read(
    forge: Forge, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = made(caller, type="webhook", url=forge.receiver.url("/alerts"))["id"]
    monkeypatch.setattr(channels, "TESTS_PER_MINUTE", 1)

    answer = caller.post(f"{CHANNELS}/{uid}/test")
    refused = caller.post(f"{CHANNELS}/{uid}/test")

    assert (answer.status_code, answer.json()["state"], refused.status_code) == (202, "pending", 429)
    assert sending.send_due(now=timezone.now()) == 1
    shown = caller.get(f"{ALERTS}/{answer.json()['id']}").json()
    assert (shown["state"], shown["kind"], shown["channel"], shown["webhook"]) == ("sent", "test", uid, None)
    assert caller.get(f"{CHANNELS}/{uid}").json()["last_sent_at"] is not None
    assert len(forge.receiver.received) == 1


def test_alerts_are_listed_and_found_by_webhook_channel_and_kind(forge: Forge, caller: Caller, now: datetime) -> None:
    uid = made(caller, type="webhook", url=forge.receiver.url("/alerts"))["id"]
    caller.post(f"{CHANNELS}/{uid}/test")
    webhook, other = forge.webhook(now=now, name="Deploys"), forge.webhook(now=now, path="/other")
    Webhook.objects.filter(pk=webhook.pk).update(disabled_at=now, disabled_reason="failing", failure_count=6)
    notify(now=now)

    def kinds(query: str) -> list[str]:
        return [alert["kind"] for alert in caller.get(f"{ALERTS}{query}").json()["results"]]

    assert sorted(kinds("")) == ["disabled", "test"]
    assert kinds(f"?webhook={webhook.uid}") == ["disabled"]
    assert kinds(f"?webhook={other.uid}") == []
    assert sorted(kinds(f"?channel={uid}")) == ["disabled", "test"]
    assert kinds("?kind=test") == ["test"]
    [shown] = caller.get(f"{ALERTS}?kind=disabled").json()["results"]
    assert (shown["webhook"], shown["details"]["reason"]) == ({"id": str(webhook.uid), "name": "Deploys"}, "failing")
    for query, field in {"?kind=x": "kind", "?webhook=x": "webhook", "?channel=x": "channel", "?x=1": "x"}.items():
        assert list(faults(caller.get(f"{ALERTS}{query}"))) == [field]
