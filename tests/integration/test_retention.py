"""Retention: expired rows are deleted in batches, and nothing that is still needed."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils.module_loading import import_string
from pytest_django import Settings

from deliveries import defaults, pipeline, redelivery, shutdown
from deliveries.db.ids import uuid7, uuid7s
from deliveries.maintenance import invariants, retention, tasks
from deliveries.maintenance.retention import (
    BATCH_TARGET,
    MAX_BATCH,
    PASS_INTERVAL,
    PrunePass,
    Retention,
    next_batch_size,
)
from deliveries.models import Attempt, Delivery, Event, OutboxEntry, Webhook
from deliveries.pipeline import claiming
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from hookhub.service.environment import MAX_DAYS
from tests.receiver import Answer
from tests.story import Forge, attempt_all, claim_due, counted_statements, deliver_due, outbox_key, prune_old, together

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
MONTH = 30 * DAY
# The budget of a tick that does everything there is to do.
NO_HURRY = DAY


@pytest.fixture(autouse=True)
def a_month(settings: Settings) -> None:
    settings.HOOKHUB_RETENTION = MONTH


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MAX_BATCH", 2)


@pytest.fixture
def is_stopping() -> Iterator[None]:
    shutdown.request()
    yield
    shutdown.reset()


def counts() -> tuple[int, int, int]:
    """Return the number of deliveries, attempts and events."""
    return Delivery.objects.count(), Attempt.objects.count(), Event.objects.count()


def faults(*, now: datetime) -> set[str]:
    """Return the violated invariants, except deliveries that are missing because they were pruned."""
    findings = invariants.check_all(now=now, within=timedelta(0))
    return {finding.check.name for finding in findings if finding.verdict == "fault"}


def delivered(count: int, forge: Forge, sender: Sender, *, now: datetime) -> None:
    """Create ``count`` events that are delivered at once to one webhook."""
    if not Webhook.objects.exists():
        forge.webhook(now=now, max_in_flight=1000)
    forge.accept(count, now=now)
    deliver_due(sender, now=now)


@pytest.mark.parametrize("chore", [*defaults.HOOKHUB_CHORES, *defaults.HOOKHUB_NOTICES])
def test_each_task_works_with_a_retention_that_is_meant_to_keep_all(
    forge: Forge, sender: Sender, now: datetime, settings: Settings, chore: str
) -> None:
    settings.HOOKHUB_RETENTION = settings.HOOKHUB_AUDIT_RETENTION = timedelta(days=MAX_DAYS)
    delivered(1, forge, sender, now=now)

    import_string(chore)(now=now)

    assert counts() == (1, 1, 1)


# What is deleted and what is kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "left"), [(MONTH - DAY, 1), (MONTH, 1), (MONTH + timedelta(milliseconds=1), 0), (100 * MONTH, 0)], ids=str
)
def test_a_finished_delivery_goes_with_its_attempts_and_its_event_once_it_is_past_retention(
    forge: Forge, sender: Sender, now: datetime, age: timedelta, left: int
) -> None:
    delivered(1, forge, sender, now=now)

    forgotten = prune_old(now=now + age)

    assert (forgotten.deliveries, forgotten.events) == (1 - left, 1 - left)
    assert counts() == (left, left, left)
    assert Webhook.objects.count() == 1


def test_what_is_not_finished_stays_however_old(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, max_in_flight=1)
    forge.accept(3, now=now)
    pipeline.claim(1, now=now)
    pending = Delivery.objects.filter(state="pending").first()
    assert pending is not None
    Delivery.objects.filter(pk=pending.pk).update(state="held", due_at=None)

    assert prune_old(now=now + 100 * MONTH).rows == 0

    assert sorted(Delivery.objects.filter(webhook=webhook).values_list("state", flat=True)) == [
        "held",
        "pending",
        "sending",
    ]
    assert Event.objects.count() == 3


def test_what_was_sent_again_lately_stays(forge: Forge, sender: Sender, now: datetime) -> None:
    delivered(1, forge, sender, now=now)
    redelivery.redeliver([Delivery.objects.get().pk], now=now + MONTH)
    deliver_due(sender, now=now + MONTH)

    assert prune_old(now=now + MONTH + DAY).rows == 0
    assert Attempt.objects.count() == 2

    assert prune_old(now=now + 2 * MONTH + DAY).rows == 2
    assert Attempt.objects.count() == 0


@pytest.mark.parametrize("state", ["pending", "held"])
def test_an_event_stays_as_long_as_any_of_its_deliveries(
    forge: Forge, sender: Sender, now: datetime, state: str
) -> None:
    for path in ("/good", "/bad", "/good"):
        forge.webhook(now=now, path=path)
    forge.receiver.answers["/bad"] = Answer(500)
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    if state == "held":
        Delivery.objects.filter(state="pending").update(state="held", due_at=None)

    forgotten = prune_old(now=now + 2 * MONTH)

    assert (forgotten.deliveries, forgotten.events) == (4, 0)
    assert Event.objects.count() == 2
    assert list(Delivery.objects.values_list("state", flat=True)) == [state] * 2
    assert list(Attempt.objects.values_list("outcome", flat=True)) == ["failed"] * 2
    assert faults(now=now) == set()


def test_an_event_with_more_deliveries_than_a_batch_goes_with_the_last_of_them(
    forge: Forge, sender: Sender, now: datetime, small_batches: None
) -> None:
    for _ in range(5):
        forge.webhook(now=now)
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    prune_pass = PrunePass(now + MONTH)

    prune_pass.prune_batch()

    assert counts() == (8, 8, 2)
    while not prune_pass.is_over:
        prune_pass.prune_batch()
    assert counts() == (0, 0, 0)


def test_an_event_that_nobody_was_owed_goes_and_one_not_fanned_out_stays(forge: Forge, now: datetime) -> None:
    forge.accept(now=now)
    pipeline.accept([forge.event(now=now)], now=now)

    assert prune_old(now=now + 2 * MONTH).events == 1

    assert outbox_key(Event.objects.get()) == OutboxEntry.objects.get().pk


def test_an_own_retention_may_be_given_even_none_at_all(forge: Forge, sender: Sender, now: datetime) -> None:
    delivered(1, forge, sender, now=now)
    later = now + timedelta(seconds=1)

    assert prune_old(now=later, retention=DAY).rows == 0
    assert prune_old(now=later, retention=timedelta(0)).rows == 2


def test_a_deleted_webhooks_row_goes_after_the_last_of_its_log(forge: Forge, sender: Sender, now: datetime) -> None:
    gone, kept = forge.webhook(now=now), forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    lifecycle.delete(gone.pk, now=now + DAY)

    prune_old(now=now + MONTH + DAY / 2)
    assert Webhook.objects.count() == 2
    prune_old(now=now + MONTH + 2 * DAY)

    assert list(Webhook.objects.all()) == [kept]


def test_nothing_at_all_is_nothing_to_do(now: datetime, db: None) -> None:
    assert prune_old(now=now).rows_read == 0


# Deliveries of deleted webhooks ---------------------------------------------------------------------------------------


def test_what_a_deleted_webhook_is_still_owed_is_cancelled(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(2, now=now)
    other = forge.webhook(now=now)
    forge.accept(now=now)
    lifecycle.delete(webhook.pk, now=now)
    # As left by a worker that had them in flight at that moment.
    Delivery.objects.filter(webhook=webhook).update(state="held", finish_reason=None, finished_at=None)

    assert tasks.cancel_deliveries_of_deleted(now=now + DAY) == 3

    assert set(Delivery.objects.filter(webhook=webhook).values_list("state", "finished_at")) == {
        ("cancelled", now + DAY)
    }
    assert Delivery.objects.get(webhook=other).state == "pending"


def test_many_deleted_webhooks_are_gone_through_some_at_a_time_and_again(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "WEBHOOKS_PER_TICK", 2)
    deleted = [forge.webhook(now=now) for _ in range(5)]
    forge.accept(now=now)
    for webhook in deleted:
        lifecycle.delete(webhook.pk, now=now)
    Delivery.objects.update(state="held", finish_reason=None, finished_at=None)
    around = tasks.CancelSweep()

    assert [around.tick(now=now) for _ in range(4)] == [2, 2, 1, 0]
    Delivery.objects.filter(webhook=deleted[4]).update(state="held", finish_reason=None, finished_at=None)
    assert [around.tick(now=now) for _ in range(2)] == [0, 1]


# Batches --------------------------------------------------------------------------------------------------------------


def test_a_tick_without_time_to_spend_forgets_one_batch_and_the_oldest_first(
    forge: Forge, sender: Sender, now: datetime, small_batches: None
) -> None:
    for day in range(4):
        delivered(1, forge, sender, now=now + day * DAY)
    newest = list(Delivery.objects.order_by("-id").values_list("id", flat=True)[:2])

    done = Retention().tick(now=now + 2 * MONTH, budget=timedelta(0))

    assert (done.rows_read, done.deliveries, done.events) == (2, 2, 2)
    assert list(Delivery.objects.order_by("-id").values_list("id", flat=True)) == newest


def test_a_tick_with_time_left_goes_on_batch_after_batch(
    forge: Forge, sender: Sender, now: datetime, small_batches: None
) -> None:
    delivered(9, forge, sender, now=now)

    with counted_statements() as statements:
        done = Retention().tick(now=now + 2 * MONTH, budget=NO_HURRY)

    assert (done.deliveries, done.events) == (9, 9)
    assert statements.count(retention.PRUNE_DELIVERIES) >= 5
    assert counts() == (0, 0, 0)


def test_a_worker_that_is_to_stop_begins_no_further_batch(
    forge: Forge, sender: Sender, now: datetime, small_batches: None, is_stopping: None
) -> None:
    delivered(5, forge, sender, now=now)

    assert Retention().tick(now=now + 2 * MONTH, budget=NO_HURRY).deliveries == 2


def test_a_tick_over_many_old_deliveries_that_are_held_reads_a_bounded_number_of_them(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_BATCH", 100)
    webhook = forge.webhook(now=now)
    held = [
        Delivery(
            id=delivery_id, event_id=uuid4(), webhook=webhook, organization=forge.organization,
            event_type="push", state="held", created_at=now,
        )
        for delivery_id in uuid7s(now, 3000)
    ]  # fmt: skip
    Delivery.objects.bulk_create(held)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE hookhub_delivery")
    ticking, before = Retention(), table_rows_read()

    for ticks in (1, 2, 3):
        assert ticking.tick(now=now + 2 * MONTH, budget=timedelta(0)).rows_read <= 100
        # By the database's own count: a tick continues where the last one ended, and reads nothing twice. The planner
        # reads one or two more rows to determine the range of ids.
        assert table_rows_read() - before <= 110 * ticks

    assert Delivery.objects.count() == 3000


def table_rows_read() -> int:
    """Return how many rows of deliveries this transaction has read so far, by PostgreSQL's own count."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables "
            "WHERE relname = 'hookhub_delivery'"
        )
        read: int = cursor.fetchone()[0]
    return read


