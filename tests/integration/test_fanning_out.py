"""Fan-out claims at once what fits; the rest becomes ready; no repository delays another."""

import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction

from deliveries import pipeline
from deliveries.db import sql
from deliveries.maintenance import tasks
from deliveries.models import Delivery, OutboxEntry, Repository, Webhook
from deliveries.pipeline import claiming, fanning_out
from deliveries.pipeline.capacity import SLOW_FROM, Capacity
from deliveries.pipeline.fan_out_statements import (
    FAN_OUT_AT_ONCE,
    INSERT_DELIVERIES,
    INSERT_DELIVERY,
    LARGE_FAN_OUT_LOCK,
    TAKE_EVENTS,
    TAKE_FEW,
)
from deliveries.pipeline.fanning_out import EVENTS_PER_PARTITION, LARGE_FAN_OUT
from deliveries.pipeline.filtering import Pairs
from deliveries.policy.retry import TIMEOUTS_BEFORE_BACKOFF
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from deliveries.worker.database_clock import DatabaseClock
from deliveries.worker.loop import WorkerLoop
from tests.story import Forge, attempt_all, counted_statements, outcomes_of, the_delivery, together

pytestmark = pytest.mark.django_db

PLENTY = Capacity(1000)


@pytest.fixture(autouse=True, params=["at once", "few", "many"])
def statements(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Use the statement that does all at once where it can, those for a few events, or those for any number.

    The first two fan out all or none of the outbox.
    """
    found: str = request.param
    monkeypatch.setattr(fanning_out, "FEW", 0 if found == "many" else LARGE_FAN_OUT)
    if found != "at once":
        monkeypatch.setattr(fanning_out, "_fan_out_at_once", lambda *_, **__: None)
    if found == "many":
        monkeypatch.setattr(Pairs, "is_one", False)
    return found


def states_of(webhook: Webhook) -> dict[str, int]:
    return dict(Counter(Delivery.objects.filter(webhook=webhook).values_list("state", flat=True)))


def publish(forge: Forge, count: int, *, now: datetime, repository: Repository | None = None) -> list[UUID]:
    """Accept some events, of another repository if given."""
    events = [forge.event(now=now) for _ in range(count)]
    if repository is not None:
        events = [replace(event, repository_id=repository.pk) for event in events]
    return [receipt.id for receipt in pipeline.accept(events, now=now)]


def test_a_delivery_that_can_be_sent_now_is_created_as_claimed(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    event_id = publish(forge, 1, now=now)[0]

    [claim] = pipeline.fan_out(capacity=PLENTY, now=now).claims

    delivery = the_delivery()
    assert (delivery.state, delivery.attempts_made, delivery.first_attempt_at) == ("sending", 1, now)
    assert (delivery.lease, delivery.leased_at, delivery.leased_until) == (claim.lease, now, claim.leased_until)
    assert (claim.event_id, claim.destination.webhook_id, claim.number) == (str(event_id), webhook.pk, 1)
    assert (claim.payload, claim.repository) == (b'{"ref": "refs/heads/main"}', "widgets")
    assert pipeline.settle(attempt_all([claim], sender, now=now), now=now).applied == {delivery.pk}
    assert outcomes_of(delivery) == ["delivered"]
    assert [request.path for request in forge.receiver.received] == ["/"]


def test_without_capacity_every_delivery_becomes_ready(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    publish(forge, 3, now=now)

    assert pipeline.fan_out(now=now)[:3] == (3, 3, [])
    assert states_of(webhook) == {"pending": 3}
    assert set(Delivery.objects.values_list("readiness", "due_at", "attempts_made", "lease")) == {(1, now, 0, None)}


@pytest.mark.parametrize("count", [3, 4])
def test_a_few_events_are_fanned_out_by_statements_of_their_own(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, count: int, statements: str
) -> None:
    monkeypatch.setattr(fanning_out, "FEW", 3)
    forge.webhook(now=now)
    publish(forge, count, now=now, repository=forge.repository)

    with counted_statements() as ran:
        done = pipeline.fan_out(3, capacity=PLENTY, now=now)

    assert (done.events, done.deliveries, len(done.claims)) == (3, 3, 3)
    assert OutboxEntry.objects.count() == count - 3
    assert done.at_once == (statements == "at once" and count == 3)
    assert [TAKE_FEW in ran, TAKE_EVENTS in ran] == [not done.at_once, count > 3]


def test_with_partitions_to_exclude_the_outbox_is_not_read_past_them(forge: Forge, now: datetime) -> None:
    other = Repository.objects.create(organization=forge.organization, name="other")
    publish(forge, 1, now=now)
    publish(forge, 1, now=now, repository=other)

    with counted_statements() as ran:
        done = pipeline.fan_out(8, exclude=[forge.repository.pk], now=now)

    assert (done.events, done.cursor, TAKE_FEW in ran) == (1, other.pk, False)
    assert [entry.partition for entry in OutboxEntry.objects.all()] == [forge.repository.pk]


def test_a_single_delivery_is_inserted_by_a_statement_of_its_own(forge: Forge, now: datetime, statements: str) -> None:
    forge.webhook(now=now)
    publish(forge, 1, now=now)

    with counted_statements() as ran:
        assert len(pipeline.fan_out(capacity=PLENTY, now=now).claims) == 1
        assert pipeline.fan_out(capacity=PLENTY, now=now).events == 0

    ways = {"at once": FAN_OUT_AT_ONCE, "few": INSERT_DELIVERY, "many": INSERT_DELIVERIES}
    assert [way for way, statement in ways.items() if statement in ran] == [statements]


def test_a_new_delivery_does_not_overtake_a_ready_one(forge: Forge, now: datetime) -> None:
    webhook, other = forge.webhook(now=now), forge.webhook(now=now)
    first = forge.accept(1, now=now)
    Delivery.objects.filter(webhook=other).update(state="held", due_at=None)
    publish(forge, 1, now=now)

    claims = pipeline.fan_out(capacity=PLENTY, now=now).claims

    assert [claim.destination.webhook_id for claim in claims] == [other.pk]
    assert states_of(webhook) == {"pending": 2}
    assert [claim.event_id for claim in pipeline.claim(1, now=now)] == [str(first[0])]


def test_a_webhook_gets_no_more_than_its_limit_of_requests_in_flight(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, max_in_flight=3)
    publish(forge, 1, now=now)
    pipeline.fan_out(capacity=PLENTY, now=now)
    ids = publish(forge, 4, now=now)

    claims = pipeline.fan_out(capacity=PLENTY, now=now).claims

    assert [claim.event_id for claim in claims] == [str(event_id) for event_id in ids[:2]]
    assert states_of(webhook) == {"sending": 3, "pending": 2}


@pytest.mark.parametrize(
    ("health", "capacity", "sent"),
    [
        ({"backoff_until": timedelta(seconds=1)}, PLENTY, 0),
        ({"backoff_until": timedelta(0)}, PLENTY, 3),
        ({"timeouts_in_a_row": TIMEOUTS_BEFORE_BACKOFF}, PLENTY, 1),
        ({"latency_ewma": SLOW_FROM}, Capacity(1000, slow_slots=0), 0),
        ({"latency_ewma": SLOW_FROM}, Capacity(1000, slow_slots=2), 2),
        ({"latency_ewma": SLOW_FROM / 2}, Capacity(1000, slow_slots=0), 3),
    ],
    ids=["rests", "rested", "half open", "slow, no room", "slow, some room", "prompt"],
)
def test_the_health_of_a_webhook_limits_what_is_claimed(
    forge: Forge, now: datetime, health: dict[str, object], capacity: Capacity, sent: int
) -> None:
    webhook = forge.webhook(now=now)
    if isinstance(rest := health.get("backoff_until"), timedelta):
        health = {"backoff_until": now + rest}
    Webhook.objects.update(**health)
    publish(forge, 3, now=now)

    assert len(pipeline.fan_out(capacity=capacity, now=now).claims) == sent
    assert states_of(webhook) == {state: count for state, count in (("sending", sent), ("pending", 3 - sent)) if count}


def test_a_stalled_webhook_counts_as_slow(forge: Forge, now: datetime) -> None:
    lagging, prompt = forge.webhook(now=now), forge.webhook(now=now)
    publish(forge, 2, now=now)

    claims = pipeline.fan_out(capacity=Capacity(1000, slow_slots=1, stalled_webhooks=[lagging.pk]), now=now).claims

    assert Counter(claim.destination.webhook_id for claim in claims) == {lagging.pk: 1, prompt.pk: 2}
    assert {claim.destination.webhook_id: claim.destination.slow for claim in claims} == {
        lagging.pk: True,
        prompt.pk: False,
    }


def test_with_few_slots_each_webhook_gets_one_before_any_gets_two(forge: Forge, now: datetime) -> None:
    hooks = [forge.webhook(now=now).pk for _ in range(3)]
    ids = publish(forge, 3, now=now)

    done = pipeline.fan_out(capacity=Capacity(3), now=now)

    assert {claim.destination.webhook_id: claim.event_id for claim in done.claims} == dict.fromkeys(hooks, str(ids[0]))
    assert done[:2] == (3, 9)
    assert Delivery.objects.filter(state="pending", readiness=1).count() == 6


def test_a_flood_in_one_repository_does_not_delay_the_others(forge: Forge, now: datetime) -> None:
    quiet = Repository.objects.create(organization=forge.organization, name="quiet")
    forge.webhook(now=now, max_in_flight=100)
    publish(forge, 100, now=now)
    late = publish(forge, 1, now=now, repository=quiet)

    claims = pipeline.fan_out(2 * EVENTS_PER_PARTITION, capacity=PLENTY, now=now).claims

    assert str(late[0]) in {claim.event_id for claim in claims}


def test_partitions_are_served_round_robin(forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise the last few would be taken together.
    monkeypatch.setattr(fanning_out, "FEW", 0)
    others = [Repository.objects.create(organization=forge.organization, name=f"r{n}") for n in range(2)]
    repositories = [forge.repository, *others]
    of = {}
    for repository in repositories:
        of |= dict.fromkeys(publish(forge, 2 * EVENTS_PER_PARTITION, now=now, repository=repository), repository.pk)
    of_nobody = pipeline.accept([replace(forge.event(now=now), repository_id=None)] * EVENTS_PER_PARTITION, now=now)
    of |= {receipt.id: -forge.organization.pk for receipt in of_nobody}
    forge.webhook(now=now, max_in_flight=1000)

    after, turns = 0, []
    while (
        done := pipeline.fan_out(EVENTS_PER_PARTITION, capacity=Capacity(EVENTS_PER_PARTITION), cursor=after, now=now)
    ).events:
        assert {of[UUID(claim.event_id)] for claim in done.claims} == {done.cursor}
        turns.append(done.cursor)
        after = done.cursor

    firsts, lasts = turns[:4], turns[4:]
    assert firsts == [*sorted(repository.pk for repository in repositories), -forge.organization.pk]
    assert lasts == firsts[:3]


def test_of_partitions_with_few_events_more_are_served(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    repositories = [
        Repository.objects.create(organization=forge.organization, name=f"r{n}")
        for n in range(2 * EVENTS_PER_PARTITION)
    ]
    for repository in repositories:
        publish(forge, 1, now=now, repository=repository)

    # A smaller number would mean that nothing is left, and a worker would not fan out again for a while.
    assert pipeline.fan_out(EVENTS_PER_PARTITION + 1, capacity=PLENTY, now=now).events == EVENTS_PER_PARTITION + 1
    assert pipeline.fan_out(EVENTS_PER_PARTITION + 1, capacity=PLENTY, now=now).events == EVENTS_PER_PARTITION - 1


def test_of_few_partitions_more_events_each_are_taken(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=1000)
    publish(forge, 100, now=now)

    assert pipeline.fan_out(50, capacity=PLENTY, now=now)[:2] == (50, 50)


def test_an_event_that_matches_no_webhook_is_fanned_out_too(forge: Forge, now: datetime) -> None:
    publish(forge, 2, now=now)

    assert pipeline.fan_out(capacity=PLENTY, now=now)[:3] == (2, 0, [])
    assert not OutboxEntry.objects.exists()


def test_a_delivery_claimed_by_the_fan_out_is_rescued_like_any_other(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    publish(forge, 1, now=now)
    [claim] = pipeline.fan_out(capacity=PLENTY, now=now).claims
    later = claim.leased_until + timedelta(seconds=1)

    assert tasks.rescue_expired_leases(now=later) == 1

    assert outcomes_of(the_delivery()) == ["unknown"]
    assert [again.number for again in pipeline.claim(1, now=later)] == [2]


def test_a_delivery_claimed_by_the_fan_out_can_be_released(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    publish(forge, 1, now=now)

    claiming.release(pipeline.fan_out(capacity=PLENTY, now=now).claims)

    delivery = the_delivery()
    assert (delivery.state, delivery.attempts_made, delivery.first_attempt_at) == ("pending", 0, None)
    assert len(pipeline.claim(1, now=now)) == 1


def test_an_event_accepted_before_its_webhook_was_disabled_is_held(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    publish(forge, 2, now=now)
    lifecycle.disable(webhook.pk, now=now + timedelta(seconds=1))
    publish(forge, 3, now=now + timedelta(seconds=2))

    later = now + timedelta(seconds=3)
    done = pipeline.fan_out(capacity=PLENTY, now=later)

    assert (done.events, done.deliveries, done.claims) == (5, 2, [])
    assert pipeline.claim(10, now=later) == []
    assert states_of(webhook) == {"held": 2}
    lifecycle.enable(webhook.pk, release_held=True, now=later)
    assert len(pipeline.claim(10, now=later)) == 2


@pytest.mark.django_db(transaction=True)
def test_the_fan_out_does_not_wait_for_a_locked_webhook(forge: Forge, now: datetime) -> None:
    webhook, free = forge.webhook(now=now), forge.webhook(now=now)
    publish(forge, 1, now=now)
    is_locked, is_done = threading.Event(), threading.Event()

    def disable() -> None:
        with transaction.atomic():
            lifecycle.disable(webhook.pk, now=now)
            is_locked.set()
            assert is_done.wait(30)

    def fan_out() -> None:
        assert is_locked.wait(30)
        try:
            claims = pipeline.fan_out(capacity=PLENTY, now=now).claims
        finally:
            is_done.set()
        assert [claim.destination.webhook_id for claim in claims] == [free.pk]

    together(disable, fan_out)

    # It was fanned out while the webhook was being disabled; the next claim holds it.
    assert states_of(webhook) == {"pending": 1}
    assert pipeline.claim(10, now=now) == []
    assert states_of(webhook) == {"held": 1}


@pytest.mark.django_db(transaction=True)
def test_concurrent_fan_outs_claim_each_delivery_once_and_stay_within_the_limits(forge: Forge, now: datetime) -> None:
    hooks = [forge.webhook(now=now, max_in_flight=5) for _ in range(4)]
    repositories = [Repository.objects.create(organization=forge.organization, name=f"r{n}") for n in range(3)]
    for repository in repositories:
        publish(forge, 20, now=now, repository=repository)

    def work() -> list[UUID]:
        try:
            mine = []
            for _ in range(10):
                mine += pipeline.fan_out(3, capacity=Capacity(6), now=now).claims
                mine += pipeline.claim(6, now=now)
            return [claim.delivery_id for claim in mine]
        finally:
            connection.close()

    taken = [delivery_id for ids in together(*[work] * 4) for delivery_id in ids]

    assert len(set(taken)) == len(taken)
    assert Delivery.objects.count() == 60 * len(hooks)
    assert not OutboxEntry.objects.exists()
    for webhook in hooks:
        assert states_of(webhook) == {"sending": 5, "pending": 55}


@pytest.mark.django_db(transaction=True)
def test_a_partition_locked_by_another_transaction_is_skipped(forge: Forge, now: datetime) -> None:
    other = Repository.objects.create(organization=forge.organization, name="other")
    webhook = forge.webhook(now=now)
    publish(forge, 1, now=now)
    late = publish(forge, 1, now=now, repository=other)
    is_locked, is_done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            OutboxEntry.objects.select_for_update().get(partition=forge.repository.pk)
            is_locked.set()
            assert is_done.wait(30)

    def fan_out() -> None:
        assert is_locked.wait(30)
        try:
            nothing = pipeline.fan_out(1, capacity=PLENTY, now=now)
            assert nothing[:5] == (0, 0, [], forge.repository.pk, False)
            done = pipeline.fan_out(1, capacity=PLENTY, cursor=nothing.cursor, now=now)
        finally:
            is_done.set()
        assert [claim.event_id for claim in done.claims] == [str(late[0])]

    together(hold, fan_out)

    assert states_of(webhook) == {"sending": 1}


@pytest.mark.django_db(transaction=True)
def test_large_fan_outs_take_turns(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    publish(forge, 3, now=now)
    is_running, is_done = threading.Event(), threading.Event()

    def run_one() -> None:
        with transaction.atomic():
            sql.run(TAKE_TURN, {"key": LARGE_FAN_OUT_LOCK})
            is_running.set()
            assert is_done.wait(30)

    def fan_out() -> None:
        assert is_running.wait(30)
        try:
            # At once, three events would need no turn.
            waiting = pipeline.fan_out(LARGE_FAN_OUT + 1, capacity=PLENTY, cursor=7, at_once=False, now=now)
            assert waiting[:5] == (0, 0, [], 7, True)
            assert OutboxEntry.objects.count() == 3
            assert len(pipeline.fan_out(1, capacity=PLENTY, now=now).claims) == 1
        finally:
            is_done.set()

    together(run_one, fan_out)

    assert pipeline.fan_out(LARGE_FAN_OUT + 1, capacity=PLENTY, now=now).events == 2
    assert states_of(webhook) == {"sending": 3}


TAKE_TURN = "SELECT pg_advisory_xact_lock(%(key)s)"

SLOW_TO_INSERT = """
CREATE FUNCTION pg_temp.dawdle() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF new.event_type = 'slow' THEN PERFORM pg_sleep(30); END IF; RETURN new; END $$;
CREATE TRIGGER dawdle BEFORE INSERT ON hookhub_delivery FOR EACH ROW EXECUTE FUNCTION pg_temp.dawdle();
SET statement_timeout = '300ms'
"""


@pytest.mark.django_db(transaction=True)
def test_an_event_whose_fan_out_times_out_does_not_block_the_others(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    other = Repository.objects.create(organization=forge.organization, name="other")
    forge.webhook(now=now)
    stuck = pipeline.accept([forge.event("slow", now=now)], now=now)[0].id
    publish(forge, 3, now=now, repository=other)
    with connection.cursor() as cursor:
        cursor.execute(SLOW_TO_INSERT)
    try:
        done = WorkerLoop(sender, DatabaseClock(), timedelta(seconds=3), timedelta(seconds=3)).run()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER dawdle ON hookhub_delivery; RESET statement_timeout")

    assert done.attempts == 3
    assert len(forge.receiver.received) == 3
    assert OutboxEntry.objects.get().event_id == stuck
