"""The history that the benchmarks write is one that the engine could have written."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import Sum
from django.utils import timezone
from psycopg import conninfo

from bench import history
from deliveries import pipeline
from deliveries.maintenance import invariants
from deliveries.models import Attempt, Delivery, Event, HourlyStats, Webhook
from deliveries.pipeline import claiming
from deliveries.sending.sender import Sender
from testbed.instance import Instance
from testbed.servers import ORGANIZATION, Servers
from tests.receiver import Answer, Receiver
from tests.story import Forge, deliver_due

HOUR, SIX_HOURS = timedelta(hours=1), timedelta(hours=6)


@pytest.mark.django_db(transaction=True)
def test_the_ledger_finds_nothing_wrong_with_it(receiver: Receiver, sender: Sender) -> None:
    now = timezone.now()
    forge = Forge.make(receiver, slug=ORGANIZATION)
    receiver.answers["/fail"] = Answer(500)
    forge.webhook(now=now, path="/fail", events=["fail"], retry_schedule=[SIX_HOURS.total_seconds()])
    forge.webhook(now=now, events=["model"])
    forge.accept(event_type="fail", now=now)
    forge.accept(event_type="model", now=now)
    deliver_due(sender, now=now)
    own = connection.settings_dict
    database = conninfo.make_conninfo(dbname=own["NAME"], user=own["USER"], host=own["HOST"], port=own["PORT"])
    nowhere = Path("/nowhere")
    servers = Servers(nowhere, database_url=database)
    bench = Instance(servers, logs=nowhere, HOOKHUB_ENCRYPTION_KEYS=settings.HOOKHUB_ENCRYPTION_KEYS[0])
    said: list[str] = []

    try:
        history.add_crowd(bench, 8)
        history.write_era(bench, history.FINISHED, deliveries=80, webhooks=8, log=said.append)
        history.write_era(bench, history.RETRIES, deliveries=40, webhooks=8, log=said.append)
        history.count_hours(bench)
        history.vacuum(bench)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS crowd, bench_repository")

    findings = invariants.check_all(now=timezone.now(), settling=timedelta(0))
    assert {finding.check.name: finding.sample for finding in findings if finding.verdict != "ok"} == {}
    assert said == ["  80 of 80 finished deliveries", "  40 of 40 scheduled retries"]
    assert (Webhook.objects.count(), Event.objects.count()) == (10, 2 + 80 + 10)
    assert invariants.count_all().states == {"delivered": 81, "pending": 41}
    assert Attempt.objects.filter(outcome="delivered").count() == 81
    assert Attempt.objects.filter(outcome="failed", status=500).count() == 41
    crowd = Webhook.objects.filter(name__startswith="crowd-")
    assert {webhook.deliveries.filter(state="delivered").count() for webhook in crowd} == {10}
    assert {webhook.deliveries.filter(state="pending").count() for webhook in crowd} == {5}
    # They are due in hours, and none of them is ready.
    later = Delivery.objects.filter(state="pending", due_at__gt=timezone.now() + timedelta(hours=1))
    assert later.count() == 41
    assert claiming.promote_due(now=timezone.now()) == 0
    assert pipeline.claim(100, now=timezone.now()) == []
    # Each is in the rows of its webhook, its repository if it has one, its organization and of all.
    assert HourlyStats.objects.aggregate(counted=Sum("delivered"))["counted"] == 4 * 120 + 3 * 2
    assert HourlyStats.objects.latest("hour").hour + HOUR > now
