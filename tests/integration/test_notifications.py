"""E-mails to owners: one for each disabling, retried until it was sent."""

from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused, SMTPSenderRefused
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend

from deliveries import pipeline
from deliveries.models import Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from hookhub.alerts import queue
from hookhub.models import Alert, Membership
from hookhub.notifications.mailer import GIVE_UP_AFTER, RETRY_AFTER, Mailer, Outcome
from tests.alerts import notify
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db


def member(forge: Forge, name: str, *, role: str = "owner", **facts: Any) -> User:
    user = User.objects.create(username=name, **{"email": f"{name}@acme.example", **facts})
    Membership.objects.create(user=user, organization=forge.organization, role=role)
    return user


def fail(webhook: Webhook, *, now: datetime) -> None:
    Webhook.objects.filter(pk=webhook.pk).update(gone_at=now)
    assert pipeline.review(now=now) == [webhook]


def test_the_owners_hear_once_that_a_webhook_was_disabled(forge: Forge, now: datetime) -> None:
    member(forge, "olga")
    member(forge, "otto")
    member(forge, "reader", role="reader")
    member(forge, "manager", role="manager")
    member(forge, "left", is_active=False)
    member(forge, "mute", email="")
    member(Forge.make(forge.receiver, "globex"), "stranger")
    webhook = forge.webhook(now=now, name="Deploys", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    fail(webhook, now=now)

    assert notify(now=now) == 1
    assert notify(now=now + timedelta(seconds=1)) == 0

    [letter] = mail.outbox
    assert sorted(letter.recipients()) == ["olga@acme.example", "otto@acme.example"]
    assert letter.subject == "[HookHub] acme: webhook disabled"
    assert "Deploys" in letter.body
    assert webhook.url in letter.body
    assert "whsec" not in letter.body
    webhook.refresh_from_db()
    assert webhook.owner_notified_at == now


def test_the_letter_explains_the_last_failure(forge: Forge, sender: Sender, now: datetime) -> None:
    member(forge, "olga")
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(302, {"Location": "https://new.example/\x1b[31m"}), Answer(200)]
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    fail(webhook, now=now)

    assert notify(now=now) == 1

    [letter] = mail.outbox
    assert "The receiver redirected the request (302) to https://new.example/ [31m." in letter.body
    assert "What to do: If https://new.example/ [31m is the receiver" in letter.body


def test_who_disables_a_webhook_oneself_gets_no_letter(forge: Forge, now: datetime) -> None:
    member(forge, "olga")
    lifecycle.disable(forge.webhook(now=now).pk, now=now)

    assert notify(now=now) == 0
    assert mail.outbox == []


def test_a_second_disabling_is_news_again(forge: Forge, now: datetime) -> None:
    member(forge, "olga")
    webhook = forge.webhook(now=now)
    fail(webhook, now=now)
    notify(now=now)
    lifecycle.enable(webhook.pk, release_held=False, now=now)
    fail(webhook, now=now + timedelta(days=1))

    assert notify(now=now + timedelta(days=1)) == 1
    assert len(mail.outbox) == 2


@pytest.mark.parametrize(
    "error", [SMTPException("busy"), ConnectionRefusedError("nobody"), TimeoutError("slow")], ids=repr
)
def test_a_letter_that_cannot_be_sent_is_tried_again(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    member(forge, "olga")
    webhook = forge.webhook(now=now)
    fail(webhook, now=now)

    def refuse(self: EmailBackend, messages: object) -> int:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(EmailBackend, "send_messages", refuse)
        for second in range(3):
            assert notify(now=now + timedelta(seconds=second)) == 0
    assert Alert.objects.get().state == "pending"

    assert notify(now=now + timedelta(minutes=1)) == 1
    assert len(mail.outbox) == 1


GREYLISTED = SMTPRecipientsRefused({"olga@acme.example": (450, b"greylisted"), "otto@acme.example": (550, b"gone")})


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SMTPDataError(451, b"try again later"), Outcome.DEFERRED),
        (SMTPDataError(554, b"spam"), Outcome.REJECTED),
        (SMTPSenderRefused(452, b"full", "hub@example.com"), Outcome.DEFERRED),
        (SMTPSenderRefused(550, b"no", "hub@example.com"), Outcome.REJECTED),
        (GREYLISTED, Outcome.DEFERRED),
        (SMTPRecipientsRefused({"olga@acme.example": (550, b"gone")}), Outcome.REJECTED),
        (SMTPException("busy"), Outcome.UNAVAILABLE),
        (TimeoutError("slow"), Outcome.UNAVAILABLE),
    ],
    ids=repr,
)
def test_a_4xx_code_is_temporary_and_a_5xx_code_is_final(error: Exception, outcome: Outcome, now: datetime) -> None:
    def refuse() -> None:
        raise error

    assert Mailer("webhook").send(refuse, key=1, about="x", now=now) is outcome


