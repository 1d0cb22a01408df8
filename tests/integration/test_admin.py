"""The operator's pages read few rows, show untrusted bytes as text, and act only through the engine."""

import re
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deliveries.models import Attempt, Delivery, Event, Organization, Repository
from deliveries.redelivery import Selection
from deliveries.sending.sender import Sender
from hookhub import api_keys, replays
from hookhub.models import ApiKey, Membership, Replay, Scope, digest
from tests.admin_pages import (
    ATTEMPTS,
    EVENTS,
    HOOKS,
    KEYS,
    LOG,
    LOG_TABLES,
    act,
    errors_of,
    hidden_in,
    in_every_state,
    messages_of,
    page,
    page_of,
    press,
)
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


# Access ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/admin/", LOG, EVENTS, ATTEMPTS, HOOKS, KEYS, "/admin/hookhub/replay/"])
def test_who_is_not_staff_is_sent_to_the_login(client: Client, address: str) -> None:
    client.force_login(User.objects.create_user("zoe", "zoe@example.com", "zoe-password-1"))

    answer = client.get(address)

    assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={address}")


def test_staff_who_may_only_look_can_neither_act_nor_add(
    forge: Forge, client: Client, sender: Sender, now: datetime
) -> None:
    failed = in_every_state(forge, sender, now=now)["failed"]
    person = User.objects.create_user("eve", password="eve-password-1", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    Membership.objects.create(user=person, organization=failed.organization)
    client.force_login(person)

    detail = page(client, page_of(failed))
    hook = page(client, page_of(failed.webhook))

    assert 'value="redeliver"' not in detail
    assert ("Rotate" in hook, 'name="url"' in hook) == (False, False)
    assert client.post(f"{LOG}{failed.pk}/act/", {"action": "redeliver"}).status_code == 403
    assert client.post(f"{HOOKS}{failed.webhook_id}/act/", {"action": "disable"}).status_code == 403
    assert client.get(f"{HOOKS}add/").status_code == 403
    failed.refresh_from_db()
    assert (failed.state, failed.redeliveries, failed.webhook.disabled_at) == ("failed", 0, None)


def test_staff_without_the_right_to_see_the_log_are_shown_no_figures(client: Client) -> None:
    client.force_login(User.objects.create_user("eve", password="eve-password-1", is_staff=True))

    with CaptureQueriesContext(connection) as queries:
        content = page(client, "/admin/")

    assert "Scheduled" not in content
    assert [found["sql"] for found in queries if "deliveries_" in found["sql"]] == []


@pytest.mark.parametrize("model", ["delivery", "event", "attempt"])
def test_history_is_read_only(forge: Forge, operator: Client, sender: Sender, now: datetime, model: str) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    row = {"delivery": Delivery, "event": Event, "attempt": Attempt}[model].objects.get()
    before = (Event.objects.values().get(), Delivery.objects.values().get(), Attempt.objects.values().get())

    assert operator.get(f"/admin/deliveries/{model}/add/").status_code == 403
    assert operator.get(f"/admin/deliveries/{model}/{row.pk}/delete/").status_code == 403
    assert operator.post(f"/admin/deliveries/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    operator.post(page_of(row), {"state": "failed", "type": "other", "outcome": "no_response"})
    operator.post(
        f"/admin/deliveries/{model}/", {"action": "delete_selected", "_selected_action": [row.pk], "post": "y"}
    )
    assert (Event.objects.values().get(), Delivery.objects.values().get(), Attempt.objects.values().get()) == before


# Reading few rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", [LOG, f"{LOG}?state=pending", f"{LOG}?type=push", EVENTS, ATTEMPTS, HOOKS, "/admin/"]
)
def test_the_number_of_queries_does_not_grow_with_the_rows(
    forge: Forge, operator: Client, sender: Sender, now: datetime, address: str
) -> None:
    forge.webhook(now=now, repository=forge.repository)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    forge.accept(now=now)
    page(operator, address)
    with CaptureQueriesContext(connection) as few:
        page(operator, address)

    for number in range(5):
        forge.webhook(now=now, path=f"/{number}", repository=forge.repository)
    forge.accept(6, now=now)
    deliver_due(sender, now=now)
    forge.accept(6, now=now)
    with CaptureQueriesContext(connection) as many:
        page(operator, address)

    assert len(many) == len(few)


def test_a_webhooks_page_costs_the_same_whatever_its_log(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    page(operator, page_of(webhook))
    with CaptureQueriesContext(connection) as few:
        page(operator, page_of(webhook))

    forge.accept(30, now=now)
    with CaptureQueriesContext(connection) as many:
        page(operator, page_of(webhook))

    assert len(many) == len(few)


@pytest.mark.parametrize(
    "query", ["", "?state=due", "?state=failed", "?type=push", "?period=24h", "?_facets=True", "?all=", "?q={id}"]
)
@pytest.mark.parametrize("log", [LOG, EVENTS, ATTEMPTS])
def test_no_list_of_the_log_is_counted_or_skipped_through(
    forge: Forge, operator: Client, sender: Sender, now: datetime, log: str, query: str
) -> None:
    forge.webhook(now=now)
    forge.accept(3, now=now)
    deliver_due(sender, now=now)
    delivery_id = Delivery.objects.values_list("id", flat=True)[0]

    with CaptureQueriesContext(connection) as queries:
        answer = operator.get(log + query.format(id=delivery_id))

    # A filter that the list does not offer is rejected before anything is read.
    assert answer.status_code == (
        400 if ("state" in query and log != LOG) or ("type" in query and log == ATTEMPTS) else 200
    )
    for found in queries:
        if any(f'FROM "{table}"' in found["sql"] for table in LOG_TABLES):
            assert "COUNT(" not in found["sql"]
            assert "LIKE" not in found["sql"]
            assert " LIMIT " in found["sql"]


def test_the_front_page_counts_no_further_than_ten_thousand(operator: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        page(operator, "/admin/")

    counts = [found["sql"] for found in queries if "COUNT(" in found["sql"]]
    assert len(counts) == 9
    assert all("LIMIT 10001)" in sql for sql in counts)


@pytest.mark.parametrize(
    "query",
    [
        "event_type__icontains=pu",
        "webhook__url__contains=x",
        "id__gt=00000000-0000-7000-8000-000000000000",
        "o=1",
    ],
)
def test_only_the_filters_on_the_page_reach_the_log(operator: Client, query: str) -> None:
    answer = operator.get(f"{LOG}?{query}")

    if query == "o=1":
        assert answer.status_code == 200
        assert answer.context["cl"].queryset.query.order_by == ("-id",)
    else:
        assert answer.status_code == 400


# Organizations, keys, replays -----------------------------------------------------------------------------------------


def test_organizations_repositories_and_memberships_are_added(operator: Client) -> None:
    wanted = {"slug": "acme", "default_dialect": "codmir", "validate_events": "on"}
    operator.post("/admin/deliveries/organization/add/", wanted)
    acme = Organization.objects.get()
    operator.post("/admin/deliveries/repository/add/", {"organization": acme.pk, "name": "widgets"})
    operator.post(
        "/admin/hookhub/membership/add/", {"user": User.objects.get().pk, "organization": acme.pk, "role": "reader"}
    )
    refused = operator.post("/admin/deliveries/organization/add/", {**wanted, "slug": "a b"})

    assert (acme.default_dialect, acme.default_format, acme.validate_events) == ("codmir", None, True)
    assert Repository.objects.get().full_name == "acme/widgets"
    assert Membership.objects.get().scope == Scope.READ
    assert list(errors_of(refused)) == ["slug"]
    for name in ("deliveries/organization", "deliveries/repository", "hookhub/membership"):
        assert "acme" in page(operator, f"/admin/{name}/")


def test_a_form_saves_only_what_its_user_has_changed(forge: Forge, operator: Client) -> None:
    repository, organization = forge.repository, forge.organization
    loaded = hidden_in(page(operator, page_of(repository)))
    loaded_organization = hidden_in(page(operator, page_of(organization)))
    Repository.objects.update(private=False)
    Organization.objects.update(validate_events=True, default_dialect="codmir")

    operator.post(page_of(repository), {"name": "gadgets", "private": "on", **loaded})
    operator.post(
        page_of(organization), {"slug": "acme", "name": "Acme", "default_dialect": "native", **loaded_organization}
    )

    repository.refresh_from_db()
    organization.refresh_from_db()
    assert (repository.name, repository.private) == ("gadgets", False)
    assert (organization.name, organization.validate_events, organization.default_dialect) == ("Acme", True, "codmir")
    # What was loaded stays what it was while the form is corrected.
    wrong = operator.post(page_of(organization), {"slug": "a b", "name": "", **loaded_organization})
    assert hidden_in(wrong.content.decode())["initial-slug"] == ["acme"]


def test_a_keys_text_is_shown_once_and_the_key_can_be_revoked(forge: Forge, operator: Client, now: datetime) -> None:
    answer = operator.post(
        f"{KEYS}add/", {"name": "ci", "organization": forge.organization.pk, "scope": "manage"}, follow=True
    )
    [text] = re.findall(r"hh_[0-9a-f]+_[\w-]+", " ".join(messages_of(answer)))
    key = ApiKey.objects.get()
    secret = text.split("_", 2)[2]

    assert (key.name, key.organization, key.scope) == ("ci", forge.organization, "manage")
    assert bytes(key.secret_hash) == digest(secret)
    assert secret not in page(operator, KEYS) + page(operator, page_of(key)) + page(operator, "/admin/")
    assert "Never used" in page(operator, KEYS)
    assert press(operator, key, "revoke") == ["1 key revoked."]
    assert act(operator, KEYS, "revoke", key) == ["Skipped: 1 already revoked."]
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_a_key_can_be_renamed_and_nothing_more(forge: Forge, operator: Client, now: datetime) -> None:
    key, _ = ApiKey.issue(organization=forge.organization, scope=Scope.READ, name="old", now=now)

    operator.post(page_of(key), {"name": "new", "scope": "master", "organization": ""})

    key.refresh_from_db()
    assert (key.name, key.scope, key.organization) == ("new", "read", forge.organization)


def test_a_replay_shows_its_progress(forge: Forge, operator: Client, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(3, now=now)
    job = replays.start(
        forge.organization, selection=Selection(forge.organization.pk, event_type="push"), now=now + timedelta(hours=1)
    )
    replays.run_replays(now=now + timedelta(hours=1))

    assert "3 of 3" in page(operator, "/admin/hookhub/replay/")
    Replay.objects.update(total_is_at_least=True)
    assert "3 of at least 3" in page(operator, "/admin/hookhub/replay/")
    assert "&quot;event_type&quot;: &quot;push&quot;" in page(operator, page_of(job))
    assert operator.get("/admin/hookhub/replay/add/").status_code == 403


def test_a_form_of_a_key_does_not_undo_an_expiry_that_was_set_meanwhile(
    forge: Forge, operator: Client, now: datetime
) -> None:
    late, soon = (now.replace(microsecond=0) + timedelta(days=days) for days in (900, 800))
    key, _ = ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now, expires_at=late)
    loaded = hidden_in(page(operator, page_of(key)))
    as_loaded = {"expires_at_0": f"{late:%Y-%m-%d}", "expires_at_1": f"{late:%H:%M:%S}", "networks": ""}
    api_keys.change(key, {"expires_at": soon, "allowed_networks": ["192.0.2.0/24"]}, now=now)

    answer = operator.post(page_of(key), {"name": "build server", **as_loaded, **loaded})

    key.refresh_from_db()
    assert answer.status_code == 302
    assert (key.name, key.expires_at, key.allowed_networks) == ("build server", soon, ["192.0.2.0/24"])
