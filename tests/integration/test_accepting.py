"""Accepting and fan-out: one event per key and one delivery per matching webhook, even with concurrent requests."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import DataError, connection, transaction

from deliveries import pipeline, redelivery, wakeup
from deliveries.db.ids import first_id_at
from deliveries.events import IdempotencyConflict, NameSnapshot, NewEvent, Receipt, StaleNames
from deliveries.models import Delivery, Event, Organization, OutboxEntry, Repository
from deliveries.pipeline import accepting
from deliveries.webhooks import lifecycle
from tests.story import Forge, counted_statements, outbox_key, together

pytestmark = pytest.mark.django_db


def keyed(forge: Forge, key: str | None, *, now: datetime, content: bytes = b"a") -> NewEvent:
    return forge.event(now=now, idempotency_key=key, fingerprint=content)


# Accept --------------------------------------------------------------------------------------------------------------


def test_receipts_are_in_the_order_of_the_events_and_so_are_their_ids(forge: Forge, now: datetime) -> None:
    events = [forge.event(f"type.{n}", now=now) for n in range(100)]

    receipts = pipeline.accept(events, now=now)

    assert [receipt.type for receipt in receipts] == [event.type for event in events]
    assert [receipt.id for receipt in receipts] == sorted(receipt.id for receipt in receipts)
    assert {(receipt.accepted_at, receipt.is_repeat) for receipt in receipts} == {(now, False)}
    stored = Event.objects.order_by("id")
    assert [(event.id, event.type) for event in stored] == [(receipt.id, receipt.type) for receipt in receipts]
    assert all(receipt.id >= first_id_at(now) for receipt in receipts)


def test_no_events_get_no_receipts(forge: Forge, now: datetime) -> None:
    assert pipeline.accept([], now=now) == []
    assert pipeline.fan_out(now=now)[:2] == (0, 0)


@pytest.mark.parametrize(
    "payload",
    [b"{}", b'{"a":"\\u0000"}', b'{"a":1,"a":2}', b'{"a":1e400}', '"ü🎉"'.encode(), b"\xff\xfe\0", b"x" * 2**20, b""],
    ids=["object", "NUL", "doubled", "endless", "utf-8", "not even text", "mebibyte", "empty"],
)
def test_a_payload_is_stored_byte_for_byte(forge: Forge, now: datetime, payload: bytes) -> None:
    event = NewEvent(forge.organization.pk, None, "push", ("*", "push"), payload, now)

    pipeline.accept([event], now=now)

    stored = Event.objects.get()
    assert bytes(stored.payload) == payload
    assert (stored.topics, stored.repository_id) == (["*", "push"], None)
    assert [arrival.pk for arrival in OutboxEntry.objects.all()] == [outbox_key(stored)]


FULL = {
    "idempotency_key": "a key, 'quoted'",
    "fingerprint": b"\xff\0",
    "hops": "a, b",
    "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 a=ü",
}


@pytest.mark.parametrize("facts", [{}, FULL], ids=["what it must have", "all that it may have"])
@pytest.mark.parametrize("of", ["repository", "organization", "webhook"])
@pytest.mark.parametrize("knows", [(), ("organizations",), ("organizations", "repositories")], ids=" ".join)
def test_one_event_is_stored_as_several_are(
    forge: Forge, now: datetime, facts: dict[str, Any], of: str, knows: tuple[str, ...]
) -> None:
    topics = ("*", "push", "über")
    target = {"webhook_id": forge.webhook(now=now).pk} if of == "webhook" else {}
    repository = forge.repository.pk if of == "repository" else None
    event = NewEvent(forge.organization.pk, repository, "push", topics, b'{"a":1}', now, **facts, **target)
    names = {
        "organizations": {forge.organization.pk: forge.organization.slug},
        "repositories": {} if repository is None else {repository: forge.repository.name},
    }
    snapshot = NameSnapshot(**{kind: known if kind in knows else {} for kind, known in names.items()})
    other = replace(event, idempotency_key="another" if facts else None)

    with counted_statements() as ran:
        pipeline.accept([event], snapshot=snapshot, now=now)
        pipeline.accept([other, other], snapshot=snapshot, now=now)

    assert ran[0] == accepting.STORE_EVENT
    assert accepting.STORE_EVENTS in ran
    rows = [
        {name: value for name, value in row.items() if name not in {"id", "idempotency_key"}}
        for row in Event.objects.order_by("id").values()
    ]
    assert [row == rows[0] for row in rows] == [True] * (2 if facts else 3)
    assert OutboxEntry.objects.count() == len(rows)


# What PostgreSQL or UTF-8 does not have.
UNSTORABLE = {
    "NUL in a key": ({"idempotency_key": "a\0", "fingerprint": b""}, DataError),
    "NUL in a type": ({"type": "a\0"}, DataError),
    "NUL in a topic": ({"topics": ("a\0",)}, DataError),
    "lone surrogate": ({"idempotency_key": "\ud800", "fingerprint": b""}, UnicodeEncodeError),
    "key that is too long": ({"idempotency_key": "k" * 256, "fingerprint": b""}, DataError),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("facts", "error"), UNSTORABLE.values(), ids=UNSTORABLE)
def test_what_cannot_be_stored_is_refused_in_the_same_way_alone_and_with_others(
    forge: Forge, now: datetime, facts: dict[str, Any], error: type[Exception]
) -> None:
    event = replace(forge.event(now=now), **facts)

    found = []
    for events in ([event], [event, forge.event(now=now)]):
        with pytest.raises(error) as refused:
            pipeline.accept(events, now=now)
        found.append((refused.type, type(refused.value.__cause__)))

    assert found[0] == found[1]
    assert (Event.objects.count(), OutboxEntry.objects.count()) == (0, 0)


@pytest.mark.parametrize("stale", ["organizations", "repositories"])
def test_one_event_with_a_stale_name_is_not_stored(forge: Forge, now: datetime, stale: str) -> None:
    names = {
        "organizations": {forge.organization.pk: forge.organization.slug},
        "repositories": {forge.repository.pk: forge.repository.name},
    }
    names[stale] = dict.fromkeys(names[stale], "earlier")

    with pytest.raises(StaleNames):
        pipeline.accept([forge.event(now=now)], snapshot=NameSnapshot(**names), now=now)

    assert (Event.objects.count(), OutboxEntry.objects.count()) == (0, 0)


def test_cached_names_of_others_are_checked_too(forge: Forge, now: datetime) -> None:
    snapshot = NameSnapshot({forge.organization.pk: forge.organization.slug, 0: "gone"}, {})

    with pytest.raises(StaleNames):
        pipeline.accept([forge.event(now=now)], snapshot=snapshot, now=now)


def test_a_repeat_gets_the_first_receipt_and_stores_nothing(forge: Forge, now: datetime) -> None:
    [first] = pipeline.accept([keyed(forge, "k", now=now)], now=now)
    later = now + timedelta(days=1)

    [again] = pipeline.accept([keyed(forge, "k", now=later)], now=later)

    assert again == Receipt(first.id, "push", now, is_repeat=True)
    assert Event.objects.count() == 1


def test_a_key_used_twice_in_one_batch_is_one_event(forge: Forge, now: datetime) -> None:
    receipts = pipeline.accept([keyed(forge, key, now=now) for key in ("k", "other", "k")], now=now)

    assert [receipt.is_repeat for receipt in receipts] == [False, False, True]
    assert receipts[0].id == receipts[2].id != receipts[1].id
    assert Event.objects.count() == 2


def test_a_key_used_for_something_else_is_a_conflict_and_nothing_of_the_batch_is_stored(
    forge: Forge, now: datetime
) -> None:
    pipeline.accept([keyed(forge, "k", now=now)], now=now)
    batch = [
        keyed(forge, None, now=now),
        keyed(forge, "k", now=now, content=b"b"),
        keyed(forge, "new", now=now, content=b"a"),
        keyed(forge, "new", now=now, content=b"b"),
        keyed(forge, "k", now=now),
    ]

    with pytest.raises(IdempotencyConflict) as raised:
        pipeline.accept(batch, now=now)

    assert raised.value.positions == (1, 3)
    assert Event.objects.count() == 1


def test_events_without_a_key_are_never_repeats(forge: Forge, now: datetime) -> None:
    pipeline.accept([keyed(forge, None, now=now)] * 3, now=now)

    assert Event.objects.count() == 3


def test_organizations_have_their_own_keys(forge: Forge, now: datetime) -> None:
    other = Forge.make(forge.receiver, "globex")

    receipts = pipeline.accept([keyed(forge, "k", now=now), keyed(other, "k", now=now, content=b"b")], now=now)

    assert [receipt.is_repeat for receipt in receipts] == [False, False]
    assert Event.objects.count() == 2


@pytest.mark.parametrize("key", ["", " ", "ü🎉", "x" * 255, "'; DROP TABLE hookhub_event; --", "%_", "NULL"])
def test_any_text_may_be_a_key(forge: Forge, now: datetime, key: str) -> None:
    [first] = pipeline.accept([keyed(forge, key, now=now)], now=now)
    [again] = pipeline.accept([keyed(forge, key, now=now)], now=now)

    assert (first.id, again.is_repeat) == (again.id, True)


@pytest.mark.django_db(transaction=True)
def test_a_hundred_concurrent_events_with_one_key_are_one_event(forge: Forge, now: datetime) -> None:
    event = keyed(forge, "k", now=now)

    receipts = [receipt for _ in range(5) for [receipt] in together(*[lambda: pipeline.accept([event], now=now)] * 20)]

    assert len({receipt.id for receipt in receipts}) == 1
    assert [receipt.is_repeat for receipt in receipts].count(False) == 1
    assert Event.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_concurrent_events_with_one_key_and_other_content_one_is_a_conflict(forge: Forge, now: datetime) -> None:
    def publish(content: bytes) -> UUID | None:
        try:
            return pipeline.accept([keyed(forge, "k", now=now, content=content)], now=now)[0].id
        except IdempotencyConflict:
            return None

    answers = together(*[lambda c=c: publish(c) for c in (b"a", b"b") for _ in range(10)])  # type: ignore[misc]

    winner = bytes(Event.objects.get().fingerprint)
    expected_to_win = answers[:10] if winner == b"a" else answers[10:]
    assert set(expected_to_win) == {Event.objects.get().id}
    assert answers.count(None) == 10


@pytest.mark.django_db(transaction=True)
def test_batches_with_the_same_keys_in_another_order_do_not_deadlock(forge: Forge, now: datetime) -> None:
    def publish(seed: int) -> list[UUID]:
        keys = [f"k{n}" for n in range(40)]
        random.Random(seed).shuffle(keys)
        receipts = pipeline.accept([keyed(forge, key, now=now) for key in keys], now=now)
        return [receipt.id for _, receipt in sorted(zip(keys, receipts, strict=True), key=lambda pair: pair[0])]

    for _ in range(5):
        answers = together(*[lambda seed=seed: publish(seed) for seed in range(8)])  # type: ignore[misc]
        assert all(answer == answers[0] for answer in answers)
        assert Event.objects.count() == 40
        Event.objects.all().delete()


@pytest.mark.django_db(transaction=True)
def test_batches_that_share_some_keys_do_not_deadlock(forge: Forge, now: datetime) -> None:
    def publish(*keys: str) -> int:
        try:
            return len(pipeline.accept([keyed(forge, key, now=now) for key in keys], now=now))
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        with transaction.atomic():
            # Both batches must wait for this one, holding what they have stored before it.
            pipeline.accept([keyed(forge, "m", now=now)], now=now)
            batches = [threads.submit(publish, *keys) for keys in ("amz", "zma")]
            until = time.monotonic() + 60
            # Within a transaction pg_stat_activity is a snapshot, so another connection must query it.
            while together(number_of_waiting) < [2]:
                assert time.monotonic() < until
                time.sleep(0.005)
            transaction.set_rollback(True)

        assert [batch.result(60) for batch in batches] == [3, 3]
    assert Event.objects.count() == 3


def number_of_waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_the_wakeup_is_sent_after_the_commit_and_only_if_an_event_was_stored(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_at_ring: list[int] = []
    monkeypatch.setattr(wakeup, "notify", lambda _: stored_at_ring.extend(together(Event.objects.count)))

    pipeline.accept([keyed(forge, "k", now=now), keyed(forge, None, now=now)], now=now)
    assert stored_at_ring == [2]

    pipeline.accept([keyed(forge, "k", now=now)], now=now)
    with pytest.raises(IdempotencyConflict):
        pipeline.accept([keyed(forge, None, now=now), keyed(forge, "k", now=now, content=b"b")], now=now)
    with transaction.atomic():
        pipeline.accept([keyed(forge, None, now=now)], now=now)
        transaction.set_rollback(True)
    assert stored_at_ring == [2]


# Fan out -------------------------------------------------------------------------------------------------------------


# A webhook's event types, an event's type and data, and whether the webhook gets it.
MATCHES = {
    "everything": (["*"], "push", {}, True),
    "its type": (["push"], "push", {}, True),
    "another type": (["pull"], "push", {}, False),
    "one of several": (["pull", "push"], "push", {}, True),
    "its family": (["issues"], "issues.opened", {}, True),
    "another of its family": (["issues.closed"], "issues.opened", {}, False),
    "its family only by its start": (["issue"], "issues.opened", {}, False),
    "two words of three": (["a.b"], "a.b.c", {}, True),
    "the middle one of three": (["b"], "a.b.c", {}, False),
    "type joined to its action": (["issues.opened"], "issues", {"action": "opened"}, True),
    "another action": (["issues.closed"], "issues", {"action": "opened"}, False),
    "family of an action": (["issues"], "issues", {"action": "opened"}, True),
    "upper case": (["PUSH"], "push", {}, False),
    "underscore is no wildcard": (["pus_"], "push", {}, False),
}


@pytest.mark.parametrize(("topics", "event_type", "data", "matches"), MATCHES.values(), ids=MATCHES)
def test_an_event_matches_the_webhooks_that_subscribe_to_one_of_its_topics(
    forge: Forge, now: datetime, topics: list[str], event_type: str, data: dict[str, str], *, matches: bool
) -> None:
    forge.webhook(now=now, events=topics)

    pipeline.accept([forge.event(event_type, data, now=now)], now=now)

    assert pipeline.fan_out(now=now)[:2] == (1, int(matches))


def test_a_webhook_covers_its_organization_or_one_repository(forge: Forge, now: datetime) -> None:
    gadgets = Repository.objects.create(organization=forge.organization, name="gadgets")
    stranger = Forge.make(forge.receiver, "globex")
    whole = forge.webhook(now=now)
    widgets = forge.webhook(now=now, repository=forge.repository)
    forge.webhook(now=now, repository=gadgets)
    stranger.webhook(now=now)
    stranger.webhook(now=now, repository=stranger.repository)
    about_none = NewEvent(forge.organization.pk, None, "push", ("*",), b"{}", now)

    [of_widgets, of_none] = pipeline.accept([forge.event(now=now), about_none], now=now)
    pipeline.fan_out(now=now)

    created = set(Delivery.objects.values_list("event_id", "webhook_id"))
    assert created == {(of_widgets.id, whole.pk), (of_widgets.id, widgets.pk), (of_none.id, whole.pk)}
    delivery = Delivery.objects.get(webhook=widgets)
    assert (delivery.organization, delivery.repository, delivery.event_type) == (
        forge.organization, forge.repository, "push",
    )  # fmt: skip
    assert (delivery.state, delivery.due_at, delivery.attempts_made) == ("pending", now, 0)


def test_disabled_and_deleted_webhooks_get_no_deliveries(forge: Forge, now: datetime) -> None:
    disabled, deleted = forge.webhook(now=now), forge.webhook(now=now)
    lifecycle.disable(disabled.pk, now=now)
    deleted.deleted_at = now
    deleted.save()

    pipeline.accept([forge.event(now=now)], now=now)

    assert pipeline.fan_out(now=now)[:2] == (1, 0)


def test_a_targeted_event_is_delivered_to_one_webhook_whatever_it_subscribes_to(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    meant = forge.webhook(now=now, events=["nothing"])

    delivery = redelivery.ping(meant, now=now)
    pipeline.fan_out(now=now)

    assert Delivery.objects.get() == delivery
    assert (delivery.webhook, delivery.event_type) == (meant, "ping")


def test_fanning_out_twice_creates_no_delivery_twice(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)] * 3, now=now)

    assert pipeline.fan_out(now=now)[:2] == (3, 3)
    assert pipeline.fan_out(now=now)[:2] == (0, 0)
    # Even when the outbox has the events again.
    OutboxEntry.objects.bulk_create(OutboxEntry(pk=outbox_key(event)) for event in Event.objects.all())
    assert pipeline.fan_out(now=now)[:2] == (3, 0)
    assert Delivery.objects.count() == 3


def test_the_oldest_events_are_fanned_out_first(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    ids = [receipt.id for receipt in pipeline.accept([forge.event(now=now)] * 5, now=now)]

    assert pipeline.fan_out(2, now=now)[:2] == (2, 2)

    assert sorted(Delivery.objects.values_list("event_id", flat=True)) == ids[:2]


def test_deliveries_sort_in_the_order_of_their_events(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    ids = forge.accept(50, now=now)

    found = list(Delivery.objects.order_by("id").values_list("id", "event_id"))

    assert [event_id for _, event_id in found] == ids
    assert {(delivery_id.version, delivery_id.int >> 80) for delivery_id, _ in found} == {(7, ids[0].int >> 80)}


@pytest.mark.django_db(transaction=True)
def test_concurrent_fan_outs_create_each_delivery_once(forge: Forge, now: datetime) -> None:
    for _ in range(3):
        forge.webhook(now=now)
    for _ in range(3):
        pipeline.accept([forge.event(now=now)] * 200, now=now)

        done = together(*[lambda: [pipeline.fan_out(30, now=now)[:2] for _ in range(10)]] * 6)

        batches = [batch for batches in done for batch in batches]
        left = pipeline.fan_out(1000, now=now)[:2]
        assert sum(events for events, _ in batches) + left[0] == 200
        assert sum(deliveries for _, deliveries in batches) + left[1] == 600
    assert Delivery.objects.count() == 1800


@pytest.mark.django_db(transaction=True)
def test_an_event_is_not_fanned_out_before_it_is_committed(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    with transaction.atomic():
        pipeline.accept([forge.event(now=now)], now=now)
        assert together(lambda: pipeline.fan_out(now=now)[:2]) == [(0, 0)]

    assert together(lambda: pipeline.fan_out(now=now)[:2]) == [(1, 1)]


# What it costs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "k"], ids=["without keys", "with keys"])
def test_the_number_of_statements_does_not_grow_with_the_batch(forge: Forge, now: datetime, key: str | None) -> None:
    for _ in range(20):
        forge.webhook(now=now)
    counts = []
    for size in (2, 200):
        batch = [keyed(forge, key and f"{key}{size}-{n}", now=now) for n in range(size)]
        with counted_statements() as first:
            pipeline.accept(batch, now=now)
        with counted_statements() as again:
            pipeline.accept(batch, now=now)
        with counted_statements() as fanned_out:
            pipeline.fan_out(now=now)
        counts.append((len(first), len(again), len(fanned_out)))

    assert counts[0] == counts[1]
    # Two statements, plus the begin and the end of a transaction.
    assert counts[0][2] == 4


def test_an_event_of_an_unknown_organization_is_accepted_and_delays_no_other(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    stranger = NewEvent(Organization.objects.get().pk + 1000, None, "push", ("*",), b"{}", now)

    pipeline.accept([stranger, forge.event(now=now)], now=now)

    assert pipeline.fan_out(now=now)[:2] == (2, 1)
