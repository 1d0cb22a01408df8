"""Claiming: nobody gets what another has, nobody gets too much, and nobody is forgotten."""

import threading
from collections import Counter
from datetime import datetime, timedelta
from itertools import chain
from uuid import uuid4

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from deliveries import pipeline, queue
from deliveries.models import Delivery, Webhook
from deliveries.queue import Claim
from deliveries.sender import Sender
from tests.story import Forge, counted_statements, deliver_due, together

pytestmark = pytest.mark.django_db


def finish(claims: list[Claim], *, now: datetime) -> None:
    """Have the claimed deliveries over and done with, without sending them."""
    Delivery.objects.filter(id__in=[claimed.delivery_id for claimed in claims]).update(
        state="delivered", ending="delivered", finished_at=now, lease=None, leased_at=None, leased_until=None
    )


def owe(forge: Forge, counts: dict[str, int], *, now: datetime) -> dict[int, str]:
    """Have a webhook for each name with so many deliveries due; give the names by the webhooks' keys."""
    names = {}
    for name, count in counts.items():
        names[forge.webhook(now=now, path=f"/{name}", events=[name]).pk] = name
        pipeline.accept([forge.event(name, now=now) for _ in range(count)], now=now)
    while pipeline.fan_out(now=now)[0]:
        pass
    return names


# The lease -----------------------------------------------------------------------------------------------------------


def test_a_claim_is_a_lease_with_all_that_one_attempt_needs(forge: Forge, now: datetime, settings: Settings) -> None:
    webhook = forge.webhook(now=now, headers={"A": "b"}, retry_schedule=[60], timeout=5, verify_ssl=False)
    [event_id] = forge.accept(now=now)

    [claimed] = pipeline.claim(10, now=now)

    delivery = Delivery.objects.get()
    until = now + settings.HOOKHUB_LEASE
    assert (delivery.state, delivery.attempts_made, delivery.due_at) == ("sending", 1, None)
    assert (delivery.lease, delivery.leased_at, delivery.leased_until) == (claimed.lease, now, until)
    assert delivery.first_attempt_at == now
    webhook.refresh_from_db()
    assert claimed == Claim(
        delivery_id=delivery.id, lease=claimed.lease, leased_until=until, number=1, failures=0, first_attempt_at=now,
        webhook_id=webhook.pk, webhook_uid=webhook.uid, url=webhook.url, format="standard-webhooks",
        content_type="json", sealed_secrets=bytes(webhook.sealed_secrets), sealed_headers=bytes(webhook.sealed_headers),
        verify_ssl=False, retry_schedule=[timedelta(minutes=1)], timeout=timedelta(seconds=5), event_id=event_id,
        event_type="push", payload=b'{"ref": "refs/heads/main"}', occurred_at=now, organization="acme",
        repository="widgets",
    )  # fmt: skip
    assert pipeline.claim(10, now=until + timedelta(days=1)) == []


@pytest.mark.parametrize(("age", "count"), [(-1, 0), (0, 1), (1, 1)])
def test_a_delivery_is_due_from_its_very_moment_on(forge: Forge, now: datetime, age: int, count: int) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    assert len(pipeline.claim(10, now=now + timedelta(microseconds=age))) == count


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_no_more_is_taken_than_there_is_room_for(forge: Forge, now: datetime, limit: int) -> None:
    forge.webhook(now=now)
    forge.accept(5, now=now)

    assert len(pipeline.claim(limit, now=now)) == limit


def test_the_oldest_go_first(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=1)
    forge.accept(3, now=now)
    moments = [now + timedelta(seconds=second) for second in (2, 0, 1)]
    for delivery, due_at in zip(Delivery.objects.order_by("id"), moments, strict=True):
        Delivery.objects.filter(pk=delivery.pk).update(due_at=due_at)
    ids = list(Delivery.objects.order_by("due_at").values_list("id", flat=True))

    claimed = []
    for _ in range(3):
        [one] = pipeline.claim(10, now=now + timedelta(minutes=1))
        finish([one], now=now)
        claimed.append(one.delivery_id)

    assert claimed == ids


# In flight -----------------------------------------------------------------------------------------------------------


