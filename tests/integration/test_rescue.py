"""Rescue: what a dead worker leaves behind is sent again, and a poison message is given up."""

import os
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import Count
from pytest_django import Settings

from deliveries import pipeline, redelivery
from deliveries.db import sql
from deliveries.maintenance import tasks
from deliveries.models import Attempt, Delivery
from deliveries.pipeline import rescue
from deliveries.sending.exchange import Response
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from tests.receiver import Answer
from tests.story import Forge, claim_due, deliver_due, outcomes_of, pretend, the_delivery, together

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=60)


@pytest.fixture(autouse=True)
def lease(settings: Settings) -> None:
    settings.HOOKHUB_LEASE = LEASE


# A worker that dies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "taken_back"), [(-1, 0), (0, 0), (1, 1)])
def test_a_lease_lasts_until_it_expires(forge: Forge, now: datetime, age: int, taken_back: int) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    claim_due(1, now=now)

    assert tasks.rescue_expired_leases(now=now + LEASE + timedelta(microseconds=age)) == taken_back


def test_a_lost_attempt_is_recorded_uses_no_step_and_is_repeated_at_once(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, retry_schedule=[60, 60])
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    retried = now + timedelta(minutes=2)
    claim_due(1, now=retried)

    late = retried + timedelta(minutes=2)
    assert tasks.rescue_expired_leases(now=late) == 1

    delivery = the_delivery()
    assert (delivery.state, delivery.due_at, delivery.failures, delivery.attempts_made) == ("pending", late, 1, 2)
    assert (delivery.lease_losses, delivery.lease, delivery.leased_until) == (1, None, None)
    assert outcomes_of(delivery) == ["failed", "unknown"]
    unknown = Attempt.objects.get(outcome="unknown")
    assert (unknown.started_at, unknown.duration, unknown.status, unknown.url) == (retried, None, None, webhook.url)
    assert unknown.id.version == 7
    assert unknown.error == "The worker died, or its lease expired, before it recorded the outcome."

    # The schedule continues where it was: one more wait, and one last attempt.
    deliver_due(sender, now=late)
    assert the_delivery().failures == 2
    assert the_delivery().lease_losses == 0
    deliver_due(sender, now=late + timedelta(minutes=2))
    assert (the_delivery().finish_reason, outcomes_of(the_delivery())) == (
        "exhausted", ["failed", "unknown", "failed", "failed"],
    )  # fmt: skip