def test_an_email_rejected_for_now_is_tried_again_every_few_minutes_and_blocks_no_other(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Forge.make(forge.receiver, "globex")
    member(forge, "olga")
    member(other, "otto")
    fail(forge.webhook(now=now, name="first"), now=now - timedelta(seconds=1))
    fail(other.webhook(now=now, name="second"), now=now)
    send, tried = EmailBackend.send_messages, []

    def refuse_first(self: EmailBackend, messages: Any) -> int:
        tried.append(messages[0])
        if "first" in messages[0].body:
            raise GREYLISTED
        return send(self, messages)

    with monkeypatch.context() as patched:
        patched.setattr(EmailBackend, "send_messages", refuse_first)
        assert [notify(now=now + timedelta(seconds=second)) for second in range(3)] == [1, 0, 0]
        assert len(tried) == 2
        assert notify(now=now + RETRY_AFTER) == 0
        assert len(tried) == 3

    assert notify(now=now + 2 * RETRY_AFTER) == 1
    assert ["first" in letter.body for letter in mail.outbox] == [False, True]


def test_an_email_rejected_for_a_day_is_given_up(now: datetime) -> None:
    mailer = Mailer("webhook")

    def refuse() -> None:
        raise SMTPDataError(452, b"mailbox full")

    times = [now, now + GIVE_UP_AFTER - timedelta(seconds=1), now + GIVE_UP_AFTER]
    assert [mailer.send(refuse, key=1, about="x", now=at) for at in times] == [
        Outcome.DEFERRED,
        Outcome.DEFERRED,
        Outcome.REJECTED,
    ]
    assert mailer.deferred(now=now) == []


def test_nobody_to_tell_is_told_once_in_the_log(forge: Forge, now: datetime, caplog: pytest.LogCaptureFixture) -> None:
    fail(forge.webhook(now=now), now=now)

    assert notify(now=now) == 1
    assert notify(now=now) == 0

    assert mail.outbox == []
    assert caplog.text.count("no owner of acme has an e-mail address") == 1


def test_a_webhook_deleted_meanwhile_is_no_news(forge: Forge, now: datetime) -> None:
    member(forge, "olga")
    webhook = forge.webhook(now=now)
    fail(webhook, now=now)
    Webhook.objects.update(deleted_at=now)

    assert notify(now=now) == 0
    assert mail.outbox == []


def test_so_many_letters_a_tick_and_the_oldest_first(forge: Forge, now: datetime) -> None:
    for second in range(queue.MAX_MAILS + 2):
        tenant = Forge.make(forge.receiver, f"tenant-{second}")
        member(tenant, f"owner-{second}")
        fail(tenant.webhook(now=now, name=f"hook {second}"), now=now - timedelta(seconds=second))

    assert [notify(now=now) for _ in range(3)] == [queue.MAX_MAILS, 2, 0]
    assert f"hook {queue.MAX_MAILS + 1}" in mail.outbox[0].body


def test_a_name_that_would_forge_a_header_stays_in_the_letter(forge: Forge, now: datetime) -> None:
    member(forge, "olga")
    webhook = forge.webhook(now=now)
    webhook.name = "x\r\nBcc: evil@example.com"
    webhook.save(update_fields=["name"])
    fail(webhook, now=now)

    assert notify(now=now) == 1

    assert mail.outbox[0].recipients() == ["olga@acme.example"]
    assert "Bcc" not in mail.outbox[0].subject
