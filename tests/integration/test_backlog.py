"""The figures for monitoring: exact while they are small, estimated beyond, and read from the heads of indexes."""

import re
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from deliveries import backlog, pipeline
from deliveries.db import sql
from deliveries.models import Delivery, Webhook
from deliveries.pipeline import claiming
from deliveries.sending.sender import Sender
from tests.receiver import Answer
from tests.story import Forge, attempt_all, forget_statistics

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def test_an_empty_database_has_no_backlog(now: datetime) -> None:
    found = backlog.measure(now=now)

    assert found == backlog.Backlog(0, 0, 0, 0, 0, 0, 0, 0, timedelta(0), timedelta(0), timedelta(0))


def test_every_state_is_counted_apart(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    disabled = forge.webhook(now=now, path="/held")
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(6, now=now)
    Delivery.objects.filter(webhook=disabled).update(state="held", due_at=None)
    claims = claiming.claim(5, now=now)
    pipeline.settle(attempt_all(claims[:2], sender, now=now), now=now)
    (retried,) = Delivery.objects.filter(state="pending", readiness=0)[:1]
    Delivery.objects.filter(pk=retried.pk).update(readiness=2)
    pipeline.accept([forge.event(now=now)] * 4, now=now)

    found = backlog.measure(now=now + 2 * MINUTE)

    assert (found.scheduled, found.ready_first, found.ready_retries, found.held) == (1, 1, 1, 6)
    assert (found.sending, found.expired_leases, found.outbox, found.failing_webhooks) == (3, 3, 4, 1)
    assert found.outbox_age == 2 * MINUTE
    assert found.oldest_due_age == 2 * MINUTE
    assert found.retention_lag == timedelta(0)


def test_a_delivery_is_due_from_its_time_on(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(1, now=now)
    Delivery.objects.update(readiness=0, due_at=now + MINUTE)

    assert backlog.measure(now=now).oldest_due_age == timedelta(0)
    assert backlog.measure(now=now + 3 * MINUTE).oldest_due_age == 2 * MINUTE


def test_what_retention_has_not_deleted_yet_lags(
    forge: Forge, sender: Sender, now: datetime, settings: Settings
) -> None:
    settings.HOOKHUB_RETENTION = timedelta(days=1)
    forge.webhook(now=now)
    forge.accept(1, now=now)
    pipeline.settle(attempt_all(claiming.claim(1, now=now), sender, now=now), now=now)

    assert backlog.measure(now=now + timedelta(days=1)).retention_lag == timedelta(0)
    assert backlog.measure(now=now + timedelta(days=3)).retention_lag == timedelta(days=2)


def test_a_webhook_that_was_disabled_or_has_recovered_does_not_count_as_failing(forge: Forge, now: datetime) -> None:
    failing, disabled, recovered = (forge.webhook(now=now, path=f"/{name}") for name in range(3))
    Webhook.objects.update(failing_since=now, failure_count=3)
    Webhook.objects.filter(pk=disabled.pk).update(disabled_at=now, disabled_reason="failing")
    # Only maintenance resets ``failing_since``.
    Webhook.objects.filter(pk=recovered.pk).update(failure_count=0)

    assert backlog.measure(now=now).failing_webhooks == 1
    assert failing.pk


def test_beyond_the_limit_postgresql_estimates(forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    forge.webhook(now=now)
    forge.accept(30, now=now)
    first = Delivery.objects.order_by("id").values("id")[:10]
    Delivery.objects.filter(id__in=first).update(readiness=2)
    monkeypatch.setattr(backlog, "MAX_COUNTED", 15)

    # Never analysed, not even by autovacuum after another test: there is no estimate yet.
    forget_statistics()
    counted = backlog.measure(now=now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE hookhub_delivery")
    estimated = backlog.measure(now=now)

    assert counted.ready_first + counted.ready_retries == 15
    assert estimated.ready_first + estimated.ready_retries == 30


SEQUENTIAL = re.compile(r"Seq Scan on hookhub_\w+|Sort|Bitmap")


@pytest.mark.parametrize("name", [*backlog.COUNTS, "outbox head", "oldest due", "oldest finished"])
def test_no_figure_reads_a_table_or_sorts_it(name: str, now: datetime) -> None:
    heads = {
        "outbox head": backlog.OLDEST_IN_OUTBOX,
        "oldest due": backlog.OLDEST_DUE_AT,
        "oldest finished": backlog.OLDEST_FINISHED,
    }
    statement = (backlog.COUNTS | heads)[name]
    parameters = {"most": 10, "now": now}

    with transaction.atomic():
        sql.run(backlog.PREPARE, {"timeout": "2000"})
        plan = [line for (line,) in sql.run(f"EXPLAIN (COSTS OFF) {statement}", parameters)]

    assert [line for line in plan if SEQUENTIAL.search(line)] == [], "\n".join(plan)
    assert any("Index" in line for line in plan)
