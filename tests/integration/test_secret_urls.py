"""Where a URL is itself a secret, it is shown nowhere: in no output, and for every format that declares it."""

import logging
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from deliveries import pipeline, vault
from deliveries.formats import FORMATS, MASK
from deliveries.maintenance.tasks import rescue_expired_leases
from deliveries.models import Attempt, Event, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, lifecycle
from deliveries.webhooks.fields import InvalidFields
from hookhub.models import Membership
from tests.alerts import notify
from tests.api import Caller, faults
from tests.receiver import Answer
from tests.story import Forge, claim_due, deliver_due

pytestmark = pytest.mark.django_db

TOKEN = "B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
PATH = f"/services/T00000000/{TOKEN}?wait=true"
MASKED = [slug for slug, wire_format in FORMATS.items() if wire_format.url_is_secret]

every_masked = pytest.mark.parametrize("slug", MASKED)


def test_chats_are_those_that_say_so() -> None:
    assert MASKED == ["slack", "discord"]


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization)


@every_masked
def test_the_api_masks_it_when_a_webhook_is_created_listed_read_changed_and_switched(
    caller: Caller, forge: Forge, slug: str
) -> None:
    url = forge.receiver.url(PATH)
    masked = forge.receiver.url(f"/{MASK}")

    created = caller.post("/v1/webhooks", {"url": url, "events": ["*"], "format": slug})

    assert created.status_code == 201
    assert "secret" not in created.json()
    address = f"/v1/webhooks/{created.json()['id']}"
    answers = [
        created,
        caller.get("/v1/webhooks"),
        caller.get(address),
        caller.patch(address, {"name": "chat"}),
        caller.post(f"{address}/disable"),
        caller.post(f"{address}/enable"),
    ]
    for answer in answers:
        assert answer.status_code in {200, 201}
        assert "XXXX" not in answer.content.decode()
        row = answer.json()["results"][0] if "results" in answer.json() else answer.json()
        assert row["url"] == masked
    assert Webhook.objects.get().url == url


@every_masked
def test_the_masked_url_sent_back_leaves_the_url_as_it_is(caller: Caller, forge: Forge, slug: str) -> None:
    url = forge.receiver.url(PATH)
    row = caller.post("/v1/webhooks", {"url": url, "events": ["*"], "format": slug}).json()

    answer = caller.patch(f"/v1/webhooks/{row['id']}", {"url": row["url"], "events": ["push"]})

    assert answer.status_code == 200
    webhook = Webhook.objects.get()
    assert (webhook.url, webhook.events) == (url, ["push"])


@every_masked
def test_a_masked_url_is_no_url_to_begin_with(caller: Caller, forge: Forge, slug: str) -> None:
    masked = forge.receiver.url(f"/{MASK}")

    answer = caller.post("/v1/webhooks", {"url": masked, "events": ["*"], "format": slug})

    assert answer.status_code == 422
    assert faults(answer) == {"url": "is masked; send the full URL"}
    assert not Webhook.objects.exists()


@every_masked
@pytest.mark.parametrize("is_sent_back", [False, True], ids=["left out", "sent back masked"])
def test_another_format_does_not_unmask_it(forge: Forge, now: datetime, slug: str, *, is_sent_back: bool) -> None:
    webhook = forge.webhook(now=now, path=PATH, format=slug)
    wanted: dict[str, Any] = {"format": "standard-webhooks"}
    if is_sent_back:
        wanted["url"] = webhook.shown_url

    with pytest.raises(InvalidFields) as raised:
        changing.change(webhook.pk, wanted, now=now)

    assert set(raised.value.errors) == {"url"}
    webhook.refresh_from_db()
    assert webhook.format == slug
    # A caller that knows the URL may change the format, and another chat format masks it just as well.
    changing.change(webhook.pk, {"format": next(other for other in MASKED if other != slug)}, now=now)
    changed, _ = changing.change(webhook.pk, {"format": "coregit", "url": forge.receiver.url(PATH)}, now=now)
    assert changed.shown_url == forge.receiver.url(PATH.replace("=true", f"={MASK}"))