def test_the_next_batch_is_smaller_after_one_that_took_long_and_grows_again() -> None:
    assert next_batch_size(1000, took=2 * BATCH_TARGET) == 500
    assert next_batch_size(1000, took=100_000 * BATCH_TARGET) == 1
    assert next_batch_size(1, took=BATCH_TARGET) == 2
    assert next_batch_size(MAX_BATCH, took=timedelta(0)) == MAX_BATCH


# Passes ---------------------------------------------------------------------------------------------------------------


def test_what_a_round_had_to_leave_goes_in_a_later_one(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(2, now=now)
    first = Delivery.objects.order_by("id").values_list("id", flat=True)[0]
    Delivery.objects.filter(pk=first).update(state="held", due_at=None)
    deliver_due(sender, now=now)
    ticking, later = Retention(), now + 2 * MONTH

    assert ticking.tick(now=later, budget=NO_HURRY).deliveries == 1

    redelivery.cancel([first], now=now)
    soon = later + PASS_INTERVAL - timedelta(milliseconds=1)
    with counted_statements() as statements:
        assert ticking.tick(now=soon, budget=NO_HURRY).rows == 0
    # Between two passes a tick executes no statement.
    assert statements == []
    assert ticking.tick(now=later + PASS_INTERVAL, budget=NO_HURRY).rows == 2


def test_a_clock_that_is_set_back_keeps_no_round_waiting(forge: Forge, sender: Sender, now: datetime) -> None:
    ticking = Retention()
    ticking.tick(now=now + 3 * MONTH, budget=NO_HURRY)
    delivered(1, forge, sender, now=now)

    assert ticking.tick(now=now + 2 * MONTH, budget=NO_HURRY).rows == 2


def test_whoever_takes_over_from_a_process_that_died_finds_what_is_left(
    forge: Forge, sender: Sender, now: datetime, small_batches: None
) -> None:
    delivered(5, forge, sender, now=now)
    died = PrunePass(now + MONTH)
    died.prune_batch()

    # A delivery is deleted together with its attempts and its event.
    assert counts() == (3, 3, 3)
    assert faults(now=now) == set()
    assert prune_old(now=now + 2 * MONTH).rows == 6
    assert counts() == (0, 0, 0)


def test_a_batch_that_fails_is_undone_and_made_again(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(3, forge, sender, now=now)
    prune_pass = PrunePass(now + MONTH)
    fails_at_its_end = retention.PRUNE_DELIVERIES.replace("(SELECT count(*) FROM old)", "(SELECT 1 / 0 FROM old)")
    prune_pass._tables_left[0] = (fails_at_its_end, prune_pass._tables_left[0][1])

    with pytest.raises(DatabaseError):
        prune_pass.prune_batch()
    assert counts() == (3, 3, 3)

    prune_pass._tables_left[0] = retention.TABLES[0]
    assert prune_pass.prune_batch().rows == 6


def test_what_lost_its_delivery_is_found(forge: Forge, sender: Sender, now: datetime) -> None:
    delivered(3, forge, sender, now=now)
    # As after deleting rows by hand.
    Delivery.objects.all().delete()

    assert prune_old(now=now + MONTH).rows == 0
    assert counts() == (0, 3, 3)

    assert prune_old(now=now + MONTH + timedelta(milliseconds=1)).events == 3
    assert counts() == (0, 0, 0)


def test_an_attempt_written_down_after_its_delivery_was_forgotten_goes_in_its_turn(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    results = attempt_all(claim_due(1, now=now), sender, now=now)
    tasks.rescue_expired_leases(now=now + DAY)
    redelivery.cancel([Delivery.objects.get().pk], now=now + DAY)
    prune_old(now=now + MONTH + 2 * DAY)

    # The worker was suspended for all that time.
    assert pipeline.settle(results, now=now + MONTH + 2 * DAY).applied == set()

    assert counts() == (0, 1, 0)
    prune_old(now=now + 2 * MONTH + DAY)
    assert counts() == (0, 1, 0)
    prune_old(now=now + 2 * MONTH + 3 * DAY)
    assert counts() == (0, 0, 0)


# Concurrency ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_what_is_being_sent_again_at_this_very_moment_is_not_forgotten(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    delivered(2, forge, sender, now=now)
    chosen, other = Delivery.objects.order_by("id").values_list("id", flat=True)

    with transaction.atomic():
        assert redelivery.redeliver([chosen], now=now + 2 * MONTH) == 1
        # The redelivery is not committed yet, so the other connection sees a finished delivery, and must not wait for
        # it.
        [forgotten] = together(lambda: prune_old(now=now + 2 * MONTH))

    assert (forgotten.deliveries, forgotten.events) == (1, 1)
    assert not Delivery.objects.filter(pk=other).exists()
    assert Delivery.objects.get().state == "pending"
    assert deliver_due(sender, now=now + 2 * MONTH) == {chosen}


@pytest.mark.django_db(transaction=True)
def test_an_attempt_in_somebodys_hands_is_not_waited_for(forge: Forge, sender: Sender, now: datetime) -> None:
    delivered(1, forge, sender, now=now)

    with transaction.atomic():
        Attempt.objects.select_for_update().get()
        [forgotten] = together(lambda: prune_old(now=now + 2 * MONTH))

    assert forgotten.rows == 2
    assert counts() == (0, 1, 0)
    prune_old(now=now + 2 * MONTH)
    assert counts() == (0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_several_processes_forget_together_and_leave_nothing(
    forge: Forge, sender: Sender, now: datetime, small_batches: None
) -> None:
    for _ in range(3):
        forge.webhook(now=now, max_in_flight=100)
    delivered(20, forge, sender, now=now)

    done = together(*[lambda: prune_old(now=now + 2 * MONTH)] * 4)

    assert (sum(each.deliveries for each in done), sum(each.events for each in done)) == (60, 20)
    assert counts() == (0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_forgetting_while_the_same_deliveries_are_sent_again_called_off_and_settled_harms_neither(
    forge: Forge, sender: Sender, now: datetime, small_batches: None
) -> None:
    delivered(60, forge, sender, now=now)
    ids = list(Delivery.objects.order_by("id").values_list("id", flat=True))
    later = now + 2 * MONTH

    def take_turns(number: int) -> None:
        with_sender = claim_due(20, now=later + number * DAY)
        claiming.release(with_sender[::2])

    # A deadlock would raise in one of these threads.
    together(
        lambda: [redelivery.redeliver(ids[start::7], now=later) for start in range(7)],
        lambda: [redelivery.redeliver(ids[start::5][::-1], now=later) for start in range(5)],
        lambda: [redelivery.cancel(ids[start::6][::-1], now=later) for start in range(6)],
        lambda: [take_turns(number) for number in range(6)],
        lambda: [prune_old(now=later) for _ in range(6)],
        lambda: [prune_old(now=later) for _ in range(6)],
    )

    assert faults(now=now) == set()
    deliver_due(sender, now=later + 30 * DAY)
    assert not Delivery.objects.filter(state="pending").exists()
    assert Delivery.objects.count() == Event.objects.count()


def test_the_chore_goes_on_where_this_process_left_off(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_of_this_process", Retention())
    monkeypatch.setattr(retention, "TICK_BUDGET", timedelta(0))
    monkeypatch.setattr(retention, "MAX_BATCH", 2)
    delivered(3, forge, sender, now=now)
    Event.objects.create(
        id=uuid7(now), organization=forge.organization, type="push", topics=["push"], payload=b"{}",
        occurred_at=now, accepted_at=now,
    )  # fmt: skip

    gone = [retention.prune_expired(now=now + 2 * MONTH) for _ in range(6)]

    assert gone[:2] == [4, 2]
    assert sum(gone) == 7
