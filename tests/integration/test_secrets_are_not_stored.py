"""Every response and page that shows a secret or a key forbids browsers and proxies to store it."""

import re
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from deliveries import vault
from deliveries.models import Organization, Webhook
from deliveries.systems import SYSTEMS
from hookhub.models import ApiKey
from tests.api import Caller
from tests.story import Forge

pytestmark = pytest.mark.django_db

URL = "https://93.184.215.14/hook"
HOOKS, KEYS = "/admin/deliveries/webhook/", "/admin/hookhub/apikey/"
SECRET = re.compile(r"whsec_[\w+/]{20,}|hh_[0-9a-f]{12}_\w{40,}")


def is_stored_nowhere(answer: Any) -> bool:
    return "no-store" in answer.headers.get("Cache-Control", "").split(", ")


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize("dialect", SYSTEMS)
def test_a_new_webhooks_secret_is_stored_nowhere_in_any_systems_words(
    organization: Organization, dialect: str, accept: str
) -> None:
    Organization.objects.update(default_dialect=dialect)

    events = ["push" if dialect == "coregit" else "*"]

    answer = Caller.of(organization, accept=accept).post("/v1/webhooks", {"url": URL, "events": events})

    [secret] = vault.secrets_of(Webhook.objects.get())
    assert (answer.status_code, secret.text in answer.content.decode()) == (201, True)
    assert is_stored_nowhere(answer)


def test_pages_of_the_browsable_api_that_show_a_secret_are_stored_nowhere(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    person = Caller.of(forge.organization, accept="text/html")
    key = ApiKey.objects.get()

    answers = [
        person.post("/v1/api-keys", {"scope": "read"}),
        person.post(f"/v1/api-keys/{key.key_id}/roll", {}),
        person.post(f"/v1/webhooks/{webhook.uid}/rotate-secret", {}),
        person.patch(f"/v1/webhooks/{webhook.uid}", {"url": forge.receiver.url("/moved")}),
    ]

    for answer in answers:
        assert SECRET.search(answer.content.decode()), answer.content
        assert is_stored_nowhere(answer)


def test_pages_of_the_admin_that_show_a_secret_or_a_key_are_stored_nowhere(forge: Forge, now: datetime) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("op", "op@example.com"))
    webhook, owner = forge.webhook(now=now), {"organization": forge.organization.pk}
    client.post(f"{KEYS}add/", {**owner, "scope": "read"})
    key, edited = ApiKey.objects.get(), {"name": "", "events": "*", "format": webhook.format, "content_type": "json"}

    answers = {
        "new key": client.get(KEYS),
        "rolled": client.post(f"{KEYS}{key.pk}/act/", {"action": "roll"}, follow=True),
        "rolled from the list": client.post(KEYS, {"action": "roll", "_selected_action": [key.pk]}, follow=True),
        "new webhook": client.post(f"{HOOKS}add/", {**owner, "url": URL, "events": "push"}, follow=True),
        "rotated": client.post(f"{HOOKS}{webhook.pk}/act/", {"action": "rotate_secret"}, follow=True),
        "moved": client.post(
            f"{HOOKS}{webhook.pk}/change/", {**edited, "url": forge.receiver.url("/moved")}, follow=True
        ),
    }

    assert Webhook.objects.count() == 2
    for what, answer in answers.items():
        assert SECRET.search(answer.content.decode()), what
        assert is_stored_nowhere(answer), what
        # The redirects on the way contain no secret.
        assert all(not SECRET.search(address) for address, _ in getattr(answer, "redirect_chain", [])), what
    # A secret is shown only once, and on no later page.
    assert not SECRET.search(client.get(KEYS).content.decode())
