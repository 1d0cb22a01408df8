"""Alerts: each channel is told once of what it was created for, whatever becomes of the others."""

import hashlib
import hmac
import json
import re
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.locmem import EmailBackend
from django.db import transaction
from standardwebhooks import Webhook as Verifier

from deliveries import pipeline, vault
from deliveries.maintenance import incidents
from deliveries.maintenance.incidents import Watch
from deliveries.models import AuditEntry, Event, Repository, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from deliveries.webhooks.fields import InvalidFields
from deliveries.webhooks.secrets import MAX_SECRETS
from hookhub.alerts import announcing, channels, history, queue, sending
from hookhub.models import Alert, AlertChannel, Membership
from tests.alerts import notify
from tests.receiver import Answer, Received
from tests.story import Forge, counted_statements, deliver_due, is_waited_for, together

pytestmark = pytest.mark.django_db

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
HOSTILE = '<script>alert(1)</script><img src="https://evil.example/x">&'


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tick announce all that it finds, however slow the machine is."""
    monkeypatch.setattr(incidents, "TICK_BUDGET", timedelta(days=1))


def owner(forge: Forge, name: str = "olga") -> None:
    user = User.objects.create(username=name, email=f"{name}@acme.example")
    Membership.objects.create(user=user, organization=forge.organization, role="owner")


def channel(forge: Forge, *, now: datetime, **fields: Any) -> AlertChannel:
    """Create a channel of type webhook, unless ``fields`` says otherwise, which arrives at /alerts."""
    if fields.get("type") != "email":
        fields = {"type": "webhook", "url": forge.receiver.url("/alerts"), **fields}
    return channels.create(fields, organization=forge.organization, now=now).channel


def arrived(forge: Forge, path: str = "/alerts") -> list[Any]:
    """Return the bodies that have arrived at a path."""
    return [json.loads(request.body) for request in forge.receiver.received if request.path == path]


def types(forge: Forge, path: str = "/alerts") -> list[tuple[str, int | None]]:
    return [(body["type"], body["data"].get("percent")) for body in arrived(forge, path)]


def states(**conditions: Any) -> list[tuple[str, str]]:
    return list(Alert.objects.filter(**conditions).order_by("id").values_list("kind", "state"))


def fail(webhook: Webhook, *, now: datetime) -> None:
    """Let a webhook be disabled."""
    Webhook.objects.filter(pk=webhook.pk).update(gone_at=now)
    assert pipeline.review(now=now) == [webhook]


def outage(forge: Forge, sender: Sender, *, now: datetime, **fields: Any) -> Webhook:
    """Return a webhook that has failed for half of what disables it; a delivery is tried twice in 11 minutes."""
    webhook = forge.webhook(now=now, **{"path": "/hook", "retry_schedule": [600], **fields})
    forge.receiver.answers["/hook"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    return webhook


def watch(*, now: datetime) -> int:
    """Look at the failing webhooks, and send."""
    announced = announcing.watch_webhooks(now=now)
    sending.send_due(now=now)
    return announced


# Who is told what -----------------------------------------------------------------------------------------------------


def test_a_channel_is_told_each_step_of_an_incident_once(forge: Forge, sender: Sender, now: datetime) -> None:
    owner(forge)
    channel(forge, now=now)
    webhook = outage(forge, sender, now=now)

    for at in (6 * MINUTE, 6 * MINUTE + SECOND, 7.8 * MINUTE, 9.95 * MINUTE, 9.95 * MINUTE + SECOND):
        watch(now=now + at)
    deliver_due(sender, now=now + 12 * MINUTE)
    for _ in range(2):
        notify(now=now + 12 * MINUTE)
    lifecycle.enable(webhook.pk, release_held=False, now=now + 20 * MINUTE)
    forge.receiver.answers["/hook"] = Answer(200)
    forge.accept(now=now + 21 * MINUTE)
    deliver_due(sender, now=now + 21 * MINUTE)
    for _ in range(2):
        watch(now=now + 22 * MINUTE)

    assert types(forge) == [
        ("webhook.failing", 50), ("webhook.failing", 70), ("webhook.failing", 90), ("webhook.disabled", None),
        ("webhook.recovered", None),
    ]  # fmt: skip
    # A channel is told, so that the owners are not.
    assert mail.outbox == []
    published = Event.objects.filter(type="webhook.failing").earliest("id")
    assert arrived(forge)[0]["data"] == json.loads(bytes(published.payload))
    assert set(states()) == {(kind, "sent") for kind in ("failing", "disabled", "recovered")}


@pytest.mark.parametrize("kind", ["disabled", "lease_ending"])
def test_the_owners_are_told_unless_a_channel_that_works_is(forge: Forge, now: datetime, kind: str) -> None:
    owner(forge)
    other = Repository.objects.create(organization=forge.organization, name="gadgets")
    channel(forge, now=now, kinds=["failing", "recovered"])
    channel(forge, now=now, repository=other)
    channel(forge, now=now, enabled=False)

    def tell(at: datetime) -> None:
        webhook = forge.webhook(now=now, repository=forge.repository)
        if kind == "disabled":
            fail(webhook, now=at)
        else:
            Webhook.objects.filter(pk=webhook.pk).update(expires_at=at + DAY, expiry_mail_at=at)
        notify(now=at)

    tell(now)
    assert (len(mail.outbox), len(arrived(forge))) == (1, 0)

    told = channel(forge, now=now, kinds=[kind])
    tell(now + SECOND)
    assert (len(mail.outbox), len(arrived(forge))) == (1, 1)

    AlertChannel.objects.filter(pk=told.pk).update(failing_since=now)
    tell(now + MINUTE)
    assert (len(mail.outbox), len(arrived(forge))) == (2, 2)


def test_a_channel_gets_only_what_it_was_created_for(forge: Forge, sender: Sender, now: datetime) -> None:
    other = Repository.objects.create(organization=forge.organization, name="gadgets")
    stranger = Forge.make(forge.receiver, "globex")
    for path, fields in {
        "/all": {}, "/late": {"from_percent": 90}, "/ends": {"kinds": ["recovered"]}, "/other": {"repository": other},
        "/own": {"repository": forge.repository}, "/disabled": {"kinds": ["disabled"]},
    }.items():  # fmt: skip
        channel(forge, now=now, url=forge.receiver.url(path), **fields)
    channel(stranger, now=now, url=forge.receiver.url("/stranger"))
    outage(forge, sender, now=now, repository=forge.repository)

    watch(now=now + 6 * MINUTE)
    forge.receiver.answers["/hook"] = Answer(200)
    deliver_due(sender, now=now + 11 * MINUTE)
    watch(now=now + 11 * MINUTE)

    both = [("webhook.failing", 50), ("webhook.recovered", None)]
    paths = ("/all", "/own", "/late", "/ends", "/other", "/disabled", "/stranger")
    assert {path: types(forge, path) for path in paths} == {
        "/all": both, "/own": both, "/late": [], "/ends": both[1:], "/other": [], "/disabled": [], "/stranger": [],
    }  # fmt: skip


def test_an_email_is_text_and_html_and_a_name_writes_neither_headers_nor_tags(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    channel(forge, now=now, type="email", recipients=["ops@acme.example", "sre@acme.example"])
    webhook = outage(forge, sender, now=now)
    forge.receiver.answers["/hook"] = Answer(302, {"Location": f"https://new.example/{HOSTILE}"})
    Webhook.objects.filter(pk=webhook.pk).update(name=f"x\r\nBcc: evil@example.com\n{HOSTILE}")
    forge.accept(now=now + SECOND)
    deliver_due(sender, now=now + SECOND)

    watch(now=now + 6 * MINUTE)

    [letter] = mail.outbox
    assert isinstance(letter, EmailMultiAlternatives)
    assert letter.recipients() == ["ops@acme.example", "sre@acme.example"]
    assert letter.subject == "[HookHub] acme: webhook failing, 50 %"
    assert letter.message()["Bcc"] is None
    assert letter.message().get_content_type() == "multipart/alternative"
    [(html, kind)] = [(str(each.content), each.mimetype) for each in letter.alternatives]
    assert kind == "text/html"
    assert "x Bcc: evil@example.com <script>" in letter.body
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert set(re.findall(r"<(\w+)", html)) <= {
        "html",
        "head",
        "meta",
        "title",
        "body",
        "h1",
        "table",
        "tr",
        "th",
        "td",
        "p",
        "br",
        "b",
        "pre",
    }
    assert "redirected the request (302)" in html


def test_chats_get_their_own_messages(forge: Forge, now: datetime) -> None:
    channel(forge, now=now, type="slack", url=forge.receiver.url("/slack/T0/hidden"))
    channel(forge, now=now, type="teams", url=forge.receiver.url("/teams/hidden"))
    fail(forge.webhook(now=now, name=HOSTILE), now=now)

    notify(now=now)

    [slack], [teams] = arrived(forge, "/slack/T0/hidden"), arrived(forge, "/teams/hidden")
    assert slack["text"].startswith("The webhook &lt;script&gt;alert(1)&lt;/script&gt;")
    assert slack["text"].endswith(" of acme has been disabled.")
    card = teams["attachments"][0]["content"]
    assert card["body"][0]["inlines"][0]["text"] == f"The webhook {HOSTILE} of acme has been disabled."
    stored = str(AlertChannel.objects.values("stored_url")) + str(AuditEntry.objects.values())
    assert "hidden" not in stored


def test_a_webhook_is_signed_with_the_secret_that_was_shown_once(forge: Forge, now: datetime) -> None:
    fields = {"type": "webhook", "url": forge.receiver.url("/alerts?token=hidden")}
    made = channels.create(fields, organization=forge.organization, now=now)
    assert made.secret is not None
    channels.send_test(made.channel, now=now)
    moment = datetime.now(now.tzinfo)

    assert sending.send_due(now=moment) == 1

    [request] = forge.receiver.received
    assert request.path == "/alerts?token=hidden"
    verified = Verifier(made.secret).verify(request.body, dict(request.headers))
    assert (verified["type"], verified["data"]["organization"]) == ("alert.test", "acme")
    assert request.headers["webhook-id"] == str(Alert.objects.get().pk)
    stored = str(AlertChannel.objects.values()) + str(AuditEntry.objects.values())
    assert made.secret not in stored
    assert "hidden" not in stored


def test_after_a_rotation_the_previous_secret_signs_too_until_its_overlap_ends(forge: Forge, now: datetime) -> None:
    now = datetime.now(now.tzinfo)
    fields = {"type": "webhook", "url": forge.receiver.url("/alerts")}
    made = channels.create(fields, organization=forge.organization, now=now)
    second = channels.rotate_secret(made.channel, overlap=timedelta(hours=1), now=now)
    signed = []

    for moment in (now, now + timedelta(hours=1)):
        AlertChannel.objects.update(last_sent_at=None)
        channels.send_test(made.channel, now=moment)
        sending.send_due(now=moment)
        request = forge.receiver.received[-1]
        signed.append([is_signed_by(each, request, now=moment) for each in (made.secret, second)])

    assert signed == [[True, True], [False, True]]
    third = channels.rotate_secret(made.channel, overlap=timedelta(0), now=now)
    assert [each.text for each in channels.secrets_of(AlertChannel.objects.get())] == [third]
    for _ in range(9):
        channels.rotate_secret(made.channel, now=now)
    assert len(channels.secrets_of(AlertChannel.objects.get())) == MAX_SECRETS
    entries = AuditEntry.objects.filter(action="alert_channel.secret_rotated")
    assert (entries.count(), third in str(entries.values()), second in str(entries.values())) == (11, False, False)


def is_signed_by(secret: str | None, request: Any, *, now: datetime) -> bool:
    """Return whether one of a request's signatures is made with a secret."""
    content = f"{request.headers['webhook-id']}.{int(now.timestamp())}.".encode() + request.body
    digest = hmac.new(b64decode(str(secret).removeprefix("whsec_")), content, hashlib.sha256).digest()
    return f"v1,{b64encode(digest).decode()}" in request.headers["webhook-signature"].split()


