"""The admin's pages of webhooks show their health, and act only through the engine."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from freezegun import freeze_time

from deliveries import vault
from deliveries.models import Attempt, Delivery, Event, Webhook
from deliveries.redelivery import Selection
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, lifecycle
from hookhub import replays
from hookhub.models import ApiKey, Scope
from tests.admin_pages import (
    HOOKS,
    LOG,
    act,
    errors_of,
    in_every_state,
    listed,
    messages_of,
    page,
    page_of,
    press,
    secret_in,
)
from tests.api import Caller
from tests.receiver import Answer
from tests.story import Forge, deliver_due, the_delivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


def form(**fields: Any) -> dict[str, Any]:
    """Return what the browser sends for a new webhook, with default values except ``fields``."""
    usual = {
        "name": "", "events": "*", "format": "", "content_type": "", "headers": "", "verify_ssl": "on",
        "auto_disable": "on", "retry_schedule": "", "timeout": "", "max_in_flight": "", "repository": "",
    }  # fmt: skip
    return {name: value for name, value in (usual | fields).items() if value is not None}


def as_sent(client: Client, webhook: Webhook, **fields: Any) -> dict[str, Any]:
    """Return what the browser sends back for an existing webhook, with ``fields`` changed."""
    shown = client.get(page_of(webhook)).context["adminform"].form
    sent = {name: field.value() for name, field in ((name, shown[name]) for name in shown.fields)}
    return {name: value for name, value in (sent | fields).items() if value not in {None, False, ""}}


def test_a_form_does_not_undo_a_change_that_it_has_not_seen(forge: Forge, operator: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, events=["push"])
    sent = as_sent(operator, webhook, name="by the admin")
    changing.change(webhook.pk, {"events": ["issues"], "timeout": 5}, now=now + timedelta(minutes=1))

    answer = operator.post(page_of(webhook), sent)

    shown = answer.context["adminform"].form
    [error] = shown.non_field_errors()
    assert error.startswith("The webhook has been changed since this page was loaded, and nothing was saved.")
    assert "Events: issues" in error
    assert "Timeout: 5.0" in error
    webhook.refresh_from_db()
    assert (webhook.name, webhook.events) == ("", ["issues"])
    # The page that shows it has seen it.
    again = operator.post(page_of(webhook), {**sent, "version": shown["version"].value()})
    webhook.refresh_from_db()
    assert (again.status_code, webhook.name, webhook.events, webhook.timeout) == (302, "by the admin", ["push"], None)


def test_a_form_without_changes_is_saved_whatever_happened_since(forge: Forge, operator: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, events=["push"])
    sent = as_sent(operator, webhook, events="issues")
    changing.change(webhook.pk, {"events": ["issues"]}, now=now + timedelta(minutes=1))

    assert operator.post(page_of(webhook), sent).status_code == 302


def test_a_webhook_is_created_through_the_engine_and_its_secret_shown_once(forge: Forge, operator: Client) -> None:
    url = forge.receiver.url("/in")

    answer = operator.post(
        f"{HOOKS}add/",
        form(
            organization=forge.organization.pk, repository=forge.repository.pk, url=url, name="Mirror",
            events="push\nissues.opened", headers="X-Token: hush\nX-Other: d e", retry_schedule="60, 300", timeout="5",
            max_in_flight="3", rate_requests="10",
        ),
        follow=True,
    )  # fmt: skip

    webhook = Webhook.objects.get()
    secret = secret_in(messages_of(answer))
    assert [kept.text for kept in vault.secrets_of(webhook)] == [secret]
    assert vault.headers_of(webhook) == {"X-Token": "hush", "X-Other": "d e"}
    assert (webhook.organization, webhook.repository, webhook.url) == (forge.organization, forge.repository, url)
    assert (webhook.name, webhook.events, webhook.format) == ("Mirror", ["push", "issues.opened"], "standard-webhooks")
    assert webhook.retry_schedule == [timedelta(minutes=1), timedelta(minutes=5)]
    assert (webhook.timeout, webhook.max_in_flight, webhook.rate_limit) == (timedelta(seconds=5), 3, (10, 1))
    for address in (HOOKS, page_of(webhook), f"{HOOKS}{webhook.pk}/history/", "/admin/"):
        shown = page(operator, address)
        assert secret not in shown
        assert "hush" not in shown
    assert "X-Token: ********" in page(operator, page_of(webhook))
    assert "<dd>current</dd>" in page(operator, page_of(webhook))


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("url", "ftp://example.com/", "http"),
        ("events", "not a type!", "is not a valid event type"),
        ("headers", "Host: example.com", "it controls the connection"),
        ("headers", "no colon", "Enter one “Name: value” per line."),
        ("headers", "X-A: 1\nX-A: 2", "Duplicate header: X-A."),
        ("retry_schedule", "soon", "Enter delays in seconds, separated by commas, or “none”."),
        ("retry_schedule", "0.5", "each delay must be from 1 to 604800 seconds"),
        ("timeout", "3600", "must be a number of seconds from 1 to 30, or null for the default"),
        ("max_in_flight", "0", "must be an integer from 1 to 1000, or null for the default"),
        ("rate_requests", "0", "must be a whole number from 1 to 10000, for 0.1 to 10000 a second"),
        ("secret", "short", ""),
        ("content_type", "yaml", "Select a valid choice"),
        ("organization", "", "This field is required."),
    ],
)
def test_a_fault_in_a_new_webhook_stands_beside_its_field_and_nothing_is_created(
    forge: Forge, operator: Client, field: str, value: str, fault: str
) -> None:
    fields = {"organization": forge.organization.pk, "url": forge.receiver.url("/"), field: value}

    errors = errors_of(operator.post(f"{HOOKS}add/", form(**fields)))

    assert list(errors) == [field]
    assert fault in errors[field][0]
    assert not Webhook.objects.exists()


def test_a_webhook_cannot_be_given_another_organizations_repository(forge: Forge, operator: Client) -> None:
    theirs = Forge.make(forge.receiver, "globex").repository

    errors = errors_of(
        operator.post(
            f"{HOOKS}add/", form(organization=forge.organization.pk, repository=theirs.pk, url=forge.receiver.url("/"))
        )
    )

    assert errors == {"repository": ["Select a repository of acme."]}
    assert not Webhook.objects.exists()


def test_the_rate_is_limited_and_set_free(forge: Forge, operator: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now)

    for typed, limit in (({"rate_requests": "30", "rate_per": "60"}, (30, 60)), ({"rate_per": "5"}, (30, 5))):
        operator.post(page_of(webhook), as_sent(operator, webhook, **typed))
        webhook.refresh_from_db()
        assert webhook.rate_limit == limit
    assert errors_of(operator.post(page_of(webhook), as_sent(operator, webhook, rate_per="9999"))) == {
        "rate_per": ["must be a whole number of seconds from 1 to 3600"]
    }
    operator.post(page_of(webhook), as_sent(operator, webhook, rate_requests=None))
    webhook.refresh_from_db()
    assert webhook.rate_limit is None


def test_an_edit_changes_what_was_changed_and_nothing_else(forge: Forge, operator: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, headers={"X-Token": "abc"}, retry_schedule=[], timeout=7, max_in_flight=2)
    before = Webhook.objects.values().get()

    answer = operator.post(page_of(webhook), as_sent(operator, webhook, name="Renamed"), follow=True)

    after = Webhook.objects.values().get()
    assert {name for name in after if bytes_or(after[name]) != bytes_or(before[name])} == {"name", "changed_at"}
    assert after["name"] == "Renamed"
    assert [message for message in messages_of(answer) if "secret" in message] == []


def bytes_or(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def test_an_edit_that_moves_a_webhook_to_another_host_gives_it_a_new_secret(
    forge: Forge, operator: Client, now: datetime
) -> None:
    webhook = forge.webhook(now=now, headers={"X-Token": "abc"})
    [old] = vault.secrets_of(webhook)
    moved = forge.receiver.url("/").replace("127.0.0.1", "127.0.0.2")

    answer = operator.post(page_of(webhook), as_sent(operator, webhook, url=moved), follow=True)

    webhook.refresh_from_db()
    [new] = vault.secrets_of(webhook)
    assert (webhook.url, new.text == old.text, webhook.sealed_headers) == (moved, False, None)
    assert secret_in(messages_of(answer)) == new.text


def test_a_fault_in_an_edit_stands_beside_its_field_and_nothing_is_changed(
    forge: Forge, operator: Client, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    before = webhook.url

    errors = errors_of(operator.post(page_of(webhook), as_sent(operator, webhook, url="ftp://example.com/", name="x")))

    webhook.refresh_from_db()
    assert list(errors) == ["url"]
    assert (webhook.url, webhook.name) == (before, "")


def test_headers_are_taken_away_only_on_request(forge: Forge, operator: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, headers={"X-Token": "abc"})

    operator.post(page_of(webhook), as_sent(operator, webhook, drop_headers="on"))

    webhook.refresh_from_db()
    assert webhook.sealed_headers is None


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("", ["delivered", "failed", "held"]),
        ("active", ["delivered", "failed"]),
        ("failing", ["failed"]),
        ("backing_off", []),
        ("unused", ["held"]),
        ("disabled", ["held"]),
        ("deleted", ["gone"]),
    ],
)
def test_webhooks_are_filtered_by_condition(
    forge: Forge, operator: Client, sender: Sender, now: datetime, condition: str, names: list[str]
) -> None:
    made = in_every_state(forge, sender, now=now)
    for state in ("cancelled", "sending", "pending"):
        made[state].webhook.delete()
    gone = forge.webhook(now=now, name="gone")
    lifecycle.delete(gone.pk, now=now)

    answer = operator.get(f"{HOOKS}?condition={condition}")

    assert sorted(webhook.name for webhook in answer.context["cl"].result_list) == names


def test_webhooks_are_searched_by_name_url_and_id_and_filtered_by_organization_and_format(
    forge: Forge, operator: Client, now: datetime
) -> None:
    other = Forge.make(forge.receiver, "globex")
    one = forge.webhook(now=now, name="Chat bridge", path="/chat")
    two = other.webhook(now=now, name="Mirror", path="/mirror", format="coregit")

    assert listed(operator, f"{HOOKS}?q=bridge") == [one.pk]
    assert listed(operator, f"{HOOKS}?q=/mirror") == [two.pk]
    assert listed(operator, f"{HOOKS}?q={one.uid}") == [one.pk]
    assert listed(operator, f"{HOOKS}?organization=globex") == [two.pk]
    assert listed(operator, f"{HOOKS}?format=coregit") == [two.pk]


def test_the_list_of_webhooks_shows_their_health(forge: Forge, operator: Client, sender: Sender, now: datetime) -> None:
    in_every_state(forge, sender, now=now)

    shown = page(operator, HOOKS)

    for badge in ("Healthy", "Failing (1)", "Disabled: by its owner", "No deliveries yet"):
        assert badge in shown


def test_disabling_and_enabling_say_how_many_deliveries_that_holds_and_releases(
    forge: Forge, operator: Client, now: datetime
) -> None:
    one, two = forge.webhook(now=now, name="one"), forge.webhook(now=now, name="two", path="/two")
    forge.accept(2, now=now)

    assert act(operator, HOOKS, "disable", one, two) == ["2 webhooks disabled. 4 deliveries held."]
    assert act(operator, HOOKS, "disable", one) == ["Skipped: 1 not enabled."]
    assert act(operator, HOOKS, "enable", one) == ["one enabled."]
    assert act(operator, HOOKS, "enable", one) == ["Skipped: 1 already enabled."]
    assert act(operator, HOOKS, "enable_and_release", one, two) == ["2 webhooks enabled. 4 deliveries queued."]
    assert Delivery.objects.filter(state="pending").count() == 4
    assert Webhook.objects.kept().filter(disabled_at=None).count() == 2


def test_a_ping_is_sent_and_can_be_watched(forge: Forge, operator: Client, sender: Sender, now: datetime) -> None:
    webhook, off = forge.webhook(now=now, name="on"), forge.webhook(now=now, name="off", path="/off")
    lifecycle.disable(off.pk, now=now)

    told = act(operator, HOOKS, "ping", webhook, off)
    deliver_due(sender, now=timezone.now())

    assert told[0].startswith('Ping sent to on. <a href="/admin/deliveries/delivery/')
    assert told[1:] == ["Skipped: 1 not enabled."]
    assert [request.path for request in forge.receiver.received] == ["/"]
    assert (the_delivery().event_type, the_delivery().state) == ("ping", "delivered")


def test_a_rotated_secret_is_shown_once_and_the_old_one_signs_on_for_a_while(
    forge: Forge, operator: Client, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    [old] = vault.secrets_of(webhook)

    with freeze_time(now):
        told = press(operator, webhook, "rotate_secret")
        shown = page(operator, page_of(webhook))

    webhook.refresh_from_db()
    new = secret_in(told)
    assert [kept.text for kept in vault.secrets_of(webhook)] == [new, old.text]
    assert new not in shown
    assert "Active signing secrets (2)" in shown
    assert "current, previous (expires 2026-03-05 12:00:00 UTC)" in shown


@pytest.mark.parametrize("at_once", [False, True])
def test_deleting_a_webhook_keeps_its_log_and_cancels_what_it_is_owed(
    forge: Forge, operator: Client, sender: Sender, now: datetime, at_once: bool
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    forge.accept(2, now=now)

    if at_once:
        told = act(operator, HOOKS, "delete_selected", webhook, post="yes")
    else:
        assert "Its delivery log is kept" in page(operator, f"{HOOKS}{webhook.pk}/delete/")
        told = messages_of(operator.post(f"{HOOKS}{webhook.pk}/delete/", {"post": "yes"}, follow=True))

    webhook.refresh_from_db()
    assert told[0] == "2 deliveries cancelled."
    assert webhook.deleted_at is not None
    assert vault.secrets_of(webhook) == ()
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["cancelled", "cancelled", "delivered"]
    assert (Event.objects.count(), Attempt.objects.count()) == (3, 1)
    assert listed(operator, HOOKS) == []
    assert operator.post(f"{HOOKS}{webhook.pk}/delete/", {"post": "yes"}).status_code == 403
    assert 'value="enable' not in page(operator, page_of(webhook))


def test_a_webhooks_page_measures_its_latest_attempts(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(), Answer(), Answer(), Answer(500)]
    forge.accept(4, now=now)
    deliver_due(sender, now=now)
    forge.accept(now=now)

    with freeze_time(now):
        shown = page(operator, page_of(webhook))

    assert re.search(r"Success rate \(last 24 hours\)</dt><dd>75\.0% of 4 attempts</dd>", shown)
    assert re.search(r"Ready</dt><dd>1</dd>", shown)
    assert re.search(r"Scheduled</dt><dd>1</dd>", shown)
    assert shown.count('<code class="hh-id">') == 5


def test_a_webhooks_page_and_the_api_show_the_same_statistics(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(), Answer(500), Answer()]
    forge.accept(3, now=now)
    deliver_due(sender, now=now)
    # An even number of durations, far apart: the median is between two of them.
    for number, attempt in enumerate(Attempt.objects.order_by("id")[:2]):
        Attempt.objects.filter(pk=attempt.pk).update(duration=timedelta(milliseconds=40 + 960 * number))
    Attempt.objects.filter(pk=Attempt.objects.latest("id").pk).update(duration=None)

    with freeze_time(now):
        shown = page(operator, page_of(webhook))
        answer = Caller.of(forge.organization).get(f"/v1/webhooks/{webhook.uid}/stats").json()

    assert (answer["p50_ms"], answer["p95_ms"]) == (520, 952)
    assert "<dd>520 ms / 952 ms / 990 ms</dd>" in shown
    assert f"<dd>{answer['success_rate']:.1%} of {answer['attempts']} attempts</dd>" in shown


@pytest.mark.parametrize("model", ["organization", "repository", "apikey", "replay"])
def test_what_others_hang_on_cannot_be_deleted(forge: Forge, operator: Client, now: datetime, model: str) -> None:
    forge.webhook(now=now)
    key, _ = ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now)
    job = replays.start(forge.organization, selection=Selection(forge.organization.pk), now=now)
    row = {"organization": forge.organization, "repository": forge.repository, "apikey": key, "replay": job}[model]

    answer = operator.post(page_of(row).replace("/change/", "/delete/"), {"post": "yes"})

    assert answer.status_code == 403
    row.refresh_from_db()


def test_a_webhook_of_a_format_that_only_another_version_knows_is_shown_and_kept_as_it_is(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, path="/a/secret", name="")
    Webhook.objects.update(format="of-tomorrow")
    forge.accept(now=now)
    deliver_due(sender, now=now)
    delivery = Delivery.objects.get()

    for address in ("/admin/", HOOKS, f"{HOOKS}?q=secret", page_of(webhook), LOG, page_of(delivery)):
        assert "/a/secret" not in page(operator, address)
    assert "does not know the wire format" in page(operator, page_of(delivery))
    assert '<option value="of-tomorrow" selected>of-tomorrow (not supported by this version)' in page(
        operator, page_of(webhook)
    )
    assert listed(operator, f"{HOOKS}?q=secret") == []
    for action in ("ping", "send_test", "rotate_secret", "disable", "enable"):
        act(operator, HOOKS, action, webhook)
    webhook.refresh_from_db()
    assert (webhook.format, webhook.active) == ("of-tomorrow", True)
