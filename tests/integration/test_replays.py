"""Replays redeliver the deliveries of a filter batch by batch, and none that were created after the start."""

from datetime import datetime, timedelta

import pytest
from pytest_django import Settings

from deliveries import log_search, redelivery
from deliveries.models import Delivery, Repository
from deliveries.redelivery import Selection
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from hookhub import replays
from hookhub.models import Replay
from tests.receiver import Answer
from tests.story import Forge, deliver_due, together

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "BATCH", 4)
    monkeypatch.setattr(replays, "BATCHES_A_TICK", 2)


def all_of(forge: Forge, **narrowed: object) -> Selection:
    return Selection(organization_id=forge.organization.pk, **narrowed)  # type: ignore[arg-type]


def begin(forge: Forge, selection: Selection, *, now: datetime) -> Replay:
    return replays.start(forge.organization, selection=selection, asked={}, now=now)


def test_an_organization_has_so_many_running_replays_and_no_more(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MAX_RUNNING", 2)
    webhook, stranger = forge.webhook(now=now), Forge.make(forge.receiver, "globex")
    first, _second = (begin(forge, all_of(forge), now=now) for _ in range(2))

    with pytest.raises(replays.TooManyRunning):
        begin(forge, all_of(forge), now=now)
    with pytest.raises(replays.TooManyRunning):
        replays.start_missing(webhook, after=now - HOUR, before=now, now=now)
    begin(stranger, all_of(stranger), now=now)
    assert Replay.objects.count() == 3
    replays.cancel(first, now=now)
    replays.start_missing(webhook, after=now - HOUR, before=now, now=now)


def test_a_replay_goes_on_batch_by_batch_tick_by_tick_and_then_ends(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now, max_in_flight=100)
    forge.accept(10, now=now)
    deliver_due(sender, now=now)
    replay = begin(forge, all_of(forge), now=now)
    assert (replay.state, replay.total, replay.examined) == ("running", 10, 0)

    progress = []
    for second in range(1, 4):
        made_due = replays.run_replays(now=now + timedelta(seconds=second))
        replay.refresh_from_db()
        progress.append((made_due, replay.examined, replay.redelivered, replay.state))

    assert progress == [(8, 8, 8, "running"), (2, 10, 10, "finished"), (0, 10, 10, "finished")]
    assert (replay.total, replay.finished_at) == (10, now + timedelta(seconds=2))
    deliver_due(sender, now=now + HOUR)
    assert set(Delivery.objects.values_list("state", "redeliveries", "attempts_made")) == {("delivered", 1, 2)}


def test_deliveries_that_came_after_its_start_are_not_meant(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=100)
    forge.accept(3, now=now)
    replay = begin(forge, all_of(forge), now=now)
    forge.accept(3, now=now + timedelta(milliseconds=1))
    deliver_due(sender, now=now + HOUR)

    assert replays.run_replays(now=now + HOUR) == 3

    replay.refresh_from_db()
    assert (replay.state, replay.examined) == ("finished", 3)
    assert sorted(Delivery.objects.values_list("redeliveries", flat=True)) == [0, 0, 0, 1, 1, 1]


def test_what_fails_again_is_not_met_twice(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, retry_schedule=[], max_in_flight=100)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(10, now=now)
    deliver_due(sender, now=now)
    begin(forge, all_of(forge, states=("failed",)), now=now)

    for second in range(1, 5):
        replays.run_replays(now=now + timedelta(seconds=second))
        deliver_due(sender, now=now + timedelta(seconds=second))

    assert set(Delivery.objects.values_list("redeliveries", "attempts_made")) == {(1, 2)}


def test_progress_reaches_its_end_even_if_some_were_no_longer_met(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, retry_schedule=[], max_in_flight=100)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(6, now=now)
    deliver_due(sender, now=now)
    replay = begin(forge, all_of(forge, states=("failed",)), now=now)
    Delivery.objects.filter(id__in=Delivery.objects.order_by("id")[:4].values("id")).update(state="delivered")

    replays.run_replays(now=now)

    replay.refresh_from_db()
    assert (replay.state, replay.total, replay.examined, replay.redelivered) == ("finished", 2, 2, 2)


def test_what_cannot_be_sent_again_is_examined_and_left_alone(forge: Forge, sender: Sender, now: datetime) -> None:
    off = forge.webhook(now=now)
    forge.webhook(now=now)
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    off.disabled_at, off.disabled_reason = now, "by_owner"
    off.save()
    replay = begin(forge, all_of(forge), now=now)

    assert replays.run_replays(now=now) == 2

    replay.refresh_from_db()
    assert (replay.examined, replay.redelivered) == (4, 2)


def test_a_filter_narrows_it_down_and_survives_its_storage(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook, other = forge.webhook(now=now, max_in_flight=100), forge.webhook(now=now, max_in_flight=100)
    gadgets = Repository.objects.create(organization=forge.organization, name="gadgets")
    [early] = forge.accept(now=now)
    [late] = forge.accept(now=now + HOUR)
    deliver_due(sender, now=now + HOUR)
    selections = {
        "all": (all_of(forge), 4),
        "webhook": (all_of(forge, webhook_id=other.pk), 2),
        "event": (all_of(forge, event_id=late), 2),
        "repository": (all_of(forge, repository_id=forge.repository.pk), 4),
        "other repository": (all_of(forge, repository_id=gadgets.pk), 0),
        "states": (all_of(forge, states=("failed", "cancelled")), 0),
        "type": (all_of(forge, event_type="push"), 4),
        "other type": (all_of(forge, event_type="pull"), 0),
        "after": (all_of(forge, after=now + HOUR), 2),
        "after the last": (all_of(forge, after=now + HOUR + timedelta(milliseconds=1)), 0),
        "before": (all_of(forge, before=now + HOUR), 2),
        "between": (all_of(forge, after=now, before=now + timedelta(milliseconds=1)), 2),
        "ids": (all_of(forge, ids=tuple(Delivery.objects.filter(webhook=webhook).values_list("id", flat=True))), 2),
        "no ids": (all_of(forge, ids=()), 0),
        "together": (all_of(forge, webhook_id=webhook.pk, event_id=early, states=("delivered",)), 1),
        "another organization": (Selection(organization_id=forge.organization.pk + 1), 0),
    }

    for label, (selection, count) in selections.items():
        replay = begin(forge, selection, now=now + HOUR)
        replay.refresh_from_db()
        assert (replay.total, selection.deliveries().count()) == (count, count), label
        restored = replays.selection_of(replay)
        assert replays.as_json(restored) == replays.as_json(selection), label
        if selection.organization_id == forge.organization.pk:
            assert restored == selection, label


@pytest.mark.parametrize("kind", ["event type", "state", "states", "repository"])
def test_few_among_many_are_found_part_by_part_of_the_log(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(log_search, "MAX_READ", 5)
    forge.webhook(now=now, max_in_flight=100)
    forge.accept(12, now=now)
    deliver_due(sender, now=now)
    rare = forge.accept(1, now=now + timedelta(seconds=1))[0]
    deliver_due(sender, now=now + timedelta(seconds=1))
    other = Repository.objects.create(organization=forge.organization, name="other")
    Delivery.objects.filter(event_id=rare).update(state="failed", event_type="rare", repository=other)
    narrowed: dict[str, dict[str, object]] = {
        "event type": {"event_type": "rare"},
        "state": {"states": ("failed",)},
        "states": {"states": ("failed", "held")},
        "repository": {"repository_id": other.pk},
    }
    replay = begin(forge, all_of(forge, **narrowed[kind]), now=now + HOUR)

    monkeypatch.setattr(replays, "TICK_BUDGET", timedelta(0))
    progress = []
    while replay.state == "running":
        made_due = replays.run_replays(now=now + HOUR)
        replay.refresh_from_db()
        progress.append((made_due, replay.examined))

    assert progress == [(0, 0), (0, 0), (1, 1)]
    assert list(Delivery.objects.filter(redeliveries=1).values_list("event_id", flat=True)) == [rare]


def test_parts_of_the_log_without_any_do_not_wait_for_the_next_tick(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "MAX_READ", 2)
    forge.webhook(now=now, max_in_flight=100)
    forge.accept(20, now=now)
    deliver_due(sender, now=now)
    last = Delivery.objects.order_by("-id")[:1]
    Delivery.objects.filter(pk__in=last.values("pk")).update(event_type="rare")
    replay = begin(forge, all_of(forge, event_type="rare"), now=now + HOUR)

    assert replays.run_replays(now=now + HOUR) == 1

    replay.refresh_from_db()
    assert replay.state == "finished"


SELECTED: dict[str, tuple[dict[str, object], tuple[int, bool]]] = {
    "everything": ({}, (3, True)),
    "an event type": ({"event_type": "push"}, (2, True)),
    "states": ({"states": ("pending", "failed")}, (3, True)),
    "another state": ({"states": ("delivered",)}, (0, True)),
    "failed": ({"states": ("failed",)}, (0, True)),
    "a repository": ({"repository_id": 0}, (0, True)),
}


@pytest.mark.parametrize("kind", SELECTED)
@pytest.mark.parametrize("of", ["organization", "webhook"])
def test_the_total_is_counted_in_a_bounded_part_of_the_log(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, kind: str, of: str
) -> None:
    monkeypatch.setattr(redelivery, "MAX_COUNTED", 3)
    webhook = forge.webhook(now=now, max_in_flight=100, retry_schedule=[])
    for number, event_type in enumerate(["push", "push", "tag", "tag", "push", "push"]):
        forge.accept(1, event_type=event_type, now=now + timedelta(milliseconds=number))
    last = Delivery.objects.order_by("-id")[:1].values("id")
    Delivery.objects.filter(id__in=last).update(state="failed", due_at=None, finish_reason="exhausted", finished_at=now)
    narrowed, expected = SELECTED[kind]
    if of == "webhook":
        narrowed = {**narrowed, "webhook_id": webhook.pk}
        # What failed at a webhook has an index.
        expected = (1, False) if kind == "failed" else expected

    replay = begin(forge, all_of(forge, **narrowed), now=now + HOUR)
    assert (replay.total, replay.total_is_at_least) == expected
    while replay.state == "running":
        replays.run_replays(now=now + HOUR)
        replay.refresh_from_db()

    assert (replay.total, replay.total_is_at_least) == (replay.examined, False)


def test_the_total_is_exact_where_the_count_reaches_the_end(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "MAX_COUNTED", 5)
    forge.webhook(now=now, max_in_flight=100)
    gone = forge.webhook(now=now)
    event = forge.accept(5, now=now)[0]
    lifecycle.delete(gone.pk, now=now)
    of_kept = Delivery.objects.exclude(webhook=gone)

    of_webhook = begin(forge, all_of(forge, webhook_id=of_kept[0].webhook_id), now=now + HOUR)
    of_event = begin(forge, all_of(forge, event_id=event), now=now + HOUR)
    listed = begin(forge, all_of(forge, ids=tuple(each.pk for each in of_kept)), now=now + HOUR)

    assert [(each.total, each.total_is_at_least) for each in (of_webhook, of_event, listed)] == [
        (5, False), (2, False), (5, False),
    ]  # fmt: skip


def test_more_than_were_counted_raise_the_total(forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redelivery, "MAX_COUNTED", 4)
    forge.webhook(now=now, max_in_flight=100)
    forge.accept(14, now=now)
    replay = begin(forge, all_of(forge), now=now + HOUR)

    replays.run_replays(now=now + HOUR)

    replay.refresh_from_db()
    assert (replay.state, replay.examined, replay.total, replay.total_is_at_least) == ("running", 8, 8, True)


def test_a_cancelled_replay_stops_where_it_is(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, max_in_flight=100)
    forge.accept(20, now=now)
    deliver_due(sender, now=now)
    replay = begin(forge, all_of(forge), now=now)
    replays.run_replays(now=now)
    Replay.objects.update(state="cancelled", finished_at=now)

    assert replays.run_replays(now=now) == 0

    replay.refresh_from_db()
    assert (replay.state, replay.examined) == ("cancelled", 8)


def test_one_that_died_in_the_middle_of_a_batch_goes_on_from_the_last_whole_one(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now, max_in_flight=100)
    forge.accept(10, now=now)
    deliver_due(sender, now=now)
    replay = begin(forge, all_of(forge), now=now)

    with monkeypatch.context() as patched:
        patched.setattr(Replay, "save", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            replays.run_replays(now=now)
    replay.refresh_from_db()
    assert (replay.examined, Delivery.objects.filter(redeliveries=1).count()) == (0, 0)

    replays.run_replays(now=now)
    replays.run_replays(now=now)
    assert Delivery.objects.filter(redeliveries=1).count() == 10


@pytest.mark.django_db(transaction=True)
def test_workers_that_carry_replays_on_at_the_same_time_send_each_delivery_again_once(
    forge: Forge, sender: Sender, now: datetime, settings: Settings
) -> None:
    forge.webhook(now=now, max_in_flight=1000)
    forge.accept(40, now=now)
    deliver_due(sender, now=now)
    begin(forge, all_of(forge), now=now)

    for _ in range(10):
        together(*[lambda: replays.run_replays(now=now)] * 4)

    replay = Replay.objects.get()
    assert (replay.state, replay.examined, replay.redelivered) == ("finished", 40, 40)
    assert set(Delivery.objects.values_list("redeliveries", flat=True)) == {1}
