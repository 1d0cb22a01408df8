"""The lifecycle of a delivery on a real PostgreSQL, with a real receiver, and time as an argument."""

import json
import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.db.models import Count
from pytest_django import Settings

from deliveries import pipeline, redelivery, vault
from deliveries.db import sql
from deliveries.formats import FORMATS, MASK, Message, Rendered
from deliveries.formats.standard_webhooks import StandardWebhooks
from deliveries.maintenance import tasks
from deliveries.models import Attempt, Delivery, Event, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from tests.receiver import Answer
from tests.story import Forge, attempt_all, claim_due, deliver_due, outcomes_of, the_delivery

pytestmark = pytest.mark.django_db


def states(**filters: Any) -> dict[str, int]:
    """Return the number of deliveries by state."""
    found = Delivery.objects.filter(**filters).values_list("state").annotate(Count("id")).order_by("state")
    return dict(found)


def test_an_event_is_delivered_signed_and_recorded(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    deliver_due(sender, now=now)

    [request] = forge.receiver.received
    delivery = the_delivery()
    attempt = Attempt.objects.get()
    assert request.headers["webhook-id"] == str(delivery.id)
    assert request.body == b'{"type":"push","timestamp":"2026-03-04T12:00:00.000Z","data":{"ref": "refs/heads/main"}}'
    assert (delivery.state, delivery.finish_reason, delivery.attempts_made, delivery.failures) == (
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
    assert (delivery.state, delivery.finish_reason, delivery.attempts_made) == ("failed", "exhausted", 6)
    assert outcomes_of(delivery) == ["failed"] * 6
    webhook.refresh_from_db()
    assert (webhook.disabled_at, webhook.disabled_reason, webhook.failure_count) == (moment, "failing", 6)
    assert Event.objects.get(type="webhook.disabled").accepted_at == moment


# What a receiver's response leads to ---------------------------------------------------------------------------------


def test_gone_disables_at_once_and_holds_what_waits(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now, max_in_flight=1)
    forge.receiver.answers["/"] = Answer(410)
    forge.accept(3, now=now)

    deliver_due(sender, now=now)

    webhook.refresh_from_db()
    assert (webhook.disabled_at, webhook.disabled_reason) == (now, "gone")
    assert states() == {"failed": 1, "held": 2}
    assert Delivery.objects.get(state="failed").finish_reason == "gone"
    assert len(forge.receiver.received) == 1


def test_gone_disables_even_a_webhook_that_is_never_disabled_for_failing(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, auto_disable=False)
    forge.receiver.answers["/"] = Answer(410)
    forge.accept(now=now)

    deliver_due(sender, now=now)

    webhook.refresh_from_db()
    assert webhook.disabled_reason == "gone"


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_peace_gets_it_for_all_its_deliveries_and_nobody_else_waits(
    forge: Forge, sender: Sender, now: datetime, status: int
) -> None:
    asking = forge.webhook(now=now, path="/asking", max_in_flight=1)
    forge.webhook(now=now, path="/other")
    forge.receiver.answers["/asking"] = [Answer(status, {"Retry-After": "600"}), Answer(200)]
    forge.accept(3, now=now)

    deliver_due(sender, now=now)
    asking.refresh_from_db()
    assert asking.backoff_until == now + timedelta(minutes=10)
    [refused] = Delivery.objects.filter(webhook=asking, attempts_made=1)
    assert refused.due_at == now + timedelta(minutes=10)

    almost = now + timedelta(minutes=10) - timedelta(microseconds=1)
    forge.accept(now=almost)
    deliver_due(sender, now=almost)
    paths = [request.path for request in forge.receiver.received]
    assert (paths.count("/asking"), paths.count("/other")) == (1, 4)
    # A delivery that waits uses up no attempt.
    assert sorted(Delivery.objects.filter(webhook=asking).values_list("attempts_made", flat=True)) == [0, 0, 0, 1]

    for _ in range(4):
        deliver_due(sender, now=now + timedelta(minutes=10))
    assert states(webhook=asking) == {"delivered": 4}


def test_retry_after_on_another_status_and_retry_after_that_is_shorter_change_nothing(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now, path="/a")
    forge.webhook(now=now, path="/b")
    forge.receiver.answers["/a"] = Answer(500, {"Retry-After": "600"})
    forge.receiver.answers["/b"] = Answer(429, {"Retry-After": "59"})
    forge.accept(now=now)

    deliver_due(sender, now=now)

    for delivery in Delivery.objects.all():
        assert delivery.due_at is not None
        assert now + timedelta(seconds=60) <= delivery.due_at <= now + timedelta(seconds=66)


def test_a_healthy_webhook_is_not_disabled_by_a_short_outage(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now, retry_schedule=[60, 60])
    forge.accept(now=now)
    deliver_due(sender, now=now)
    forge.receiver.answers["/"] = Answer(502)
    outage = now + timedelta(hours=1)
    forge.accept(10, now=outage)
    deliver_due(sender, now=outage)
    deliver_due(sender, now=outage + timedelta(minutes=2))
    webhook.refresh_from_db()
    assert webhook.failure_count == 20

    # After one success in between, exhausting all the others does not disable the webhook.
    forge.receiver.answers["/"] = [Answer(200), Answer(502)]
    deliver_due(sender, now=outage + timedelta(minutes=4))

    assert states() == {"delivered": 2, "failed": 9}
    webhook.refresh_from_db()
    assert (webhook.disabled_at, webhook.review_since) == (None, None)


def test_a_strict_count_disables_after_so_many_failures_in_a_row(
    forge: Forge, sender: Sender, now: datetime, settings: Settings
) -> None:
    settings.HOOKHUB_DISABLE_AFTER_FAILURES = 3
    strict = forge.webhook(now=now, path="/strict")
    never = forge.webhook(now=now, path="/never", auto_disable=False)
    forge.receiver.answers = {"/strict": Answer(500), "/never": Answer(500)}

    for minute in range(3):
        assert [one.disabled_at for one in Webhook.objects.order_by("id")] == [None, None]
        forge.accept(now=now + timedelta(minutes=minute))
        Delivery.objects.filter(attempts_made__gt=0).update(
            state="cancelled", finish_reason="cancelled", finished_at=now, due_at=None
        )
        deliver_due(sender, now=now + timedelta(minutes=minute))

    strict.refresh_from_db()
    never.refresh_from_db()
    assert (strict.disabled_reason, strict.disabled_at) == ("too_many_failures", now + timedelta(minutes=2))
    assert (never.disabled_reason, never.failure_count) == (None, 3)


def test_a_strict_count_looks_past_webhooks_that_never_disable_themselves(
    forge: Forge, now: datetime, settings: Settings
) -> None:
    settings.HOOKHUB_DISABLE_AFTER_FAILURES = 3
    settings.HOOKHUB_WEBHOOKS_PER_URL = 0
    for _ in range(lifecycle.REVIEW_BATCH):
        forge.webhook(now=now, auto_disable=False)
    failing = forge.webhook(now=now)
    Webhook.objects.update(failure_count=3)

    assert pipeline.review(now=now) == [failing]


def test_success_resets_the_count_of_failures(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(500), Answer(500), Answer(200), Answer(500)]

    counts = []
    for second in range(4):
        forge.accept(now=now + timedelta(seconds=second))
        deliver_due(sender, now=now + timedelta(seconds=second))
        webhook.refresh_from_db()
        counts.append((webhook.failure_count, webhook.last_delivery_status))

    assert counts == [(1, "500"), (2, "500"), (0, "200"), (1, "500")]
    assert webhook.last_success_at == now + timedelta(seconds=2)
    assert webhook.last_delivery_at == now + timedelta(seconds=3)


def test_a_receiver_that_keeps_timing_out_is_left_alone_for_a_while_as_a_whole(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    slow = forge.webhook(now=now, path="/slow", max_in_flight=20)
    forge.webhook(now=now, path="/other")
    Webhook.objects.filter(pk=slow.pk).update(timeout=timedelta(milliseconds=200))
    closing = forge.receiver.closing
    forge.receiver.script = lambda connection, request: (
        closing.wait(5) if request.path == "/slow" else connection.sendall(Answer(200).encode())
    )  # type: ignore[assignment, return-value]
    forge.accept(10, now=now)

    deliver_due(sender, now=now)

    slow.refresh_from_db()
    assert (slow.timeouts_in_a_row, slow.backoff_until) == (10, now + timedelta(seconds=10))
    assert slow.disabled_at is None
    resting = now + timedelta(seconds=9)
    forge.accept(now=resting)
    assert {claim.destination.url for claim in claim_due(100, now=resting)} == {forge.receiver.url("/other")}


# Each webhook's own policy -------------------------------------------------------------------------------------------


def test_a_webhooks_own_schedule_replaces_the_deployments(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, retry_schedule=[7, 11.5])
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)

    moment, waits = now, []
    while (delivery := the_delivery()).state == "pending":
        assert delivery.due_at is not None
        waits.append((delivery.due_at - moment).total_seconds())
        moment = delivery.due_at
        deliver_due(sender, now=moment)

    assert waits == [0, pytest.approx(7.35, abs=0.36), pytest.approx(12.1, abs=0.61)]
    assert (delivery.finish_reason, delivery.attempts_made) == ("exhausted", 3)


def test_without_retries_one_attempt_is_all_and_failing_does_not_disable(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, retry_schedule=[])
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(20, now=now)

    for _ in range(3):
        deliver_due(sender, now=now)

    assert states() == {"failed": 20}
    assert len(forge.receiver.received) == 20
    webhook.refresh_from_db()
    assert (webhook.disabled_at, webhook.failure_count) == (None, 20)


def test_coregits_format_keeps_coregits_promises(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="coregit")
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)

    [claim] = claim_due(10, now=now)
    [result] = attempt_all([claim], sender, now=now)
    pipeline.settle([result], now=now)
    pipeline.review(now=now)

    assert result.request.timeout == timedelta(seconds=10)
    assert webhook.auto_disable is False
    delivery = the_delivery()
    assert (delivery.state, delivery.finish_reason, delivery.attempts_made) == ("failed", "exhausted", 1)
    webhook.refresh_from_db()
    assert webhook.disabled_at is None
    [request] = forge.receiver.received
    assert request.headers["x-coregit-webhook-id"] == str(webhook.uid)
    assert request.headers["user-agent"] == "CoreGit-Webhook/1.0"


def test_a_webhooks_own_deadline_holds(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, timeout=1)
    Webhook.objects.update(timeout=timedelta(milliseconds=200))
    forge.receiver.script = lambda connection, request: forge.receiver.closing.wait(60)  # type: ignore[assignment, return-value]
    forge.accept(now=now)

    deliver_due(sender, now=now)

    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.status) == ("no_response", None)
    assert timedelta(milliseconds=200) <= attempt.duration < timedelta(seconds=30)
    assert Webhook.objects.get().last_delivery_status == "timeout"


