"""Reviews: what settling has marked is disabled once, by any worker."""

from datetime import datetime, timedelta

import pytest

from deliveries import pipeline
from deliveries.maintenance import tasks
from deliveries.models import Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from tests.receiver import Answer
from tests.story import Forge, attempt_all, claim_due, together

pytestmark = pytest.mark.django_db


def test_a_worker_that_dies_between_settling_and_reviewing_leaves_the_review_to_the_next(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    exhausted = forge.webhook(now=now, path="/a", retry_schedule=[60])
    gone = forge.webhook(now=now, path="/b")
    forge.receiver.answers = {"/a": Answer(500), "/b": Answer(410)}
    forge.accept(now=now)
    pipeline.settle(attempt_all(claim_due(10, now=now), sender, now=now), now=now)
    later = now + timedelta(minutes=2)
    pipeline.settle(attempt_all(claim_due(10, now=later), sender, now=later), now=later)

    assert tasks.review_webhooks(now=later) == 2
    assert tasks.review_webhooks(now=later) == 0

    exhausted.refresh_from_db()
    gone.refresh_from_db()
    assert (exhausted.disabled_reason, gone.disabled_reason) == ("failing", "gone")


@pytest.mark.django_db(transaction=True)
def test_concurrent_reviews_disable_once_and_publish_one_event(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    told = forge.webhook(now=now, events=["webhook.disabled"])
    Webhook.objects.exclude(pk=told.pk).update(gone_at=now)

    reviews = together(*[lambda: pipeline.review(now=now)] * 6)

    assert sum(map(len, reviews)) == 1
    assert pipeline.fan_out(now=now)[:2] == (1, 1)


def test_a_webhook_deleted_before_its_review_stays_as_it_is(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    Webhook.objects.update(gone_at=now)
    lifecycle.delete(webhook.pk, now=now)

    assert pipeline.review(now=now) == []

    webhook.refresh_from_db()
    assert (webhook.disabled_at, webhook.gone_at) == (None, None)
    assert lifecycle.to_review() == []