@every_masked
def test_the_log_masks_it_whether_delivered_refused_lost_or_unknown(
    caller: Caller, forge: Forge, now: datetime, sender: Sender, slug: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    forge.webhook(now=now, path=PATH, format=slug, timeout=1)
    forge.receiver.answers[PATH] = [Answer(500), Answer(raw=b"nonsense"), Answer(200)]
    forge.accept(now=now)

    deliver_due(sender, now=now)
    deliver_due(sender, now=now + timedelta(hours=1))
    # This worker dies with the delivery in flight.
    claim_due(10, now=now + timedelta(hours=2))
    rescue_expired_leases(now=now + timedelta(hours=3))
    deliver_due(sender, now=now + timedelta(hours=4))

    assert [request.path for request in forge.receiver.received] == [PATH] * 3
    attempts = Attempt.objects.order_by("number")
    assert [attempt.outcome for attempt in attempts] == ["failed", "no_response", "unknown", "delivered"]
    assert {attempt.url for attempt in attempts} == {forge.receiver.url(f"/{MASK}")}
    delivery = caller.get("/v1/deliveries").json()["results"][0]["id"]
    shown = caller.get(f"/v1/deliveries/{delivery}")
    assert len(shown.json()["attempts"]) == 4
    assert "XXXX" not in shown.content.decode()
    assert "XXXX" not in caplog.text
    assert "hookhub.attempts" in {record.name for record in caplog.records}


def test_what_its_worker_left_unknown_is_shown_with_its_path_where_the_url_is_no_secret(
    forge: Forge, now: datetime
) -> None:
    webhook = forge.webhook(now=now, path=PATH, format="coregit")
    forge.accept(now=now)
    claim_due(10, now=now)

    rescue_expired_leases(now=now + timedelta(hours=1))

    assert Attempt.objects.get().url == webhook.shown_url == webhook.url.replace("=true", f"={MASK}")


@every_masked
def test_neither_the_letter_nor_the_event_of_its_disabling_tells_it(forge: Forge, now: datetime, slug: str) -> None:
    owner = User.objects.create(username="olga", email="olga@acme.example")
    Membership.objects.create(user=owner, organization=forge.organization, role="owner")
    webhook = forge.webhook(now=now, path=PATH, format=slug)
    Webhook.objects.filter(pk=webhook.pk).update(gone_at=now)

    pipeline.review(now=now)
    notify(now=now)

    [letter] = mail.outbox
    masked = forge.receiver.url(f"/{MASK}")
    assert masked in letter.body
    assert "XXXX" not in letter.body + letter.subject
    payload = bytes(Event.objects.get(type="webhook.disabled").payload).decode()
    assert masked in payload
    assert "XXXX" not in payload
    assert str(webhook) == masked


@every_masked
@pytest.mark.parametrize("may_change", [True, False], ids=["operator", "reader"])
def test_the_operators_pages_mask_it(
    forge: Forge, client: Client, sender: Sender, slug: str, *, may_change: bool
) -> None:
    now = timezone.now()
    webhook = forge.webhook(now=now, path=PATH, format=slug)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    user = User.objects.create_user("op", "op@example.com", "op-password-1", is_staff=True, is_superuser=may_change)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    Membership.objects.create(user=user, organization=webhook.organization)
    client.force_login(user)
    attempt = Attempt.objects.get()

    pages = [
        "/admin/",
        "/admin/deliveries/webhook/",
        f"/admin/deliveries/webhook/{webhook.pk}/change/",
        "/admin/deliveries/delivery/",
        f"/admin/deliveries/delivery/{attempt.delivery_id}/change/",
        "/admin/deliveries/attempt/",
        "/admin/deliveries/event/",
    ]
    shown = {}
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 200, page
        shown[page] = answer.content.decode()

    assert [page for page, text in shown.items() if "XXXX" in text] == []
    assert forge.receiver.url(f"/{MASK}") in shown[f"/admin/deliveries/webhook/{webhook.pk}/change/"]


@pytest.mark.parametrize(("slug", "count"), [("slack", 0), ("coregit", 1)])
def test_it_cannot_be_guessed_letter_by_letter_in_the_search(
    forge: Forge, client: Client, slug: str, count: int
) -> None:
    forge.webhook(now=timezone.now(), path=PATH, format=slug, name="deploys")
    client.force_login(User.objects.create_superuser("op", "op@example.com", "op-password-1"))

    for term, found in (("B0000", count), ("deploys", 1)):
        answer = client.get("/admin/deliveries/webhook/", {"q": term})
        assert answer.status_code == 200
        assert answer.context["cl"].result_count == found


def test_an_operator_who_saves_what_the_form_shows_changes_nothing(forge: Forge, client: Client) -> None:
    webhook = forge.webhook(now=timezone.now(), path=PATH, format="slack")
    client.force_login(User.objects.create_superuser("op", "op@example.com", "op-password-1"))
    address = f"/admin/deliveries/webhook/{webhook.pk}/change/"
    form = client.get(address).context["adminform"].form
    typed = {name: form[name].value() for name in form.fields}

    answer = client.post(address, {name: value for name, value in typed.items() if value not in {None, False}})

    assert answer.status_code == 302
    webhook.refresh_from_db()
    assert webhook.url == forge.receiver.url(PATH)


def test_an_operator_who_rotates_secrets_leaves_those_alone_that_have_none(forge: Forge, client: Client) -> None:
    webhook = forge.webhook(now=timezone.now(), path=PATH, format="slack")
    client.force_login(User.objects.create_superuser("op", "op@example.com", "op-password-1"))

    answer = client.post(
        "/admin/deliveries/webhook/", {"action": "rotate_secret", "_selected_action": [webhook.pk]}, follow=True
    )

    assert answer.status_code == 200
    assert [str(message) for message in answer.context["messages"]] == [
        "Skipped: 1 whose format does not sign requests."
    ]


# In the table ---------------------------------------------------------------------------------------------------------


def row_of(webhook: Webhook) -> str:
    """Return everything that the table holds about a webhook, as a dump would show it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT w::text FROM hookhub_webhook w WHERE id = %s", [webhook.pk])
        return str(cursor.fetchone()[0])


@every_masked
def test_a_dump_of_the_table_does_not_tell_it(forge: Forge, now: datetime, sender: Sender, slug: str) -> None:
    webhook = forge.webhook(now=now, path=PATH, format=slug)
    changing.change(webhook.pk, {"url": forge.receiver.url(f"{PATH}&new=1")}, now=now)
    forge.accept(now=now)

    deliver_due(sender, now=now)

    assert [request.path for request in forge.receiver.received] == [f"{PATH}&new=1"]
    assert "XXXX" not in row_of(webhook)
    assert Webhook.objects.get().shown_url == forge.receiver.url(f"/{MASK}")


def test_a_sealed_url_that_is_copied_to_another_webhook_is_sent_nothing(
    forge: Forge, now: datetime, sender: Sender
) -> None:
    mine = forge.webhook(now=now, path=PATH, format="slack")
    theirs = forge.webhook(now=now, path="/theirs?token=theirs", format="slack")
    Webhook.objects.filter(pk=mine.pk).update(sealed_url=theirs.sealed_url)
    Webhook.objects.filter(pk=theirs.pk).update(disabled_at=now, disabled_reason="by_owner")
    forge.accept(now=now)

    deliver_due(sender, now=now)

    assert forge.receiver.received == []
    assert "encrypted for another webhook" in Attempt.objects.get().error


@pytest.mark.parametrize("slug", ["slack", "coregit"])
def test_deleting_a_webhook_wipes_its_url_and_its_secrets(forge: Forge, now: datetime, slug: str) -> None:
    path = "/path-of-s3cret?token=s3cret"
    webhook = forge.webhook(now=now, path=path, format=slug, headers={"X-Token": "s3cret"})

    lifecycle.delete(webhook.pk, now=now)

    webhook.refresh_from_db()
    assert (webhook.stored_url, webhook.sealed_url) == (forge.receiver.url(f"/{MASK}"), None)
    assert (vault.secrets_of(webhook), webhook.sealed_headers) == ((), None)
    assert "s3cret" not in row_of(webhook)


def test_what_an_earlier_version_stored_in_the_clear_is_sealed_by_reencrypt_secrets(
    forge: Forge, now: datetime, sender: Sender
) -> None:
    url = forge.receiver.url(PATH)
    chat = forge.webhook(now=now, path=PATH, format="slack")
    other = forge.webhook(now=now, path="/hook?token=XXXX", format="coregit")
    for webhook, clear in ((chat, url), (other, forge.receiver.url("/hook?token=XXXX"))):
        Webhook.objects.filter(pk=webhook.pk).update(stored_url=clear, sealed_url=None)
    assert Webhook.objects.get(pk=chat.pk).shown_url == forge.receiver.url(f"/{MASK}")
    assert Webhook.objects.get(pk=other.pk).shown_url == forge.receiver.url(f"/hook?token={MASK}")

    call_command("reencrypt_secrets", stdout=StringIO())

    assert "XXXX" not in row_of(chat) + row_of(other)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    assert sorted(request.path for request in forge.receiver.received) == ["/hook?token=XXXX", PATH]


# Tokens in a query ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/hook", "https://a.example/hook"),
        ("https://a.example/hook?", "https://a.example/hook?"),
        ("https://a.example/hook?token=s", f"https://a.example/hook?token={MASK}"),
        ("https://a.example/?a=1&b=&c=x=y", f"https://a.example/?a={MASK}&b={MASK}&c={MASK}"),
        ("https://a.example/hook?s3cret", f"https://a.example/hook?{MASK}"),
        ("https://a.example/hook?a&&b=1", f"https://a.example/hook?{MASK}&&b={MASK}"),
        (f"https://a.example/hook?token={MASK}", f"https://a.example/hook?token={MASK}"),
    ],
)
def test_the_values_of_a_query_are_masked_and_its_names_are_not(url: str, shown: str) -> None:
    assert FORMATS["github"].show_url(url) == shown


def test_a_token_in_a_query_is_shown_by_the_answer_that_creates_it_and_by_no_other(
    caller: Caller, forge: Forge, now: datetime, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = forge.receiver.url("/hook?token=XXXX")
    forge.receiver.answers["/hook?token=XXXX"] = [Answer(500), Answer(raw=b"nonsense"), Answer(200)]

    created = caller.post("/v1/webhooks", {"url": url, "events": ["*"], "retry_schedule": [60, 60]}).json()
    forge.accept(now=now)
    for hours in range(3):
        deliver_due(sender, now=now + timedelta(hours=hours))

    assert created["url"] == url
    [delivery] = caller.get("/v1/deliveries").json()["results"]
    answers = [
        caller.get(f"/v1/webhooks/{created['id']}"),
        caller.get("/v1/webhooks"),
        caller.patch(f"/v1/webhooks/{created['id']}", {"name": "n"}),
        caller.get(f"/v1/deliveries/{delivery['id']}"),
        caller.get("/v1/audit"),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert [answer.content.count(b"XXXX") for answer in answers] == [0] * 5
    assert {attempt.url for attempt in Attempt.objects.all()} == {forge.receiver.url(f"/hook?token={MASK}")}
    assert "XXXX" not in caplog.text
    assert [request.path for request in forge.receiver.received] == ["/hook?token=XXXX"] * 3


def test_the_url_with_its_query_masked_can_be_sent_back(caller: Caller, forge: Forge) -> None:
    url = forge.receiver.url("/hook?token=XXXX")
    created = caller.post("/v1/webhooks", {"url": url, "events": ["*"]}).json()
    shown = caller.get(f"/v1/webhooks/{created['id']}").json()["url"]

    assert caller.patch(f"/v1/webhooks/{created['id']}", {"url": shown, "name": "n"}).status_code == 200

    assert Webhook.objects.get().url == url
