"""The rate that a receiver allows: never more requests in a minute, whatever happens, and no other webhook waits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from deliveries import pipeline, redelivery
from deliveries.db import sql
from deliveries.event_types.topics import topics_of
from deliveries.events import NewEvent
from deliveries.models import Delivery, Organization, Webhook
from deliveries.models.ids import new_id
from deliveries.pipeline import claiming, rescue
from deliveries.pipeline.capacity import FREE_SLOTS, Capacity, capacity_params
from deliveries.pipeline.claiming import Claim
from deliveries.policy.outcomes import NoResponse
from deliveries.proofs import Grant
from deliveries.sending.exchange import Response
from deliveries.webhooks import creating, verifying
from tests.courses import any_course
from tests.story import Forge, pretend, together

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
OK = Response(200, "OK", (), b"")
ANSWERS = (
    OK,
    Response(500, "", (), b""),
    NoResponse("timeout", "Too slow."),
    Response(429, "", (("Retry-After", "3"),), b""),
)


def allow(webhook: Webhook, rate: int | None, *, now: datetime = NOON) -> None:
    """Set what a handshake would grant a webhook."""
    Webhook.objects.filter(pk=webhook.pk).update(
        proof="handshake", verified_at=now, request_origin="hooks.example", allowed_rate=rate, next_request_at=None
    )


def limited(forge: Forge, rate: int, *, now: datetime = NOON, **fields: Any) -> Webhook:
    webhook = forge.webhook(now=now, max_in_flight=1000, **fields)
    allow(webhook, rate)
    return webhook


class AnyCourse(RuleBasedStateMachine):
    """Claims, fan-outs, answers, crashes and redeliveries in any order, with any time between them."""

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.now = NOON
        self.sent: list[datetime] = []
        self.in_flight: list[Claim] = []

    def teardown(self) -> None:
        transaction.savepoint_rollback(self.savepoint)

    @initialize(rate=st.sampled_from([1, 2, 3, 9, 10, 11, 39, 40, 41, 60, 100, 200]), more=st.integers(5, 60))
    def set_up(self, rate: int, more: int) -> None:
        self.rate = rate
        self.organization = Organization.objects.create(slug="course")
        fields = {"url": "http://127.0.0.1:9999/", "events": ["*"], "max_in_flight": 1000, "retry_schedule": [1] * 20}
        self.webhook, _ = creating.create(fields, organization=self.organization, repository=None, now=self.now)
        allow(self.webhook, rate)
        # More than a minute's, so that nothing but the rate keeps them back.
        self.accept(rate + more)
        self.fan_out(slots=0)

    @rule(milliseconds=st.one_of(st.integers(0, 3_000), st.integers(0, 90_000)))
    def wait(self, milliseconds: int) -> None:
        self.now += timedelta(milliseconds=milliseconds)

    @rule(count=st.integers(1, 40))
    def accept(self, count: int) -> None:
        event = NewEvent(
            organization_id=self.organization.pk, repository_id=None, type="a", topics=topics_of("a", {}),
            payload=b"{}", occurred_at=self.now,
        )  # fmt: skip
        pipeline.accept([event] * count, now=self.now)

    @rule(slots=st.integers(0, 300))
    def fan_out(self, slots: int) -> None:
        self._note(pipeline.fan_out(capacity=Capacity(slots), now=self.now).claims)

    @rule(slots=st.integers(1, 300))
    def claim(self, slots: int) -> None:
        claiming.promote_due(now=self.now)
        self._note(pipeline.claim(slots, now=self.now))

    @rule(times=st.integers(2, 80))
    def claim_whenever_a_worker_looks(self, times: int) -> None:
        for _ in range(times):
            self.now += SECOND
            self.claim(300)

    @rule(answer=st.sampled_from(ANSWERS), count=st.integers(1, 50))
    def answer(self, answer: Response | NoResponse, count: int) -> None:
        ended, self.in_flight = self.in_flight[:count], self.in_flight[count:]
        pipeline.settle(pretend(ended, answer, now=self.now), now=self.now)

    @rule()
    def release(self) -> None:
        claiming.release(self.in_flight)
        self.in_flight = []

    @rule()
    def crash(self) -> None:
        self.now += timedelta(minutes=2)
        rescue.rescue_expired(now=self.now)
        self.in_flight = []

    @rule()
    def redeliver(self) -> None:
        finished = Delivery.objects.filter(state__in=("delivered", "failed")).values_list("pk", flat=True)
        redelivery.redeliver(list(finished[:20]), now=self.now)

    @rule()
    def restart_with_the_same_rate(self) -> None:
        # What another handshake with the same answer writes.
        Webhook.objects.update(verified_at=self.now, allowed_rate=self.rate)

    def _note(self, claims: list[Claim]) -> None:
        self.in_flight += claims
        self.sent += [self.now] * len(claims)
        for first, last in zip(self.sent, self.sent[self.rate :], strict=False):
            assert last - first >= timedelta(seconds=60), f"more than {self.rate} in {last - first}"


def test_no_course_exceeds_the_rate_in_any_minute(forge: Forge) -> None:
    run_state_machine_as_test(AnyCourse, settings=any_course(examples=25, steps=25))


@pytest.mark.parametrize(("rate", "least"), [(1, 1), (5, 4), (10, 8), (20, 18), (30, 28), (60, 56), (600, 560)])
def test_a_worker_that_looks_once_a_second_uses_most_of_the_rate(forge: Forge, rate: int, least: int) -> None:
    limited(forge, rate)
    for _ in range(3):
        forge.accept(min(500, rate), now=NOON)
    found = []

    for second in range(121):
        claims = pipeline.claim(1000, now=NOON + second * SECOND)
        found += [second] * len(claims)
        pipeline.settle(pretend(claims, OK, now=NOON + second * SECOND), now=NOON + second * SECOND)

    # Not in the first minute, which begins with what may be sent at once.
    assert least <= len([second for second in found if 60 < second <= 120]) <= rate


def test_the_others_do_not_wait(forge: Forge) -> None:
    slow, fast = limited(forge, 1), forge.webhook(now=NOON, path="/fast", max_in_flight=1000)
    forge.accept(20, now=NOON)

    claims = pipeline.claim(30, now=NOON)
    again = pipeline.claim(30, now=NOON + SECOND)

    # It takes one slot of the thirty, and after that none.
    assert [sum(claim.destination.webhook_id == one.pk for claim in claims) for one in (slow, fast)] == [1, 20]
    assert again == []


def test_a_webhook_that_has_had_its_share_is_no_work(forge: Forge) -> None:
    limited(forge, 1)
    forge.accept(2, now=NOON)
    assert len(pipeline.claim(10, now=NOON)) == 1

    due = [claiming.is_anything_to_do(max_in_flight=5, now=NOON + second * SECOND) for second in (0, 61, 62)]

    assert due == [False, False, True]


def test_what_is_fanned_out_beyond_the_rate_waits(forge: Forge) -> None:
    limited(forge, 60)
    pipeline.accept([forge.event(now=NOON) for _ in range(10)], now=NOON)

    done = pipeline.fan_out(capacity=Capacity(100), now=NOON)

    assert (done.deliveries, len(done.claims)) == (10, 3)
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["pending"] * 7 + ["sending"] * 3
    assert len(pipeline.claim(100, now=NOON + 2 * SECOND)) == 1


def test_a_backoff_and_a_rate_both_hold(forge: Forge) -> None:
    webhook = limited(forge, 60)
    forge.accept(5, now=NOON)
    Webhook.objects.filter(pk=webhook.pk).update(backoff_until=NOON + 30 * SECOND)

    assert pipeline.claim(10, now=NOON) == []
    assert len(pipeline.claim(10, now=NOON + 30 * SECOND)) == 3


def test_a_lower_rate_holds_from_the_next_request_on(forge: Forge) -> None:
    webhook = limited(forge, 6000)
    forge.accept(400, now=NOON)
    assert len(pipeline.claim(1000, now=NOON)) == 201

    Webhook.objects.filter(pk=webhook.pk).update(allowed_rate=1)

    counts = [len(pipeline.claim(1000, now=NOON + second * SECOND)) for second in range(130)]
    assert sum(counts) == 3
    assert max(counts) == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_share_it(forge: Forge) -> None:
    limited(forge, 60)
    forge.accept(50, now=NOON)

    claims = together(*[lambda: pipeline.claim(10, now=NOON)] * 4)

    assert sum(map(len, claims)) == 3


@pytest.mark.django_db(transaction=True)
def test_two_fan_outs_at_once_share_it(forge: Forge) -> None:
    limited(forge, 60)
    for _ in range(4):
        pipeline.accept([forge.event(now=NOON) for _ in range(5)], now=NOON)

    done = together(*[lambda: pipeline.fan_out(5, capacity=Capacity(100), now=NOON)] * 4)

    assert sum(one.deliveries for one in done) == 20
    # One that finds the webhook locked, or deliveries ready before its own, claims none at once.
    claimed = sum(len(one.claims) for one in done)
    assert claimed <= 3
    assert claimed + len(pipeline.claim(100, now=NOON)) == 3


def test_a_claim_that_is_not_committed_counts_nothing(forge: Forge) -> None:
    webhook = limited(forge, 60)
    forge.accept(5, now=NOON)

    with transaction.atomic():
        assert len(pipeline.claim(10, now=NOON)) == 3
        transaction.set_rollback(True)

    webhook.refresh_from_db()
    assert webhook.next_request_at is None
    assert len(pipeline.claim(10, now=NOON)) == 3


def test_a_clock_that_stands_far_ahead_of_the_last_request_grants_no_more(forge: Forge) -> None:
    webhook = limited(forge, 30)
    forge.accept(5, now=NOON)
    Webhook.objects.filter(pk=webhook.pk).update(next_request_at=NOON - timedelta(days=20_000))

    assert len(pipeline.claim(10, now=NOON)) == 2


# The state of a webhook with a rate of 60, three of which may be sent at once: seconds from now to ``next_request_at``,
# requests in flight, and how many more may be sent.
FREE = {
    "nothing sent yet": (None, 0, 3),
    "not for long": (-1_000_000, 0, 3),
    "since just now": (0, 0, 1),
    "one interval ago": (-1.07, 0, 2),
    "almost one interval ago": (-1.06, 0, 1),
    "too early by a moment": (0.000001, 0, 0),
    "too early": (30, 0, 0),
    "beyond the requests in flight": (None, 999, 1),
    "with none left in flight": (None, 1000, 0),
}


@pytest.mark.parametrize(("seconds", "in_flight", "free"), FREE.values(), ids=FREE)
def test_a_locked_webhook_has_as_many_requests_as_both_limits_leave(
    forge: Forge, seconds: float | None, in_flight: int, free: int
) -> None:
    webhook = limited(forge, 60)
    if seconds is not None:
        Webhook.objects.update(next_request_at=NOON + timedelta(seconds=seconds))
    Delivery.objects.bulk_create(
        Delivery(
            event_id=new_id(), webhook=webhook, organization=forge.organization, event_type="push", state="sending",
            attempts_made=1, lease=new_id(), leased_at=NOON, leased_until=NOON + timedelta(minutes=1), created_at=NOON,
        )
        for _ in range(in_flight)
    )  # fmt: skip

    params = capacity_params(Capacity(10), max_in_flight=5, now=NOON)
    [row] = sql.run(
        f"SELECT free FROM ({FREE_SLOTS} WHERE w.id = %(webhook)s) AS found", {**params, "webhook": webhook.pk}
    )

    assert row[0] == free


# The admin ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_the_admin_shows_the_rate_and_why_a_delivery_waits(forge: Forge, admin: Client) -> None:
    now = timezone.now()
    webhook = forge.webhook(now=now, verify="handshake", max_in_flight=1000)
    verifying.set_grant(webhook, Grant("hooks.example", 1))
    webhook.verified_at = now
    webhook.save()
    forge.accept(2, now=now)
    assert len(pipeline.claim(10, now=now)) == 1
    waiting = Delivery.objects.get(state="pending")

    page = admin.get(f"/admin/deliveries/webhook/{webhook.pk}/change/").content.decode()
    reason = admin.get(f"/admin/deliveries/delivery/{waiting.pk}/change/").content.decode()

    assert "1 request a minute" in page
    assert '<option value="handshake" selected>Handshake</option>' in page
    assert '<option value="mcp">' not in page
    assert "Waiting because its receiver allows 1 request a minute." in reason
