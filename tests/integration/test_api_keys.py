"""API keys: their checksum, expiry, rolling and networks, and how soon other processes see a change."""

import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from deliveries.models import Event, Organization, Repository
from hookhub import api_keys, key_text, row_cache
from hookhub.cache_invalidation import CHANNEL, Listener, invalidate
from hookhub.event_types import registry
from hookhub.http import authentication
from hookhub.http.authentication import MISTYPED, UNKNOWN
from hookhub.management.commands.send_event import key_of
from hookhub.models import ApiKey, CustomEventType, Membership, Scope
from hookhub.notifications import api_keys as letters
from hookhub.notifications.api_keys import warn_of_expiring_keys
from tests.api import Caller, faults

pytestmark = pytest.mark.django_db

SOCIAL = "/api/v3/repos/acme/widgets/hooks"
EVENT = {"type": "push", "data": {}}


def message(answer: Any) -> str:
    return str(answer.json()["error"]["message"])


def record_of(caller: Caller) -> ApiKey:
    return ApiKey.objects.get(key_id=caller.key.split("_")[1])


# The text -------------------------------------------------------------------------------------------------------------


def test_the_checksum_is_crc_32_in_six_digits_of_base_62() -> None:
    assert key_text.checksum("hh_0123456789ab_" + "A" * 43) == "2LfwRQ"
    assert key_text.checksum("") == "000000"


def test_a_mistyped_key_is_refused_before_the_database_is_asked(api: Caller) -> None:
    wrong = "B" if api.key[30] != "B" else "C"
    mistyped = Caller(f"{api.key[:30]}{wrong}{api.key[31:]}")

    with CaptureQueriesContext(connection) as queries:
        answer = mistyped.post("/v1/events", EVENT)

    assert (answer.status_code, message(answer), len(queries)) == (401, MISTYPED, 0)
    assert not Event.objects.exists()


# Expiry ---------------------------------------------------------------------------------------------------------------


def test_an_expired_key_is_refused_with_a_sentence_that_says_so(api: Caller) -> None:
    assert api.post("/v1/events", EVENT).status_code == 202
    ApiKey.objects.update(expires_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.now().tzinfo))
    authentication.invalidate_all()

    for answer in (api.post("/v1/events", EVENT), api.get("/v1/webhooks")):
        assert answer.status_code == 401
        assert message(answer).startswith("This API key expired at 2026-01-02T03:04:05Z.")

    assert Event.objects.count() == 1


def test_a_key_is_created_with_an_expiry_and_networks_and_both_can_be_changed(api: Caller) -> None:
    wanted = {"scope": "read", "expires_at": "2099-01-01T00:00:00Z", "allowed_networks": ["192.0.2.7", "2001:db8::/32"]}
    created = api.post("/v1/api-keys", wanted)
    address = f"/v1/api-keys/{created.json()['id']}"

    assert created["Cache-Control"] == "no-store"
    assert created.json()["allowed_networks"] == ["192.0.2.7/32", "2001:db8::/32"]
    assert created.json()["expires_at"] == "2099-01-01T00:00:00Z"
    assert faults(api.patch(address, {"expires_at": "2001-01-01T00:00:00Z"})) == {"expires_at": "must be in the future"}
    assert faults(api.patch(address, {"allowed_networks": ["10.0.0.1/8"]})) == {
        "allowed_networks": "'10.0.0.1/8' is not a valid IP address or network: 10.0.0.1/8 has host bits set"
    }
    assert list(faults(api.patch(address, {"scope": "master"}))) == ["scope"]
    in_berlin = api.patch(address, {"expires_at": "2098-01-01t01:00:00+01:00"}).json()
    assert in_berlin["expires_at"] == "2098-01-01T00:00:00Z"
    changed = api.patch(address, {"expires_at": None, "allowed_networks": []}).json()
    assert (changed["expires_at"], changed["allowed_networks"], changed["scope"]) == (None, [], "read")


