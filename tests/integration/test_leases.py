"""Leases: what a dead or late worker leaves behind, and that settling is fenced and idempotent."""

import os
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import Count
from pytest_django import Settings

from deliveries import pipeline, redelivery
from deliveries.db import sql
from deliveries.maintenance import tasks
from deliveries.models import Attempt, Delivery, Webhook
from deliveries.pipeline import attempting, health, rescue, settling
from deliveries.pipeline.attempting import AttemptResult
from deliveries.pipeline.claiming import Claim
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.sender import Sender
from deliveries.sending.transfer import Exchange, Request, Response
from deliveries.webhooks import lifecycle
from tests.receiver import Answer
from tests.story import Forge, attempt_all, claim_due, deliver_due, outcomes_of, the_delivery, together

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=60)


@pytest.fixture(autouse=True)
def lease(settings: Settings) -> None:
    settings.HOOKHUB_LEASE = LEASE


# A worker that dies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "taken_back"), [(-1, 0), (0, 0), (1, 1)])
def test_a_lease_holds_to_its_last_moment(forge: Forge, now: datetime, age: int, taken_back: int) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    claim_due(1, now=now)

    assert tasks.reclaim_expired_leases(now=now + LEASE + timedelta(microseconds=age)) == taken_back


def test_a_lost_attempt_is_on_record_burns_no_step_and_is_made_again_at_once(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, retry_schedule=[60, 60])
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    retried = now + timedelta(minutes=2)
    claim_due(1, now=retried)

    late = retried + timedelta(minutes=2)
    assert tasks.reclaim_expired_leases(now=late) == 1

    delivery = the_delivery()
    assert (delivery.state, delivery.due_at, delivery.failures, delivery.attempts_made) == ("pending", late, 1, 2)
    assert (delivery.lease_losses, delivery.lease, delivery.leased_until) == (1, None, None)
    assert outcomes_of(delivery) == ["refused", "unknown"]
    unknown = Attempt.objects.get(outcome="unknown")
    assert (unknown.started_at, unknown.duration, unknown.status, unknown.url) == (retried, None, None, webhook.url)
    assert unknown.id.version == 7
    assert unknown.error == "The worker died, or its lease expired, before it recorded the outcome."

    # The schedule continues where it was: one more wait, and one last attempt.
    deliver_due(sender, now=late)
    assert the_delivery().failures == 2
    assert the_delivery().lease_losses == 0
    deliver_due(sender, now=late + timedelta(minutes=2))
    assert (the_delivery().ending, outcomes_of(the_delivery())) == (
        "exhausted", ["refused", "unknown", "refused", "refused"],
    )  # fmt: skip