@pytest.mark.parametrize("kind", ["slack", "email"])
def test_a_channel_without_a_secret_has_none_to_rotate(forge: Forge, now: datetime, kind: str) -> None:
    fields = {"type": kind} if kind == "email" else {"type": kind, "url": forge.receiver.url("/slack")}
    channel = channels.create(fields, organization=forge.organization, now=now).channel

    with pytest.raises(InvalidFields, match=f"a channel of type {kind} has none"):
        channels.rotate_secret(channel, now=now)
    assert AlertChannel.objects.get().sealed_secret is None


# Together -------------------------------------------------------------------------------------------------------------


def disabled_at_once(forge: Forge, count: int, *, now: datetime) -> list[Webhook]:
    """Disable so many new webhooks at once, as failing ones are."""
    webhooks = [forge.webhook(now=now, path=f"/{n}", name=f"hook {n:03}") for n in range(count)]
    Webhook.objects.filter(pk__in=[webhook.pk for webhook in webhooks]).update(
        disabled_at=now, disabled_reason="failing", failure_count=6, failing_since=now - DAY
    )
    return webhooks


def test_the_owners_get_one_email_about_an_outage_of_many_webhooks(forge: Forge, now: datetime) -> None:
    owner(forge)
    webhooks = disabled_at_once(forge, 200, now=now)

    assert notify(now=now) == 200
    assert notify(now=now + MINUTE) == 0

    [message] = mail.outbox
    assert message.subject == "[HookHub] acme: 200 webhooks disabled"
    assert "200 webhooks of acme have been disabled." in message.body
    assert all(each.name in message.body and f"/{n}" in message.body for n, each in enumerate(webhooks[:100]))
    assert "and 100 more" in message.body
    assert f"{settings.HOOKHUB_PUBLIC_URL}/v1/webhooks?status=disabled" in message.body
    assert isinstance(message, EmailMultiAlternatives)
    assert "and 100 more" in str(message.alternatives[0][0])
    assert set(Alert.objects.values_list("state", "attempts", "channel_type")) == {("sent", 1, "owners")}
    assert Alert.objects.values("webhook").distinct().count() == 200


