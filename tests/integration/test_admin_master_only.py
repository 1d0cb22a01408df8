"""Where only owners may manage webhooks, as with a master key at the API, the admin lets no one else create any."""

from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone

from deliveries.models import Organization, Webhook
from hookhub.models import Membership
from tests.receiver import Receiver
from tests.story import Forge

pytestmark = pytest.mark.django_db

ADD = "/admin/deliveries/webhook/add/"


def staff(organization: Organization, role: str) -> Client:
    user = User.objects.create_user(role, is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    Membership.objects.create(user=user, organization=organization, role=role)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def forge(db: None, receiver: Receiver) -> Forge:
    forge = Forge.make(receiver)
    Organization.objects.update(default_dialect="coregit")
    forge.organization.refresh_from_db()
    return forge


def wish(forge: Forge, **more: Any) -> dict[str, Any]:
    wanted = {"organization": forge.organization.pk, "url": forge.receiver.url("/new"), "events": "*"}
    return {**wanted, "format": "github", "content_type": "json", "verify_ssl": "on", "auto_disable": "on", **more}


def test_a_manager_creates_no_webhook_where_webhooks_are_the_owners(forge: Forge) -> None:
    answer = staff(forge.organization, "manager").post(ADD, wish(forge))

    assert answer.status_code in {200, 403}
    assert Webhook.objects.count() == 0


def test_an_owner_creates_one_there(forge: Forge) -> None:
    assert staff(forge.organization, "owner").post(ADD, wish(forge)).status_code == 302
    assert Webhook.objects.count() == 1


def test_a_manager_of_both_kinds_creates_one_where_managers_may(forge: Forge) -> None:
    client = staff(forge.organization, "manager")
    other = Organization.objects.create(slug="other")
    Membership.objects.create(user=User.objects.get(), organization=other, role="manager")

    refused = client.post(ADD, wish(forge))
    taken = client.post(ADD, wish(forge, organization=other.pk))

    assert (refused.status_code, taken.status_code) == (200, 302)
    assert "Select a valid choice" in refused.content.decode()
    assert list(Webhook.objects.values_list("organization__slug", flat=True)) == ["other"]


def test_a_manager_neither_changes_nor_deletes_one_there(forge: Forge) -> None:
    now: datetime = timezone.now()
    webhook = forge.webhook(now=now)
    page = f"/admin/deliveries/webhook/{webhook.pk}/"
    client = staff(forge.organization, "manager")

    statuses = [client.post(f"{page}{way}/", {"post": "yes"}).status_code for way in ("change", "delete", "act")]

    assert not set(statuses) & {200}
    webhook.refresh_from_db()
    assert (webhook.deleted_at, webhook.changed_at) == (None, now)


def test_the_names_of_groups_are_not_offered_to_staff_who_may_not_see_groups(forge: Forge) -> None:
    Group.objects.create(name="of-another-tenant")
    client, superuser = staff(forge.organization, "owner"), Client()
    superuser.force_login(User.objects.create_superuser("op"))

    pages = [each.get("/admin/auth/user/").content.decode() for each in (client, superuser)]

    assert ["of-another-tenant" in page for page in pages] == [False, True]
