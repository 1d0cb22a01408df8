"""Where Coregit's API requires a master key, the admin requires an owner: to see and change webhooks."""

from datetime import datetime

import pytest
from django.test import Client

from deliveries.models import AuditEntry, Delivery, Organization, Repository, Webhook
from hookhub.alerts import channels
from hookhub.models import Alert, AlertChannel, Membership
from tests.integration.test_admin_access import path_of, staff
from tests.story import Forge

pytestmark = pytest.mark.django_db

HOOKS = path_of(Webhook)
NEW = {"url": "https://93.184.215.14/new", "events": "push"}


@pytest.fixture
def webhook(forge: Forge, now: datetime) -> Webhook:
    """Create a webhook with a delivery, in an organization with Coregit's dialect."""
    Organization.objects.update(default_dialect="coregit")
    webhook = forge.webhook(now=now, name="mirror")
    forge.accept(now=now)
    return webhook


def acted(client: Client, webhook: Webhook) -> list[int]:
    """Try everything that the admin offers for a webhook, and return the status of each response."""
    page = f"{HOOKS}{webhook.pk}/"
    answers = [
        client.get(f"{page}change/"),
        client.post(f"{page}change/", {"name": "mine", "url": webhook.shown_url, "events": "push"}),
        client.post(f"{page}delete/", {"post": "yes"}),
        client.get(f"{page}history/"),
        *(
            client.post(f"{page}act/", {"action": action})
            for action in ("disable", "enable", "ping", "send_test", "rotate_secret")
        ),
    ]
    return [answer.status_code for answer in answers]


@pytest.mark.parametrize("role", ["manager", "reader"])
def test_staff_who_own_no_coregit_organization_neither_see_nor_change_its_webhooks(
    forge: Forge, webhook: Webhook, role: str
) -> None:
    client = staff(forge.organization, role)
    before, entries = Webhook.objects.values().get(), AuditEntry.objects.count()

    listed = client.get(HOOKS)
    statuses = acted(client, webhook)
    client.post(HOOKS, {"action": "disable", "_selected_action": [webhook.pk]})
    found = client.get(f"{HOOKS}?q=mirror")

    assert list(listed.context["cl"].result_list) == list(found.context["cl"].result_list) == []
    # For a row that a user may not see, Django answers as if it did not exist.
    assert set(statuses) <= {302, 403, 404}
    assert Webhook.objects.values().get() == before
    assert (AuditEntry.objects.count(), Delivery.objects.count()) == (entries, 1)


@pytest.mark.parametrize("role", ["manager", "reader"])
def test_staff_who_own_no_coregit_organization_create_no_webhook_in_it(
    forge: Forge, webhook: Webhook, role: str
) -> None:
    client = staff(forge.organization, role)
    for where in (
        {"organization": forge.organization.pk},
        {"organization": forge.organization.pk, "repository": forge.repository.pk},
        {"repository": forge.repository.pk},
    ):
        answer = client.post(f"{HOOKS}add/", {**NEW, **where})

        if role == "reader":
            assert answer.status_code == 403
        else:
            assert set(answer.context["adminform"].form.errors) == set(where) | {"organization"}
    assert Webhook.objects.get() == webhook


@pytest.mark.parametrize("role", ["manager", "reader"])
def test_staff_who_own_no_coregit_organization_neither_see_nor_change_its_alerts(
    forge: Forge, webhook: Webhook, now: datetime, role: str
) -> None:
    channel = channels.create({"type": "email"}, organization=webhook.organization, now=now).channel
    alert = channels.send_test(channel, now=now)
    client, owner = staff(forge.organization, role), staff(forge.organization, "owner", name="olga")

    lists = [client.get(path_of(type(row))).context["cl"].result_list for row in (channel, alert)]
    page = f"{path_of(AlertChannel)}{channel.pk}/"
    tried = [
        client.post(f"{page}act/", {"action": "send_test"}),
        client.post(f"{page}change/", {"name": "mine", "kinds": "failing", "from_percent": "50"}),
        client.post(f"{page}delete/", {"post": "yes"}),
        client.get(f"{path_of(Alert)}{alert.pk}/change/"),
    ]
    added = client.post(f"{path_of(AlertChannel)}add/", {"organization": forge.organization.pk, "type": "email"})

    assert [list(rows) for rows in lists] == [[], []]
    # For a row that a user may not see, Django answers as if it did not exist.
    assert {answer.status_code for answer in tried} <= {302, 403, 404}
    assert added.status_code == 403 or "organization" in added.context["adminform"].form.errors
    assert (AlertChannel.objects.get().name, Alert.objects.count()) == (channel.name, 1)
    assert [owner.get(f"{path_of(type(row))}{row.pk}/change/").status_code for row in (channel, alert)] == [200, 200]


def test_a_manager_who_works_for_another_organization_too_creates_webhooks_there_alone(
    forge: Forge, webhook: Webhook
) -> None:
    client = staff(forge.organization, "manager")
    other = Organization.objects.create(slug="native")
    Membership.objects.create(user_id=client.session["_auth_user_id"], organization=other, role="manager")
    repository = Repository.objects.create(organization=other, name="gadgets")

    refused = client.post(f"{HOOKS}add/", {**NEW, "organization": forge.organization.pk})
    created = client.post(f"{HOOKS}add/", {**NEW, "organization": other.pk, "repository": repository.pk})

    assert (refused.status_code, list(refused.context["adminform"].form.errors)) == (200, ["organization"])
    assert created.status_code == 302
    assert Webhook.objects.exclude(pk=webhook.pk).get().repository == repository


def test_an_owner_and_a_superuser_do_all_of_it(forge: Forge, webhook: Webhook) -> None:
    client = staff(forge.organization, "owner")

    assert list(client.get(HOOKS).context["cl"].result_list) == [webhook]
    assert client.get(f"{HOOKS}{webhook.pk}/change/").status_code == 200
    assert client.post(f"{HOOKS}{webhook.pk}/act/", {"action": "disable"}).status_code == 302
    assert client.post(f"{HOOKS}add/", {**NEW, "organization": forge.organization.pk}).status_code == 302
    webhook.refresh_from_db()
    assert (webhook.disabled_reason, Webhook.objects.count()) == ("by_owner", 2)