def test_a_chat_gets_one_message_and_a_program_one_for_each(forge: Forge, now: datetime) -> None:
    for kind in ("slack", "teams", "webhook", "email"):
        where = {"recipients": ["a@acme.example"]} if kind == "email" else {"url": forge.receiver.url(f"/to/{kind}")}
        channels.create({"type": kind, **where}, organization=forge.organization, now=now)
    disabled_at_once(forge, 25, now=now)

    for second in range(40):
        notify(now=now + second * SECOND)

    paths = [request.path for request in forge.receiver.received]
    assert {path: paths.count(path) for path in paths} == {"/to/slack": 1, "/to/teams": 1, "/to/webhook": 25}
    assert len(mail.outbox) == 1
    slack = next(json.loads(each.body) for each in forge.receiver.received if each.path == "/to/slack")
    assert slack["text"] == "25 webhooks of acme have been disabled."
    fields = [block["fields"] for block in slack["blocks"] if "fields" in block]
    assert [len(each) for each in fields] == [10, 10]
    assert fields[-1][-1]["text"] == "…\nand 6 more"
    assert set(Alert.objects.values_list("state", flat=True)) == {"sent"}


def test_what_comes_soon_after_an_email_to_the_owners_waits_and_is_told_together(forge: Forge, now: datetime) -> None:
    owner(forge)
    for n in range(6):
        disabled_at_once(forge, 1, now=now + n * SECOND)
        notify(now=now + n * SECOND)
    assert len(mail.outbox) == 1

    assert notify(now=now + queue.MAIL_PACE) == 5
    assert [message.subject for message in mail.outbox] == [
        "[HookHub] acme: webhook disabled",
        "[HookHub] acme: 5 webhooks disabled",
    ]


