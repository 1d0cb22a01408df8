"""The audit log has every change and its author, written in the change's own transaction, and is append-only."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from pytest_django import Settings

from deliveries import audit, pipeline
from deliveries.audit import Actor, Target
from deliveries.formats import MASK
from deliveries.models import AuditEntry, Organization, Webhook
from deliveries.webhooks import changing
from hookhub.models import ApiKey, Membership, Scope
from tests.api import Caller
from tests.story import Forge


def key_of(caller: Caller) -> ApiKey:
    return ApiKey.objects.get(key_id=caller.key.split("_")[1])


def latest() -> AuditEntry:
    return AuditEntry.objects.order_by("-id")[0]


def entries(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    answer = caller.get(f"/v1/audit{query}")
    assert answer.status_code == 200, answer.content
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


def create(caller: Caller, **fields: object) -> str:
    body = {"url": "http://127.0.0.1:9999/here", "events": ["push"], **fields}
    answer = caller.post("/v1/webhooks", body)
    assert answer.status_code == 201, answer.content
    uid: str = answer.json()["id"]
    return uid


# What an entry says ----------------------------------------------------------------------------------------------


def test_a_change_by_api_is_recorded_with_its_key_its_address_and_what_it_was_before(api: Caller) -> None:
    uid = create(api, name="old")

    api.send("PATCH", f"/v1/webhooks/{uid}", {"name": "new"}, headers={"X-Request-Id": "req-7"})

    entry, key = latest(), key_of(api)
    assert (entry.action, entry.target_kind, entry.target_id) == ("webhook.updated", "webhook", uid)
    assert (entry.actor_kind, entry.actor_id, entry.actor_name) == ("api_key", key.key_id, key.name)
    assert (entry.address, entry.request_id) == ("127.0.0.1", "req-7")
    assert (entry.organization_slug, entry.before, entry.after) == ("acme", '{"name": "old"}', '{"name": "new"}')


def test_secrets_are_masked_in_the_audit_log(api: Caller) -> None:
    uid = create(api, secret="whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", headers={"X-Token": "t0ps3cret"})
    api.patch(f"/v1/webhooks/{uid}", {"headers": {"X-Token": "an0ther"}})
    api.post(f"/v1/webhooks/{uid}/rotate-secret", {"secret": "whsec_ZmVkY2JhOTg3NjU0MzIxMDAxMjM0NTY3"})

    rows = entries(api, f"?target={uid}")
    assert [row["action"] for row in rows] == ["webhook.secret_rotated", "webhook.updated", "webhook.created"]
    assert rows[0]["after"]["secret"] == MASK
    assert (rows[1]["before"], rows[1]["after"]) == ({"headers": {"X-Token": MASK}}, {"headers": {"X-Token": MASK}})
    written = " ".join(AuditEntry.objects.values_list("after", flat=True))
    assert not any(secret in written for secret in ("MDEyMzQ1Njc4", "t0ps3cret", "an0ther", "ZmVkY2JhOTg3"))


def test_a_slack_url_is_masked_in_the_audit_log(api: Caller) -> None:
    uid = create(api, url="http://127.0.0.1:9999/services/T0/B0/s3cret", format="slack")

    assert entries(api, f"?target={uid}")[0]["after"]["url"] == f"http://127.0.0.1:9999/{MASK}"


def test_a_change_that_changes_nothing_is_not_recorded(api: Caller) -> None:
    uid = create(api, name="same")
    count = AuditEntry.objects.count()

    assert api.patch(f"/v1/webhooks/{uid}", {"name": "same"}).status_code == 200

    assert AuditEntry.objects.count() == count


def test_long_values_are_cut_in_the_audit_log(api: Caller) -> None:
    uid = create(api, events=[f"push.{number:04d}" for number in range(150)])

    shown = entries(api, f"?target={uid}")[0]["after"]["events"]
    assert len(shown) < audit.MAX_VALUE_LENGTH + 40
    assert shown.endswith("characters)")


def test_what_the_engine_disables_by_itself_is_recorded_as_the_systems(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    Webhook.objects.filter(pk=webhook.pk).update(gone_at=now)

    assert [one.pk for one in pipeline.review(now=now)] == [webhook.pk]

    entry = AuditEntry.objects.get(action="webhook.disabled")
    assert (entry.actor_kind, entry.actor_id, entry.target_id) == ("system", "hookhub", str(webhook.uid))
    assert entry.after == '{"active": false, "reason": "gone", "held": 0}'


def test_a_command_is_recorded_with_its_name_and_the_systems_user(db: None) -> None:
    call_command("create_api_key", organization="acme", create_organization=True)

    created = AuditEntry.objects.get(action="organization.created")
    assert (created.actor_kind, created.actor_id, created.target_id) == ("command", "create_api_key", "acme")
    assert created.actor_name
    assert AuditEntry.objects.get(action="api_key.created").actor_id == "create_api_key"


def test_publishing_writes_nothing_into_the_audit_log(api: Caller) -> None:
    count = AuditEntry.objects.count()

    assert api.post("/v1/events", {"type": "push", "data": {}}).status_code == 202

    assert AuditEntry.objects.count() == count


def test_an_address_behind_a_proxy_is_the_one_that_the_proxy_saw(api: Caller, settings: Settings) -> None:
    forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
    api.send("POST", "/v1/repositories", {"name": "direct"}, headers=forwarded)
    settings.HOOKHUB_TRUSTED_PROXIES = (ip_network("127.0.0.1/32"),)
    api.send("POST", "/v1/repositories", {"name": "proxied"}, headers=forwarded)

    found = dict(AuditEntry.objects.filter(target_kind="repository").values_list("target_id", "address"))
    assert found == {"acme/direct": "127.0.0.1", "acme/proxied": "203.0.113.7"}


# One transaction ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda api, uid: api.patch(f"/v1/webhooks/{uid}", {"name": "new"}), id="change"),
        pytest.param(lambda api, uid: api.delete(f"/v1/webhooks/{uid}"), id="delete"),
        pytest.param(lambda api, uid: api.post(f"/v1/webhooks/{uid}/disable"), id="disable"),
        pytest.param(lambda api, uid: api.post(f"/v1/webhooks/{uid}/rotate-secret"), id="rotate"),
        pytest.param(lambda api, uid: api.post("/v1/repositories", {"name": "new"}), id="repository"),
        pytest.param(lambda api, uid: api.post("/v1/api-keys", {"scope": "read"}), id="key"),
        pytest.param(lambda api, uid: api.delete(f"/v1/api-keys/{api.key.split('_')[1]}"), id="revoke"),
        pytest.param(lambda api, uid: api.patch("/v1/organizations/acme", {"name": "New"}), id="organization"),
        pytest.param(lambda api, uid: api.post("/v1/event-types", {"type": "my.type"}), id="event type"),
        pytest.param(lambda api, uid: api.post("/v1/replays", {"webhook": uid}), id="replay"),
    ],
)
def test_a_change_whose_entry_cannot_be_written_does_not_happen(
    transactional_db: None, api: Caller, change: Any
) -> None:
    uid = create(api)
    before = snapshot()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE hookhub_audit_entry ADD CONSTRAINT disk_full CHECK (false) NOT VALID")

    try:
        answer = change(api, uid)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hookhub_audit_entry DROP CONSTRAINT disk_full")

    assert answer.status_code >= 400
    assert snapshot() == before


def snapshot() -> list[Any]:
    rows: list[Any] = []
    with connection.cursor() as cursor:
        for table in ("hookhub_webhook", "hookhub_repository", "hookhub_organization", "hookhub_api_key",
                      "hookhub_custom_event_type", "hookhub_replay", "hookhub_audit_entry"):  # fmt: skip
            # The time of last use is not configuration.
            cursor.execute(f"SELECT to_jsonb(t) - 'last_used_at' FROM {table} t ORDER BY id")
            rows.append((table, cursor.fetchall()))
    return rows


def test_an_entry_whose_change_fails_is_not_kept(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    count = AuditEntry.objects.count()

    def change_and_fail() -> None:
        with transaction.atomic():
            changing.change(webhook.pk, {"name": "new"}, now=now)
            raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        change_and_fail()

    assert AuditEntry.objects.count() == count
    assert Webhook.objects.get(pk=webhook.pk).name == webhook.name


def test_an_entry_cannot_be_written_outside_of_a_transaction(transactional_db: None, now: datetime) -> None:
    with pytest.raises(RuntimeError, match="in the transaction"):
        audit.record("webhook.updated", target=Target("webhook", "1", "one", None), now=now)

    assert AuditEntry.objects.count() == 0


# Append-only -------------------------------------------------------------------------------------------------------


def write(now: datetime, *, action: str = "webhook.updated") -> AuditEntry:
    with transaction.atomic(), audit.acting(lambda: Actor("person", "ada")):
        audit.record(action, target=Target("webhook", "1", "one", None), now=now)
    return AuditEntry.objects.get(recorded_at=now)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE hookhub_audit_entry SET actor_id = 'eve'", id="update"),
        pytest.param("DELETE FROM hookhub_audit_entry", id="delete"),
    ],
)
def test_an_entry_can_be_neither_altered_nor_deleted(db: None, now: datetime, statement: str) -> None:
    entry = write(now)

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert AuditEntry.objects.get(pk=entry.pk).actor_id == "ada"


def test_the_audit_log_cannot_be_emptied(db: None, now: datetime) -> None:
    entry = write(now)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE hookhub_audit_entry ENABLE TRIGGER audit_log_is_not_emptied")

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE hookhub_audit_entry")

    assert AuditEntry.objects.get(pk=entry.pk).actor_id == "ada"


def test_retention_deletes_what_is_past_its_own_age_and_nothing_else(db: None, settings: Settings) -> None:
    settings.HOOKHUB_AUDIT_RETENTION = timedelta(days=10)
    now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    write(now - timedelta(days=10, seconds=1))
    kept = [write(now - timedelta(days=9, hours=23)), write(now)]

    assert audit.prune_expired(now=now) == 1
    assert audit.prune_expired(now=now) == 0

    assert list(AuditEntry.objects.order_by("id")) == kept


def test_not_even_retention_can_delete_what_is_younger_than_a_day(db: None) -> None:
    entry = write(datetime.now(UTC))

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL hookhub.audit_expired_before = '2999-01-01'; DELETE FROM hookhub_audit_entry")

    assert AuditEntry.objects.filter(pk=entry.pk).exists()


# Reading it --------------------------------------------------------------------------------------------------------


def test_the_log_is_read_with_the_scope_master_and_only_of_the_own_organization(
    api: Caller, other: Caller, organization: Organization
) -> None:
    uid = create(api)
    create(other)

    manager = Caller.of(organization, Scope.MANAGE)

    assert {row["organization"] for row in entries(api)} == {"acme"}
    assert entries(other, f"?target={uid}") == []
    assert manager.get("/v1/audit").status_code == 403
    assert api.get("/v1/audit?organization=other").status_code == 404


def test_the_operator_reads_all_of_the_log_or_one_organizations(api: Caller, other: Caller, operator: Caller) -> None:
    assert {row["organization"] for row in entries(operator)} == {"acme", "other", None}
    assert {row["organization"] for row in entries(operator, "?organization=other")} == {"other"}
    assert Caller.of(None, Scope.MANAGE).get("/v1/audit").status_code == 403


def test_the_log_is_filtered_by_action_actor_target_and_time(api: Caller, organization: Organization) -> None:
    uid = create(api)
    second = Caller.of(organization)
    second.post(f"/v1/webhooks/{uid}/disable")
    moment = latest().recorded_at

    def actions(query: str) -> list[str]:
        return [row["action"] for row in entries(api, query)]

    assert actions("?action=webhook.disabled") == ["webhook.disabled"]
    assert actions(f"?actor={key_of(second).key_id}") == ["webhook.disabled"]
    assert actions(f"?target={uid}") == ["webhook.disabled", "webhook.created"]
    assert actions(f"?since={(moment + timedelta(seconds=1)).isoformat().replace('+', '%2B')}") == []
    assert actions(f"?until={(moment - timedelta(hours=1)).isoformat().replace('+', '%2B')}") == []
    assert api.get("/v1/audit?acter=1").status_code == 422
    assert api.get("/v1/audit?since=yesterday").status_code == 422


def test_the_log_is_read_page_by_page(api: Caller) -> None:
    uid = create(api)
    first = api.get(f"/v1/audit?target={uid}&limit=1").json()
    api.post(f"/v1/webhooks/{uid}/disable")
    second = api.get(f"/v1/audit?target={uid}&limit=1").json()

    assert first["next"] is None
    rest = api.get(second["next"]).json()
    assert [page["results"][0]["action"] for page in (second, rest)] == ["webhook.disabled", "webhook.created"]
    assert rest["next"] is None


def test_the_admin_shows_the_log_and_to_staff_only_that_of_their_organizations(
    api: Caller, other: Caller, organization: Organization
) -> None:
    mine, theirs = create(api), create(other)
    staff = User.objects.create_user("sam", password="correct horse", is_staff=True)
    staff.user_permissions.add(*permissions("view_auditentry"))
    Membership.objects.create(user=staff, organization=organization)
    client = Client()
    client.force_login(staff)

    page = client.get("/admin/deliveries/auditentry/").content.decode()
    own = AuditEntry.objects.get(target_id=mine)
    foreign = AuditEntry.objects.get(target_id=theirs)

    assert "webhook.created" in page
    assert "other" not in page.partition('id="result_list"')[2].partition("</table>")[0]
    assert mine in client.get(f"/admin/deliveries/auditentry/{own.pk}/change/").content.decode()
    assert client.get(f"/admin/deliveries/auditentry/{foreign.pk}/change/").status_code == 404
    assert client.post(f"/admin/deliveries/auditentry/{own.pk}/delete/").status_code == 403
    for query in ("action=webhook.created", "actor=x", f"target={mine}", "organization=acme&action=webhook.created"):
        assert client.get(f"/admin/deliveries/auditentry/?{query}").status_code == 200


def permissions(*codenames: str) -> Any:
    from django.contrib.auth.models import Permission

    return Permission.objects.filter(codename__in=codenames)