def test_owners_are_warned_once_before_a_key_expires(organization: Organization, now: datetime) -> None:
    owner = User.objects.create_user("ada", "ada@example.org")
    Membership.objects.create(user=owner, organization=organization)
    soon, _ = ApiKey.issue(
        organization=organization, scope=Scope.READ, name="x\r\nBcc: y", expires_at=now + timedelta(days=6), now=now
    )
    ApiKey.issue(organization=organization, scope=Scope.READ, expires_at=now + timedelta(days=8), now=now)
    ApiKey.issue(organization=organization, scope=Scope.READ, now=now)

    assert (warn_of_expiring_keys(now=now), warn_of_expiring_keys(now=now)) == (1, 0)

    [letter] = mail.outbox
    assert letter.to == ["ada@example.org"]
    assert letter.subject == f"[HookHub] acme: API key {soon.key_id} expires soon"
    assert "Name       x Bcc: y\n" in letter.body


@pytest.mark.parametrize(
    "address", ["a@", "@x", "a@x.example;b@y.example", "a@b, c@d", "a@x.example\nBcc: b@y.example", "Ada <a@x>", "ada"]
)
def test_what_is_no_address_keeps_no_warning_from_the_other_owners(
    organization: Organization, now: datetime, address: str
) -> None:
    for name, email in (("ada", address), ("ben", "ben@example.org")):
        owner = User.objects.create(username=name, email=email)
        Membership.objects.create(user=owner, organization=organization)
    ApiKey.issue(organization=organization, scope=Scope.READ, expires_at=now + timedelta(days=6), now=now)

    assert warn_of_expiring_keys(now=now) == 1

    assert [letter.to for letter in mail.outbox] == [["ben@example.org"]]


def test_a_warning_that_cannot_be_written_keeps_no_other_from_being_sent(
    organization: Organization, now: datetime
) -> None:
    other = Organization.objects.create(slug="globex", name="Globex")
    # No host's name has a part of 64 letters.
    for whose, email in ((organization, f"ada@{'ä' * 70}.example"), (other, "ben@example.org")):
        owner = User.objects.create(username=email, email=email)
        Membership.objects.create(user=owner, organization=whose)
        ApiKey.issue(organization=whose, scope=Scope.READ, expires_at=now + timedelta(days=6), now=now)

    assert (warn_of_expiring_keys(now=now), warn_of_expiring_keys(now=now)) == (2, 0)

    assert [letter.to for letter in mail.outbox] == [["ben@example.org"]]


