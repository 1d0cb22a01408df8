"""Claiming: no delivery is claimed twice, no webhook exceeds its limit, and none is starved."""

import threading
from collections import Counter
from datetime import datetime, timedelta
from itertools import chain
from uuid import uuid4

import psycopg
import pytest
from django.db import connection, transaction
from pytest_django import Settings

from deliveries import pipeline, redelivery, stats
from deliveries.models import Delivery, Webhook
from deliveries.pipeline import attempting, claiming
from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.claims import Claim, Destination
from deliveries.policy.retry import TIMEOUTS_BEFORE_BACKOFF
from deliveries.sending.sender import Sender
from testbed.processes import wait_for
from tests.receiver import Answer
from tests.story import Forge, counted_statements, deliver_due, together

pytestmark = pytest.mark.django_db


def finish(claims: list[Claim], *, now: datetime) -> None:
    """Finish claimed deliveries without sending them."""
    Delivery.objects.filter(id__in=[claim.delivery_id for claim in claims]).update(
        state="delivered", finish_reason="delivered", finished_at=now, lease=None, leased_at=None, leased_until=None
    )


def create_due(forge: Forge, counts: dict[str, int], *, now: datetime) -> dict[int, str]:
    """Create a webhook for each name with this many due deliveries; return the names by webhook id."""
    names = {}
    for name, count in counts.items():
        names[forge.webhook(now=now, path=f"/{name}", events=[name]).pk] = name
        pipeline.accept([forge.event(name, now=now) for _ in range(count)], now=now)
    while pipeline.fan_out(now=now)[0]:
        pass
    return names


# The lease -----------------------------------------------------------------------------------------------------------


def test_a_claim_holds_everything_that_one_attempt_needs(forge: Forge, now: datetime, settings: Settings) -> None:
    webhook = forge.webhook(now=now, headers={"A": "b"}, retry_schedule=[60], timeout=5, verify_ssl=False)
    [event_id] = forge.accept(now=now)

    [claim] = pipeline.claim(10, now=now)

    delivery = Delivery.objects.get()
    until = now + settings.HOOKHUB_LEASE
    assert (delivery.state, delivery.attempts_made, delivery.due_at) == ("sending", 1, None)
    assert (delivery.lease, delivery.leased_at, delivery.leased_until) == (claim.lease, now, until)
    assert delivery.first_attempt_at == now
    webhook.refresh_from_db()
    assert claim.destination == Destination(
        webhook_id=webhook.pk, webhook_uid=str(webhook.uid), organization_id=forge.organization.pk,
        organization="acme", repository_id=None, url=webhook.url, sealed_url=None, format="standard-webhooks",
        content_type="json",
        sealed_secrets=bytes(webhook.sealed_secrets),
        sealed_headers=bytes(webhook.sealed_headers), verify_ssl=False, retry_schedule=[timedelta(minutes=1)],
        timeout=timedelta(seconds=5), subscription=None, request_origin=None, pace_interval=None,
        pace_lag=None, slow=False,
    )  # fmt: skip
    assert claim == Claim(
        delivery_id=delivery.id, lease=claim.lease, leased_until=until, destination=claim.destination, number=1,
        failures=0, first_attempt_at=now, due_at=now, event_id=str(event_id), event_type="push",
        payload=b'{"ref": "refs/heads/main"}', occurred_at=now, repository="widgets",
    )  # fmt: skip
    assert pipeline.claim(10, now=until + timedelta(days=1)) == []


@pytest.mark.parametrize(("age", "count"), [(-1, 0), (0, 1), (1, 1)])
def test_a_retry_becomes_ready_exactly_when_it_is_due(forge: Forge, now: datetime, age: int, count: int) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    later = now + timedelta(minutes=1)
    Delivery.objects.update(readiness=Delivery.Readiness.SCHEDULED, due_at=later)
    assert pipeline.claim(10, now=later) == []

    assert claiming.promote_due(now=later + timedelta(microseconds=age)) == count
    assert len(pipeline.claim(10, now=later)) == count


def test_the_longest_due_become_ready_first_and_no_more_than_a_batch(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "PROMOTE_BATCH", 2)
    forge.webhook(now=now)
    forge.accept(3, now=now)
    oldest = list(Delivery.objects.order_by("-id").values_list("id", flat=True))
    for age, delivery_id in enumerate(oldest):
        Delivery.objects.filter(pk=delivery_id).update(
            readiness=Delivery.Readiness.SCHEDULED, due_at=now + timedelta(seconds=age)
        )

    assert claiming.promote_due(now=now + timedelta(hours=1)) == 2

    ready = (
        Delivery.objects.filter(readiness=Delivery.Readiness.READY_RETRY)
        .order_by("due_at")
        .values_list("id", flat=True)
    )
    assert list(ready) == oldest[:2]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_no_more_is_claimed_than_there_are_slots(forge: Forge, now: datetime, limit: int) -> None:
    forge.webhook(now=now)
    forge.accept(5, now=now)

    assert len(pipeline.claim(limit, now=now)) == limit


