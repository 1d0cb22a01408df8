"""Failing webhooks are announced at 50, 70 and 90 % of what disables them, once for each incident, and recoveries."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import JSONField, Value
from pytest_django import Settings

from deliveries import pipeline
from deliveries.db import arrays, sql
from deliveries.maintenance import incidents
from deliveries.maintenance.incidents import Announcement, Watch
from deliveries.models import Delivery, Event, Webhook
from deliveries.policy.incidents import CALM
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from tests.receiver import Answer
from tests.story import Forge, counted_statements, deliver_due, forget_statistics, together

pytestmark = pytest.mark.django_db

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
# With its jitter of up to a tenth, the retry is due after 10 to 11 minutes.
RETRY = [600]


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tick announce all that it finds, however slow the machine is."""
    monkeypatch.setattr(incidents, "TICK_BUDGET", timedelta(days=1))


def silent(_webhook: Webhook, _announcement: Announcement) -> None:
    pass


def announced() -> list[tuple[str, int | None]]:
    """Return the events about failing webhooks, in their order, each with its percentage."""
    found = Event.objects.filter(type__in=["webhook.failing", "webhook.recovered", "webhook.disabled"]).order_by("id")
    return [(event.type.removeprefix("webhook."), json.loads(bytes(event.payload)).get("percent")) for event in found]


def look(at: datetime) -> int:
    return Watch().tick(silent, now=at)


def outage(forge: Forge, sender: Sender, *, now: datetime, **fields: Any) -> Webhook:
    """Return a webhook whose first delivery has just failed."""
    webhook = forge.webhook(now=now, **{"retry_schedule": RETRY, **fields})
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    return webhook


