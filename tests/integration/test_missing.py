"""What a webhook never got is delivered on request: what matches, once, in batches, beside live events."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from pytest_django import Settings

from deliveries import missing, pipeline
from deliveries.db import sql
from deliveries.maintenance.invariants import check_all
from deliveries.missing import Count, Span
from deliveries.models import AuditEntry, Delivery, Event, OutboxEntry, Repository, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, lifecycle
from hookhub import replays
from hookhub.models import Replay
from tests.story import Forge, claim_due, deliver_due, prune_old, together

pytestmark = pytest.mark.django_db

# Stands for the time of the test.
NOW = "now"
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def begin(webhook: Webhook, *, now: datetime, after: datetime | None = None, before: datetime | None = None) -> Replay:
    return replays.start_missing(webhook, after=after or now - DAY, before=before or now, now=now)


def run(replay: Replay, *, now: datetime) -> Replay:
    for _ in range(100):
        replays.run_replays(now=now)
        replay.refresh_from_db()
        if replay.state != Replay.State.RUNNING:
            return replay
    raise AssertionError("it does not end")


def events_of(webhook: Webhook) -> list[Any]:
    return list(Delivery.objects.filter(webhook=webhook).order_by("id").values_list("event_id", flat=True))


def test_events_from_before_the_webhook_existed_are_delivered_in_their_order(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    other = forge.webhook(now=now)
    ids = [forge.accept(now=now + n * SECOND)[0] for n in range(5)]
    later = now + HOUR
    webhook = forge.webhook(now=later, path="/late", max_in_flight=100)
    assert missing.count(webhook, Span.of(now, later, now=later)) == Count(5, is_at_least=False)

    replay = begin(webhook, now=later)
    assert (replay.kind, replay.state, replay.total, replay.examined) == ("missing", "running", 5, 0)
    run(replay, now=later)

    assert (replay.state, replay.total, replay.examined, replay.redelivered) == ("finished", 5, 5, 5)
    assert events_of(webhook) == ids
    created = Delivery.objects.filter(webhook=webhook)
    assert set(created.values_list("state", "readiness", "created_at", "due_at")) == {("pending", 2, later, later)}
    assert Delivery.objects.filter(webhook=other).count() == 5
    deliver_due(sender, now=later)
    assert created.filter(state="delivered").count() == 5
    entry = AuditEntry.objects.get(action="replay.started")
    assert f'"webhook": "{webhook.uid}"' in (entry.after or "")


def test_only_what_it_would_get_now_is_delivered(forge: Forge, now: datetime) -> None:
    gadgets = Repository.objects.create(organization=forge.organization, name="gadgets")
    stranger = Forge.make(forge.receiver, "globex")
    target = forge.webhook(now=now, events=["nothing"])
    wanted = forge.accept(now=now, event_type="issues", data={"action": "opened"})
    forge.accept(now=now, event_type="push")
    stranger.accept(now=now, event_type="issues", data={"action": "opened"})
    pipeline.accept(
        [
            replace(forge.event("issues", {"action": "opened"}, now=now), repository_id=gadgets.pk),
            replace(forge.event("issues", {"action": "opened"}, now=now), webhook_id=target.pk),
        ],
        now=now,
    )
    pipeline.fan_out(now=now)
    cases = {
        "by type": ({"events": ["issues"], "repository": forge.repository}, 1),
        "by action": ({"events": ["issues.opened"], "repository": forge.repository}, 1),
        "of all repositories": ({"events": ["issues"]}, 2),
        "everything": ({"events": ["*"], "repository": forge.repository}, 2),
        "nothing": ({"events": ["release"]}, 0),
    }

    for name, (fields, expected) in cases.items():
        webhook = forge.webhook(now=now + HOUR, **fields)
        counted = missing.count(webhook, Span.of(now - HOUR, now + HOUR, now=now + HOUR))
        run(begin(webhook, now=now + HOUR), now=now + HOUR)
        assert (len(events_of(webhook)), counted.events) == (expected, expected), name
        assert name != "by type" or events_of(webhook) == wanted


def test_the_filter_of_the_webhook_decides(forge: Forge, now: datetime) -> None:
    forge.accept(now=now, data={"level": "info"})
    urgent = forge.accept(now=now, data={"level": "high"})
    webhook = forge.webhook(now=now + HOUR)
    Webhook.objects.filter(pk=webhook.pk).update(payload_filter={"level": "high"})

    replay = run(begin(webhook, now=now + HOUR), now=now + HOUR)

    assert events_of(webhook) == urgent
    assert (replay.examined, replay.redelivered) == (2, 1)


def test_the_period_bounds_it_and_so_does_retention(forge: Forge, now: datetime) -> None:
    ids = [forge.accept(now=now + n * HOUR)[0] for n in range(4)]
    webhook = forge.webhook(now=now + 5 * HOUR)

    run(begin(webhook, after=now + HOUR, before=now + 3 * HOUR, now=now + 5 * HOUR), now=now + 5 * HOUR)
    assert events_of(webhook) == ids[1:3]

    late = now + settings.HOOKHUB_RETENTION + 3 * HOUR
    replay = run(begin(webhook, after=now - 900 * DAY, before=late, now=late), now=late)
    assert replay.redelivered == 1
    assert set(events_of(webhook)) == set(ids[1:])


def test_what_it_missed_while_it_was_disabled_or_listened_to_less_is_delivered(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, events=["push"])
    got = forge.accept(now=now, event_type="push")
    ignored = forge.accept(now=now, event_type="issues")
    lifecycle.disable(webhook.pk, now=now + SECOND)
    unheard = forge.accept(now=now + 2 * SECOND, event_type="push")
    lifecycle.enable(webhook.pk, release_held=False, now=now + 3 * SECOND)
    changing.change(webhook.pk, {"events": ["push", "issues"]}, now=now + 3 * SECOND)
    webhook.refresh_from_db()

    replay = run(begin(webhook, now=now + HOUR), now=now + HOUR)

    assert replay.redelivered == 2
    assert set(events_of(webhook)) == {*got, *ignored, *unheard}
    again = run(begin(webhook, now=now + HOUR), now=now + HOUR)
    assert (again.examined, again.redelivered) == (3, 0)
    assert len(events_of(webhook)) == 3


def test_batches_end_where_they_may_and_go_on_there(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "MAX_EXAMINED", 4)
    monkeypatch.setattr(missing, "MAX_DELIVERED", 3)
    monkeypatch.setattr(replays, "BATCHES_A_TICK", 1)
    ids = [forge.accept(now=now + n * SECOND, event_type="push" if n % 7 else "issues")[0] for n in range(14)]
    webhook = forge.webhook(now=now + HOUR, events=["push"])
    replay = begin(webhook, now=now + HOUR)

    progress = []
    while replay.state == "running":
        replays.run_replays(now=now + HOUR)
        replay.refresh_from_db()
        progress.append((replay.examined, replay.redelivered))

    assert progress == [(4, 3), (7, 6), (11, 9), (14, 12), (14, 12)]
    assert events_of(webhook) == [each for n, each in enumerate(ids) if n % 7]
    assert replay.total == 14


def test_no_more_are_made_than_are_sent_so_that_live_events_are_not_delayed(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "MAX_DELIVERED", 3)
    monkeypatch.setattr(missing, "MAX_READY", 5)
    for n in range(20):
        forge.accept(now=now + n * SECOND)
    later = now + HOUR
    webhook = forge.webhook(now=later, max_in_flight=2)
    replay = begin(webhook, now=later)

    replays.run_replays(now=later)
    [live] = forge.accept(now=later + SECOND)
    replays.run_replays(now=later + SECOND)

    replay.refresh_from_db()
    assert (replay.state, replay.redelivered) == ("running", 6)
    # A claim alternates what was published just now with what was missing.
    claimed = claim_due(100, now=later + SECOND)
    assert {claim.event_id for claim in claimed} == {str(events_of(webhook)[0]), str(live)}


@pytest.mark.django_db(transaction=True)
def test_two_at_once_make_one_delivery_each(forge: Forge, now: datetime) -> None:
    forge.accept(30, now=now)
    webhook = forge.webhook(now=now + HOUR)
    first, second = begin(webhook, now=now + HOUR), begin(webhook, now=now + HOUR)

    together(*[lambda: replays.run_replays(now=now + HOUR)] * 3)

    for replay in (first, second):
        run(replay, now=now + HOUR)
    assert first.redelivered + second.redelivered == 30
    assert len(set(events_of(webhook))) == Delivery.objects.count() == 30


def test_what_is_not_fanned_out_yet_is_delivered_once(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)], now=now)
    assert OutboxEntry.objects.count() == 1

    run(begin(webhook, now=now + SECOND), now=now + SECOND)
    pipeline.fan_out(now=now + SECOND)

    assert Delivery.objects.count() == 1
    assert OutboxEntry.objects.count() == 0


@pytest.mark.parametrize(
    "change",
    [
        {"deleted_at": NOW},
        {"disabled_at": NOW, "disabled_reason": "by_owner"},
        {"expires_at": NOW},
        {"proof": "challenge"},
    ],
    ids=["deleted", "disabled", "ended", "unverified"],
)
def test_a_webhook_that_gets_no_events_gets_none_of_these(forge: Forge, now: datetime, change: dict[str, Any]) -> None:
    forge.accept(3, now=now)
    webhook = forge.webhook(now=now + HOUR)
    replay = begin(webhook, now=now + HOUR)
    Webhook.objects.filter(pk=webhook.pk).update(
        **{name: now if value == NOW else value for name, value in change.items()}
    )

    run(replay, now=now + HOUR)
    webhook.refresh_from_db()

    assert (replay.state, replay.redelivered) == ("cancelled", 0)
    assert events_of(webhook) == []
    assert replay.cancel_reason == f"webhook_{webhook.status(now=now)}"
    entry = AuditEntry.objects.get(action="replay.cancelled")
    assert (entry.actor_kind, entry.target_id) == ("system", str(replay.pk))
    assert f'"cancel_reason": "{replay.cancel_reason}"' in (entry.after or "")


def test_after_a_cancellation_nothing_more_is_made(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "MAX_DELIVERED", 2)
    monkeypatch.setattr(replays, "BATCHES_A_TICK", 1)
    forge.accept(6, now=now)
    webhook = forge.webhook(now=now + HOUR)
    replay = begin(webhook, now=now + HOUR)
    replays.run_replays(now=now + HOUR)

    assert replays.cancel(replay, now=now + HOUR)
    replays.run_replays(now=now + HOUR)

    assert len(events_of(webhook)) == 2


def test_retention_keeps_its_events_and_the_ledger_stays_clean(
    forge: Forge, sender: Sender, now: datetime, settings: Settings
) -> None:
    forge.accept(3, now=now)
    late = now + settings.HOOKHUB_RETENTION - HOUR
    webhook = forge.webhook(now=late, max_in_flight=10)
    run(begin(webhook, after=now - HOUR, now=late), now=late)

    prune_old(now=now + settings.HOOKHUB_RETENTION + HOUR)
    assert Event.objects.count() == 3
    deliver_due(sender, now=late + 2 * HOUR)
    assert [result.check.name for result in check_all(now=late + 2 * HOUR) if result.verdict == "fault"] == []
    prune_old(now=late + settings.HOOKHUB_RETENTION + DAY)
    assert (Event.objects.count(), Delivery.objects.count()) == (0, 0)


def test_the_count_stops_somewhere(forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "MAX_COUNTED", 4)
    forge.accept(9, now=now)
    webhook = forge.webhook(now=now + HOUR)

    assert missing.count(webhook, Span.of(now - HOUR, now + HOUR, now=now + HOUR)) == Count(4, is_at_least=True)


def test_new_events_of_anyone_come_before_what_was_missing(forge: Forge, now: datetime) -> None:
    forge.accept(40, now=now)
    later = now + HOUR
    webhook = forge.webhook(now=later, max_in_flight=2)
    run(begin(webhook, now=later), now=later)
    stranger = Forge.make(forge.receiver, "globex")
    others = [forge.webhook(now=later, path="/other"), stranger.webhook(now=later)]

    live = [*forge.accept(now=later + SECOND), *stranger.accept(now=later + SECOND)]

    claimed = [(claim.destination.webhook_id, claim.event_id) for claim in claim_due(3, now=later + SECOND)]
    own, neighbour, foreign = (str(event_id) for event_id in (live[0], live[0], live[1]))
    assert claimed == [(webhook.pk, own), (others[0].pk, neighbour), (others[1].pk, foreign)]


def test_replays_that_wait_take_no_batch_from_others(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "MAX_DELIVERED", 2)
    monkeypatch.setattr(missing, "MAX_READY", 2)
    monkeypatch.setattr(replays, "BATCHES_A_TICK", 3)
    forge.accept(6, now=now)
    later = now + HOUR
    full, free = forge.webhook(now=later), forge.webhook(now=later, path="/free")
    waiting = [begin(full, now=later) for _ in range(5)]
    replays.run_replays(now=later)
    assert len(events_of(full)) == 2

    replay = begin(free, now=later + SECOND)
    replays.run_replays(now=later + SECOND)

    replay.refresh_from_db()
    assert replay.redelivered == 2
    assert {Replay.objects.get(pk=each.pk).state for each in waiting} == {"running"}


def test_a_filter_reads_few_payloads_in_one_batch(forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "MAX_FILTERED", 2)
    monkeypatch.setattr(replays, "TICK_BUDGET", timedelta(0))
    urgent = [forge.accept(now=now + n * SECOND, data={"level": "high" if n % 2 else "low"})[0] for n in range(5)][1::2]
    webhook = forge.webhook(now=now + HOUR)
    Webhook.objects.filter(pk=webhook.pk).update(payload_filter={"level": "high"})
    replay = begin(webhook, now=now + HOUR)

    progress = []
    while replay.state == "running":
        replays.run_replays(now=now + HOUR)
        replay.refresh_from_db()
        progress.append((replay.examined, replay.redelivered))

    assert progress == [(2, 1), (4, 2), (5, 2)]
    assert events_of(webhook) == urgent


def test_a_batch_does_not_read_what_earlier_ones_have_made(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(600, now=now)
    webhook = forge.webhook(now=now + HOUR, path="/late")
    # Statistics from when it had got nothing.
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE hookhub_event, hookhub_delivery")
    asked: dict[str, Mapping[str, object]] = {}
    run = sql.run

    def noting(statement: str, parameters: Mapping[str, object], *, commits: bool = False) -> list[sql.Row]:
        asked[statement] = parameters
        return run(statement, parameters, commits=commits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "run", noting)
        assert missing.count(webhook, Span.of(now - HOUR, now + HOUR, now=now + HOUR)).events == 600

    with transaction.atomic():
        sql.run(sql.PREFER_ORDERED_INDEXES, {})
        [parameters] = [each for statement, each in asked.items() if statement == missing.FIND_MISSING]
        plan = "\n".join(line for (line,) in sql.run(f"EXPLAIN (COSTS OFF) {missing.FIND_MISSING}", parameters))
    assert "using delivery_once_per_event_and_webhook" in plan
    assert "delivery_log_of_webhook" not in plan, plan