def test_the_oldest_are_claimed_first(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=1)
    forge.accept(3, now=now)
    moments = [now + timedelta(seconds=second) for second in (2, 0, 1)]
    for delivery, due_at in zip(Delivery.objects.order_by("id"), moments, strict=True):
        Delivery.objects.filter(pk=delivery.pk).update(due_at=due_at)
    ids = list(Delivery.objects.order_by("due_at").values_list("id", flat=True))

    claim = []
    for _ in range(3):
        [one] = pipeline.claim(10, now=now + timedelta(minutes=1))
        finish([one], now=now)
        claim.append(one.delivery_id)

    assert claim == ids


# In flight -----------------------------------------------------------------------------------------------------------


def test_a_webhook_has_no_more_in_flight_than_it_allows(forge: Forge, now: datetime, settings: Settings) -> None:
    settings.HOOKHUB_MAX_IN_FLIGHT = 4
    own = forge.webhook(now=now, max_in_flight=2)
    default = forge.webhook(now=now)
    forge.accept(10, now=now)

    claims = pipeline.claim(100, now=now)
    assert Counter(claim.destination.webhook_id for claim in claims) == {own.pk: 2, default.pk: 4}
    assert pipeline.claim(100, now=now) == []
    finish(claims[:1], now=now)

    assert [claim.destination.webhook_id for claim in pipeline.claim(100, now=now)] == [
        claims[0].destination.webhook_id
    ]


def test_with_a_limit_lowered_below_what_is_in_flight_nothing_is_claimed(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, max_in_flight=5)
    forge.accept(10, now=now)
    assert len(pipeline.claim(100, now=now)) == 5

    Webhook.objects.filter(pk=webhook.pk).update(max_in_flight=2)

    assert pipeline.claim(100, now=now) == []


# Fairness ------------------------------------------------------------------------------------------------------------


def test_a_webhook_with_a_thousand_due_deliveries_displaces_no_other(forge: Forge, now: datetime) -> None:
    names = create_due(forge, {"noisy": 1000, **{f"quiet{n}": 1 for n in range(9)}}, now=now)

    claims = pipeline.claim(10, now=now)

    assert Counter(names[claim.destination.webhook_id] for claim in claims) == Counter(names.values())


def test_slots_that_are_left_over_are_filled_in_further_rounds(forge: Forge, now: datetime) -> None:
    names = create_due(forge, {"a": 1, "b": 5, "c": 50, "d": 2}, now=now)

    claims = pipeline.claim(12, now=now)

    assert "".join(names[claim.destination.webhook_id] for claim in claims) == "abcd" + "bcd" + "bc" + "bc" + "b"


def test_the_next_claim_starts_after_the_cursor(forge: Forge, now: datetime) -> None:
    names = create_due(forge, dict.fromkeys("abcde", 20), now=now)
    after, order = 0, ""

    for _ in range(5):
        claims = pipeline.claim(3, cursor=after, now=now)
        finish(claims, now=now)
        order += "".join(names[claim.destination.webhook_id] for claim in claims)
        after = claims[-1].destination.webhook_id

    assert order == "abcdeabcdeabcde"


def test_slots_that_are_left_over_go_to_the_webhooks_after_the_cursor(forge: Forge, now: datetime) -> None:
    names = create_due(forge, dict.fromkeys("abc", 5), now=now)
    first = min(names)

    claims = pipeline.claim(5, cursor=first, now=now)

    assert "".join(names[claim.destination.webhook_id] for claim in claims) == "bca" + "bc"


@pytest.mark.parametrize("analyzed", [False, True], ids=["without statistics", "with statistics"])
def test_with_far_more_webhooks_than_slots_each_is_served(forge: Forge, now: datetime, *, analyzed: bool) -> None:
    create_due(forge, {f"w{n}": 3 for n in range(150)}, now=now)
    if analyzed:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE hookhub_delivery, hookhub_webhook")
    served: Counter[int] = Counter()
    after = 0

    for _ in range(15):
        claims = pipeline.claim(10, cursor=after, now=now)
        finish(claims, now=now)
        served.update(claim.destination.webhook_id for claim in claims)
        after = claims[-1].destination.webhook_id

    assert set(served.values()) == {1}
    assert len(served) == 150