def test_a_webhook_has_no_more_in_flight_than_it_allows(forge: Forge, now: datetime, settings: Settings) -> None:
    settings.HOOKHUB_MAX_IN_FLIGHT = 4
    own = forge.webhook(now=now, max_in_flight=2)
    default = forge.webhook(now=now)
    forge.accept(10, now=now)

    claims = pipeline.claim(100, now=now)
    assert Counter(claimed.webhook_id for claimed in claims) == {own.pk: 2, default.pk: 4}
    assert pipeline.claim(100, now=now) == []
    finish(claims[:1], now=now)

    assert [claimed.webhook_id for claimed in pipeline.claim(100, now=now)] == [claims[0].webhook_id]


def test_lowering_the_limit_below_what_is_in_flight_takes_nothing_more(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, max_in_flight=5)
    forge.accept(10, now=now)
    assert len(pipeline.claim(100, now=now)) == 5

    Webhook.objects.filter(pk=webhook.pk).update(max_in_flight=2)

    assert pipeline.claim(100, now=now) == []


# Fairness ------------------------------------------------------------------------------------------------------------


def test_one_with_a_thousand_due_displaces_nobody(forge: Forge, now: datetime) -> None:
    names = owe(forge, {"noisy": 1000, **{f"quiet{n}": 1 for n in range(9)}}, now=now)

    claims = pipeline.claim(10, now=now)

    assert Counter(names[claimed.webhook_id] for claimed in claims) == Counter(names.values())


def test_slots_that_are_left_over_go_round_once_more(forge: Forge, now: datetime) -> None:
    names = owe(forge, {"a": 1, "b": 5, "c": 50, "d": 2}, now=now)

    claims = pipeline.claim(12, now=now)

    assert "".join(names[claimed.webhook_id] for claimed in claims) == "abcd" + "bcd" + "bc" + "bc" + "b"


def test_the_next_claim_begins_behind_the_last_one_served(forge: Forge, now: datetime) -> None:
    names = owe(forge, dict.fromkeys("abcde", 20), now=now)
    after, order = 0, ""

    for _ in range(5):
        claims = pipeline.claim(3, after=after, now=now)
        finish(claims, now=now)
        order += "".join(names[claimed.webhook_id] for claimed in claims)
        after = claims[-1].webhook_id

    assert order == "abcdeabcdeabcde"


def test_slots_that_are_left_over_go_to_those_whose_turn_is_next(forge: Forge, now: datetime) -> None:
    names = owe(forge, dict.fromkeys("abc", 5), now=now)
    first = min(names)

    claims = pipeline.claim(5, after=first, now=now)

    assert "".join(names[claimed.webhook_id] for claimed in claims) == "bca" + "bc"


@pytest.mark.parametrize("analyzed", [False, True], ids=["without statistics", "with statistics"])
def test_with_far_more_webhooks_than_slots_each_has_its_turn(forge: Forge, now: datetime, *, analyzed: bool) -> None:
    owe(forge, {f"w{n}": 3 for n in range(150)}, now=now)
    if analyzed:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE deliveries_delivery, deliveries_webhook")
    served: Counter[int] = Counter()
    after = 0

    for _ in range(15):
        claims = pipeline.claim(10, after=after, now=now)
        finish(claims, now=now)
        served.update(claimed.webhook_id for claimed in claims)
        after = claims[-1].webhook_id

    assert set(served.values()) == {1}
    assert len(served) == 150


def test_webhooks_without_room_cost_the_others_no_slot(forge: Forge, now: datetime) -> None:
    names = owe(forge, {**{f"full{n}": 5 for n in range(20)}, "free": 5}, now=now)
    Webhook.objects.exclude(events=["free"]).update(max_in_flight=1)
    pipeline.claim(20, now=now)

    claims = pipeline.claim(3, now=now)

    assert [names[claimed.webhook_id] for claimed in claims] == ["free"] * 3


def test_resting_webhooks_cost_the_others_no_slot(forge: Forge, now: datetime) -> None:
    names = owe(forge, {**{f"resting{n}": 5 for n in range(20)}, "free": 5}, now=now)
    Webhook.objects.exclude(events=["free"]).update(resting_until=now + timedelta(microseconds=1))

    assert [names[claimed.webhook_id] for claimed in pipeline.claim(3, now=now)] == ["free"] * 3
    assert len(pipeline.claim(200, now=now + timedelta(microseconds=1))) == 102