def test_a_lost_attempt_is_not_the_receivers_failure(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    claim_due(1, now=now)

    tasks.rescue_expired_leases(now=now + 2 * LEASE)

    webhook.refresh_from_db()
    assert (webhook.failure_count, webhook.review_since, webhook.last_delivery_at) == (0, None, None)


def test_a_delivery_that_takes_down_five_workers_in_a_row_fails_as_poison(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    moment = now

    for loss in range(1, 6):
        assert the_delivery().state == "pending"
        moment += LEASE
        assert len(claim_due(1, now=moment)) == 1
        moment += 2 * LEASE
        assert tasks.rescue_expired_leases(now=moment) == 1
        assert the_delivery().lease_losses == loss

    delivery = the_delivery()
    assert (delivery.state, delivery.finish_reason, delivery.finished_at, delivery.due_at) == (
        "failed",
        "poison",
        moment,
        None,
    )
    assert (delivery.attempts_made, delivery.failures, outcomes_of(delivery)) == (5, 0, ["unknown"] * 5)
    assert claim_due(1, now=moment + timedelta(days=1)) == []

    # It can still be redelivered by hand, with its counts reset.
    assert redelivery.redeliver([delivery.pk], now=moment) == 1
    assert (the_delivery().state, the_delivery().lease_losses) == ("pending", 0)


def test_a_poison_message_is_soon_claimed_alone(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=100)
    forge.accept(60, now=now)
    # Spread the random part of the ids evenly.
    for number, key in enumerate(list(Delivery.objects.order_by("id").values_list("id", flat=True))):
        Delivery.objects.filter(pk=key).update(id=UUID(bytes=key.bytes[:15] + bytes([4 * number])))
    poison = Delivery.objects.order_by("id")[30].pk
    moment = now

    # A worker dies with everything it has claimed if that includes the poison message; otherwise it delivers. One
    # claims every half second.
    while Delivery.objects.filter(state="pending").exists():
        claims = claim_due(100, now=moment)
        moment += timedelta(milliseconds=500)
        if poison in {claim.delivery_id for claim in claims}:
            Delivery.objects.filter(state="sending").update(leased_until=moment - timedelta(milliseconds=1))
            tasks.rescue_expired_leases(now=moment)
        else:
            pipeline.settle(pretend(claims, Response(200, "", (), b""), now=moment), now=moment)

    ended = dict(Delivery.objects.values_list("finish_reason").annotate(count=Count("id")))
    assert ended["poison"] <= 3
    assert Delivery.objects.get(pk=poison).finish_reason == "poison"


def test_only_losses_in_a_row_count(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, retry_schedule=[60] * 3)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    moment = now
    for _ in range(2):
        for _ in range(4):
            claim_due(1, now=moment)
            moment += timedelta(minutes=2)
            tasks.rescue_expired_leases(now=moment)
            moment += timedelta(minutes=1)
        deliver_due(sender, now=moment)
        moment += timedelta(minutes=2)

    assert (the_delivery().state, the_delivery().attempts_made) == ("pending", 10)


def test_a_crash_while_its_webhook_is_disabled_leaves_the_delivery_held(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    claim_due(1, now=now)
    lifecycle.disable(webhook.pk, now=now)

    tasks.rescue_expired_leases(now=now + 2 * LEASE)

    assert claim_due(1, now=now + 2 * LEASE) == []
    assert (the_delivery().state, the_delivery().due_at) == ("held", None)


@pytest.mark.django_db(transaction=True)
def test_concurrent_rescues_take_each_delivery_once(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=50)
    forge.accept(50, now=now)
    claim_due(50, now=now)

    taken = together(*[lambda: tasks.rescue_expired_leases(now=now + 2 * LEASE)] * 6)

    assert sum(taken) == 50
    assert set(Delivery.objects.values_list("state", "lease_losses")) == {("pending", 1)}
    assert Attempt.objects.filter(outcome="unknown").count() == 50


# The process that holds a lease --------------------------------------------------------------------------------------


def claim_in_a_child(now: datetime) -> int:
    """Claim one delivery in a forked process that then dies; return its process id."""
    connection.close()
    pid = os.fork()
    if pid == 0:
        claim_due(1, now=now)
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


@pytest.mark.django_db(transaction=True)
def test_the_claims_of_a_dead_child_are_rescued_before_their_leases_expire(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(2, now=now)
    [ours] = claim_due(1, now=now)
    pid = claim_in_a_child(now)
    assert rescue.lease_pid(ours.lease) == os.getpid()
    assert {rescue.lease_pid(lease) for lease in Delivery.objects.values_list("lease", flat=True)} == {os.getpid(), pid}

    assert rescue.rescue_dead_processes(now=now) == 1

    taken = Delivery.objects.exclude(pk=ours.delivery_id).get()
    assert (taken.state, taken.readiness, taken.due_at, taken.lease_losses) == (
        "pending",
        Delivery.Readiness.READY_RETRY,
        now,
        1,
    )
    assert outcomes_of(taken) == ["unknown"]
    assert Delivery.objects.get(pk=ours.delivery_id).state == "sending"
    assert rescue.rescue_dead_processes(now=now) == 0


@pytest.mark.django_db(transaction=True)
def test_the_claims_of_another_worker_are_left_to_it(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    claim_in_a_child(now)

    monkeypatch.setattr(rescue, "_worker", os.urandom(8))

    assert rescue.rescue_dead_processes(now=now) == 0
    assert the_delivery().state == "sending"


def test_ids_made_by_the_database_are_of_version_7_and_of_the_time_given(now: datetime, forge: Forge) -> None:
    made = [sql.run("SELECT hookhub_uuid7(%(now)s)", {"now": now})[0][0] for _ in range(50)]

    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    assert {one.int >> 80 for one in made} == {int(now.timestamp() * 1000)}
    assert len(set(made)) == 50
    assert connection.in_atomic_block