def test_webhooks_at_their_limit_cost_the_others_no_slot(forge: Forge, now: datetime) -> None:
    names = create_due(forge, {**{f"full{n}": 5 for n in range(20)}, "free": 5}, now=now)
    Webhook.objects.exclude(events=["free"]).update(max_in_flight=1)
    pipeline.claim(20, now=now)

    claims = pipeline.claim(3, now=now)

    assert [names[claim.destination.webhook_id] for claim in claims] == ["free"] * 3


def test_webhooks_that_back_off_cost_the_others_no_slot(forge: Forge, now: datetime) -> None:
    names = create_due(forge, {**{f"resting{n}": 5 for n in range(20)}, "free": 5}, now=now)
    Webhook.objects.exclude(events=["free"]).update(backoff_until=now + timedelta(microseconds=1))

    assert [names[claim.destination.webhook_id] for claim in pipeline.claim(3, now=now)] == ["free"] * 3
    assert len(pipeline.claim(200, now=now + timedelta(microseconds=1))) == 102


def test_first_attempts_and_retries_alternate(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=6)
    forge.accept(50, now=now)
    retries = list(Delivery.objects.order_by("id").values_list("id", flat=True)[:40])
    Delivery.objects.filter(id__in=retries).update(
        readiness=Delivery.Readiness.READY_RETRY, due_at=now - timedelta(hours=1)
    )

    claims = pipeline.claim(100, now=now)

    assert [claim.delivery_id in set(retries) for claim in claims] == [False, True] * 3


@pytest.mark.parametrize("readiness", [Delivery.Readiness.READY_FIRST, Delivery.Readiness.READY_RETRY])
def test_first_attempts_or_retries_alone_get_the_whole_limit(forge: Forge, now: datetime, readiness: int) -> None:
    forge.webhook(now=now, max_in_flight=6)
    forge.accept(50, now=now)
    Delivery.objects.update(readiness=readiness)

    assert len(pipeline.claim(100, now=now)) == 6


# Slow webhooks, and those that keep timing out -----------------------------------------------------------------------


def test_slow_webhooks_get_the_slow_slots_and_the_others_all_the_rest(forge: Forge, now: datetime) -> None:
    names = create_due(forge, {"slow1": 9, "slow2": 9, "fast": 9}, now=now)
    Webhook.objects.filter(events__0__startswith="slow").update(latency_ewma=timedelta(seconds=1))

    claims = pipeline.claim(Capacity(20, slow_slots=3), now=now)

    assert Counter(names[claim.destination.webhook_id] for claim in claims) == {"slow1": 2, "slow2": 1, "fast": 9}
    assert {names[claim.destination.webhook_id]: claim.destination.slow for claim in claims} == {
        "slow1": True, "slow2": True, "fast": False,
    }  # fmt: skip


def test_slow_webhooks_share_the_slow_slots_in_turn(forge: Forge, now: datetime) -> None:
    names = create_due(forge, dict.fromkeys(["a", "b", "c", "d", "e"], 30), now=now)
    Webhook.objects.update(latency_ewma=timedelta(seconds=2), max_in_flight=4)
    in_flight = pipeline.claim(Capacity(64, slow_slots=6), now=now)
    served: Counter[str] = Counter()

    # One request ends at a time, and its slot is filled at once.
    for second in range(60):
        over = in_flight.pop(0)
        finish([over], now=now)
        Webhook.objects.filter(pk=over.destination.webhook_id).update(last_delivery_at=now + timedelta(seconds=second))
        served[names[over.destination.webhook_id]] += 1
        in_flight += pipeline.claim(Capacity(64, slow_slots=1), cursor=over.destination.webhook_id, now=now)

    assert sorted(served.values()) == [12] * 5


def test_without_slow_slots_stalled_webhooks_cost_the_others_no_slot(forge: Forge, now: datetime) -> None:
    names = create_due(forge, {**{f"lagging{n}": 5 for n in range(40)}, "fast": 5}, now=now)
    lagging = [pk for pk, name in names.items() if name != "fast"]

    claims = pipeline.claim(Capacity(4, slow_slots=0, stalled_webhooks=lagging), now=now)

    assert [names[claim.destination.webhook_id] for claim in claims] == ["fast"] * 4


