"""The portal's pages of alerts: an organization's own channels, and what they were told."""

import re
from datetime import datetime
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from deliveries.models import AuditEntry, Repository, Webhook
from hookhub.alerts import channels, history, sending
from hookhub.models import Alert, AlertChannel, PortalSession
from tests.alerts import notify
from tests.api import Caller
from tests.integration.test_portal_webhooks import send
from tests.portal import HOSTILE, press, shown, token_of, visitor
from tests.story import Forge, counted_statements

pytestmark = pytest.mark.django_db

PAGE, NEW = "/portal/alerts", "/portal/alerts/new"


def channel(forge: Forge, **fields: Any) -> AlertChannel:
    fields = {"type": "email", **fields}
    return channels.create(fields, organization=forge.organization, now=timezone.now()).channel


def test_an_owner_creates_a_channel_tests_changes_and_deletes_it(forge: Forge, owner: Client) -> None:
    assert ">Alerts</a>" in shown(owner, "/portal/")
    assert "There are no channels." in shown(owner, PAGE)
    url = forge.receiver.url("/alerts?token=t0ken")

    made = send(owner, NEW, type="webhook", url=url, name="ops", kinds=["disabled", "failing"], from_percent="70")

    assert made.status_code == 200
    found = AlertChannel.objects.get()
    assert (found.url, found.kinds, found.from_percent) == (url, ["failing", "disabled"], 70)
    assert "whsec_" in made.content.decode()
    assert made["Cache-Control"] == "no-store"
    pages = [shown(owner, PAGE), shown(owner, f"/portal/alert-channels/{found.pk}")]
    assert all("ops" in page and "whsec_" not in page and "t0ken" not in page for page in pages)

    assert press(owner, pages[0], f"/portal/alert-channels/{found.pk}/test").status_code == 302
    assert sending.send_due(now=timezone.now()) == 1
    page = shown(owner, PAGE)
    assert "Works" in page
    assert "Sent" in page

    changed = send(owner, f"/portal/alert-channels/{found.pk}", name="new name", repository="widgets", enabled=[])
    assert (changed.status_code, changed["Location"]) == (302, PAGE)
    found.refresh_from_db()
    assert (found.name, found.repository, found.paused_at is None) == ("new name", forge.repository, False)
    # The masked URL of the form changes nothing.
    assert found.url == url

    page = shown(owner, f"/portal/alert-channels/{found.pk}")
    assert press(owner, page, f"/portal/alert-channels/{found.pk}/delete").status_code == 302
    assert AlertChannel.objects.count() == 0
    entries = AuditEntry.objects.filter(target_kind="alert_channel").order_by("id")
    assert [(entry.action.partition(".")[2], entry.actor_kind) for entry in entries] == [
        (what, "portal") for what in ("created", "tested", "updated", "deleted")
    ]


def test_a_form_rotates_the_secret_of_a_channel_once(forge: Forge, owner: Client) -> None:
    found = channel(forge, type="webhook", url=forge.receiver.url("/alerts"))
    [before] = channels.secrets_of(found)
    page = shown(owner, f"/portal/alert-channels/{found.pk}")
    version = re.search(r'name="version" value="(\w+)"', page)
    assert version
    form = {"form_token": token_of(page), "version": version[1], "overlap": "3600"}

    answers = [owner.post(f"/portal/alert-channels/{found.pk}/secret", form) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 409]
    found.refresh_from_db()
    new, old = channels.secrets_of(found)
    assert old.text == before.text
    assert new.text in answers[0].content.decode()
    assert "Nothing was changed now." in answers[1].content.decode()
    assert new.text not in answers[1].content.decode() + shown(owner, f"/portal/alert-channels/{found.pk}")
    mail = channel(forge)
    assert "Rotate secret" not in shown(owner, f"/portal/alert-channels/{mail.pk}")


def test_the_same_form_sent_twice_creates_one_channel(forge: Forge, owner: Client) -> None:
    page = shown(owner, NEW)
    draft = unescape(page.partition('name="draft" value="')[2].partition('"')[0])
    fields = {"form_token": token_of(page), "draft": draft, "type": "email", "kinds": "disabled", "from_percent": "50"}

    first, second = owner.post(NEW, fields), owner.post(NEW, fields)

    assert (first.status_code, first["Location"]) == (302, PAGE)
    assert (second.status_code, second["Location"]) == (302, f"/portal/alert-channels/{AlertChannel.objects.get().pk}")