# Disabled, enabled, deleted ------------------------------------------------------------------------------------------


def test_what_a_disabled_webhook_is_owed_is_held_and_new_events_are_not_owed(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(2, now=now)

    assert lifecycle.disable(webhook.pk, now=now)[1] == 2
    forge.accept(3, now=now)
    deliver_due(sender, now=now)

    assert states() == {"held": 2}
    assert forge.receiver.received == []
    webhook.refresh_from_db()
    assert (webhook.disabled_reason, webhook.owner_notified_at) == ("by_owner", now)


@pytest.mark.parametrize(
    ("release_held", "released", "expected"), [(True, 2, {"delivered": 2}), (False, 0, {"held": 2})]
)
def test_enabling_releases_what_was_held_if_asked(
    forge: Forge, sender: Sender, now: datetime, released: int, expected: dict[str, int], *, release_held: bool
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(2, now=now)
    lifecycle.disable(webhook.pk, now=now)
    later = now + timedelta(days=3)

    webhook, count = lifecycle.enable(webhook.pk, release_held=release_held, now=later)
    deliver_due(sender, now=later)

    assert count == released
    assert states() == expected
    assert webhook.active


def test_enabling_begins_with_a_clean_slate(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now, retry_schedule=[60])
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    deliver_due(sender, now=now + timedelta(minutes=2))
    webhook.refresh_from_db()
    assert webhook.disabled_reason == "failing"
    later = now + timedelta(days=1)

    webhook, _ = lifecycle.enable(webhook.pk, release_held=True, now=later)
    assert pipeline.review(now=later) == []

    webhook.refresh_from_db()
    assert (webhook.failure_count, webhook.disabled_at, webhook.disabled_reason, webhook.review_since) == (
        0,
        None,
        None,
        None,
    )
    # The next failure is the first of its delivery's schedule again.
    forge.accept(now=later)
    deliver_due(sender, now=later)
    webhook.refresh_from_db()
    assert (webhook.active, webhook.failure_count) == (True, 1)


def test_a_delivery_fanned_out_while_its_webhook_was_being_disabled_is_held_by_the_claim(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    lifecycle.disable(webhook.pk, now=now)
    # As left by a fan-out whose snapshot is older than the disabling.
    Delivery.objects.update(state="pending", due_at=now)

    assert claim_due(10, now=now) == []

    assert states() == {"held": 1}
    assert forge.receiver.received == []


def test_what_is_in_flight_while_its_webhook_is_disabled_counts_and_is_not_sent_again(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(200), Answer(500)]
    forge.accept(2, now=now)
    results = attempt_all(claim_due(10, now=now), sender, now=now)

    assert lifecycle.disable(webhook.pk, now=now)[1] == 0
    pipeline.settle(results, now=now)

    # The failed delivery is held by the first claim after it is due.
    assert claim_due(10, now=now + timedelta(days=1)) == []
    assert states() == {"delivered": 1, "held": 1}


def test_what_is_in_flight_while_its_webhook_is_disabled_and_enabled_again_is_simply_tried_again(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(500), Answer(200)]
    forge.accept(now=now)
    results = attempt_all(claim_due(10, now=now), sender, now=now)
    lifecycle.disable(webhook.pk, now=now)
    lifecycle.enable(webhook.pk, release_held=True, now=now)

    pipeline.settle(results, now=now)
    deliver_due(sender, now=now + timedelta(hours=1))

    assert states() == {"delivered": 1}


def test_a_failure_from_before_it_was_enabled_again_does_not_disable_a_webhook(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(410)
    forge.accept(now=now)
    results = attempt_all(claim_due(10, now=now), sender, now=now)
    later = now + timedelta(seconds=1)
    lifecycle.disable(webhook.pk, now=now)
    lifecycle.enable(webhook.pk, release_held=True, now=later)

    pipeline.settle(results, now=later)

    assert pipeline.review(now=later) == []
    assert Delivery.objects.get().finish_reason == "gone"


# The second variant forces a plan that PostgreSQL sometimes chooses, depending on its statistics: part of a statement
# is executed again for every row.
AGAIN_FOR_EVERY_ROW = "".join(
    f"SET LOCAL enable_{way} = off; " for way in ("hashjoin", "mergejoin", "sort", "hashagg", "material")
)


@pytest.mark.parametrize("planner", ["SELECT", AGAIN_FOR_EVERY_ROW])
def test_more_than_can_be_held_at_once_is_held_released_and_cancelled_batch_by_batch(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch, planner: str
) -> None:
    monkeypatch.setattr(sql, "BATCH", 3)
    connection.cursor().execute(planner)
    webhook = forge.webhook(now=now, max_in_flight=100)
    forge.accept(8, now=now)

    assert lifecycle.disable(webhook.pk, now=now)[1] == 3
    for held in (6, 8, 8):
        assert claim_due(100, now=now) == []
        assert states()["held"] == held

    assert lifecycle.enable(webhook.pk, release_held=True, now=now)[1] == 3
    assert [tasks.continue_releases(now=now) for _ in range(3)] == [3, 2, 0]
    assert states() == {"pending": 8}

    assert lifecycle.delete(webhook.pk, now=now) == 3
    for cancelled in (6, 8):
        tasks.cancel_deliveries_of_deleted(now=now)
        assert states()["cancelled"] == cancelled
    assert forge.receiver.received == []


def test_what_is_not_yet_released_stays_held_when_the_webhook_is_disabled_again(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "BATCH", 3)
    webhook = forge.webhook(now=now)
    forge.accept(3, now=now)
    lifecycle.disable(webhook.pk, now=now)
    forge.webhook(now=now)
    lifecycle.enable(webhook.pk, release_held=True, now=now)
    lifecycle.disable(webhook.pk, now=now)

    assert tasks.continue_releases(now=now) == 0
    assert states() == {"held": 3}


def test_a_release_goes_on_when_the_webhook_is_enabled_once_more(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "BATCH", 3)
    webhook = forge.webhook(now=now, max_in_flight=100)
    forge.accept(5, now=now)
    lifecycle.disable(webhook.pk, now=now)
    assert claim_due(100, now=now) == []
    assert states() == {"held": 5}
    lifecycle.enable(webhook.pk, release_held=True, now=now)

    assert lifecycle.enable(webhook.pk, release_held=False, now=now)[1] == 0

    assert tasks.continue_releases(now=now) == 2
    assert states() == {"pending": 5}


def test_deleting_cancels_what_is_owed_and_forgets_the_secrets(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now, headers={"X-Token": "s3cret"})
    forge.accept(2, now=now)
    [claim] = claim_due(1, now=now)

    assert lifecycle.delete(webhook.pk, now=now) == 1

    forge.accept(now=now)
    webhook.refresh_from_db()
    assert (vault.secrets_of(webhook), webhook.sealed_headers, webhook.active) == ((), None, False)
    assert states() == {"cancelled": 1, "sending": 1}

    # The delivery in flight fails, and is cancelled when it is due instead of being retried.
    forge.receiver.answers["/"] = Answer(500)
    pipeline.settle(attempt_all([claim], sender, now=now), now=now)
    assert claim_due(10, now=now + timedelta(days=1)) == []
    tasks.cancel_deliveries_of_deleted(now=now + timedelta(days=1))
    assert states() == {"cancelled": 2}
    assert forge.receiver.received[1:] == []


# Redelivery ----------------------------------------------------------------------------------------------------------


def test_a_redelivery_keeps_the_id_numbers_its_attempts_on_and_starts_the_schedule_afresh(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now, retry_schedule=[60])
    forge.receiver.answers["/"] = [Answer(200), Answer(500), Answer(500), Answer(200)]
    forge.accept(now=now)
    deliver_due(sender, now=now)
    later = now + timedelta(days=1)

    assert redelivery.redeliver([the_delivery().pk], now=later) == 1
    deliver_due(sender, now=later)
    assert (the_delivery().state, the_delivery().failures) == ("pending", 1)
    deliver_due(sender, now=later + timedelta(minutes=2))

    delivery = the_delivery()
    assert (delivery.state, delivery.attempts_made, delivery.failures, delivery.redeliveries) == ("failed", 3, 2, 1)
    assert delivery.first_attempt_at == later
    assert outcomes_of(delivery) == ["delivered", "failed", "failed"]
    assert {request.headers["webhook-id"] for request in forge.receiver.received} == {str(delivery.id)}


def test_only_what_is_neither_under_way_nor_off_can_be_sent_again(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook, other = forge.webhook(now=now), forge.webhook(now=now)
    forge.accept(now=now)
    mine, others = Delivery.objects.get(webhook=webhook), Delivery.objects.get(webhook=other)
    claim_due(1, now=now)
    lifecycle.disable(other.pk, now=now)

    assert redelivery.redeliver([mine.pk, others.pk, uuid4()], now=now) == 0

    assert states() == {"sending": 1, "held": 1}


def test_cancelling_stops_what_waits_and_nothing_else(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(4, now=now)
    waiting, held, sending, done = Delivery.objects.order_by("id")
    Delivery.objects.filter(pk=held.pk).update(state="held", due_at=None)
    Delivery.objects.filter(pk=done.pk).update(
        state="delivered", finish_reason="delivered", finished_at=now, due_at=None
    )
    Delivery.objects.filter(pk=waiting.pk).update(
        readiness=Delivery.Readiness.SCHEDULED, due_at=now + timedelta(hours=1)
    )
    claim_due(10, now=now)

    assert redelivery.cancel([waiting.pk, held.pk, sending.pk, done.pk], now=now) == 2

    assert states(webhook=webhook) == {"cancelled": 2, "sending": 1, "delivered": 1}
    assert claim_due(10, now=now + timedelta(days=1)) == []
    assert redelivery.redeliver([waiting.pk], now=now) == 1


# Isolation of deliveries in a batch ----------------------------------------------------------------------------------


def test_whatever_bytes_come_back_are_recorded_and_harm_no_neighbour(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    for path in ("/nul", "/latin", "/html", "/fine"):
        forge.webhook(now=now, path=path)
    forge.receiver.answers = {
        "/nul": Answer(200, {"X": "\x01\x7f"}, b"a\0b\0"),
        "/latin": Answer(500, {"X": "\xff\xfe\x80"}, b"\xff\xfe\xed\xa0\x80"),
        "/html": Answer(200, body=b"<script>alert(1)</script>\r\n'; DROP TABLE x; --"),
    }
    forge.accept(now=now)

    assert len(deliver_due(sender, now=now)) == 4

    assert states() == {"delivered": 3, "pending": 1}
    kept = {attempt.url.rpartition("/")[2]: attempt for attempt in Attempt.objects.all()}
    assert bytes(kept["nul"].response_body) == b"a\0b\0"
    assert bytes(kept["latin"].response_body) == b"\xff\xfe\xed\xa0\x80"
    assert "X: ÿþ\x80" in kept["latin"].response_headers
    assert bytes(kept["html"].response_body).startswith(b"<script>")


class Broken(StandardWebhooks):
    """Raises on rendering, with a message that PostgreSQL cannot store."""

    def render(self, message: Message) -> Rendered:
        raise ValueError("nothing\0 to see")


class Injecting(StandardWebhooks):
    """Adds a header that cannot be sent."""

    def render(self, message: Message) -> Rendered:
        return Rendered((("X-Half", "\ud800"),), b"{}")


@pytest.mark.parametrize("broken", [Broken(), Injecting()], ids=["raises", "cannot be sent"])
def test_a_format_that_fails_costs_its_own_delivery_an_attempt_and_no_neighbour_anything(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch, broken: StandardWebhooks
) -> None:
    forge.webhook(now=now, path="/a", format="coregit", retry_schedule=[60])
    forge.webhook(now=now, path="/b")
    forge.accept(2, now=now)
    monkeypatch.setitem(FORMATS, "coregit", broken)

    deliver_due(sender, now=now)

    assert states() == {"pending": 2, "delivered": 2}
    attempts = Attempt.objects.filter(outcome="no_response")
    assert len(attempts) == 2
    for attempt in attempts:
        assert attempt.error.startswith("The request could not be built: ")
        assert (attempt.number, attempt.status, attempt.request_headers) == (1, None, "")
    assert len(forge.receiver.received) == 2
    assert Webhook.objects.get(format="coregit").last_delivery_status == "unrenderable"


def test_a_format_that_only_another_version_knows_costs_its_own_delivery_an_attempt_and_says_what_to_do(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now, path="/a/secret", headers={"X-Key": "t0ps3cret"})
    forge.webhook(now=now, path="/b")
    Webhook.objects.filter(stored_url__endswith="/a/secret").update(format="of-tomorrow")
    forge.accept(2, now=now)

    deliver_due(sender, now=now)

    assert states() == {"pending": 2, "delivered": 2}
    assert {request.path for request in forge.receiver.received} == {"/b"}
    for attempt in Attempt.objects.filter(outcome="no_response"):
        assert attempt.error == (
            "The request could not be built: this worker's version of HookHub does not know the wire format "
            "'of-tomorrow'; upgrade all workers, or change the webhook's format"
        )
        assert attempt.url == forge.receiver.url(f"/{MASK}")
    webhook = Webhook.objects.get(format="of-tomorrow")
    assert (webhook.last_delivery_status, webhook.failure_count) == ("unrenderable", 2)

    # A worker that knows the format continues the schedule where it was.
    Webhook.objects.filter(format="of-tomorrow").update(format="standard-webhooks")
    deliver_due(sender, now=now + timedelta(minutes=2))
    assert states() == {"delivered": 4}


def test_what_was_lost_with_its_worker_shows_no_url_of_a_format_that_only_another_version_knows(
    forge: Forge, now: datetime, settings: Settings
) -> None:
    forge.webhook(now=now, path="/a/secret")
    Webhook.objects.update(format="of-tomorrow")
    forge.accept(now=now)
    claim_due(1, now=now)

    tasks.rescue_expired_leases(now=now + settings.HOOKHUB_LEASE + timedelta(seconds=1))

    assert Attempt.objects.get().url == forge.receiver.url(f"/{MASK}")


def test_secrets_whose_key_is_missing_cost_an_attempt_and_the_owner_reads_why(
    forge: Forge, sender: Sender, now: datetime, settings: Settings
) -> None:
    forge.webhook(now=now, path="/a")
    old, new = settings.HOOKHUB_ENCRYPTION_KEYS, Fernet.generate_key().decode()
    settings.HOOKHUB_ENCRYPTION_KEYS = (new,)
    forge.webhook(now=now, path="/b")
    forge.accept(now=now)

    deliver_due(sender, now=now)

    assert [request.path for request in forge.receiver.received] == ["/b"]
    assert "HOOKHUB_ENCRYPTION_KEYS" in Attempt.objects.get(outcome="no_response").error

    # With the old key restored, the next attempt succeeds.
    settings.HOOKHUB_ENCRYPTION_KEYS = (new, *old)
    deliver_due(sender, now=now + timedelta(minutes=2))
    assert states() == {"delivered": 2}


def test_no_secret_is_logged_or_recorded(
    forge: Forge, sender: Sender, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = StandardWebhooks().make_secret()
    forge.webhook(now=now, secret=secret, headers={"Authorization": "Bearer t0ps3cret", "X-Key": "t0ps3cret"})
    forge.webhook(now=now, path="/c", format="coregit", secret="whsec_t0ps3cret", headers={"X-Key": "t0ps3cret"})
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)

    deliver_due(sender, now=now)

    said = caplog.text + "".join(
        f"{one.url} {one.request_headers} {one.response_headers} {one.error}" for one in Attempt.objects.all()
    )
    assert Attempt.objects.count() == 2
    assert "t0ps3cret" not in said
    assert secret.removeprefix("whsec_") not in said
    assert "Authorization: ********" in said
    assert forge.receiver.received[0].headers["x-key"] == "t0ps3cret"


def test_each_attempt_is_told_in_one_line_of_json(
    forge: Forge, sender: Sender, now: datetime, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "hookhub.attempts")
    monkeypatch.setattr(logging.getLogger("hookhub.attempts"), "propagate", True)
    forge.webhook(now=now)
    forge.accept(now=now)

    deliver_due(sender, now=now)

    [line] = [json.loads(line) for line in {record.message for record in caplog.records}]
    assert line.pop("duration")
    assert line == {
        "delivery": str(the_delivery().id), "webhook": Webhook.objects.get().pk, "organization": "acme",
        "attempt": 1, "outcome": "delivered", "status": 200, "state": "delivered", "finish_reason": "delivered",
        "was_ours": True,
    }  # fmt: skip