def test_of_two_leaders_at_once_one_warns_the_owners(
    organization: Organization, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = User.objects.create_user("ada", "ada@example.org")
    Membership.objects.create(user=owner, organization=organization)
    ApiKey.issue(organization=organization, scope=Scope.READ, expires_at=now + timedelta(days=6), now=now)
    send, handled = letters.send_mail, []

    def meanwhile(*letter: Any) -> int:
        # Another process has found the same key, and has nothing of this one in its memory.
        handled.append(warn_of_expiring_keys(now=now))
        return send(*letter)

    monkeypatch.setattr(letters, "send_mail", meanwhile)

    assert warn_of_expiring_keys(now=now) == 1
    assert (handled, len(mail.outbox)) == ([0], 1)


def test_a_warning_is_sent_by_another_worker_if_one_dies_while_it_sends_it(
    organization: Organization, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = User.objects.create_user("ada", "ada@example.org")
    Membership.objects.create(user=owner, organization=organization)
    ApiKey.issue(organization=organization, scope=Scope.READ, expires_at=now + timedelta(days=6), now=now)

    def dies(*_: Any) -> int:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(letters, "send_mail", dies)
        with pytest.raises(SystemExit):
            warn_of_expiring_keys(now=now)

    assert [warn_of_expiring_keys(now=now + letters.LEASE * part) for part in (0.5, 1.5)] == [0, 1]
    assert len(mail.outbox) == 1


# Rolling --------------------------------------------------------------------------------------------------------------


def test_a_rolled_key_has_two_secrets_until_the_overlap_ends(api: Caller) -> None:
    answer = api.post(f"/v1/api-keys/{record_of(api).key_id}/roll", {"overlap_seconds": 3600})
    fresh = Caller(answer.json()["key"])

    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert fresh.key.split("_")[1] == api.key.split("_")[1]
    assert [caller.post("/v1/events", EVENT).status_code for caller in (api, fresh)] == [202, 202]

    ApiKey.objects.update(previous_secret_expires_at=timezone.now())
    authentication.invalidate_all()
    refused = api.post("/v1/events", EVENT)
    assert (refused.status_code, message(refused)) == (401, UNKNOWN)
    assert fresh.post("/v1/events", EVENT).status_code == 202


def test_a_key_rolled_without_overlap_loses_its_old_secret_at_once(api: Caller) -> None:
    assert api.post("/v1/events", EVENT).status_code == 202

    fresh = Caller(api.post(f"/v1/api-keys/{record_of(api).key_id}/roll", {"overlap_seconds": 0}).json()["key"])

    assert api.post("/v1/events", EVENT).status_code == 401
    assert fresh.post("/v1/events", EVENT).status_code == 202


def test_a_revoked_key_and_another_tenants_cannot_be_rolled(api: Caller, other: Caller) -> None:
    key, _ = ApiKey.issue(organization=record_of(api).organization, scope=Scope.READ, now=timezone.now())
    before = bytes(key.secret_hash)

    assert other.post(f"/v1/api-keys/{key.key_id}/roll", {}).status_code == 404
    key.revoke(now=timezone.now())
    assert list(faults(api.post(f"/v1/api-keys/{key.key_id}/roll", {}))) == ["revoked_at"]

    key.refresh_from_db()
    assert bytes(key.secret_hash) == before


def test_rolling_an_expired_key_takes_a_new_expiry(api: Caller, now: datetime) -> None:
    key, _ = ApiKey.issue(
        organization=record_of(api).organization, scope=Scope.READ, expires_at=now, now=now - timedelta(1)
    )
    address = f"/v1/api-keys/{key.key_id}/roll"

    assert list(faults(api.post(address, {}))) == ["expires_at"]
    rolled = api.post(address, {"expires_at": "2099-01-01T00:00:00Z"})

    assert Caller(rolled.json()["key"]).get("/v1/webhooks").status_code == 200


# Networks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "peer", "status"),
    [
        ([], "203.0.113.9", 202),
        (["192.0.2.0/24"], "192.0.2.200", 202),
        (["192.0.2.0/24"], "192.0.3.1", 403),
        (["192.0.2.0/24"], "::ffff:192.0.2.1", 202),
        (["2001:db8::/32"], "2001:db8::1", 202),
        (["2001:db8::/32"], "192.0.2.1", 403),
        (["192.0.2.0/24"], "", 403),
    ],
)
def test_a_key_is_accepted_from_its_networks_only(
    organization: Organization, networks: list[str], peer: str, status: int
) -> None:
    _, text = ApiKey.issue(
        organization=organization, scope=Scope.PUBLISH, allowed_networks=networks, now=timezone.now()
    )
    client = Client(REMOTE_ADDR=peer)

    for _ in range(2):
        answer = client.post(
            "/v1/events", EVENT, content_type="application/json", headers={"Authorization": f"Bearer {text}"}
        )
        assert answer.status_code == status

    assert Event.objects.count() == (2 if status == 202 else 0)


# Notifications --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_database_announces_every_change_of_what_is_kept_in_memory(api: Caller, organization: Organization) -> None:
    """Without notifications, a key revoked by another process could still publish for 4.7 s."""
    connection.ensure_connection()
    key, own = record_of(api), {"type": "acme.thing"}
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as link:
        link.execute(f"LISTEN {CHANNEL}")

        def announced(count: int = 1) -> list[str]:
            return [notice.payload for notice in link.notifies(timeout=60, stop_after=count)]

        api_keys.change(key, {"allowed_networks": ["192.0.2.0/24"]}, now=timezone.now())
        assert announced() == [f"api_key:{key.key_id}"]
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=timezone.now())
        ApiKey.objects.filter(pk=key.pk).update(scope="read")
        assert announced() == [f"api_key:{key.key_id}"]
        key.revoke(now=timezone.now())
        assert announced() == [f"api_key:{key.key_id}"]
        registry.register(own, organization=organization, now=timezone.now())
        assert announced() == [f"event_types:{organization.pk}"]
        CustomEventType.objects.all().delete()
        assert announced() == [f"event_types:{organization.pk}"]
        Organization.objects.filter(pk=organization.pk).update(validate_events=True)
        assert announced() == [f"organization:{organization.pk}"]
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM hookhub_api_key")
        assert announced() == [f"api_key:{key.key_id}"]


