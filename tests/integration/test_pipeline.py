"""The life of a delivery on a real Postgres, with a real receiver, and time passed in."""

from datetime import datetime, timedelta

import pytest

from deliveries import pipeline
from deliveries.models import Attempt, Delivery, Event, Webhook
from deliveries.sender import Sender
from tests.receiver import Answer
from tests.story import Forge, deliver_due, outcomes_of, the_delivery

pytestmark = pytest.mark.django_db


def test_an_event_is_delivered_signed_and_recorded(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    deliver_due(sender, now=now)

    [request] = forge.receiver.received
    delivery = the_delivery()
    attempt = Attempt.objects.get()
    assert request.headers["webhook-id"] == str(delivery.id)
    assert request.body == b'{"type":"push","timestamp":"2026-03-04T12:00:00.000Z","data":{"ref": "refs/heads/main"}}'
    assert (delivery.state, delivery.ending, delivery.attempts_made, delivery.failures) == (
        "delivered",
        "delivered",
        1,
        0,
    )
    assert delivery.finished_at == now
    assert (attempt.number, attempt.outcome, attempt.status, bytes(attempt.response_body)) == (
        1,
        "delivered",
        200,
        b"ok",
    )


def test_the_whole_schedule_is_travelled_and_then_the_webhook_is_disabled(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    promised = [
        timedelta(minutes=1),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=6),
    ]

    moment = now
    for number, wait in enumerate(promised, 1):
        deliver_due(sender, now=moment)
        delivery = the_delivery()
        assert (delivery.state, delivery.attempts_made, delivery.failures) == ("pending", number, number)
        assert moment + wait <= delivery.due_at <= moment + wait * 1.1
        deliver_due(sender, now=delivery.due_at - timedelta(microseconds=1))
        assert the_delivery().attempts_made == number
        moment = delivery.due_at
    deliver_due(sender, now=moment)

    delivery = the_delivery()
    assert (delivery.state, delivery.ending, delivery.attempts_made) == ("failed", "exhausted", 6)
    assert outcomes_of(delivery) == ["refused"] * 6
    webhook.refresh_from_db()
    assert (webhook.disabled_at, webhook.disabled_reason, webhook.failure_count) == (moment, "failing", 6)
    assert Event.objects.get(type="webhook.disabled").accepted_at == moment