def test_each_organization_and_each_kind_has_a_message_of_its_own(forge: Forge, now: datetime) -> None:
    globex = Forge.make(forge.receiver, "globex")
    owner(forge)
    owner(globex, "gerd")
    disabled_at_once(forge, 2, now=now)
    disabled_at_once(globex, 2, now=now)
    for n in range(2):
        forge.webhook(now=now, path=f"/lease/{n}", expires_at=now + DAY)
    Webhook.objects.filter(expires_at__isnull=False).update(expiry_mail_at=now)

    notify(now=now)
    notify(now=now + MINUTE)

    assert sorted((message.subject, *message.to) for message in mail.outbox) == [
        ("[HookHub] acme: 2 webhooks disabled", "olga@acme.example"),
        ("[HookHub] acme: 2 webhooks end soon", "olga@acme.example"),
        ("[HookHub] globex: 2 webhooks disabled", "gerd@acme.example"),
    ]


def test_of_a_message_that_waited_only_what_is_still_true_is_sent(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner(forge)
    first, second, third = disabled_at_once(forge, 3, now=now)
    monkeypatch.setattr(EmailBackend, "send_messages", refuse_for_now)
    assert notify(now=now) == 0
    monkeypatch.undo()
    lifecycle.enable(second.pk, release_held=False, now=now)

    assert notify(now=now + queue.MAX_DELAY) == 3

    assert "2 webhooks of acme" in mail.outbox[0].body
    states = dict(Alert.objects.values_list("webhook", "state"))
    assert states == {first.pk: "sent", second.pk: "superseded", third.pk: "sent"}


def refuse_for_now(*_: object) -> int:
    raise SMTPServerDisconnected("come back later")


# Once -----------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_announce_and_send_once(forge: Forge, sender: Sender, now: datetime) -> None:
    channel(forge, now=now)
    outage(forge, sender, now=now)
    disabled = forge.webhook(now=now, path="/disabled")
    fail(disabled, now=now)
    at = now + 6 * MINUTE

    def work() -> int:
        Watch().tick(
            lambda webhook, said: announcing.announce(webhook, announcing.news_of(webhook, said, now=at), now=at),
            now=at,
        )
        return notify(now=at)

    together(*[work] * 4)
    for second in range(4):
        notify(now=at + second * SECOND)

    assert sorted(types(forge)) == [("webhook.disabled", None), ("webhook.failing", 50)]
    assert sorted(states()) == [("disabled", "sent"), ("failing", "sent")]


@pytest.mark.django_db(transaction=True)
def test_an_alert_that_is_queued_while_the_last_one_is_recorded_is_found(forge: Forge, now: datetime) -> None:
    told = channel(forge, now=now)
    channels.send_test(told, now=now)
    [claimed] = queue.claim(now=now)
    fail(forge.webhook(now=now), now=now)
    queued, recorded = threading.Event(), threading.Event()

    def announce() -> None:
        with transaction.atomic():
            announcing.announce_disabled(now=now)
            queued.set()
            until = time.monotonic() + 60
            while not recorded.is_set() and not is_waited_for():
                assert time.monotonic() < until

    def record() -> None:
        assert queued.wait(60)
        queue.record(claimed, queue.Sent(), now=now)
        recorded.set()

    together(announce, record)

    assert states() == [("test", "sent"), ("disabled", "pending")]
    assert notify(now=now + MINUTE) == 1


def test_a_worker_that_dies_between_sending_and_recording_sends_again_after_the_lease(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel(forge, now=now)
    fail(forge.webhook(now=now), now=now)

    def die(*_args: object, **_options: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(queue, "record", die)
        with pytest.raises(KeyboardInterrupt):
            notify(now=now)

    assert [notify(now=now + after) for after in (SECOND, queue.LEASE - SECOND, queue.LEASE)] == [0, 0, 1]
    assert len(arrived(forge)) == 2
    assert arrived(forge)[0] == arrived(forge)[1]
    assert len({request.headers["webhook-id"] for request in forge.receiver.received}) == 1


@pytest.mark.parametrize(
    ("late", "again", "state"),
    [
        (queue.Rejected("It was refused."), queue.Sent(), "sent"),
        (queue.Postponed("It timed out."), queue.Sent(), "sent"),
        (queue.Sent(), queue.Rejected("It was refused."), "sent"),
    ],
    ids=["failed", "postponed", "sent"],
)
def test_a_worker_that_was_suspended_undoes_nothing_of_the_one_that_sent_meanwhile(
    forge: Forge, now: datetime, late: queue.Result, again: queue.Result, state: str
) -> None:
    owner(forge)
    told = channel(forge, now=now)
    fail(forge.webhook(now=now), now=now)
    announcing.announce_disabled(now=now)
    [suspended] = queue.claim(now=now)
    [second] = queue.claim(now=now + queue.LEASE)
    queue.record(second, again, now=now + queue.LEASE)
    told.refresh_from_db()
    before = (told.due_at, told.failing_since, told.last_error)

    queue.record(suspended, late, now=now)

    told.refresh_from_db()
    assert (told.due_at, told.failing_since, told.last_error) == before
    assert Alert.objects.get(channel=told).state == state
    # To the owners, only what the second one has seen fail.
    assert Alert.objects.filter(channel=None).count() == isinstance(again, queue.Rejected)


def test_an_alert_that_waited_too_long_is_not_sent(forge: Forge, sender: Sender, now: datetime) -> None:
    told = channel(forge, now=now, kinds=["failing", "disabled", "lease_ending"])
    webhook = outage(forge, sender, now=now)
    forge.receiver.answers["/alerts"] = Answer(500)
    watch(now=now + 6 * MINUTE)
    # A later level replaces it.
    watch(now=now + 7.8 * MINUTE)
    assert states(channel=told) == [("failing", "superseded"), ("failing", "pending")]
    # And once it has recovered, none is true any more.
    forge.receiver.answers = {"/hook": Answer(200), "/alerts": Answer(200)}
    deliver_due(sender, now=now + 11 * MINUTE)
    watch(now=now + 11 * MINUTE)
    fail(webhook, now=now + 12 * MINUTE)
    announcing.announce_disabled(now=now + 12 * MINUTE)
    lifecycle.enable(webhook.pk, release_held=False, now=now + 12 * MINUTE)

    for minutes in range(12, 60):
        sending.send_due(now=now + minutes * MINUTE)

    assert states(channel=told) == [("failing", "superseded"), ("failing", "superseded"), ("disabled", "superseded")]
    assert len(arrived(forge)) == 2


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_a_channel_that_hangs_or_fails_blocks_no_other_and_says_why(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TIMEOUT", timedelta(seconds=0.2))
    hangs = channel(forge, now=now, url=forge.receiver.url("/hangs"))
    fails = channel(forge, now=now, url=forge.receiver.url("/fails"))
    works = channel(forge, now=now)

    def script(connection: Any, request: Received) -> None:
        if request.path == "/hangs":
            forge.receiver.closing.wait(5)
        status = 500 if request.path == "/fails" else 200
        connection.sendall(Answer(status, {"Connection": "close"}).encode())

    forge.receiver.script = script
    for number in range(3):
        fail(forge.webhook(now=now, name=f"hook {number}"), now=now)

    for second in range(10):
        notify(now=now + second * SECOND)

    assert [len(arrived(forge, path)) for path in ("/alerts", "/hangs", "/fails")] == [3, 1, 1]
    for each in (hangs, fails, works):
        each.refresh_from_db()
    assert (works.last_error, works.failing_since, works.last_sent_at) == ("", None, now + 2 * SECOND)
    assert (fails.last_error, fails.failing_since, fails.last_sent_at) == ("The receiver answered 500.", now, None)
    assert hangs.last_error != ""
    assert fails.due_at == now + queue.MIN_DELAY

    forge.receiver.script = None
    for second in range(10):
        notify(now=now + MINUTE + second * SECOND)
    fails.refresh_from_db()
    assert (fails.last_error, fails.failing_since, fails.due_at) == ("", None, None)
    assert len(arrived(forge, "/fails")) == 4


def test_what_cannot_be_sent_for_a_day_is_given_up(forge: Forge, now: datetime) -> None:
    told = channel(forge, now=now)
    fail(forge.webhook(now=now), now=now)
    forge.receiver.answers["/alerts"] = Answer(500)
    notify(now=now)

    assert notify(now=now + DAY - SECOND) == 0
    assert notify(now=now + DAY + queue.MAX_DELAY) == 1

    # The owners are told instead.
    assert states() == [("disabled", "failed"), ("disabled", "pending")]
    told.refresh_from_db()
    assert (told.last_error, told.due_at) == ("The receiver answered 500.", None)


@pytest.mark.parametrize("kind", ["disabled", "lease_ending"])
def test_a_chat_that_was_removed_does_not_swallow_what_the_owners_are_told(
    forge: Forge, now: datetime, kind: str
) -> None:
    owner(forge)
    for path in ("/one", "/two"):
        channel(forge, now=now, type="slack", url=forge.receiver.url(path))
        forge.receiver.answers[path] = Answer(404, body=b"no_service")
    for number in range(3):
        webhook = forge.webhook(now=now, name=f"hook {number}")
        if kind == "disabled":
            fail(webhook, now=now)
        else:
            Webhook.objects.filter(pk=webhook.pk).update(expires_at=now + DAY, expiry_mail_at=now)

    for seconds in range(3):
        notify(now=now + seconds * SECOND)

    [letter] = mail.outbox
    assert letter.subject == f"[HookHub] acme: 3 webhooks {'disabled' if kind == 'disabled' else 'end soon'}"
    assert sorted(states()) == [(kind, "failed")] * 6 + [(kind, "sent")] * 3


def test_what_another_channel_was_told_is_not_told_to_the_owners(forge: Forge, now: datetime) -> None:
    owner(forge)
    channel(forge, now=now, type="slack", url=forge.receiver.url("/gone"))
    forge.receiver.answers["/gone"] = Answer(404, body=b"no_service")
    channel(forge, now=now)
    fail(forge.webhook(now=now), now=now)

    for seconds in range(2):
        notify(now=now + seconds * SECOND)

    assert mail.outbox == []
    assert sorted(states()) == [("disabled", "failed"), ("disabled", "sent")]


def test_a_chat_that_asks_for_time_gets_it(forge: Forge, now: datetime) -> None:
    told = channel(forge, now=now, type="slack")
    fail(forge.webhook(now=now), now=now)
    forge.receiver.answers["/alerts"] = [Answer(429, {"Retry-After": "3600"}), Answer(200)]
    notify(now=now)

    told.refresh_from_db()
    assert told.due_at == now + timedelta(hours=1)
    assert [notify(now=now + after) for after in (59 * MINUTE, 60 * MINUTE)] == [0, 1]


def test_an_inner_address_is_refused_when_it_is_set_and_when_it_is_sent_to(forge: Forge, now: datetime) -> None:
    for url in ("http://169.254.169.254/latest", "http://10.0.0.1/", "file:///etc/passwd"):
        with pytest.raises(InvalidFields) as refused:
            channel(forge, now=now, url=url)
        assert list(refused.value.errors) == ["url"]
    assert AlertChannel.objects.count() == 0
    told = channel(forge, now=now)
    # As if the name had led elsewhere since.
    AlertChannel.objects.update(stored_url="http://169.254.169.254/latest", sealed_url=None)
    channels.send_test(told, now=now)

    assert sending.send_due(now=now) == 0

    told.refresh_from_db()
    assert told.failing_since == now
    assert "169.254.169.254" in told.last_error
    assert states() == [("test", "pending")]


def test_an_alert_that_cannot_be_written_stops_no_other(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    channel(forge, now=now, type="slack")
    channel(forge, now=now, type="email", recipients=["ops@acme.example"])
    works = channel(forge, now=now)
    fail(forge.webhook(now=now), now=now)

    def break_down(*_args: object) -> object:
        raise RuntimeError("a bug")

    monkeypatch.setattr(sending, "wording_of", break_down)
    assert notify(now=now) == 3

    assert states(channel=works) == [("disabled", "sent")]
    assert sorted(Alert.objects.values_list("state", flat=True)) == ["failed", "failed", "sent"]
    assert caplog.text.count("Could not write") == 2


def test_without_a_mail_server_two_emails_are_tried_and_none_given_up(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        other = Forge.make(forge.receiver, f"other-{number}")
        owner(other, f"owner-{number}")
        fail(other.webhook(now=now), now=now)
    tried: list[object] = []

    def refuse(self: EmailBackend, messages: Any) -> int:
        tried.append(messages)
        raise ConnectionRefusedError("nothing listens")

    with monkeypatch.context() as patched:
        patched.setattr(EmailBackend, "send_messages", refuse)
        assert notify(now=now) == 0
        assert notify(now=now + 3 * DAY) == 0

    assert len(tried) == 2 * sending.MAX_UNTAKEN
    assert notify(now=now + 4 * DAY) == 4
    assert len(mail.outbox) == 4


def test_a_mailbox_is_not_filled_and_a_mail_server_that_is_away_is_no_fault_of_the_channel(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = channel(forge, now=now, type="email", recipients=["ops@acme.example"])
    fail(forge.webhook(now=now, name="first"), now=now)

    def refuse(self: EmailBackend, messages: Any) -> int:
        raise ConnectionRefusedError("nothing listens")

    with monkeypatch.context() as patched:
        patched.setattr(EmailBackend, "send_messages", refuse)
        notify(now=now)
    told.refresh_from_db()
    assert (told.last_error, told.failing_since) == ("The mail server is unavailable: nothing listens", None)
    for second in range(16):
        fail(forge.webhook(now=now, name=f"hook {second}"), now=now + MINUTE + second * SECOND)
        notify(now=now + MINUTE + second * SECOND)

    assert [message.subject for message in mail.outbox] == [
        "[HookHub] acme: 2 webhooks disabled",
        "[HookHub] acme: 15 webhooks disabled",
    ]
    # Also if nothing has waited when the next one comes.
    for seconds in (30, 40, 50):
        channels.send_test(told, now=now + MINUTE + seconds * SECOND)
        notify(now=now + MINUTE + seconds * SECOND)
    assert len(mail.outbox) == 4


def test_many_that_are_disabled_at_once_keep_no_other_task_waiting(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incidents, "TICK_BUDGET", timedelta(0))
    for _ in range(3):
        fail(forge.webhook(now=now), now=now)

    assert [announcing.announce_disabled(now=now) for _ in range(4)] == [1, 1, 1, 0]


def test_a_channel_that_was_deleted_or_paused_gets_no_more(forge: Forge, now: datetime) -> None:
    deleted, paused = channel(forge, now=now), channel(forge, now=now)
    fail(forge.webhook(now=now), now=now)
    announcing.announce_disabled(now=now)

    channels.delete(deleted, now=now)
    channels.change(paused, {"enabled": False}, now=now)
    notify(now=now)
    channels.change(paused, {"enabled": True}, now=now)
    notify(now=now + MINUTE)

    assert arrived(forge) == []
    assert states() == [("disabled", "superseded"), ("disabled", "superseded")]


def test_a_paused_channel_gets_the_test_that_is_asked_for_and_nothing_else(forge: Forge, now: datetime) -> None:
    paused = channels.change(channel(forge, now=now), {"enabled": False}, now=now)
    fail(forge.webhook(now=now), now=now)
    announcing.announce_disabled(now=now)

    test = channels.send_test(paused, now=now)
    notify(now=now)

    assert len(arrived(forge)) == 1
    test.refresh_from_db()
    assert test.state == Alert.State.SENT


def test_alerts_of_a_channel_deleted_with_its_repository_are_not_pending_for_ever(forge: Forge, now: datetime) -> None:
    channel(forge, now=now, repository=forge.repository)
    fail(forge.webhook(now=now, repository=forge.repository), now=now)
    announcing.announce_disabled(now=now)
    Webhook.objects.update(repository=None)
    forge.repository.delete()

    assert history.prune(now=now) == 0
    assert states() == [("disabled", "superseded")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda told, now: channels.delete(told, now=now), id="deleted"),
        pytest.param(lambda told, now: channels.change(told, {"enabled": False}, now=now), id="paused"),
    ],
)
def test_the_owners_are_told_if_the_only_channel_ends_at_the_same_time(
    forge: Forge, now: datetime, end: Callable[[AlertChannel, datetime], None]
) -> None:
    owner(forge)
    told = channel(forge, now=now)
    fail(forge.webhook(now=now), now=now)
    ended = threading.Event()

    def end_channel() -> None:
        with transaction.atomic():
            end(told, now)
            ended.set()
            until = time.monotonic() + 60
            while not is_waited_for():
                assert time.monotonic() < until

    def announce() -> None:
        assert ended.wait(60)
        announcing.announce_disabled(now=now)

    together(end_channel, announce)
    notify(now=now)

    assert [letter.subject for letter in mail.outbox] == ["[HookHub] acme: webhook disabled"]
    assert states() == [("disabled", "sent")]


# What is kept ---------------------------------------------------------------------------------------------------------


def test_retention_deletes_old_alerts(forge: Forge, now: datetime) -> None:
    owner(forge)
    fail(forge.webhook(now=now), now=now)
    notify(now=now)

    assert history.prune(now=now + settings.HOOKHUB_RETENTION) == 0
    assert history.prune(now=now + settings.HOOKHUB_RETENTION + SECOND) == 1
    assert Alert.objects.count() == 0


def test_a_tick_with_nothing_to_tell_asks_little(forge: Forge, now: datetime) -> None:
    channel(forge, now=now)
    forge.webhook(now=now)
    chores: list[Callable[..., int]] = [
        announcing.watch_webhooks, announcing.announce_disabled, announcing.announce_ending, sending.send_due,
    ]  # fmt: skip

    with counted_statements() as seen:
        for chore in chores:
            chore(now=now)

    assert len([each for each in seen if each.strip().startswith("SELECT")]) == 6


def test_secrets_are_sealed_anew_with_the_first_key(forge: Forge, now: datetime, settings: Any) -> None:
    told = channel(forge, now=now, url=forge.receiver.url("/alerts?token=hidden"))
    old = settings.HOOKHUB_ENCRYPTION_KEYS
    settings.HOOKHUB_ENCRYPTION_KEYS = ("A" * 43 + "=", *old)

    assert [channels.reencrypt_all(), channels.reencrypt_all()] == [1, 0]

    settings.HOOKHUB_ENCRYPTION_KEYS = ("A" * 43 + "=",)
    told.refresh_from_db()
    assert told.sealed_secret is not None
    assert told.url == forge.receiver.url("/alerts?token=hidden")
    assert len(vault.open_secrets(told.sealed_secret, of=told.id)) == 1
