"""Concurrent changes and deletions of the same row: no deleted row is restored, and no change is undone."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from deliveries import vault
from deliveries.models import AuditEntry, Organization, Repository
from deliveries.webhooks import changing, creating, lifecycle
from deliveries.webhooks.fields import InvalidFields
from hookhub.admin.api_keys import ApiKeyAdmin
from hookhub.admin.memberships import MembershipAdmin
from hookhub.admin.organizations import RepositoryAdmin
from hookhub.api import organizations, webhooks
from hookhub.api.organizations import RepositoryView
from hookhub.dialects.sigmagit import views as sigmagit
from hookhub.dialects.social_gateway import hooks as social_gateway
from hookhub.models import ApiKey, Membership, Scope
from tests.api import Caller

pytestmark = pytest.mark.django_db


def interrupted(read: Callable[..., Any], by: Callable[[], object]) -> Callable[..., Any]:
    """Return a wrapper of ``read`` that calls ``by`` after reading a row."""

    def read_and_pause(*args: Any, **options: Any) -> Any:
        row = read(*args, **options)
        by()
        return row

    return read_and_pause


# The API -------------------------------------------------------------------------------------------------------------


def test_a_repository_that_is_deleted_while_it_is_changed_stays_deleted(
    api: Caller, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = Repository.objects.filter(pk=repository.pk).delete
    monkeypatch.setattr(RepositoryView, "find", interrupted(RepositoryView.find, delete))

    assert api.patch("/v1/repositories/widgets", {"private": False}).status_code == 404

    assert not Repository.objects.exists()


def test_two_concurrent_changes_of_a_repository_both_apply(
    api: Caller, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_it() -> None:
        Repository.objects.update(private=False)

    monkeypatch.setattr(RepositoryView, "find", interrupted(RepositoryView.find, open_it))

    answer = api.patch("/v1/repositories/widgets", {"name": "gadgets"})

    assert (answer.status_code, answer.json()["name"], answer.json()["private"]) == (200, "gadgets", False)
    repository.refresh_from_db()
    assert (repository.name, repository.private) == ("gadgets", False)


def test_the_second_of_two_concurrent_deletions_of_a_repository_finds_none(
    api: Caller, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = Repository.objects.filter(pk=repository.pk).delete
    monkeypatch.setattr(RepositoryView, "find", interrupted(RepositoryView.find, delete))

    assert api.delete("/v1/repositories/widgets").status_code == 404


@pytest.mark.parametrize(
    ("method", "view", "address"),
    [
        ("DELETE", webhooks, "/v1/webhooks/{webhook.uid}"),
        ("DELETE", sigmagit, "/api/webhooks/{webhook.uid}"),
        ("DELETE", social_gateway, "/repos/acme/widgets/hooks/{webhook.pk}"),
        ("POST", webhooks, "/v1/webhooks/{webhook.uid}/enable"),
        ("POST", webhooks, "/v1/webhooks/{webhook.uid}/disable"),
        ("POST", webhooks, "/v1/webhooks/{webhook.uid}/rotate-secret"),
    ],
    ids=["delete", "delete at sigmagit", "delete at github", "enable", "disable", "rotate"],
)
def test_whatever_is_done_to_a_webhook_that_was_just_deleted_finds_none(
    api: Caller, repository: Repository, now: datetime, monkeypatch: pytest.MonkeyPatch, method: str, view: Any,
    address: str,
) -> None:  # fmt: skip
    fields = {"url": "http://127.0.0.1:9999/", "events": ["*"]}
    webhook, _ = creating.create(fields, organization=repository.organization, repository=repository, now=now)
    monkeypatch.setattr(view, "find", interrupted(view.find, lambda: lifecycle.delete(webhook.pk, now=now)))

    answer = api.send(method, address.format(webhook=webhook), {} if method == "POST" else None)

    assert answer.status_code == 404
    recorded = AuditEntry.objects.filter(target_kind="webhook").order_by("id")
    assert list(recorded.values_list("action", flat=True)) == ["webhook.created", "webhook.deleted"]


def test_two_concurrent_changes_of_an_organization_both_apply(
    api: Caller, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_strict() -> None:
        Organization.objects.update(validate_events=True)

    monkeypatch.setattr(organizations, "authorize", interrupted(organizations.authorize, be_strict))

    answer = api.patch("/v1/organizations/acme", {"name": "Acme & Co"})

    assert (answer.status_code, answer.json()["validate_events"]) == (200, True)
    organization.refresh_from_db()
    assert (organization.name, organization.validate_events) == ("Acme & Co", True)


# The engine ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_validated_for_the_format_that_a_concurrent_change_has_set(
    organization: Organization, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"url": "http://127.0.0.1:9999/", "events": ["*"], "format": "github"}
    webhook, _ = creating.create(fields, organization=organization, repository=None, now=now)
    validate, changes = changing.validate, [{"format": "standard-webhooks"}]

    def validate_and_pause(*args: Any, **options: Any) -> Any:
        cleaned = validate(*args, **options)
        if changes:
            changing.change(webhook.pk, changes.pop(), now=now)
        return cleaned

    monkeypatch.setattr(changing, "validate", validate_and_pause)

    # Valid for github, but not usable for signing by standard-webhooks.
    with pytest.raises(InvalidFields, match="secret"):
        changing.change(webhook.pk, {"secret": "not in base64!"}, now=now)

    webhook.refresh_from_db()
    [secret] = vault.secrets_of(webhook)
    assert (webhook.format, secret.text[:6]) == ("standard-webhooks", "whsec_")


# The admin -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("op", "op@example.com", "op-password-1"))
    return client


def change(client: Client, row: Model, **fields: str) -> int:
    """Submit a row's form, and return the status."""
    meta = row._meta
    return client.post(f"/admin/{meta.app_label}/{meta.model_name}/{row.pk}/change/", fields).status_code


def test_a_key_that_is_revoked_while_it_is_given_another_name_stays_revoked(
    staff: Client, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = ApiKey.issue(organization=organization, scope=Scope.MASTER, name="ci", now=timezone.now())

    def revoke() -> None:
        ApiKey.objects.update(revoked_at=timezone.now())

    monkeypatch.setattr(ApiKeyAdmin, "get_form", interrupted(ApiKeyAdmin.get_form, revoke))

    assert change(staff, key, name="old ci") == 302

    key.refresh_from_db()
    assert (key.name, key.revoked_at is not None) == ("old ci", True)


def test_a_membership_that_is_ended_while_it_is_changed_stays_ended(
    staff: Client, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = User.objects.create_user("zoe")
    membership = Membership.objects.create(user=person, organization=organization, role=Membership.Role.READER)
    delete = Membership.objects.all().delete
    monkeypatch.setattr(MembershipAdmin, "get_object", interrupted(MembershipAdmin.get_object, delete))

    fields = {"user": str(person.pk), "organization": str(organization.pk), "role": Membership.Role.OWNER}
    # The deletion is part of this test's own transaction, and is rolled back with it.
    assert change(staff, membership, **fields) == 404


def test_a_repository_that_is_deleted_while_staff_change_it_stays_deleted(
    staff: Client, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = Repository.objects.filter(pk=repository.pk).delete
    monkeypatch.setattr(RepositoryAdmin, "get_object", interrupted(RepositoryAdmin.get_object, delete))

    assert change(staff, repository, name="gadgets") == 404