# Many at once --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("threads", [2, 8])
def test_claimers_at_the_same_time_share_what_there_is_and_never_exceed_what_a_webhook_allows(
    forge: Forge, now: datetime, threads: int
) -> None:
    owe(forge, {f"w{n}": 30 for n in range(6)}, now=now)
    Webhook.objects.update(max_in_flight=4)
    delivered = 0

    for _ in range(6):
        claims = list(chain.from_iterable(together(*[lambda: claim_again_and_again(now)] * threads)))
        ids = [claimed.delivery_id for claimed in claims]
        assert len(ids) == len(set(ids))
        assert max(Counter(claimed.webhook_id for claimed in claims).values()) <= 4
        in_flight = Counter(Delivery.objects.filter(state="sending").values_list("webhook_id", flat=True))
        assert max(in_flight.values()) <= 4
        assert sum(in_flight.values()) == len(ids)
        finish(claims, now=now)
        delivered += len(ids)

    assert delivered > 6 * 4 * 3


def claim_again_and_again(now: datetime) -> list[Claim]:
    return [claimed for _ in range(5) for claimed in pipeline.claim(7, now=now)]


@pytest.mark.django_db(transaction=True)
def test_claiming_settling_and_changing_at_the_same_time_neither_block_nor_lose_anything(
    forge: Forge, now: datetime
) -> None:
    names = owe(forge, {f"w{n}": 40 for n in range(5)}, now=now)
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

    # A webhook that was locked by another at the last look is skipped, so that a last round may be needed.
    done += work()
    assert done == 200
    assert max(most.values()) <= 3


@pytest.mark.django_db(transaction=True)
def test_a_webhook_that_somebody_else_holds_locked_keeps_nobody_waiting(forge: Forge, now: datetime) -> None:
    names = owe(forge, {"locked": 1, "free": 1}, now=now)
    locked = next(pk for pk, name in names.items() if name == "locked")

    with transaction.atomic():
        Webhook.objects.select_for_update().get(pk=locked)
        [claims] = together(lambda: pipeline.claim(10, now=now))

    assert [names[claimed.webhook_id] for claimed in claims] == ["free"]


# What it costs -------------------------------------------------------------------------------------------------------


def test_the_number_of_statements_does_not_grow_with_the_batch(forge: Forge, sender: Sender, now: datetime) -> None:
    webhooks = [forge.webhook(now=now, max_in_flight=200) for _ in range(2)]
    counts = []
    for size in (1, 100):
        forge.accept(size, now=now)
        with counted_statements() as claiming:
            claims = pipeline.claim(1000, now=now)
        results = []
        for claimed in claims:
            results += pipeline.attempt([claimed], sender=sender, now=now)
            for (held, request, started_at), exchange in sender.wait(timedelta(seconds=5)):
                results.append(pipeline.finish(held, request, exchange, started_at=started_at, now=now))
        with counted_statements() as settling:
            assert len(pipeline.settle(results, now=now)) == size * len(webhooks)
        counts.append((len(claiming), len(settling)))

    # Two statements each, and the two of the savepoint that stands for a transaction here.
    assert counts[0] == counts[1] == (4, 4)


def is_anything_to_do(now: datetime) -> bool:
    return queue.is_anything_to_do(max_in_flight=2, now=now)


def test_the_clock_finds_work_that_is_due_and_none_that_is_not(forge: Forge, sender: Sender, now: datetime) -> None:
    assert not is_anything_to_do(now)
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)], now=now)
    assert is_anything_to_do(now)
    pipeline.fan_out(now=now)
    assert is_anything_to_do(now)
    assert not is_anything_to_do(now - timedelta(microseconds=1))

    deliver_due(sender, now=now)

    assert not is_anything_to_do(now + timedelta(days=1))


def test_the_clock_finds_no_work_in_what_cannot_be_had_yet(forge: Forge, now: datetime) -> None:
    resting, full = forge.webhook(now=now, path="/resting"), forge.webhook(now=now, max_in_flight=1)
    forge.accept(3, now=now)
    Webhook.objects.filter(pk=resting.pk).update(resting_until=now + timedelta(seconds=1))
    assert is_anything_to_do(now)

    [claimed] = pipeline.claim(100, now=now)
    assert claimed.webhook_id == full.pk

    assert not is_anything_to_do(now)
    assert is_anything_to_do(now + timedelta(seconds=1))
    finish([claimed], now=now)
    assert is_anything_to_do(now)


def test_the_clock_finds_work_in_what_is_to_be_held(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    Webhook.objects.filter(pk=webhook.pk).update(disabled_at=now, disabled_reason="by_owner")
    assert is_anything_to_do(now)

    assert pipeline.claim(1, now=now) == []

    assert not is_anything_to_do(now)