def test_a_lost_attempt_is_nobodys_failure(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    claim_due(1, now=now)

    tasks.reclaim_expired_leases(now=now + 2 * LEASE)

    webhook.refresh_from_db()
    assert (webhook.failure_count, webhook.review_since, webhook.last_delivery_at) == (0, None, None)


def test_a_delivery_that_takes_five_workers_down_in_a_row_is_given_up_as_poisonous(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    moment = now

    for loss in range(1, 6):
        assert the_delivery().state == "pending"
        moment += LEASE
        assert len(claim_due(1, now=moment)) == 1
        moment += 2 * LEASE
        assert tasks.reclaim_expired_leases(now=moment) == 1
        assert the_delivery().lease_losses == loss

    delivery = the_delivery()
    assert (delivery.state, delivery.ending, delivery.finished_at, delivery.due_at) == (
        "failed",
        "poisonous",
        moment,
        None,
    )
    assert (delivery.attempts_made, delivery.failures, outcomes_of(delivery)) == (5, 0, ["unknown"] * 5)
    assert claim_due(1, now=moment + timedelta(days=1)) == []

    # It can still be redelivered by hand, with its counts reset.
    assert redelivery.redeliver([delivery.pk], now=moment) == 1
    assert (the_delivery().state, the_delivery().lease_losses) == ("pending", 0)


def test_a_delivery_that_takes_workers_down_is_soon_in_hand_alone(forge: Forge, sender: Sender, now: datetime) -> None:
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
            tasks.reclaim_expired_leases(now=moment)
        else:
            pipeline.settle(pretend(claims, OK, now=moment), now=moment)

    ended = dict(Delivery.objects.values_list("ending").annotate(count=Count("id")))
    assert ended["poisonous"] <= 3
    assert Delivery.objects.get(pk=poison).ending == "poisonous"


def test_losses_only_count_in_a_row(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, retry_schedule=[60] * 3)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    moment = now
    for _ in range(2):
        for _ in range(4):
            claim_due(1, now=moment)
            moment += timedelta(minutes=2)
            tasks.reclaim_expired_leases(now=moment)
            moment += timedelta(minutes=1)
        deliver_due(sender, now=moment)
        moment += timedelta(minutes=2)

    assert (the_delivery().state, the_delivery().attempts_made) == ("pending", 10)


def test_a_crash_while_its_webhook_is_disabled_leaves_the_delivery_held(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    claim_due(1, now=now)
    lifecycle.disable(webhook.pk, now=now)

    tasks.reclaim_expired_leases(now=now + 2 * LEASE)

    assert claim_due(1, now=now + 2 * LEASE) == []
    assert (the_delivery().state, the_delivery().due_at) == ("held", None)


@pytest.mark.django_db(transaction=True)
def test_taking_back_at_the_same_time_takes_each_back_once(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=50)
    forge.accept(50, now=now)
    claim_due(50, now=now)

    taken = together(*[lambda: tasks.reclaim_expired_leases(now=now + 2 * LEASE)] * 6)

    assert sum(taken) == 50
    assert set(Delivery.objects.values_list("state", "lease_losses")) == {("pending", 1)}
    assert Attempt.objects.filter(outcome="unknown").count() == 50


# A worker that is late -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "outcome"), [(200, "delivered"), (500, "refused"), (410, "gone")])
def test_a_late_report_changes_nothing_but_the_record_of_its_attempt(
    forge: Forge, sender: Sender, now: datetime, status: int, outcome: str
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(status)
    forge.accept(now=now)
    late = attempt_all(claim_due(1, now=now), sender, now=now)
    tasks.reclaim_expired_leases(now=now + 2 * LEASE)
    before = Delivery.objects.values().get()

    assert pipeline.settle(late, now=now + 2 * LEASE).applied == set()

    assert Delivery.objects.values().get() == before
    assert pipeline.review(now=now) == []
    webhook.refresh_from_db()
    assert (webhook.failure_count, webhook.last_success_at, webhook.last_delivery_at) == (0, None, None)
    [attempt] = Attempt.objects.all()
    assert (attempt.number, attempt.outcome, attempt.status, attempt.error) == (1, outcome, status, "")
    assert attempt.duration is not None


def test_a_report_that_is_late_while_another_worker_sends_does_not_disturb_it(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(410), Answer(200)]
    forge.accept(now=now)
    late = attempt_all(claim_due(1, now=now), sender, now=now)
    again = now + 2 * LEASE
    tasks.reclaim_expired_leases(now=again)
    fresh = attempt_all(claim_due(1, now=again), sender, now=again)

    assert pipeline.settle(late, now=again).applied == set()
    assert the_delivery().state == "sending"
    assert pipeline.settle(fresh, now=again).applied == {the_delivery().pk}

    assert (the_delivery().state, outcomes_of(the_delivery())) == ("delivered", ["gone", "delivered"])


@pytest.mark.parametrize("order", [1, -1], ids=["late one first", "late one last"])
def test_two_reports_about_one_delivery_in_one_batch_are_told_apart_by_their_leases(
    forge: Forge, sender: Sender, now: datetime, order: int
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(410), Answer(200)]
    forge.accept(now=now)
    late = attempt_all(claim_due(1, now=now), sender, now=now)
    again = now + 2 * LEASE
    tasks.reclaim_expired_leases(now=again)
    fresh = attempt_all(claim_due(1, now=again), sender, now=again)

    assert pipeline.settle((late + fresh)[::order], now=again).applied == {the_delivery().pk}
    pipeline.review(now=again)

    delivery = the_delivery()
    assert (delivery.state, delivery.ending, delivery.last_status) == ("delivered", "delivered", 200)
    assert outcomes_of(delivery) == ["gone", "delivered"]
    webhook.refresh_from_db()
    assert (webhook.disabled_at, webhook.failure_count, webhook.last_success_at) == (None, 0, again)


def test_a_stranger_without_the_lease_changes_nothing(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    [result] = attempt_all(claim_due(1, now=now), sender, now=now)
    forged = result._replace(claim=result.claim._replace(lease=uuid4()))

    assert pipeline.settle([forged], now=now).applied == set()

    assert the_delivery().state == "sending"


def test_a_late_report_after_a_redelivery_does_not_finish_it(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    late = attempt_all(claim_due(1, now=now), sender, now=now)
    tasks.reclaim_expired_leases(now=now + 2 * LEASE)
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


def test_an_outcome_that_is_known_is_never_changed(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    claims = claim_due(1, now=now)
    pipeline.settle(pretend(claims, Response(200, "", (), b"first"), now=now), now=now)

    pipeline.settle(pretend(claims, NoResponse("timeout", "second"), now=now), now=now)

    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.status, attempt.error) == ("delivered", 200, "")
    assert bytes(attempt.response_body) == b"first"


# A webhook's health across batches ----------------------------------------------------------------------------------

SLOW, REFUSED = NoResponse("timeout", "Too slow."), Response(500, "", (), b"")


def asking(seconds: int) -> Response:
    return Response(429, "", (("Retry-After", str(seconds)),), b"")


def pretend(claims: Sequence[Claim], came: Response | NoResponse, *, now: datetime) -> list[AttemptResult]:
    """Return the results of attempts with this outcome, without sending anything."""
    request = Request("http://127.0.0.1/", (), b"", timedelta(seconds=1))
    exchange = Exchange(timedelta(milliseconds=1), came)
    return [attempting.finish(claim, request, exchange, started_at=now, now=now) for claim in claims]


# Outcomes, each settled in its own batch a second apart, and the webhook's row afterwards.
BATCHES = {
    "timeouts add up": ([SLOW] * 9, {"timeouts_in_a_row": 9, "resting_until": None}),
    "ten timeouts in a row": ([SLOW] * 10, {"timeouts_in_a_row": 10, "resting_until": 19}),
    "an eleventh that began with the others": ([SLOW] * 11, {"timeouts_in_a_row": 11, "resting_until": 20}),
    "a refusal in between": ([SLOW] * 9 + [REFUSED] + [SLOW] * 9, {"timeouts_in_a_row": 9, "resting_until": None}),
    "a refusal at the end": ([SLOW] * 9 + [REFUSED], {"timeouts_in_a_row": 0, "failure_count": 10}),
    "a longer rest stays": ([asking(600), asking(5)], {"resting_until": 600}),
    "a longer rest replaces": ([asking(5), asking(600)], {"resting_until": 601}),
    "a failure takes no rest away": ([asking(600), REFUSED], {"resting_until": 600, "failure_count": 2}),
}


@pytest.mark.parametrize(("came", "expected"), BATCHES.values(), ids=BATCHES)
def test_health_is_carried_on_from_batch_to_batch(
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
    if found.get("resting_until"):
        found["resting_until"] = (webhook.resting_until - now).total_seconds()
    assert found == expected


OK = Response(200, "", (), b"")
# Outcomes of a healthy webhook in one batch, in this order, and the webhook's row afterwards.
WITH_A_SUCCESS_BEHIND = {
    "a request to wait": ([asking(600), OK], {"resting_until": 600, "failure_count": 0}),
    "an address that is gone": ([Response(410, "", (), b""), OK], {"gone_at": 0, "failure_count": 0}),
}


@pytest.mark.parametrize(("came", "expected"), WITH_A_SUCCESS_BEHIND.values(), ids=WITH_A_SUCCESS_BEHIND)
def test_a_success_behind_it_in_the_same_batch_does_not_unsay_what_a_receiver_said(
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


def test_a_batch_that_is_settled_late_does_not_turn_back_the_last_delivery(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(2, now=now)
    [first, second] = claim_due(2, now=now)
    later = now + timedelta(seconds=1)

    pipeline.settle(pretend([second], REFUSED, now=later), now=later)
    pipeline.settle(pretend([first], Response(200, "", (), b""), now=now), now=later)

    webhook.refresh_from_db()
    assert (webhook.last_delivery_at, webhook.last_delivery_status, webhook.last_success_at) == (later, "500", now)


def test_settling_nothing_is_nothing(now: datetime, forge: Forge) -> None:
    assert pipeline.settle([], now=now).applied == set()


def test_a_settlement_that_fails_midway_leaves_everything_as_it_was(
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
def test_workers_that_settle_for_the_same_webhooks_at_once_count_every_failure(
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
            ours, share = pipeline.settle(share, now=now)
            settled += len(ours)
        return settled

    settled = together(*[lambda share=share: settle_all(share) for share in shares])  # type: ignore[misc]

    assert sum(settled) == 96
    for webhook in hooks:
        webhook.refresh_from_db()
        assert webhook.failure_count == 32


@pytest.mark.django_db(transaction=True)
def test_a_webhook_in_somebodys_hands_holds_up_nobody_elses_results(forge: Forge, now: datetime) -> None:
    kept, other = forge.webhook(now=now), forge.webhook(now=now)
    forge.accept(now=now)
    results = pretend(claim_due(10, now=now), REFUSED, now=now)
    is_locked, is_done = threading.Event(), threading.Event()

    def keep() -> None:
        with transaction.atomic():
            assert Webhook.objects.lock(kept.pk)
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

    assert ([len(each) for each in first], [len(each) for each in second]) == ([1, 1], [1, 0])
    assert states_by_webhook() == {kept.pk: "pending", other.pk: "pending"}
    assert dict(Webhook.objects.values_list("pk", "failure_count")) == {kept.pk: 0, other.pk: 1}


def states_by_webhook() -> dict[int, str]:
    return dict(Delivery.objects.values_list("webhook_id", "state"))


@pytest.mark.django_db(transaction=True)
def test_taking_back_a_lease_while_its_worker_settles_stands_in_nobodys_way(
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
            return tasks.reclaim_expired_leases(now=now + 2 * LEASE)
        finally:
            is_tried.set()

    monkeypatch.setattr(settling, "reach", meet)

    settled, taken_back = together(lambda: pipeline.settle(results, now=now), take_back)

    assert (settled, taken_back) == (({the_delivery().pk}, []), 0)


# Between settling and reviewing --------------------------------------------------------------------------------------


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
def test_reviewers_at_the_same_time_disable_once_and_say_so_once(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    told = forge.webhook(now=now, events=["webhook.disabled"])
    Webhook.objects.exclude(pk=told.pk).update(gone_at=now)

    reviews = together(*[lambda: pipeline.review(now=now)] * 6)

    assert sum(map(len, reviews)) == 1
    assert pipeline.fan_out(now=now)[:2] == (1, 1)


def test_a_webhook_that_was_deleted_before_its_review_is_left_alone(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    Webhook.objects.update(gone_at=now)
    lifecycle.delete(webhook.pk, now=now)

    assert pipeline.review(now=now) == []

    webhook.refresh_from_db()
    assert (webhook.disabled_at, webhook.gone_at) == (None, None)
    assert lifecycle.to_review() == []


def test_the_databases_own_ids_are_of_version_7_and_of_the_moment_given(now: datetime, forge: Forge) -> None:
    made = [sql.run("SELECT deliveries_uuid7(%(now)s)", {"now": now})[0][0] for _ in range(50)]

    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    assert {one.int >> 80 for one in made} == {int(now.timestamp() * 1000)}
    assert len(set(made)) == 50
    assert connection.in_atomic_block


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
def test_what_a_child_had_in_hand_when_it_died_is_taken_back_at_once(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(2, now=now)
    [ours] = claim_due(1, now=now)
    pid = claim_in_a_child(now)
    assert rescue.lease_pid(ours.lease) == os.getpid()
    assert {rescue.lease_pid(lease) for lease in Delivery.objects.values_list("lease", flat=True)} == {os.getpid(), pid}

    assert rescue.rescue_dead_processes(now=now) == 1

    taken = Delivery.objects.exclude(pk=ours.delivery_id).get()
    assert (taken.state, taken.line, taken.due_at, taken.lease_losses) == ("pending", Delivery.Line.AGAIN, now, 1)
    assert outcomes_of(taken) == ["unknown"]
    assert Delivery.objects.get(pk=ours.delivery_id).state == "sending"
    assert rescue.rescue_dead_processes(now=now) == 0


@pytest.mark.django_db(transaction=True)
def test_what_another_worker_has_in_hand_is_its_own_business(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    claim_in_a_child(now)

    monkeypatch.setattr(rescue, "_worker", os.urandom(8))

    assert rescue.rescue_dead_processes(now=now) == 0
    assert the_delivery().state == "sending"