def test_an_outage_from_its_first_failure_to_the_first_success_after_it_was_disabled(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = outage(forge, sender, now=now)

    assert [look(now + after) for after in (SECOND, 4 * MINUTE)] == [0, 0]
    assert [look(now + 6 * MINUTE) for _ in range(3)] == [1, 0, 0]
    assert look(now + 7.8 * MINUTE) == 1
    assert [look(now + 9.95 * MINUTE) for _ in range(2)] == [1, 0]
    deliver_due(sender, now=now + 12 * MINUTE)
    assert announced() == [("failing", 50), ("failing", 70), ("failing", 90), ("disabled", None)]
    payload = json.loads(bytes(Event.objects.filter(type="webhook.failing").earliest("id").payload))
    assert payload["webhook"] == {"id": str(webhook.uid), "name": "", "url": webhook.url}
    assert (payload["failing_since"], payload["failure_count"]) == (now.isoformat(), 1)
    assert now + 10 * MINUTE <= datetime.fromisoformat(payload["disables_at"]) <= now + 11 * MINUTE

    later = now + timedelta(days=1)
    assert look(later) == 0
    lifecycle.enable(webhook.pk, release_held=False, now=later)
    assert look(later + CALM) == 0
    forge.receiver.answers["/"] = Answer(200)
    forge.accept(now=later + 2 * MINUTE)
    deliver_due(sender, now=later + 2 * MINUTE)
    assert [look(later + 3 * MINUTE) for _ in range(2)] == [1, 0]

    assert announced()[4:] == [("recovered", None)]
    payload = json.loads(bytes(Event.objects.get(type="webhook.recovered").payload))
    assert (payload["failing_since"], payload["recovered_at"]) == (
        now.isoformat(), (later + 2 * MINUTE).isoformat(),
    )  # fmt: skip
    webhook.refresh_from_db()
    assert (webhook.failing_since, webhook.announced_percent, webhook.announced_at) == (None, None, None)


def test_what_was_enabled_again_without_a_success_is_announced_again(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = outage(forge, sender, now=now)
    look(now + 9.95 * MINUTE)
    deliver_due(sender, now=now + 12 * MINUTE)
    again = now + timedelta(hours=1)
    lifecycle.enable(webhook.pk, release_held=False, now=again)
    forge.accept(now=again)
    deliver_due(sender, now=again)

    assert [look(again + 6 * MINUTE) for _ in range(2)] == [1, 0]
    assert announced() == [("failing", 90), ("disabled", None), ("failing", 50)]


def test_after_a_recovery_a_new_incident_begins(forge: Forge, sender: Sender, now: datetime) -> None:
    outage(forge, sender, now=now)
    look(now + 6 * MINUTE)
    forge.receiver.answers["/"] = [Answer(200), Answer(500)]
    deliver_due(sender, now=now + 12 * MINUTE)
    # It fails again before anything has looked at it.
    again = now + 13 * MINUTE
    forge.accept(now=again)
    deliver_due(sender, now=again)

    assert [look(again + SECOND), look(again + 6 * MINUTE), look(again + 6 * MINUTE)] == [1, 1, 0]
    assert announced() == [("failing", 50), ("recovered", None), ("failing", 50)]


def test_from_nothing_to_the_last_level_only_that_is_announced(forge: Forge, sender: Sender, now: datetime) -> None:
    outage(forge, sender, now=now)

    assert [look(now + 30 * MINUTE) for _ in range(2)] == [1, 0]
    assert announced() == [("failing", 90)]


def test_the_clock_jumps_and_nothing_is_announced_twice(forge: Forge, sender: Sender, now: datetime) -> None:
    outage(forge, sender, now=now)

    assert [look(now + after) for after in (-timedelta(days=1), 8 * MINUTE, MINUTE, -MINUTE, 8 * MINUTE)] == [
        0, 1, 0, 0, 0,
    ]  # fmt: skip
    assert announced() == [("failing", 70)]


# label: what a webhook that nothing disables is like
UNDISTURBED: dict[str, dict[str, Any]] = {
    "never disabled by itself": {"auto_disable": False},
    "without retries": {"retry_schedule": []},
}


@pytest.mark.parametrize("fields", UNDISTURBED.values(), ids=UNDISTURBED)
def test_what_nothing_disables_is_not_announced(
    forge: Forge, sender: Sender, now: datetime, fields: dict[str, Any]
) -> None:
    outage(forge, sender, now=now, **fields)

    assert [look(now + after) for after in (6 * MINUTE, timedelta(days=2))] == [0, 0]
    assert announced() == []


def test_what_is_retried_since_before_the_last_success_disables_nothing(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    outage(forge, sender, now=now)
    forge.receiver.answers["/"] = [Answer(200), Answer(500)]
    for minutes in (1, 2):
        forge.accept(now=now + minutes * MINUTE)
        deliver_due(sender, now=now + minutes * MINUTE)

    assert [look(now + 6 * MINUTE), look(now + 8 * MINUTE)] == [0, 1]
    assert announced() == [("failing", 50)]


def test_what_was_not_retried_disables_nothing(forge: Forge, sender: Sender, now: datetime) -> None:
    outage(forge, sender, now=now)
    Delivery.objects.update(state="cancelled", finish_reason="cancelled", due_at=None, finished_at=now)

    assert look(now + 6 * MINUTE) == 0


def test_a_strangers_subscription_and_a_webhook_that_its_owner_disabled_are_not_watched(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = outage(forge, sender, now=now)
    Webhook.objects.update(subscription={"topic": "https://hub.example/"})
    assert look(now + 6 * MINUTE) == 0
    Webhook.objects.update(subscription=Value(None, JSONField()))
    lifecycle.disable(webhook.pk, now=now + MINUTE)

    assert look(now + 6 * MINUTE) == 0
    assert announced() == []


def test_an_operators_limit_counts(forge: Forge, sender: Sender, now: datetime, settings: Settings) -> None:
    settings.HOOKHUB_DISABLE_AFTER_FAILURES = 10
    outage(forge, sender, now=now)
    forge.accept(4, now=now)
    deliver_due(sender, now=now)

    assert [look(now) for _ in range(2)] == [1, 0]
    forge.accept(4, now=now)
    deliver_due(sender, now=now)
    assert look(now) == 1

    assert announced() == [("failing", 50), ("failing", 90)]
    assert json.loads(bytes(Event.objects.filter(type="webhook.failing")[0].payload))["disables_at"] is None


def test_a_webhook_that_works_is_not_watched(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)

    webhook.refresh_from_db()
    assert (webhook.last_success_at, webhook.failing_since) == (now, None)


def test_one_failure_between_successes_is_forgotten(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = outage(forge, sender, now=now)
    forge.receiver.answers["/"] = Answer(200)
    deliver_due(sender, now=now + 11 * MINUTE)
    webhook.refresh_from_db()
    assert webhook.failing_since == now

    assert look(now + 11 * MINUTE) == 0

    webhook.refresh_from_db()
    assert (webhook.failing_since, announced()) == (None, [])


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_announce_once(forge: Forge, sender: Sender, now: datetime) -> None:
    outage(forge, sender, now=now)
    told: list[int | None] = []

    def note(_webhook: Webhook, announcement: Announcement) -> None:
        told.append(announcement.percent)

    at = now + 6 * MINUTE
    counts = together(*[lambda: Watch().tick(note, now=at)] * 6)

    assert (sum(counts), told, announced()) == (1, [50], [("failing", 50)])


def test_what_cannot_be_handed_on_is_neither_marked_nor_published(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = outage(forge, sender, now=now)

    def die(_webhook: Webhook, _announcement: Announcement) -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        Watch().tick(die, now=now + 6 * MINUTE)

    webhook.refresh_from_db()
    assert (webhook.announced_percent, announced()) == (None, [])
    assert look(now + 6 * MINUTE) == 1


def test_some_at_each_tick_until_all_were_looked_at(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        forge.webhook(now=now, retry_schedule=RETRY)
    outage(forge, sender, now=now)
    monkeypatch.setattr(incidents, "WEBHOOKS_PER_TICK", 2)
    sweep, at = Watch(), now + 6 * MINUTE

    assert [sweep.tick(silent, now=at) for _ in range(5)] == [2, 2, 1, 0, 0]


def test_a_tick_that_has_taken_long_leaves_the_rest_to_the_next(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        forge.webhook(now=now, retry_schedule=RETRY)
    outage(forge, sender, now=now)
    monkeypatch.setattr(incidents, "TICK_BUDGET", timedelta(0))
    sweep, at = Watch(), now + 6 * MINUTE

    assert [sweep.tick(silent, now=at) for _ in range(5)] == [1, 1, 1, 0, 0]


def test_a_tick_over_failing_webhooks_with_nothing_new_asks_twice(forge: Forge, sender: Sender, now: datetime) -> None:
    for _ in range(3):
        forge.webhook(now=now, retry_schedule=RETRY)
    with counted_statements() as none_failing:
        look(now)
    outage(forge, sender, now=now)
    with counted_statements() as early:
        look(now + MINUTE)
    look(now + 6 * MINUTE)
    with counted_statements() as late:
        look(now + 7.8 * MINUTE)

    assert (len(none_failing), len(early)) == (1, 1)
    assert look(now + 7.8 * MINUTE) == 0
    assert len([statement for statement in late if "hookhub_delivery" in statement]) == 1


def test_only_failing_webhooks_are_read(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forget_statistics()
    asked = {"after": 0, "limit": incidents.WEBHOOKS_PER_TICK}

    lines = sql.run(f"EXPLAIN (COSTS OFF) {incidents.FIND_FAILING}", asked)

    assert "webhook_failing" in "\n".join(str(line) for (line,) in lines)


def test_the_retried_deliveries_are_found_by_their_indexes(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forget_statistics()
    asked = {
        "webhooks": arrays.bigints([webhook.pk]),
        "since": arrays.timestamps([None]),
        "limit": incidents.MAX_RETRIED,
    }
    with transaction.atomic():
        sql.run(sql.PREFER_INDEXES.replace("false", "true"), {})
        lines = sql.run(f"EXPLAIN (COSTS OFF) {incidents.FIND_LONGEST_RETRIED}", asked)
    found = "\n".join(str(line) for (line,) in lines)

    assert "Seq Scan" not in found
    assert all(name in found for name in ("delivery_scheduled_of_webhook", "delivery_ready", "delivery_leased"))


def test_a_review_leaves_an_incident_as_it_is(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = outage(forge, sender, now=now)
    Webhook.objects.update(gone_at=now)

    assert pipeline.review(now=now + MINUTE) == [webhook]

    webhook.refresh_from_db()
    assert (webhook.failing_since, webhook.announced_percent) == (now, 100)
