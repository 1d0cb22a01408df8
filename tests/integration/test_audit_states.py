"""The audit log shows every field that a change modified, and no others."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from deliveries.audited import organization_state
from deliveries.formats import MASK
from deliveries.models import AuditEntry, Organization
from hookhub import api_keys
from hookhub.models import ApiKey
from tests.api import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def webhook(api: Caller) -> dict[str, Any]:
    wanted = {
        "url": "http://127.0.0.1:9999/hook?token=s3cret",
        "events": ["push"],
        "headers": {"X-Token": "t0ps3cret"},
        "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    }
    created: dict[str, Any] = api.post("/v1/webhooks", wanted).json()
    return created


def changed(entry: AuditEntry) -> tuple[Any, Any]:
    return tuple(None if text is None else json.loads(text) for text in (entry.before, entry.after))  # type: ignore[return-value]


def test_an_organizations_limits_are_recorded_when_the_operator_changes_them_by_api(
    operator: Caller, organization: Organization
) -> None:
    answer = operator.patch("/v1/organizations/acme", {"limits": {"webhooks": 3}})

    assert answer.status_code == 200
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.organization_slug) == ("organization.updated", "acme")
    assert changed(entry) == ({"limits": None}, {"limits": {"webhooks": 3}})


def test_an_organizations_limits_are_recorded_when_they_are_changed_in_the_admin(
    organization: Organization, client: Client
) -> None:
    client.force_login(User.objects.create_superuser("op"))
    page = f"/admin/deliveries/organization/{organization.pk}/change/"
    form = {"slug": "acme", "name": organization.name, "default_dialect": organization.default_dialect}

    answer = client.post(page, {**form, "limits": '{"events_per_minute": 0}'})

    assert answer.status_code == 302
    entry = AuditEntry.objects.latest("id")
    assert entry.action == "organization.updated"
    assert changed(entry)[1]["limits"] == {"events_per_minute": 0}


def test_every_field_that_a_form_can_change_is_in_what_is_recorded(organization: Organization) -> None:
    fields = {field.name for field in Organization._meta.fields if field.editable and not field.primary_key}

    assert fields <= organization_state(organization).keys()


def test_a_webhook_that_is_sent_back_as_it_was_read_is_no_change(api: Caller, webhook: dict[str, Any]) -> None:
    path = f"/v1/webhooks/{webhook['id']}"
    read = api.get(path).json()
    count = AuditEntry.objects.count()
    sent = {name: read[name] for name in ("url", "events", "format", "content_type", "headers", "name", "verify_ssl")}

    assert sent["headers"] == {"X-Token": MASK}
    assert api.patch(path, {**sent, "secret": MASK}).status_code == 200

    assert AuditEntry.objects.count() == count


def test_only_what_changed_is_recorded_beside_what_was_sent_back(api: Caller, webhook: dict[str, Any]) -> None:
    path = f"/v1/webhooks/{webhook['id']}"
    read = api.get(path).json()

    api.patch(path, {"url": read["url"], "headers": read["headers"], "format": read["format"], "name": "new"})

    assert changed(AuditEntry.objects.latest("id")) == ({"name": ""}, {"name": "new"})
    api.patch(path, {"headers": {"X-Token": "an0ther"}})
    assert changed(AuditEntry.objects.latest("id")) == ({"headers": {"X-Token": MASK}}, {"headers": {"X-Token": MASK}})


def test_a_rolled_keys_entry_tells_how_long_the_old_secret_is_accepted(api: Caller, now: datetime) -> None:
    key = ApiKey.objects.get()

    for overlap, until in ((timedelta(hours=1), "2026-03-04T13:00:00Z"), (timedelta(0), None)):
        api_keys.roll(key, overlap=overlap, now=now)

        entry = AuditEntry.objects.filter(action="api_key.rolled").latest("id")
        assert (changed(entry)[1]["previous_secret_expires_at"]) == until
        now += timedelta(seconds=1)