def test_after_a_backoff_for_timeouts_a_webhook_is_probed_with_a_single_request(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, max_in_flight=5)
    forge.accept(9, now=now)
    rested = now + timedelta(seconds=10)
    Webhook.objects.filter(pk=webhook.pk).update(timeouts_in_a_row=TIMEOUTS_BEFORE_BACKOFF, backoff_until=rested)
    assert pipeline.claim(100, now=rested - timedelta(microseconds=1)) == []

    probe = pipeline.claim(100, now=rested)
    assert len(probe) == 1
    assert pipeline.claim(100, now=rested) == []
    assert Delivery.objects.filter(state="pending", attempts_made=0).count() == 8

    # Any response closes the circuit breaker, and the webhook gets its whole in-flight limit again.
    finish(probe, now=rested)
    Webhook.objects.filter(pk=webhook.pk).update(timeouts_in_a_row=0)
    assert len(pipeline.claim(100, now=rested)) == 5


# Concurrent claims ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("threads", [2, 8])
def test_concurrent_claims_take_each_delivery_once_and_stay_within_the_limits(
    forge: Forge, now: datetime, threads: int
) -> None:
    create_due(forge, {f"w{n}": 30 for n in range(6)}, now=now)
    Webhook.objects.update(max_in_flight=4)
    delivered = 0

    for _ in range(6):
        claims = list(chain.from_iterable(together(*[lambda: claim_again_and_again(now)] * threads)))
        ids = [claim.delivery_id for claim in claims]
        assert len(ids) == len(set(ids))
        assert max(Counter(claim.destination.webhook_id for claim in claims).values()) <= 4
        in_flight = Counter(Delivery.objects.filter(state="sending").values_list("webhook_id", flat=True))
        assert max(in_flight.values()) <= 4
        assert sum(in_flight.values()) == len(ids)
        finish(claims, now=now)
        delivered += len(ids)

    assert delivered > 6 * 4 * 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("slots", [2, 10], ids=["more webhooks than slots", "fewer"])
def test_a_claim_is_being_committed_while_its_requests_are_built(forge: Forge, now: datetime, slots: int) -> None:
    create_due(forge, {"a": 2, "b": 2, "c": 2}, now=now)
    sending = "SELECT count(*) FROM hookhub_delivery WHERE state = 'sending'"

    with (
        psycopg.connect(connection.connection.info.dsn, autocommit=True) as other,
        claiming.claim_ahead(Capacity(slots), now=now) as claims,
    ):
        wait_for(lambda: other.execute(sending).fetchone() == (len(claims),), "the claim to be committed")

    assert len(claims) == min(slots, 6)


def claim_again_and_again(now: datetime) -> list[Claim]:
    return [claim for _ in range(5) for claim in pipeline.claim(7, now=now)]


@pytest.mark.django_db(transaction=True)
def test_concurrent_claims_settlements_and_changes_neither_block_nor_lose_anything(forge: Forge, now: datetime) -> None:
    names = create_due(forge, {f"w{n}": 40 for n in range(5)}, now=now)
    Webhook.objects.update(max_in_flight=3)
    peak = threading.Lock()
    most: Counter[int] = Counter()

    def work() -> int:
        done = 0
        while claims := pipeline.claim(5, now=now):
            with peak:
                for webhook_id, count in Counter(
                    Delivery.objects.filter(state="sending").values_list("webhook_id", flat=True)
                ).items():
                    most[webhook_id] = max(most[webhook_id], count)
            with transaction.atomic():
                finish(claims, now=now)
            done += len(claims)
        return done

    def change() -> int:
        for webhook_id in sorted(names) * 5:
            with transaction.atomic():
                Webhook.objects.select_for_update(no_key=True).filter(pk=webhook_id).update(name=str(uuid4()))
        return 0

    done = sum(together(work, work, work, work, change, change))

    # A webhook that was locked by another thread at the last claim was skipped, so one more round may be needed.
    done += work()
    assert done == 200
    assert max(most.values()) <= 3


@pytest.mark.django_db(transaction=True)
def test_a_claim_does_not_wait_for_a_locked_webhook(forge: Forge, now: datetime) -> None:
    names = create_due(forge, {"locked": 1, "free": 1}, now=now)
    locked = next(pk for pk, name in names.items() if name == "locked")

    with transaction.atomic():
        Webhook.objects.select_for_update().get(pk=locked)
        [claims] = together(lambda: pipeline.claim(10, now=now))

    assert [names[claim.destination.webhook_id] for claim in claims] == ["free"]


@pytest.mark.django_db(transaction=True)
def test_if_all_webhooks_found_are_locked_the_claim_continues_with_the_next(forge: Forge, now: datetime) -> None:
    names = create_due(forge, {"locked": 1, "locked-too": 1, "free": 1}, now=now)
    locked = [pk for pk, name in names.items() if name != "free"]

    with transaction.atomic():
        list(Webhook.objects.select_for_update().filter(pk__in=locked))
        [claims] = together(lambda: pipeline.claim(1, now=now))

    assert [names[claim.destination.webhook_id] for claim in claims] == ["free"]


