"""A key or secret given where a name is expected is rejected, and appears in no error, log, list or audit entry."""

import logging
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from deliveries import secret_text
from deliveries.models import AuditEntry, Organization, Repository, Webhook
from hookhub import key_text
from hookhub.models import ApiKey, CustomEventType, Scope
from hookhub.procfile import ROOT
from hookhub.secret_arguments import misplaced
from tests.api import Caller, faults
from tests.story import Forge

KEY_ID = "0123456789ab"
KEY = key_text.text_of(KEY_ID, key_text.new_secret(KEY_ID))
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
RULE = "must not contain an API key or a secret"


@pytest.mark.django_db
@pytest.mark.parametrize("text", [KEY, f"my key {KEY}", SECRET], ids=["a key", "a key in a sentence", "a secret"])
def test_the_api_refuses_a_key_where_it_asks_for_a_name(
    forge: Forge, operator: Caller, now: datetime, text: str
) -> None:
    ours, webhook = Caller.of(forge.organization, Scope.MASTER), forge.webhook(now=now)
    key, entries = ApiKey.objects.latest("pk"), AuditEntry.objects.count()

    asked: list[tuple[Any, str]] = [
        (ours.post("/v1/api-keys", {"name": text, "scope": "read"}), "name"),
        (ours.patch(f"/v1/api-keys/{key.key_id}", {"name": text}), "name"),
        (ours.post("/v1/webhooks", {"name": text, "url": forge.receiver.url(), "events": ["*"]}), "name"),
        (ours.patch(f"/v1/webhooks/{webhook.uid}", {"name": text}), "name"),
        (ours.post("/v1/event-types", {"type": "a.b", "description": text}), "description"),
        (ours.patch("/v1/organizations/acme", {"name": text}), "name"),
        (operator.post("/v1/organizations", {"slug": text}), "slug"),
        (ours.post("/v1/repositories", {"name": text}), "name"),
        (ours.patch("/v1/repositories/widgets", {"name": text}), "name"),
    ]

    for answer, field in asked:
        assert (answer.status_code, list(faults(answer))) == (422, [field]), answer.content
        assert text not in answer.content.decode()
    assert faults(asked[0][0]) == {"name": f"This {RULE}."}
    assert faults(asked[2][0]) == {"name": RULE}
    assert (AuditEntry.objects.count(), Webhook.objects.count(), Repository.objects.count()) == (entries, 1, 1)
    assert not CustomEventType.objects.exists()


@pytest.mark.django_db
def test_an_event_about_a_repository_named_like_a_key_creates_none(repository: Repository) -> None:
    Organization.objects.update(create_repositories=True)
    publisher = Caller.of(Organization.objects.get(), Scope.PUBLISH)

    answer = publisher.post("/v1/events", {"type": "push", "data": 1, "repository": KEY})

    assert (answer.status_code, list(faults(answer))) == (422, ["repository"])
    assert KEY not in answer.content.decode()
    assert Repository.objects.get() == repository


@pytest.mark.django_db
def test_the_admin_refuses_a_key_where_it_asks_for_a_name(forge: Forge) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("op", "op@example.com"))
    entries = AuditEntry.objects.count()
    for page, posted, field in (
        ("hookhub/apikey", {"organization": forge.organization.pk, "scope": "read", "name": KEY}, "name"),
        ("deliveries/repository", {"organization": forge.organization.pk, "name": KEY}, "name"),
        ("deliveries/webhook", {"organization": forge.organization.pk, "name": KEY, "events": "*"}, "name"),
    ):
        answer = client.post(f"/admin/{page}/add/", posted)
        assert field in answer.context["adminform"].form.errors, page

    assert AuditEntry.objects.count() == entries


@pytest.mark.django_db
def test_a_command_makes_no_key_that_is_named_by_another(organization: Organization) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("create_api_key", organization=organization.slug, name=f"old {KEY}")

    assert str(refused.value) == f"--name: {RULE}."
    assert not ApiKey.objects.exists()


# The command line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["create_api_key", "--name", KEY], "The value of --name"),
        (["create_api_key", f"--name={KEY}"], "The value of --name"),
        (["create_api_key", "--create-organization", "--organization", KEY], "The value of --organization"),
        (["send_event", "push", "--api-key-file", KEY], "The value of --api-key-file"),
        (["listen", "--secret-file", SECRET], "The value of --secret-file"),
        (["send_event", KEY], "Argument 2"),
        (["roll_api_key", KEY], "Argument 2"),
        (["changepassword", f"x {KEY}"], "Argument 2"),
        (["send_event", "push", "--api-key", KEY], None),
        (["send_event", "push", f"--api-k={KEY}", "--data", f'{{"key": "{KEY}"}}'], None),
        (["listen", "--secret", SECRET, "--secret", SECRET], None),
        (["listen", "--port", "9000"], None),
        (["roll_api_key", KEY_ID], None),
        ([], None),
    ],
)
def test_an_argument_that_holds_a_secret_where_none_is_asked_for_is_found(words: list[str], place: str | None) -> None:
    assert misplaced(words) == place


def test_a_command_line_with_a_misplaced_key_is_refused_without_repeating_it() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "create_api_key", "--name", KEY],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "CommandError: The value of --name contains an unexpected API key or secret. The command was not run. Other "
        "users of this machine may have seen the key or secret: replace it.\n"
    )


# Logs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_no_log_repeats_a_key_that_strays_into_an_address_a_header_or_a_login(
    api: Caller, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.HOOKHUB_ACCESS_LOG = True
    caplog.set_level(logging.INFO)
    for name in ("hookhub.access", "hookhub.logins"):
        logging.getLogger(name).addHandler(caplog.handler)
    try:
        api.get(f"/v1/api-keys/{KEY}")
        api.get(f"/v1/events?organization={KEY}&repository={KEY}&name={KEY}")
        answer = api.send("GET", "/v1/events", None, headers={"X-Request-Id": KEY})
        Client().post("/admin/login/", {"username": KEY, "password": "x"})
    finally:
        for name in ("hookhub.access", "hookhub.logins"):
            logging.getLogger(name).removeHandler(caplog.handler)

    assert KEY not in caplog.text
    assert f"/v1/api-keys/hh_{KEY_ID}_***" in caplog.text
    assert f"login failed: name 'hh_{KEY_ID}_***'" in caplog.text
    assert answer.headers["X-Request-Id"] != KEY


def test_only_what_looks_like_a_key_or_a_secret_is_masked() -> None:
    assert secret_text.masked(f"a {KEY}, b {SECRET}.") == f"a hh_{KEY_ID}_***, b whsec_***."
    for text in ("", "hh_", "whsec_", f"hh_{KEY_ID}", f"hh_{KEY_ID}_short", "deploy key of acme", "whsec_…"):
        assert (secret_text.masked(text), secret_text.holds_secret(text)) == (text, False)