# label: (what is typed, what the page says)
INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no address": ({"type": "email", "recipients": "nobody"}, "'nobody' is none."),
    "no URL": ({"type": "slack"}, "Is required."),
    "an inner address": ({"type": "webhook", "url": "http://169.254.169.254/"}, "169.254.169.254"),
    "addresses for Slack": (
        {"type": "slack", "url": "https://93.184.215.14/", "recipients": "a@b.example"},
        "Must be empty for slack",
    ),
    "another's repository": ({"type": "email", "repository": "gadgets"}, "There is no repository of this name."),
    "no kinds": ({"type": "email", "kinds": []}, "This field is required."),
    "an unknown type": ({"type": "pager"}, "pager is not one of the available choices."),
    "another percentage": ({"type": "email", "from_percent": "1"}, "is not one of the available choices."),
    "a NUL": ({"type": "email", "name": "a\0b"}, "Null characters are not allowed."),
}


@pytest.mark.parametrize(("typed", "said"), INVALID.values(), ids=INVALID)
def test_what_is_invalid_is_said_beside_its_field(
    forge: Forge, owner: Client, typed: dict[str, Any], said: str
) -> None:
    Repository.objects.create(organization=Forge.make(forge.receiver, "globex").organization, name="gadgets")

    answer = send(owner, NEW, **typed)

    assert answer.status_code == 422
    assert said in unescape(answer.content.decode())
    assert AlertChannel.objects.count() == 0


def test_who_may_only_look_changes_nothing(forge: Forge, caller: Caller) -> None:
    found = channel(forge, name="ops")
    reader = visitor(caller)
    page = shown(reader, PAGE)

    assert "ops" in page
    assert "New channel" not in page
    token = {"form_token": token_of(page)}
    address = f"/portal/alert-channels/{found.pk}"
    assert [reader.get(path).status_code for path in (NEW, address)] == [403, 403]
    changes = (NEW, address, f"{address}/test", f"{address}/delete")
    assert [reader.post(path, token).status_code for path in changes] == [403] * 4
    assert (AlertChannel.objects.count(), Alert.objects.count()) == (1, 0)


@pytest.mark.parametrize("scope", ["repository", "webhooks", "stranger"])
def test_other_scopes_find_nothing(forge: Forge, caller: Caller, scope: str, now: datetime) -> None:
    found = channel(forge, name="ops")
    webhook = forge.webhook(now=now, repository=forge.repository)
    if scope == "stranger":
        caller, asked = Caller.of(Forge.make(forge.receiver, "globex").organization), {}
    else:
        asked = {"repository": {"repository": "widgets"}, "webhooks": {"webhooks": [str(webhook.uid)]}}[scope]
    browser = visitor(caller, role="manage", **({"scope": asked} if asked else {}))
    page = shown(browser, "/portal/")
    token, address = {"form_token": token_of(page)}, f"/portal/alert-channels/{found.pk}"

    assert (">Alerts</a>" in page) == (scope == "stranger")
    assert [browser.get(address).status_code, *(browser.post(f"{address}{end}", token).status_code
            for end in ("", "/test", "/delete"))] == [404] * 4  # fmt: skip
    if scope == "stranger":
        assert "ops" not in shown(browser, PAGE)
    else:
        assert [browser.get(PAGE).status_code, browser.get(NEW).status_code] == [404, 404]
    assert (AlertChannel.objects.count(), Alert.objects.count()) == (1, 0)


def test_alerts_are_shown_escaped_and_each_session_gets_those_of_its_webhooks(
    forge: Forge, caller: Caller, owner: Client, now: datetime
) -> None:
    channel(forge, name=HOSTILE, type="webhook", url=forge.receiver.url("/alerts"))
    AlertChannel.objects.update(last_error=HOSTILE)
    own = forge.webhook(now=now, name=HOSTILE, repository=forge.repository)
    other = forge.webhook(now=now, name="other", path="/other")
    Webhook.objects.update(disabled_at=now, disabled_reason="failing")
    visitor(caller, scope={"repository": "widgets"})
    session = PortalSession.objects.exclude(repository=None).get()
    whole = PortalSession.objects.filter(repository=None).latest("id")

    page = shown(owner, PAGE)
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    notify(now=now)
    page = shown(owner, PAGE)

    assert HOSTILE not in page
    assert page.count("Disabled</th>") == 2
    assert {alert.webhook_id for alert in history.recent_of(whole)} == {own.pk, other.pk}
    [seen] = history.recent_of(session)
    assert (seen.webhook_id, seen.channel_name) == (own.pk, "")


def test_the_number_of_queries_does_not_grow(forge: Forge, owner: Client, now: datetime) -> None:
    def count() -> int:
        with counted_statements() as seen:
            shown(owner, PAGE)
        return len(seen)

    channels.send_test(channel(forge, repository=forge.repository), now=now)
    before = count()
    for number in range(5):
        channel(forge, name=f"channel {number}", repository=forge.repository)
        webhook = forge.webhook(now=now, name=f"hook {number}")
        Webhook.objects.filter(pk=webhook.pk).update(disabled_at=now, disabled_reason="failing")
    notify(now=now)

    assert Alert.objects.count() > 0
    assert before == count() < 20