# What it costs -------------------------------------------------------------------------------------------------------


def test_the_number_of_statements_does_not_grow_with_the_batch(forge: Forge, sender: Sender, now: datetime) -> None:
    webhooks = [forge.webhook(now=now, max_in_flight=200) for _ in range(2)]
    counts = []
    for size in (1, 100):
        forge.accept(size, now=now)
        with counted_statements() as claiming:
            claims = pipeline.claim(1000, now=now)
        results = []
        for claim in claims:
            results += pipeline.attempt([claim], sender=sender, now=now)
            for (held, request, started_at), exchange in sender.wait(timedelta(seconds=5)):
                results.append(attempting.finish(held, request, exchange, started_at=started_at, now=now))
        with counted_statements() as settling:
            assert len(pipeline.settle(results, now=now).applied) == size * len(webhooks)
        counts.append((len(claiming), len(settling)))

    # Two statements to claim, and three to settle, plus two each for the savepoint that replaces a transaction here;
    # one more while the webhooks' health is not yet known.
    assert counts == [(4, 6), (4, 5)]


def is_anything_to_do(now: datetime) -> bool:
    return claiming.is_anything_to_do(now=now)


def test_there_is_something_to_do_when_a_delivery_is_due(forge: Forge, sender: Sender, now: datetime) -> None:
    assert not is_anything_to_do(now)
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)], now=now)
    assert is_anything_to_do(now)
    pipeline.fan_out(now=now)
    assert is_anything_to_do(now)

    forge.receiver.answers["/"] = [Answer(500), Answer(200)]
    deliver_due(sender, now=now)

    retry = Delivery.objects.get()
    assert retry.due_at is not None
    assert not is_anything_to_do(retry.due_at - timedelta(microseconds=1))
    assert is_anything_to_do(retry.due_at)
    deliver_due(sender, now=retry.due_at)
    assert not is_anything_to_do(now + timedelta(days=1))


def test_there_is_nothing_to_do_for_webhooks_without_capacity(forge: Forge, now: datetime) -> None:
    resting, full = forge.webhook(now=now, path="/resting"), forge.webhook(now=now, max_in_flight=1)
    forge.accept(3, now=now)
    Webhook.objects.filter(pk=resting.pk).update(backoff_until=now + timedelta(seconds=1))
    assert is_anything_to_do(now)

    [claim] = pipeline.claim(100, now=now)
    assert claim.destination.webhook_id == full.pk

    assert not is_anything_to_do(now)
    assert is_anything_to_do(now + timedelta(seconds=1))
    finish([claim], now=now)
    assert is_anything_to_do(now)


def test_without_slow_slots_there_is_nothing_to_do_for_slow_webhooks(forge: Forge, now: datetime) -> None:
    slow = forge.webhook(now=now)
    forge.accept(now=now)
    full = Capacity(5, slow_slots=0)
    assert claiming.is_anything_to_do(full, now=now)

    assert not claiming.is_anything_to_do(Capacity(5, slow_slots=0, stalled_webhooks=[slow.pk]), now=now)
    Webhook.objects.filter(pk=slow.pk).update(latency_ewma=timedelta(seconds=2))
    assert not claiming.is_anything_to_do(full, now=now)
    assert is_anything_to_do(now)


def test_there_is_something_to_do_for_a_disabled_webhook_with_ready_deliveries(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    Webhook.objects.filter(pk=webhook.pk).update(disabled_at=now, disabled_reason="by_owner")
    assert is_anything_to_do(now)

    assert pipeline.claim(1, now=now) == []

    assert not is_anything_to_do(now)


def test_the_oldest_due_delivery_may_be_a_first_attempt_or_a_retry(forge: Forge, now: datetime) -> None:
    assert stats.oldest_due(now=now) is None
    create_due(forge, {"a": 3, "b": 3, "c": 3}, now=now)
    for place, delivery in enumerate(Delivery.objects.order_by("-webhook_id", "-id")):
        lines = (Delivery.Readiness.READY_FIRST, Delivery.Readiness.READY_RETRY, Delivery.Readiness.SCHEDULED)
        due_at = now + timedelta(seconds=(place * 4) % 9)
        Delivery.objects.filter(pk=delivery.pk).update(readiness=lines[place % 3], due_at=due_at)

    later = now + timedelta(minutes=1)
    for oldest_due in list(Delivery.objects.order_by("due_at")):
        assert stats.oldest_due(now=later) == oldest_due.pk
        redelivery.cancel([oldest_due.pk], now=now)
    assert stats.oldest_due(now=later) is None
