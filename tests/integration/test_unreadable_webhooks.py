"""A webhook whose secrets, headers or URL cannot be decrypted: it can be read, deleted and set up again."""

from datetime import datetime
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from deliveries import vault
from deliveries.formats import MASK
from deliveries.models import Organization, Repository, Webhook
from deliveries.sending.sender import Sender
from tests.api import Caller
from tests.receiver import Receiver
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

SEALED = "sealed_secrets", "sealed_headers", "sealed_url"
HOOKS = "/repos/acme/widgets/hooks"


@pytest.fixture
def forge(organization: Organization, receiver: Receiver) -> Forge:
    repository = Repository.objects.create(organization=organization, name="widgets")
    return Forge(organization, repository, receiver)


@pytest.fixture
def lost(forge: Forge, now: datetime, settings: Settings) -> Webhook:
    """Create a webhook with all three encrypted, and remove their key."""
    headers = {"X-Token": "t0ken", "Authorization": "Basic eDp5"}
    webhook = forge.webhook(now=now, repository=forge.repository, path="/in?token=1", headers=headers, format="github")
    assert all(getattr(webhook, name) for name in SEALED)
    settings.HOOKHUB_ENCRYPTION_KEYS = (Fernet.generate_key().decode(),)
    return webhook


def sealed(webhook: Webhook) -> list[bytes]:
    found = Webhook.objects.get(pk=webhook.pk)
    return [bytes(getattr(found, name) or b"") for name in SEALED]


def test_it_does_not_keep_the_others_from_being_listed(api: Caller, lost: Webhook, forge: Forge, now: datetime) -> None:
    forge.webhook(now=now, path="/other", repository=forge.repository)

    listed, one = api.get("/v1/webhooks"), api.get(f"/v1/webhooks/{lost.uid}")

    assert (listed.status_code, len(listed.json()["results"])) == (200, 2)
    assert (one.status_code, one.json()["url"]) == (200, forge.receiver.url(f"/in?token={MASK}"))
    assert [api.get(path).status_code for path in (HOOKS, f"{HOOKS}/{lost.pk}", f"{HOOKS}/{lost.pk}/config")] == [
        200
    ] * 3


def test_it_does_not_keep_another_from_being_created_at_its_url(api: Caller, lost: Webhook, forge: Forge) -> None:
    url = forge.receiver.url("/in?token=1")

    assert api.post("/v1/webhooks", {"url": url, "events": ["*"], "repository": "widgets"}).status_code == 201
    assert api.post(HOOKS, {"config": {"url": url, "secret": "a-new-secret"}}).status_code == 201


@pytest.mark.parametrize("changes", [{"name": "new"}, {"events": ["push"]}, {"active": False}])
def test_what_is_not_sealed_can_be_changed_and_what_is_stays(
    api: Caller, lost: Webhook, changes: dict[str, Any]
) -> None:
    before = sealed(lost)

    answer = api.patch(f"/v1/webhooks/{lost.uid}", changes)

    assert (answer.status_code, sealed(lost)) == (200, before)
    assert {name: answer.json()[name] for name in changes} == changes


@pytest.mark.parametrize(
    ("method", "way", "body"),
    [
        ("PATCH", "", {"format": "standard-webhooks"}),
        ("PATCH", "", {"headers": {"X-Token": MASK}}),
        ("PATCH", "", {"secret": MASK}),
        ("PATCH", "/headers", {"headers": {"X-New": "1"}}),
        ("POST", "/rotate-secret", {}),
    ],
)
def test_what_has_to_open_it_is_refused_in_words_and_changes_nothing(
    api: Caller, lost: Webhook, method: str, way: str, body: object
) -> None:
    before = sealed(lost)

    answer = api.send(method, f"/v1/webhooks/{lost.uid}{way}", body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert "send its url, secret and headers" in answer.json()["error"]["message"]
    assert sealed(lost) == before


def test_it_is_set_up_anew_with_its_url_secret_and_headers(
    api: Caller, lost: Webhook, forge: Forge, sender: Sender, now: datetime
) -> None:
    anew = {"url": forge.receiver.url("/in?token=2"), "secret": "a-new-secret", "headers": {"X-Token": "new"}}

    assert api.patch(f"/v1/webhooks/{lost.uid}", anew).status_code == 200

    forge.accept(now=now)
    deliver_due(sender, now=now)
    assert [(request.path, request.headers["x-token"]) for request in forge.receiver.received] == [
        ("/in?token=2", "new")
    ]


def test_a_new_url_alone_brings_a_new_secret_and_drops_the_headers(api: Caller, lost: Webhook, forge: Forge) -> None:
    answer = api.patch(f"/v1/webhooks/{lost.uid}", {"url": forge.receiver.url("/in?token=2")})

    webhook = Webhook.objects.get(pk=lost.pk)
    assert (answer.status_code, webhook.url) == (200, forge.receiver.url("/in?token=2"))
    assert vault.headers_of(webhook) == {}
    assert [secret.text for secret in vault.secrets_of(webhook)] == [answer.json()["secret"]]


def test_it_can_be_deleted(api: Caller, lost: Webhook) -> None:
    assert api.delete(f"/v1/webhooks/{lost.uid}").status_code == 204
    assert Webhook.objects.kept().count() == 0


def test_the_admins_pages_of_it_are_no_error_of_the_server(lost: Webhook, client: Client) -> None:
    client.raise_request_exception = False
    client.force_login(User.objects.create_superuser("op"))
    page = f"/admin/deliveries/webhook/{lost.pk}/change/"
    form = client.get(page).context["adminform"].form
    shown = {name: field.value() for name in form.fields if (field := form[name]).value() not in (None, False)}
    before = sealed(lost)

    renamed = client.post(page, {**shown, "name": "renamed"})
    masked = client.post(page, {**shown, "headers": f"X-Token: {MASK}"})
    rotated = client.post(f"/admin/deliveries/webhook/{lost.pk}/act/", {"action": "rotate_secret"}, follow=True)

    assert (renamed.status_code, masked.status_code, rotated.status_code) == (302, 200, 200)
    assert "cannot be decrypted" in masked.content.decode()
    assert "Skipped: 1 " in rotated.content.decode()
    assert (Webhook.objects.get(pk=lost.pk).name, sealed(lost)) == ("renamed", before)


def test_a_secret_is_not_in_what_is_printed_of_it(lost: Webhook) -> None:
    secret = vault.Secret("whsec_s3cret")

    assert "s3cret" not in f"{secret!r} {secret} {[secret]}"
