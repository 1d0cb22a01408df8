"""API keys in the wrong places, and invalid expiries and networks of keys."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.test import Client
from pytest_django import Settings

from deliveries.models import Organization
from hookhub.management import key_arguments
from hookhub.models import ApiKey
from tests.api import Caller, faults

pytestmark = pytest.mark.django_db

ZONE = "fe80::1%" + "x" * 60
TOO_LATE = "9999-12-31T23:59:59-14:00"


@pytest.fixture
def lines(settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    settings.HOOKHUB_ACCESS_LOG = True
    monkeypatch.setattr(logging.getLogger("hookhub.access"), "propagate", True)
    caplog.set_level(logging.INFO, "hookhub.access")
    return lambda: [json.loads(each.getMessage()) for each in caplog.records if each.name == "hookhub.access"]


@pytest.mark.parametrize("address", ["/v1/api-keys/{key}", "/{key}", "/v1/webhooks?organization={key}"])
def test_a_key_in_the_place_of_its_id_is_not_in_the_access_log(api: Caller, lines: Any, address: str) -> None:
    _, key_id, secret = api.key.split("_")

    api.get(address.format(key=api.key))

    [line] = lines()
    assert secret not in json.dumps(line)
    assert f"hh_{key_id}_***" in line["path"] + line.get("query", "")


@pytest.mark.parametrize("network", [ZONE, "fe80::1%eth0", "fe80::%1/64"])
def test_a_network_with_a_zone_is_refused_and_makes_no_key(api: Caller, network: str) -> None:
    count = ApiKey.objects.count()

    answer = api.post("/v1/api-keys", {"scope": "read", "allowed_networks": [network]})

    assert (answer.status_code, ApiKey.objects.count()) == (422, count)
    assert "has a zone" in faults(answer)["allowed_networks"]


def test_the_admins_form_refuses_a_zone_in_words(organization: Organization, client: Client) -> None:
    client.force_login(User.objects.create_superuser("op"))
    wanted = {"organization": organization.pk, "name": "k", "scope": "read", "networks": ZONE}

    answer = client.post("/admin/hookhub/apikey/add/", wanted)

    assert (answer.status_code, ApiKey.objects.count()) == (200, 0)
    assert "has a zone" in answer.content.decode()


def test_an_expiry_past_the_last_year_is_refused_by_api_and_command(api: Caller) -> None:
    answer = api.post("/v1/api-keys", {"scope": "read", "expires_at": TOO_LATE})
    with pytest.raises(CommandError, match="must be a time such as"):
        key_arguments.expiry(days=None, at=TOO_LATE, now=datetime(2026, 3, 4, tzinfo=UTC))

    assert (answer.status_code, list(faults(answer))) == (422, ["expires_at"])
    assert ApiKey.objects.filter(expires_at__isnull=False).count() == 0
