"""What the database itself rejects, whatever writes to it."""

from datetime import datetime

import pytest
from django.db import IntegrityError, connection, transaction

from deliveries.models import Attempt, Delivery, Event, Webhook
from deliveries.sending.sender import Sender
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

LEASED = "lease = gen_random_uuid(), leased_at = now(), leased_until = now()"
ENDED = "finished_at = now(), finish_reason = 'delivered'"
# Changes to a pending delivery, and the constraint that rejects each.
DELIVERY = {
    "state unknown": ("state = 'lost'", "delivery_state_known"),
    "state empty": ("state = ''", "delivery_state_known"),
    "pending without a time": ("due_at = NULL", "delivery_due_while_pending"),
    "pending with a lease": (LEASED, "delivery_leased_while_sending"),
    "pending with half a lease": ("lease = gen_random_uuid()", "delivery_leased_while_sending"),
    "pending with a stale lease": ("leased_until = now()", "delivery_leased_while_sending"),
    "sending without a lease": ("state = 'sending', due_at = NULL", "delivery_leased_while_sending"),
    "sending without its end": (
        "state = 'sending', lease = gen_random_uuid(), leased_at = now()", "delivery_leased_while_sending",
    ),
    "held with a lease": (f"state = 'held', {LEASED}", "delivery_leased_while_sending"),
    "delivered without a time": ("state = 'delivered', finish_reason = 'delivered'", "delivery_finished_with_reason"),
    "delivered without a finish reason": ("state = 'delivered', finished_at = now()", "delivery_finished_with_reason"),
    "failed without both": ("state = 'failed'", "delivery_finished_with_reason"),
    "cancelled without both": ("state = 'cancelled'", "delivery_finished_with_reason"),
    "pending and finished": (ENDED, "delivery_finished_with_reason"),
    "held and finished": (f"state = 'held', {ENDED}", "delivery_finished_with_reason"),
    "sending and finished": (f"state = 'sending', {LEASED}, {ENDED}", "delivery_finished_with_reason"),
    "more failures than attempts": ("failures = 1", "delivery_failures_are_attempts"),
    "negative attempts": ("attempts_made = -1", "check"),
    "negative failures": ("failures = -1", "check"),
    "no event": ("event_id = NULL", "null value"),
    "no webhook": ("webhook_id = NULL", "null value"),
    "no organization": ("organization_id = NULL", "null value"),
}  # fmt: skip


def refused(statement: str, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(("written", "constraint"), DELIVERY.values(), ids=DELIVERY)
def test_no_delivery_gets_into_a_state_that_does_not_exist(
    forge: Forge, now: datetime, written: str, constraint: str
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    refused(f"UPDATE hookhub_delivery SET {written}", constraint)


ALLOWED = [
    "due_at = now()", f"state = 'sending', due_at = NULL, {LEASED}", "state = 'held', due_at = NULL",
    f"state = 'delivered', due_at = NULL, {ENDED}", f"state = 'failed', {ENDED}", f"state = 'cancelled', {ENDED}",
    "attempts_made = 3, failures = 3",
]  # fmt: skip


@pytest.mark.parametrize("written", ALLOWED)
def test_every_state_that_does_exist_can_be_written(forge: Forge, now: datetime, written: str) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE hookhub_delivery SET {written}")
        assert cursor.rowcount == 1


def copied(table: str, **columns: str) -> str:
    """Return the statement that inserts a copy of every row, with some columns changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND is_identity = 'NO'", [table]
        )
        names = [name for (name,) in cursor.fetchall()]
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(columns.get(n, n) for n in names)} FROM {table}"


def test_an_event_is_owed_to_a_webhook_once(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    refused(copied("hookhub_delivery", id="gen_random_uuid()"), "delivery_once_per_event_and_webhook")

    assert Delivery.objects.count() == 1


ATTEMPT = {
    "a number twice": ({}, "attempt_once_per_number"),
    "number zero": ({"number": "0"}, "attempt_number_from_one"),
    "negative number": ({"number": "-1"}, "check"),
    "outcome unheard of": ({"number": "2", "outcome": "'maybe'"}, "attempt_outcome_known"),
    "no body": ({"number": "2", "response_body": "NULL"}, "null value"),
}


@pytest.mark.parametrize(("columns", "constraint"), ATTEMPT.values(), ids=ATTEMPT)
def test_attempts_are_numbered_from_one_once_each(
    forge: Forge, sender: Sender, now: datetime, columns: dict[str, str], constraint: str
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)

    refused(copied("hookhub_attempt", id="gen_random_uuid()", **columns), constraint)

    assert Attempt.objects.count() == 1


WEBHOOK = {
    "disabled without a reason": ("disabled_at = now()", "webhook_disabled_with_reason"),
    "a reason without being disabled": ("disabled_reason = 'gone'", "webhook_disabled_with_reason"),
    "asks for nothing": ("events = '{}'", "webhook_events_not_empty"),
    "nothing in flight": ("max_in_flight = 0", "webhook_max_in_flight_positive"),
    "negative in flight": ("max_in_flight = -1", "check"),
    "negative failures": ("failure_count = -1", "check"),
    "no secrets": ("sealed_secrets = NULL", "null value"),
}


@pytest.mark.parametrize(("written", "constraint"), WEBHOOK.values(), ids=WEBHOOK)
def test_no_webhook_is_stored_that_makes_no_sense(forge: Forge, now: datetime, written: str, constraint: str) -> None:
    forge.webhook(now=now)

    refused(f"UPDATE hookhub_webhook SET {written}", constraint)

    assert Webhook.objects.get().active


def test_a_key_is_used_once_in_an_organization_and_never_without_its_fingerprint(forge: Forge, now: datetime) -> None:
    forge.accept(now=now, idempotency_key="k", fingerprint=b"f")

    refused(copied("hookhub_event", id="gen_random_uuid()"), "event_idempotency_key_unique")
    refused(
        copied("hookhub_event", id="gen_random_uuid()", idempotency_key="'other'", fingerprint="NULL"),
        "event_key_with_fingerprint",
    )

    assert Event.objects.count() == 1


def test_a_slug_is_used_once_and_a_repositorys_name_once_in_its_organization(forge: Forge, now: datetime) -> None:
    refused(copied("hookhub_organization"), "slug")
    refused(copied("hookhub_repository"), "repository_name_unique")
