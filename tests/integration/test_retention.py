"""Retention: what is past it goes, in batches, and nothing that anybody still needs."""

from datetime import datetime, timedelta

import pytest
from django.db import transaction
from pytest_django import Settings

from deliveries import chores, pipeline, replay, webhooks
from deliveries.models import Attempt, Delivery, Event, Webhook
from deliveries.sender import Sender
from tests.receiver import Answer
from tests.story import Forge, deliver_due, together

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
MONTH = 30 * DAY


@pytest.fixture(autouse=True)
def a_month(settings: Settings) -> None:
    settings.HOOKHUB_RETENTION = MONTH


@pytest.mark.parametrize(
    ("age", "left"), [(MONTH - DAY, 1), (MONTH, 1), (MONTH + timedelta(milliseconds=1), 0), (100 * MONTH, 0)], ids=str
)
def test_a_finished_delivery_goes_with_its_attempts_and_its_event_once_it_is_past_retention(
    forge: Forge, sender: Sender, now: datetime, age: timedelta, left: int
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)

    forgotten = chores.forget_the_old(now=now + age)

    assert forgotten == 2 * (1 - left)
    assert (Delivery.objects.count(), Attempt.objects.count(), Event.objects.count()) == (left, left, left)
    assert Webhook.objects.count() == 1


def test_what_is_not_finished_stays_however_old(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, max_in_flight=1)
    forge.accept(3, now=now)
    pipeline.claim(1, now=now)
    pending = Delivery.objects.filter(state="pending").first()
    Delivery.objects.filter(pk=pending.pk).update(state="held", due_at=None)

    assert chores.forget_the_old(now=now + 100 * MONTH) == 0

    assert sorted(Delivery.objects.filter(webhook=webhook).values_list("state", flat=True)) == [
        "held",
        "pending",
        "sending",
    ]
    assert Event.objects.count() == 3


def test_what_was_sent_again_lately_stays(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    replay.redeliver([Delivery.objects.get().pk], now=now + MONTH)
    deliver_due(sender, now=now + MONTH)

    assert chores.forget_the_old(now=now + MONTH + DAY) == 0
    assert Attempt.objects.count() == 2

    assert chores.forget_the_old(now=now + 2 * MONTH + DAY) == 2
    assert Attempt.objects.count() == 0


def test_an_event_stays_as_long_as_any_of_its_deliveries(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, path="/good")
    forge.webhook(now=now, path="/bad")
    forge.receiver.answers["/bad"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)

    assert chores.forget_the_old(now=now + 2 * MONTH) == 1

    assert Event.objects.count() == 1
    assert Delivery.objects.get().state == "pending"
    assert Attempt.objects.get().outcome == "refused"


def test_an_event_that_nobody_was_owed_goes_and_one_not_fanned_out_stays(forge: Forge, now: datetime) -> None:
    forge.accept(now=now)
    pipeline.accept([forge.event(now=now)], now=now)

    assert chores.forget_the_old(now=now + 2 * MONTH) == 1

    assert Event.objects.get().fanned_out_at is None


def test_no_more_than_a_batch_goes_at_once_and_the_oldest_first(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    for day in range(4):
        forge.accept(now=now + day * DAY)
        deliver_due(sender, now=now + day * DAY)
    newest = Delivery.objects.order_by("-id").values_list("id", flat=True)[0]

    counts = [chores.forget_the_old(now=now + 2 * MONTH, limit=3) for _ in range(3)]

    assert counts == [6, 2, 0]
    assert not Delivery.objects.filter(pk=newest).exists()


def test_an_own_retention_may_be_given_even_none_at_all(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    later = now + timedelta(seconds=1)

    assert chores.forget_the_old(now=later, retention=DAY) == 0
    assert chores.forget_the_old(now=later, retention=timedelta(0)) == 2


def test_a_deleted_webhooks_row_goes_after_the_last_of_its_log(forge: Forge, sender: Sender, now: datetime) -> None:
    gone, kept = forge.webhook(now=now), forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    with transaction.atomic():
        webhooks.delete(gone, now=now + DAY)

    chores.forget_the_old(now=now + MONTH + DAY / 2)
    assert Webhook.objects.count() == 2
    chores.forget_the_old(now=now + MONTH + 2 * DAY)

    assert list(Webhook.objects.all()) == [kept]


def test_what_a_deleted_webhook_is_still_owed_is_cancelled(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(2, now=now)
    other = forge.webhook(now=now)
    forge.accept(now=now)
    with transaction.atomic():
        webhooks.delete(webhook, now=now)
    # As a worker leaves it that had them in hand at that moment.
    Delivery.objects.filter(webhook=webhook).update(state="held", ending=None, finished_at=None)

    chores.forget_the_old(now=now + DAY)

    assert set(Delivery.objects.filter(webhook=webhook).values_list("state", "finished_at")) == {
        ("cancelled", now + DAY)
    }
    assert Delivery.objects.get(webhook=other).state == "pending"


@pytest.mark.django_db(transaction=True)
def test_what_is_being_sent_again_at_this_very_moment_is_not_forgotten(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    delivery = Delivery.objects.get()

    with transaction.atomic():
        assert replay.redeliver([delivery.pk], now=now + 2 * MONTH) == 1
        # The redelivery is not committed yet, so that the other sees it finished.
        assert together(lambda: chores.forget_the_old(now=now + 2 * MONTH)) == [0]

    assert Delivery.objects.get().state == "pending"
    assert deliver_due(sender, now=now + 2 * MONTH) == {delivery.pk}
