"""Names and descriptions are one line, because they reach e-mails, log lines and terminals."""

from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from deliveries.models import Organization, Repository, Webhook
from deliveries.plain_text import is_one_line, on_one_line
from hookhub.models import ApiKey, CustomEventType, Membership, Scope
from tests.alerts import notify
from tests.api import Caller, faults
from tests.story import Forge

RULE = "must be a single line without control or bidirectional formatting characters"
BAD = {
    "a line break": "ci\nBcc: all@example.com",
    "a carriage return": "ci\rX",
    "an escape": "ci\x1b[2J",
    "a tab": "ci\tX",
    "delete": "ci\x7f",
    "C1": "ci\x85X",
    "a line separator": "ci\u2028X",
    "turned round": "ci\u202eX",
}


@pytest.mark.parametrize("name", BAD.values(), ids=BAD)
@pytest.mark.django_db
def test_a_webhooks_name_with_control_characters_is_refused(forge: Forge, now: datetime, name: str) -> None:
    ours = Caller.of(forge.organization, Scope.MASTER)
    webhook = forge.webhook(now=now)

    created = ours.post("/v1/webhooks", {"url": forge.receiver.url("/a"), "events": ["*"], "name": name})
    changed = ours.patch(f"/v1/webhooks/{webhook.uid}", {"name": name})

    assert (created.status_code, faults(created)) == (422, {"name": RULE})
    assert (changed.status_code, faults(changed)) == (422, {"name": RULE})
    assert Webhook.objects.get().name == ""


@pytest.mark.django_db
def test_every_other_name_and_description_is_refused_too(forge: Forge, operator: Caller) -> None:
    ours = Caller.of(forge.organization, Scope.MASTER)
    keys, text = ApiKey.objects.count(), BAD["a line break"]
    asked: list[tuple[Any, str]] = [
        (operator.post("/v1/organizations", {"slug": "next", "name": text}), "name"),
        (operator.post("/v1/organizations", {"slug": text}), "slug"),
        (ours.post("/v1/repositories", {"name": text}), "name"),
        (ours.post("/v1/api-keys", {"name": text, "scope": "publish"}), "name"),
        (ours.post("/v1/event-types", {"type": "a.b", "description": text}), "description"),
    ]

    for answer, field in asked:
        assert (answer.status_code, list(faults(answer))) == (422, [field]), answer.content
    with pytest.raises(CommandError, match=f"--name: {RULE}"):
        call_command("create_api_key", organization="acme", name="a\x1b[2Jb", stdout=StringIO(), stderr=StringIO())
    assert Organization.objects.count() == 1
    assert Repository.objects.count() == 1
    assert ApiKey.objects.count() == keys
    assert not CustomEventType.objects.exists()


@pytest.mark.django_db
def test_names_that_were_stored_before_write_no_lines_of_an_email(
    forge: Forge, now: datetime, mailoutbox: list[Any]
) -> None:
    webhook = forge.webhook(now=now)
    Webhook.objects.filter(pk=webhook.pk).update(
        name="ci\n\nPay here: evil.example", disabled_at=now, disabled_reason="failing"
    )
    Organization.objects.update(slug="acme\nBcc: x")
    user = User.objects.create_user("ada", email="ada@example.com")
    Membership.objects.create(user=user, organization=forge.organization)

    assert notify(now=now) == 1

    assert mailoutbox[0].subject == "[HookHub] acme Bcc: x: webhook disabled"
    assert "The webhook ci Pay here: evil.example of acme Bcc: x has been disabled." in mailoutbox[0].body
    assert mailoutbox[0].message()["Bcc"] is None


def test_letters_of_all_languages_stay() -> None:
    for text in ("Größe 世界 🎉", "می‌خواهم", "👩‍👩‍👧", ""):
        assert is_one_line(text)
        assert on_one_line(text) == text
