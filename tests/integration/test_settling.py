"""Settling is fenced by the lease and idempotent, and keeps count of the health of webhooks."""

import threading
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from pytest_django import Settings

from deliveries import pipeline, redelivery
from deliveries.maintenance import tasks
from deliveries.models import Attempt, Delivery, Webhook
from deliveries.pipeline import health, settling
from deliveries.pipeline.attempting import AttemptResult
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Response
from deliveries.sending.sender import Sender
from tests.receiver import Answer
from tests.story import Forge, attempt_all, claim_due, outcomes_of, pretend, the_delivery, together

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=60)


@pytest.fixture(autouse=True)
def lease(settings: Settings) -> None:
    settings.HOOKHUB_LEASE = LEASE


# A worker that is late -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "outcome"), [(200, "delivered"), (500, "failed"), (410, "gone")])
def test_a_result_after_a_lost_lease_changes_only_the_attempt_log(
    forge: Forge, sender: Sender, now: datetime, status: int, outcome: str
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(status)
    forge.accept(now=now)
    late = attempt_all(claim_due(1, now=now), sender, now=now)
    tasks.rescue_expired_leases(now=now + 2 * LEASE)
    before = Delivery.objects.values().get()

    assert pipeline.settle(late, now=now + 2 * LEASE).applied == set()

    assert Delivery.objects.values().get() == before
    assert pipeline.review(now=now) == []
    webhook.refresh_from_db()
    assert (webhook.failure_count, webhook.last_success_at, webhook.last_delivery_at) == (0, None, None)
    [attempt] = Attempt.objects.all()
    assert (attempt.number, attempt.outcome, attempt.status, attempt.error) == (1, outcome, status, "")
    assert attempt.duration is not None


def test_a_result_after_a_lost_lease_does_not_disturb_the_next_attempt(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(410), Answer(200)]
    forge.accept(now=now)
    late = attempt_all(claim_due(1, now=now), sender, now=now)
    again = now + 2 * LEASE
    tasks.rescue_expired_leases(now=again)
    fresh = attempt_all(claim_due(1, now=again), sender, now=again)

    assert pipeline.settle(late, now=again).applied == set()
    assert the_delivery().state == "sending"
    assert pipeline.settle(fresh, now=again).applied == {the_delivery().pk}

    assert (the_delivery().state, outcomes_of(the_delivery())) == ("delivered", ["gone", "delivered"])


@pytest.mark.parametrize("order", [1, -1], ids=["late one first", "late one last"])
def test_two_results_of_one_delivery_in_a_batch_are_distinguished_by_their_leases(
    forge: Forge, sender: Sender, now: datetime, order: int
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(410), Answer(200)]
    forge.accept(now=now)
    late = attempt_all(claim_due(1, now=now), sender, now=now)
    again = now + 2 * LEASE
    tasks.rescue_expired_leases(now=again)
    fresh = attempt_all(claim_due(1, now=again), sender, now=again)

    assert pipeline.settle((late + fresh)[::order], now=again).applied == {the_delivery().pk}
    pipeline.review(now=again)

    delivery = the_delivery()
    assert (delivery.state, delivery.finish_reason, delivery.last_status) == ("delivered", "delivered", 200)
    assert outcomes_of(delivery) == ["gone", "delivered"]
    webhook.refresh_from_db()
    assert (webhook.disabled_at, webhook.failure_count, webhook.last_success_at) == (None, 0, again)


def test_a_result_without_the_lease_changes_nothing(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    [result] = attempt_all(claim_due(1, now=now), sender, now=now)
    forged = result._replace(claim=result.claim._replace(lease=uuid4()))

    assert pipeline.settle([forged], now=now).applied == set()

    assert the_delivery().state == "sending"


def test_a_result_after_a_redelivery_does_not_finish_the_delivery(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    late = attempt_all(claim_due(1, now=now), sender, now=now)
    tasks.rescue_expired_leases(now=now + 2 * LEASE)
    redelivery.cancel([the_delivery().pk], now=now)

    assert pipeline.settle(late, now=now + 2 * LEASE).applied == set()

    assert (the_delivery().state, outcomes_of(the_delivery())) == ("cancelled", ["delivered"])


# Settling, repeated --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 500, 410])
def test_settling_twice_is_settling_once(forge: Forge, sender: Sender, now: datetime, status: int) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(status)
    forge.accept(2, now=now)
    results = attempt_all(claim_due(10, now=now), sender, now=now)
    assert len(pipeline.settle(results, now=now).applied) == 2
    before = [list(model.objects.order_by("pk").values()) for model in (Delivery, Attempt, Webhook)]

    assert pipeline.settle(results, now=now + timedelta(seconds=1)).applied == set()

    assert [list(model.objects.order_by("pk").values()) for model in (Delivery, Attempt, Webhook)] == before
    webhook.refresh_from_db()
    assert webhook.failure_count == (0 if status == 200 else 2)


def test_a_known_outcome_is_never_changed(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    claims = claim_due(1, now=now)
    pipeline.settle(pretend(claims, Response(200, "", (), b"first"), now=now), now=now)

    pipeline.settle(pretend(claims, NoResponse("timeout", "second"), now=now), now=now)

    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.status, attempt.error) == ("delivered", 200, "")
    assert bytes(attempt.response_body) == b"first"


# A webhook's health across batches ----------------------------------------------------------------------------------

OK, REFUSED, SLOW = Response(200, "", (), b""), Response(500, "", (), b""), NoResponse("timeout", "Too slow.")


def asking(seconds: int) -> Response:
    return Response(429, "", (("Retry-After", str(seconds)),), b"")


# Outcomes, each settled in its own batch a second apart, and the webhook's row afterwards.
BATCHES = {
    "timeouts add up": ([SLOW] * 9, {"timeouts_in_a_row": 9, "backoff_until": None}),
    "ten timeouts in a row": ([SLOW] * 10, {"timeouts_in_a_row": 10, "backoff_until": 19}),
    "an eleventh that began with the others": ([SLOW] * 11, {"timeouts_in_a_row": 11, "backoff_until": 20}),
    "a refusal in between": ([SLOW] * 9 + [REFUSED] + [SLOW] * 9, {"timeouts_in_a_row": 9, "backoff_until": None}),
    "a refusal at the end": ([SLOW] * 9 + [REFUSED], {"timeouts_in_a_row": 0, "failure_count": 10}),
    "a longer rest stays": ([asking(600), asking(5)], {"backoff_until": 600}),
    "a longer rest replaces": ([asking(5), asking(600)], {"backoff_until": 601}),
    "a failure takes no rest away": ([asking(600), REFUSED], {"backoff_until": 600, "failure_count": 2}),
}


@pytest.mark.parametrize(("came", "expected"), BATCHES.values(), ids=BATCHES)
def test_health_accumulates_from_batch_to_batch(
    forge: Forge, now: datetime, came: list[Response | NoResponse], expected: dict[str, int | None]
) -> None:
    webhook = forge.webhook(now=now, max_in_flight=100)
    forge.accept(len(came), now=now)
    claims = claim_due(100, now=now)

    for second, (claim, one) in enumerate(zip(claims, came, strict=True)):
        moment = now + timedelta(seconds=second)
        pipeline.settle(pretend([claim], one, now=moment), now=moment)

    webhook.refresh_from_db()
    found: dict[str, object] = {name: getattr(webhook, name) for name in expected}
    if found.get("backoff_until"):
        found["backoff_until"] = (webhook.backoff_until - now).total_seconds()
    assert found == expected


# Outcomes of a healthy webhook in one batch, in this order, and the webhook's row afterwards.
WITH_A_SUCCESS_BEHIND = {
    "a request to wait": ([asking(600), OK], {"backoff_until": 600, "failure_count": 0}),
    "an address that is gone": ([Response(410, "", (), b""), OK], {"gone_at": 0, "failure_count": 0}),
}


@pytest.mark.parametrize(("came", "expected"), WITH_A_SUCCESS_BEHIND.values(), ids=WITH_A_SUCCESS_BEHIND)
def test_a_later_success_in_the_same_batch_does_not_revoke_what_a_receiver_asked_for(
    forge: Forge, now: datetime, came: list[Response], expected: dict[str, int]
) -> None:
    webhook = forge.webhook(now=now, max_in_flight=100)
    forge.accept(3, now=now)
    first, *others = claim_due(100, now=now)
    pipeline.settle(pretend([first], OK, now=now), now=now)

    batch = [result for one, reply in zip(others, came, strict=True) for result in pretend([one], reply, now=now)]
    pipeline.settle(batch, now=now)

    webhook.refresh_from_db()
    found = {name: getattr(webhook, name) for name in expected}
    moments = {name: (at - now).total_seconds() for name, at in found.items() if isinstance(at, datetime)}
    assert found | moments == expected


def test_a_batch_that_is_settled_late_does_not_replace_a_later_last_delivery(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(2, now=now)
    [first, second] = claim_due(2, now=now)
    later = now + timedelta(seconds=1)

    pipeline.settle(pretend([second], REFUSED, now=later), now=later)
    pipeline.settle(pretend([first], Response(200, "", (), b""), now=now), now=later)

    webhook.refresh_from_db()
    assert (webhook.last_delivery_at, webhook.last_delivery_status, webhook.last_success_at) == (later, "500", now)


def test_settling_no_results_changes_nothing(now: datetime, forge: Forge) -> None:
    assert pipeline.settle([], now=now).applied == set()


def test_a_settlement_that_fails_midway_changes_nothing(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    results = attempt_all(claim_due(10, now=now), sender, now=now)
    with monkeypatch.context() as patched:
        patched.setattr(health, "UPDATE_HEALTH", "SELECT 1 / 0")
        with pytest.raises(Exception, match="division by zero"):
            pipeline.settle(results, now=now)
    assert (the_delivery().state, Attempt.objects.count()) == ("sending", 0)

    assert pipeline.settle(results, now=now).applied == {the_delivery().pk}

    assert (the_delivery().state, Attempt.objects.count()) == ("delivered", 1)


@pytest.mark.django_db(transaction=True)
def test_concurrent_settlements_for_the_same_webhooks_count_every_failure(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    hooks = [forge.webhook(now=now, max_in_flight=100) for _ in range(3)]
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(32, now=now)
    results = attempt_all(claim_due(1000, now=now), sender, now=now)
    shares = [results[part::8][:: 1 if part % 2 else -1] for part in range(8)]

    def settle_all(share: list[AttemptResult]) -> int:
        settled = 0
        while share:
            done = pipeline.settle(share, now=now)
            share = done.deferred
            settled += len(done.applied)
        return settled

    settled = together(*[lambda share=share: settle_all(share) for share in shares])  # type: ignore[misc]

    assert sum(settled) == 96
    for webhook in hooks:
        webhook.refresh_from_db()
        assert webhook.failure_count == 32


@pytest.mark.django_db(transaction=True)
def test_a_locked_webhook_defers_only_its_own_results(forge: Forge, now: datetime) -> None:
    kept, other = forge.webhook(now=now), forge.webhook(now=now)
    forge.accept(now=now)
    results = pretend(claim_due(10, now=now), REFUSED, now=now)
    is_locked, is_done = threading.Event(), threading.Event()

    def keep() -> None:
        with transaction.atomic():
            assert Webhook.objects.locked().get(pk=kept.pk)
            is_locked.set()
            assert is_done.wait(30)

    def settle() -> tuple[settling.Settled, settling.Settled]:
        assert is_locked.wait(30)
        try:
            first = pipeline.settle(results, now=now)
            assert states_by_webhook() == {kept.pk: "sending", other.pk: "pending"}
            # In the last part of the lease it is settled regardless of the lock, or it would be sent twice.
            return first, pipeline.settle(first.deferred, now=now + LEASE * 3 / 4)
        finally:
            is_done.set()

    _, (first, second) = together(keep, settle)  # type: ignore[misc]

    assert [(len(each.applied), len(each.deferred)) for each in (first, second)] == [(1, 1), (1, 0)]
    assert states_by_webhook() == {kept.pk: "pending", other.pk: "pending"}
    assert dict(Webhook.objects.values_list("pk", "failure_count")) == {kept.pk: 0, other.pk: 1}


def test_settling_tells_whether_other_deliveries_are_ready(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=1)
    forge.accept(2, now=now)

    for found_ready in (True, False):
        results = pretend(claim_due(10, now=now), OK, now=now)
        assert pipeline.settle(results, now=now).found_ready is found_ready


def states_by_webhook() -> dict[int, str]:
    return dict(Delivery.objects.values_list("webhook_id", "state"))


@pytest.mark.django_db(transaction=True)
def test_rescuing_a_lease_while_its_worker_settles_does_not_deadlock(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    results = pretend(claim_due(1, now=now), REFUSED, now=now)
    is_half_settled, is_tried = threading.Event(), threading.Event()

    def meet(point: str) -> None:
        if point == "half-settled":
            is_half_settled.set()
            # The other thread either skips it or waits for it; if it waits, it holds no lock that is needed here.
            is_tried.wait(2)

    def take_back() -> int:
        assert is_half_settled.wait(30)
        try:
            return tasks.rescue_expired_leases(now=now + 2 * LEASE)
        finally:
            is_tried.set()

    monkeypatch.setattr(settling, "hit", meet)

    settled, taken_back = together(lambda: pipeline.settle(results, now=now), take_back)

    assert (settled.applied, settled.deferred, taken_back) == ({the_delivery().pk}, [], 0)
