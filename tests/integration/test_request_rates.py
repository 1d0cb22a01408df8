"""The rate of a webhook's requests: never more in a window, whatever happens, and no other webhook waits."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from deliveries import pipeline, redelivery
from deliveries.db import sql
from deliveries.event_types.topics import topics_of
from deliveries.events import NewEvent
from deliveries.maintenance import invariants
from deliveries.models import AuditEntry, Delivery, Organization, Webhook
from deliveries.models.ids import new_id
from deliveries.pipeline import claiming, rescue
from deliveries.pipeline.capacity import FREE_SLOTS, Capacity, capacity_params
from deliveries.pipeline.claims import Claim
from deliveries.pipeline.request_rates import AHEAD
from deliveries.policy.outcomes import NoResponse
from deliveries.policy.pace import MINUTE
from deliveries.proofs import Grant
from deliveries.sending.exchange import Response
from deliveries.webhooks import changing, creating, verifying
from hookhub.explanations import explain
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
Limit = dict[str, int] | None


def limit_of(requests: int, per: int) -> Limit:
    return {"requests": requests, "per": per}


def allow(webhook: Webhook, rate: int | None, *, now: datetime = NOON) -> None:
    """Set what a handshake would grant a webhook."""
    webhook.refresh_from_db()
    webhook.proof, webhook.verified_at = ("handshake", now) if rate else (None, None)
    verifying.set_grant(webhook, Grant("hooks.example", rate) if rate else Grant(), now=now)
    webhook.save()


def limited(forge: Forge, rate: int, *, per: int = 60, now: datetime = NOON, **fields: Any) -> Webhook:
    """Create a webhook whose owner limits its rate."""
    return forge.webhook(now=now, max_in_flight=1000, rate_limit=limit_of(rate, per), **fields)


def turns_of(claims: list[Claim]) -> list[float]:
    """Return when each may start, in seconds from noon."""
    return [(claim.starts_at - NOON).total_seconds() for claim in claims if claim.starts_at is not None]


class AnyCourse(RuleBasedStateMachine):
    """Claims, fan-outs, answers, crashes, redeliveries and changes in any order, with any time between them."""

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.now = NOON
        self.turns: list[datetime] = []
        self.in_flight: list[Claim] = []

    def teardown(self) -> None:
        transaction.savepoint_rollback(self.savepoint)

    LIMITS = st.sampled_from(
        [(1, 1), (3, 1), (9, 1), (10, 1), (19, 1), (40, 1), (100, 1), (25, 5), (2, 20), (12, 60), None]
    )
    ALLOWED = st.sampled_from([1, 2, 3, 9, 41, 60, 200, None])

    @initialize(limit=LIMITS, allowed=ALLOWED)
    def set_up(self, limit: tuple[int, int] | None, allowed: int | None) -> None:
        self.organization = Organization.objects.create(slug="course")
        fields = {"url": "http://127.0.0.1:9999/", "events": ["*"], "max_in_flight": 1000, "retry_schedule": [1] * 20}
        self.webhook, _ = creating.create(fields, organization=self.organization, repository=None, now=self.now)
        self.limits: list[tuple[int, timedelta]] = []
        # So many that nothing but the rate keeps them back.
        self.accept(200)
        self.fan_out(slots=0)
        self.change_the_limit(limit)
        self.consent(allowed)

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

    @rule(times=st.integers(2, 40), milliseconds=st.sampled_from([20, 125, 1000]))
    def claim_whenever_a_worker_looks(self, times: int, milliseconds: int) -> None:
        for _ in range(times):
            self.now += timedelta(milliseconds=milliseconds)
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

    @rule(limit=LIMITS)
    def change_the_limit(self, limit: tuple[int, int] | None) -> None:
        changing.change(self.webhook.pk, {"rate_limit": limit and limit_of(*limit)}, now=self.now)
        self._changed()

    @rule(allowed=ALLOWED)
    def consent(self, allowed: int | None) -> None:
        allow(self.webhook, allowed, now=self.now)
        self._changed()

    def _changed(self) -> None:
        """From now on the new limits hold, and requests whose turn is yet to come count against them."""
        self.webhook.refresh_from_db()
        limit, allowed = self.webhook.rate_limit, self.webhook.allowed_rate
        limits = [(allowed, MINUTE)] if allowed is not None else []
        if limit is not None:
            limits.append((limit.requests + limit.requests // 10, limit.per * SECOND))
        if limits == self.limits:
            return
        taken = [turn for turn in self.turns if turn > self.now]
        # More than the new limit allows have been claimed already.
        is_beyond = any(len(taken) * (self.webhook.pace_interval or SECOND) > span for _, span in limits)
        self.turns = [] if is_beyond else taken
        self.limits = limits

    def _note(self, claims: list[Claim]) -> None:
        self.in_flight += claims
        if not self.limits:
            assert all(claim.starts_at is None for claim in claims)
            return
        new = [claim.starts_at for claim in claims if claim.starts_at is not None]
        assert len(new) == len(claims)
        assert all(self.now <= turn <= self.now + AHEAD for turn in new)
        self.turns = sorted(self.turns + new)
        for most, span in self.limits:
            for first, last in zip(self.turns, self.turns[most:], strict=False):
                lag = claims[0].destination.pace_lag if claims else None
                assert last - first >= span + (lag or timedelta(0)), f"more than {most} in {last - first}"


def test_no_course_exceeds_the_rate_in_any_window(forge: Forge) -> None:
    run_state_machine_as_test(AnyCourse, settings=any_course(examples=40, steps=25))


# Requests, and the seconds in which there may be so many.
RATES = [(1, 1), (7, 1), (10, 1), (100, 1), (1, 10), (60, 60), (30, 5)]


@pytest.mark.parametrize(("requests", "per"), RATES)
def test_a_worker_that_looks_between_turns_uses_seven_eighths_of_the_rate_and_more(
    forge: Forge, requests: int, per: int
) -> None:
    limited(forge, requests, per=per)
    for _ in range(2):
        forge.accept(min(500, 2 * requests + 2), now=NOON)
    now, turns = NOON, []

    while now < NOON + 2 * per * SECOND:
        claims = pipeline.claim(1000, now=now)
        turns += turns_of(claims)
        pipeline.settle(pretend(claims, OK, now=now), now=now)
        now += AHEAD / 2

    second = [turn for turn in turns if per <= turn < 2 * per]
    assert requests * 7 // 8 <= len(second) <= requests
    assert len({round(later - earlier, 6) for earlier, later in pairwise(turns)}) == 1


def test_the_others_do_not_wait(forge: Forge) -> None:
    slow, fast = limited(forge, 1, per=10), forge.webhook(now=NOON, path="/fast", max_in_flight=1000)
    forge.accept(20, now=NOON)

    claims = pipeline.claim(30, now=NOON)
    again = pipeline.claim(30, now=NOON + SECOND)

    # It takes one slot of the thirty, and after that none.
    assert [sum(claim.destination.webhook_id == one.pk for claim in claims) for one in (slow, fast)] == [1, 20]
    assert again == []


def test_each_request_has_its_turn_within_a_claim_and_from_one_to_the_next(forge: Forge) -> None:
    limited(forge, 10, per=1)
    forge.accept(10, now=NOON)

    first = turns_of(pipeline.claim(10, now=NOON))
    second = turns_of(pipeline.claim(10, now=NOON + SECOND / 10))
    late = turns_of(pipeline.claim(10, now=NOON + 5 * SECOND))

    # 1.125 seconds have eleven turns.
    assert (first, second, late) == ([0, 0.102273, 0.204546], [0.306819], [5, 5.102273, 5.204546])


@pytest.mark.parametrize("readiness", Delivery.Readiness.values[1:])
def test_what_is_released_before_its_turn_keeps_its_place_in_the_backlog(forge: Forge, readiness: int) -> None:
    limited(forge, 10, per=1)
    forge.accept(5, now=NOON)
    Delivery.objects.update(readiness=readiness)
    ids = list(Delivery.objects.order_by("id").values_list("id", flat=True))
    claims = pipeline.claim(10, now=NOON + SECOND)
    assert [each.delivery_id for each in claims] == ids[:3]

    # As a worker does that ends, or whose claim took too long.
    claiming.release(claims[1:])

    assert [each.delivery_id for each in pipeline.claim(10, now=NOON + 9 * SECOND)] == ids[1:4]


def test_a_webhook_that_has_had_its_share_is_no_work(forge: Forge) -> None:
    limited(forge, 1, per=10)
    forge.accept(2, now=NOON)
    assert len(pipeline.claim(10, now=NOON)) == 1

    due = [claiming.is_anything_to_do(now=NOON + second * SECOND) for second in (0, 10.9, 11)]

    assert due == [False, False, True]


def test_what_is_fanned_out_beyond_the_rate_waits(forge: Forge) -> None:
    limited(forge, 10, per=1)
    pipeline.accept([forge.event(now=NOON) for _ in range(10)], now=NOON)

    done = pipeline.fan_out(capacity=Capacity(100), now=NOON)

    assert (done.deliveries, turns_of(done.claims)) == (10, [0, 0.102273, 0.204546])
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["pending"] * 7 + ["sending"] * 3
    assert turns_of(pipeline.claim(100, now=NOON + SECOND / 10)) == [0.306819]


def test_a_backoff_and_a_rate_both_hold(forge: Forge) -> None:
    webhook = limited(forge, 10, per=1)
    forge.accept(5, now=NOON)
    Webhook.objects.filter(pk=webhook.pk).update(backoff_until=NOON + 30 * SECOND)

    assert pipeline.claim(10, now=NOON) == []
    assert len(pipeline.claim(10, now=NOON + 30 * SECOND)) == 3


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_share_it(forge: Forge) -> None:
    limited(forge, 10, per=1)
    forge.accept(50, now=NOON)

    claims = together(*[lambda: pipeline.claim(10, now=NOON)] * 4)

    assert sorted(turn for each in claims for turn in turns_of(each)) == [0, 0.102273, 0.204546]


@pytest.mark.django_db(transaction=True)
def test_two_fan_outs_at_once_share_it(forge: Forge) -> None:
    limited(forge, 10, per=1)
    for _ in range(4):
        pipeline.accept([forge.event(now=NOON) for _ in range(5)], now=NOON)

    done = together(*[lambda: pipeline.fan_out(5, capacity=Capacity(100), now=NOON)] * 4)

    assert sum(one.deliveries for one in done) == 20
    # One that finds the webhook locked, or deliveries ready before its own, claims none at once.
    turns = [turn for one in done for turn in turns_of(one.claims)] + turns_of(pipeline.claim(100, now=NOON))
    assert sorted(turns) == [0, 0.102273, 0.204546]


def test_a_claim_that_is_not_committed_counts_nothing(forge: Forge) -> None:
    webhook = limited(forge, 10, per=1)
    forge.accept(5, now=NOON)

    with transaction.atomic():
        assert len(pipeline.claim(10, now=NOON)) == 3
        transaction.set_rollback(True)

    webhook.refresh_from_db()
    assert webhook.next_request_at is None
    assert len(pipeline.claim(10, now=NOON)) == 3


# The state of a webhook with ten requests a second, of which those of a quarter of a second may be claimed: seconds
# from now to ``next_request_at``, requests in flight, and how many more may be claimed.
FREE = {
    "nothing sent yet": (None, 0, 3),
    "not for long": (-1_000_000, 0, 3),
    "since just now": (0, 0, 3),
    "a while to wait": (0.1, 0, 2),
    "soon": (0.25, 0, 1),
    "too early by a moment": (0.250001, 0, 0),
    "too early": (30, 0, 0),
    "beyond the requests in flight": (None, 999, 1),
    "with none left in flight": (None, 1000, 0),
}


@pytest.mark.parametrize(("seconds", "in_flight", "free"), FREE.values(), ids=FREE)
def test_a_locked_webhook_has_as_many_requests_as_both_limits_leave(
    forge: Forge, seconds: float | None, in_flight: int, free: int
) -> None:
    webhook = limited(forge, 10, per=1)
    if seconds is not None:
        Webhook.objects.update(next_request_at=NOON + timedelta(seconds=seconds))
    Delivery.objects.bulk_create(
        Delivery(
            event_id=new_id(), webhook=webhook, organization=forge.organization, event_type="push", state="sending",
            attempts_made=1, lease=new_id(), leased_at=NOON, leased_until=NOON + timedelta(minutes=1), created_at=NOON,
        )
        for _ in range(in_flight)
    )  # fmt: skip

    params = capacity_params(Capacity(10), now=NOON)
    [row] = sql.run(
        f"SELECT free FROM ({FREE_SLOTS} WHERE w.id = %(webhook)s) AS found", {**params, "webhook": webhook.pk}
    )

    assert row[0] == free


# Changes of the limit -------------------------------------------------------------------------------------------------


def change(webhook: Webhook, limit: Limit, *, now: datetime) -> None:
    changing.change(webhook.pk, {"rate_limit": limit}, now=now)
    webhook.refresh_from_db()


@pytest.mark.parametrize("step", [2 * MINUTE, 60 * MINUTE, timedelta(days=400)])
def test_a_clock_that_was_set_back_does_not_silence_it(forge: Forge, step: timedelta) -> None:
    limited(forge, 10, per=1)
    forge.accept(10, now=NOON - timedelta(days=500))
    assert len(pipeline.claim(10, now=NOON)) == 3

    assert len(pipeline.claim(10, now=NOON - step)) == 3
    # The pace holds from there on.
    assert pipeline.claim(10, now=NOON - step) == []
    assert len(pipeline.claim(10, now=NOON - step + SECOND / 10)) == 1


def test_what_is_published_after_the_clock_was_set_back_is_sent(forge: Forge) -> None:
    webhook = limited(forge, 10, per=1)
    allow(webhook, 600, now=NOON)
    Webhook.objects.update(next_request_at=NOON + timedelta(hours=1))
    pipeline.accept([forge.event(now=NOON)], now=NOON)

    assert len(pipeline.fan_out(capacity=Capacity(10), now=NOON).claims) == 1


def test_a_lower_limit_holds_at_once_and_counts_what_was_claimed(forge: Forge) -> None:
    webhook = limited(forge, 100, per=1)
    forge.accept(40, now=NOON)
    assert len(pipeline.claim(1000, now=NOON)) == 25

    change(webhook, limit_of(1, 10), now=NOON)

    turns = [turn for second in range(40) for turn in turns_of(pipeline.claim(1000, now=NOON + second * SECOND))]
    # The first after the window in which the others are sent; of the third, the worker has missed the turn.
    assert turns == [12, 23.25, 35]


def test_a_higher_limit_takes_effect_at_once(forge: Forge) -> None:
    webhook = limited(forge, 1, per=10)
    forge.accept(60, now=NOON)
    assert len(pipeline.claim(1000, now=NOON)) == 1

    change(webhook, limit_of(100, 1), now=NOON + SECOND)

    turns = turns_of(pipeline.claim(1000, now=NOON + SECOND))
    assert len(turns) == 24
    assert 1 <= turns[0] < 1.02


def test_without_the_limit_what_waited_is_sent(forge: Forge, django_capture_on_commit_callbacks: Any) -> None:
    webhook = limited(forge, 10, per=1)
    forge.accept(10, now=NOON)
    assert len(pipeline.claim(1000, now=NOON)) == 3

    with django_capture_on_commit_callbacks() as callbacks:
        change(webhook, None, now=NOON)

    # A worker is woken.
    assert [callback.__name__ for callback in callbacks] == ["notify"]
    assert (webhook.rate_limit, webhook.pace_interval, webhook.next_request_at) == (None, None, None)
    claims = pipeline.claim(1000, now=NOON)
    assert [claim.starts_at for claim in claims] == [None] * 7


def test_requests_in_flight_count_against_a_first_limit(forge: Forge) -> None:
    webhook = forge.webhook(now=NOON, max_in_flight=1000)
    forge.accept(8, now=NOON)
    assert len(pipeline.claim(5, now=NOON)) == 5

    change(webhook, limit_of(10, 1), now=NOON)

    assert pipeline.claim(10, now=NOON) == []
    assert turns_of(pipeline.claim(10, now=NOON + 0.4 * SECOND)) == [0.511365, 0.613638]


def test_the_same_limit_again_changes_nothing(forge: Forge) -> None:
    webhook = limited(forge, 1, per=10)
    forge.accept(2, now=NOON)
    pipeline.claim(10, now=NOON)

    change(webhook, limit_of(1, 10), now=NOON + SECOND)

    assert webhook.next_request_at == NOON + 11.25 * SECOND


@pytest.mark.django_db(transaction=True)
def test_a_change_and_claims_at_once_lose_no_turn(forge: Forge) -> None:
    webhook = limited(forge, 10, per=1)
    forge.accept(50, now=NOON)

    def change_it() -> list[Claim]:
        changing.change(webhook.pk, {"rate_limit": limit_of(20, 1)}, now=NOON)
        return []

    claims = together(*[lambda: pipeline.claim(10, now=NOON)] * 3, change_it)
    turns = sorted(turn for each in [*claims, pipeline.claim(10, now=NOON)] for turn in turns_of(each))

    # At the old interval or the new one, but for rounding.
    assert 3 <= len(turns) <= 5
    assert all(later - earlier >= 0.0511 for earlier, later in pairwise(turns))


# Two limits -----------------------------------------------------------------------------------------------------------


def test_the_stricter_of_two_limits_holds(forge: Forge) -> None:
    webhook = limited(forge, 10, per=1)
    allow(webhook, 30)
    webhook.refresh_from_db()
    assert webhook.pace_interval == timedelta(seconds=62) / 30

    allow(webhook, 6000)

    webhook.refresh_from_db()
    assert webhook.pace_interval == timedelta(microseconds=102_273)


def test_the_end_of_a_grant_keeps_the_owners_limit(forge: Forge) -> None:
    webhook = limited(forge, 10, per=1)
    allow(webhook, 30)

    changing.change(webhook.pk, {"verify": None}, now=NOON)

    webhook.refresh_from_db()
    assert (webhook.proof, webhook.allowed_rate, webhook.rate_limit) == (None, None, (10, 1))
    assert webhook.pace_interval == timedelta(microseconds=102_273)


def test_the_end_of_the_owners_limit_keeps_the_grant(forge: Forge) -> None:
    webhook = limited(forge, 10, per=1)
    allow(webhook, 30)

    change(webhook, None, now=NOON)

    assert (webhook.allowed_rate, webhook.rate_limit) == (30, None)
    assert webhook.pace_interval == timedelta(seconds=62) / 30


# What is stored -------------------------------------------------------------------------------------------------------

WRONG_ROWS: dict[str, dict[str, object]] = {
    "no span": {"rate_per": None},
    "no requests": {"rate_requests": None},
    "none": {"rate_requests": 0},
    "too fast": {"rate_requests": 10_001},
    "too slow": {"rate_per": 101},
    "over a day": {"rate_requests": 86_400, "rate_per": 86_400},
    "no interval": {"pace_interval": None},
    "an interval of nothing": {"pace_interval": timedelta(0)},
    "no lag": {"pace_lag": None},
    "a pace without a limit": {"rate_requests": None, "rate_per": None},
    "a turn without a limit": dict.fromkeys(("rate_requests", "rate_per", "pace_interval", "pace_lag"))
    | {"next_request_at": NOON},
}


@pytest.mark.parametrize("wrong", WRONG_ROWS.values(), ids=WRONG_ROWS)
def test_no_row_has_half_a_limit(forge: Forge, wrong: dict[str, Any]) -> None:
    webhook = limited(forge, 10, per=1)

    with pytest.raises(IntegrityError), transaction.atomic():
        Webhook.objects.filter(pk=webhook.pk).update(**wrong)


def test_a_change_is_in_the_audit_log(forge: Forge) -> None:
    webhook = limited(forge, 10, per=1)

    change(webhook, limit_of(5, 1), now=NOON)

    entry = AuditEntry.objects.get(action="webhook.updated")
    shown = {"rate_limit": {"requests": 10, "per": 1}}, {"rate_limit": {"requests": 5, "per": 1}}
    assert (json.loads(entry.before or ""), json.loads(entry.after or "")) == shown


def count_of(name: str, *, now: datetime) -> int:
    [found] = [one for one in invariants.check_all(now=now) if one.check.name == name]
    return found.count


def test_the_ledger_tells_of_requests_beyond_the_owners_limit(forge: Forge) -> None:
    webhook = limited(forge, 20, per=1)
    forge.accept(22, now=NOON)
    later = NOON + timedelta(minutes=5)

    claims = [claim for second in range(30) for claim in pipeline.claim(22, now=later + second * SECOND)]
    pipeline.settle(pretend(claims, OK, now=later), now=later)
    assert (len(claims), count_of("attempts-beyond-the-rate", now=later)) == (22, 0)
    forge.accept(2, now=NOON)
    paced = Webhook.objects.filter(pk=webhook.pk).values("rate_requests", "rate_per", "pace_interval", "pace_lag").get()
    # As if the limit had been forgotten for a moment.
    Webhook.objects.update(**dict.fromkeys(paced), next_request_at=None)
    pipeline.settle(pretend(pipeline.claim(1, now=later), OK, now=later + 0.9 * SECOND), now=later + SECOND)
    Webhook.objects.update(**paced)

    assert count_of("attempts-beyond-the-rate", now=later) == 1
    # A lost attempt says nothing about when its request was sent.
    pipeline.claim(1, now=later + 40 * SECOND)
    rescue.rescue_expired(now=later + 200 * SECOND)
    assert count_of("attempts-beyond-the-rate", now=later) == 1


@pytest.mark.parametrize("factor", [0.5, 1])
def test_the_ledger_tells_of_a_pace_that_exceeds_the_limit(forge: Forge, factor: float) -> None:
    webhook = limited(forge, 10, per=1)
    Webhook.objects.update(pace_interval=webhook.pace_interval * factor)

    assert count_of("webhooks-paced-wrongly", now=NOON) == (factor < 1)


# The admin ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_the_admin_shows_the_rate_and_why_a_delivery_waits(forge: Forge, admin: Client) -> None:
    now = timezone.now()
    webhook = forge.webhook(now=now, verify="handshake", max_in_flight=1000)
    verifying.set_grant(webhook, Grant("hooks.example", 1), now=now)
    webhook.verified_at = now
    webhook.save()
    forge.accept(2, now=now)
    assert len(pipeline.claim(10, now=now)) == 1
    waiting = Delivery.objects.get(state="pending")
    address = f"/admin/deliveries/webhook/{webhook.pk}/change/"

    page = admin.get(address).content.decode()
    reason = admin.get(f"/admin/deliveries/delivery/{waiting.pk}/change/").content.decode()

    assert "<dt>Allowed by its receiver</dt><dd>1 request a minute</dd>" in page
    assert '<option value="handshake" selected>Handshake</option>' in page
    assert '<option value="mcp">' not in page
    assert "Waiting because its receiver allows 1 request a minute." in reason

    change(webhook, limit_of(1, 1), now=now)
    page = admin.get(address).content.decode()
    assert "<dt>Rate limit</dt><dd>1 request a second</dd>" in page
    assert "<dt>Allowed by its receiver</dt><dd>1 request a minute: this limit holds</dd>" in page


# A limit, and what it is called.
WORDS = {
    (1, 1): "1 request a second",
    (1000, 1): "1,000 requests a second",
    (60, 60): "60 requests a minute",
    (400, 3600): "400 requests an hour",
    (1, 10): "1 request in 10 s",
    (25, 5): "25 requests in 5 s",
}


@pytest.mark.parametrize(("limit", "words"), WORDS.items(), ids=WORDS.values())
def test_why_a_delivery_waits_is_said_in_the_words_of_its_reader(
    forge: Forge, limit: tuple[int, int], words: str
) -> None:
    webhook = limited(forge, *limit[:1], per=limit[1])
    forge.accept(2, now=NOON)
    pipeline.claim(1, now=NOON)
    webhook.refresh_from_db()
    waiting = Delivery.objects.get(state="pending")

    assert explain(waiting, webhook, now=NOON) == f"Waiting because its owner allows {words}."
    assert explain(waiting, webhook, to_owner=True, now=NOON) == f"Waiting because you allow {words}."
    late = explain(waiting, webhook, now=NOON + timedelta(hours=1))
    assert late.startswith("Ready for 60 min. Waiting for a worker")