@pytest.mark.parametrize("kind", ["api_key", "organization", "something newer"])
def test_a_notice_has_this_process_refuse_a_revoked_key_at_once(
    api: Caller, organization: Organization, kind: str
) -> None:
    assert api.post("/v1/events", EVENT).status_code == 202
    key = record_of(api)
    # As another process does it, which cannot invalidate this one's cache.
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
    assert api.post("/v1/events", EVENT).status_code == 202

    invalidate(f"{kind}:{key.key_id if kind == 'api_key' else organization.pk}")

    assert api.post("/v1/events", EVENT).status_code == 401
    assert Event.objects.count() == 2


# Reports --------------------------------------------------------------------------------------------------------------


def test_security_txt_names_the_contact_and_is_not_there_without_one(client: Client, settings: Settings) -> None:
    assert client.get("/.well-known/security.txt").status_code == 404

    settings.HOOKHUB_SECURITY_CONTACT = ("mailto:security@example.org",)
    answer = client.get("/.well-known/security.txt")

    lines = answer.content.decode().splitlines()
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain")
    assert lines[0] == "Contact: mailto:security@example.org"
    assert [line.partition(":")[0] for line in lines[1:]] == ["Expires", "Preferred-Languages", "Canonical"]


@pytest.mark.parametrize("address", ["sigmagit", "social-gateway"])
def test_webhooks_that_only_master_keys_may_touch_are_so_at_every_address(
    organization: Organization, address: str
) -> None:
    Organization.objects.update(default_dialect="coregit")
    Repository.objects.create(organization=organization, name="widgets")
    path = {"sigmagit": "/api/repositories/acme/widgets/webhooks", "social-gateway": SOCIAL}[address]

    lesser, master = (Caller.of(organization, scope) for scope in (Scope.MANAGE, Scope.MASTER))

    assert lesser.get(path).status_code == 403
    assert master.get(path).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_key_revoked_by_another_process_is_forgotten_by_notice(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    # The cached key can only be invalidated by the notification.
    monkeypatch.setattr(row_cache, "TTL", timedelta(days=1))
    listener = Listener()
    listener.ensure_started()
    try:
        assert listener.is_listening.wait(timeout=60)
        assert api.post("/v1/events", EVENT).status_code == 202
        connection.ensure_connection()
        with psycopg.connect(connection.connection.info.dsn, autocommit=True) as link:
            link.execute("UPDATE hookhub_api_key SET revoked_at = now()")

        deadline = timezone.now() + timedelta(seconds=60)
        while (status := api.post("/v1/events", EVENT).status_code) == 202 and timezone.now() < deadline:
            pass

        assert status == 401
    finally:
        listener.stop()


@pytest.mark.parametrize("where", ["file", "standard input"])
def test_a_command_takes_its_key_from_a_file_and_not_from_the_list_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "key").write_text("hh_text\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("hh_text\n"))

    name = str(tmp_path / "key") if where == "file" else "-"

    assert key_of({"api_key_file": name, "api_key": "hh_other", "data": "{}"}) == "hh_text"
