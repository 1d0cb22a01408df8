"""Searching the delivery log: what is found, in which order, where a search stops, and which index it reads."""

import json
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from deliveries import log_search, pipeline
from deliveries.db import prepared, sql
from deliveries.log_search import Found, Log, LogFilter, ids_beginning_with, search
from deliveries.models import Delivery, Event, Webhook
from tests.integration.test_logs_of_quiet_webhooks import FILL
from tests.story import Forge, forget_statistics

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


def fill(forge: Forge, count: int, *, now: datetime, **more: Any) -> list[UUID]:
    """Publish events a second apart; return the ids of all their deliveries, newest first."""
    for n in range(count):
        at = now + n * SECOND
        pipeline.accept([forge.event(now=at, data={"id": f"order-{n}"}, **more)], now=at)
    while pipeline.fan_out(now=now + count * SECOND).events:
        pass
    return list(Delivery.objects.order_by("-id").values_list("id", flat=True))


def log_of(*webhooks: Webhook) -> Log:
    return Log(webhooks[0].organization_id, [webhook.pk for webhook in webhooks])


def whole(forge: Forge) -> Log:
    return Log(forge.organization.pk, None)


def walk(wanted: LogFilter, log: Log, *, most: int, to_newer: bool = False) -> list[UUID]:
    """Return what all pages of a search have, one after another."""
    ids: list[UUID] = []
    found = search(wanted, log, most=most, to_newer=to_newer)
    while True:
        ids += found.ids
        if found.onward is None:
            return ids
        found = search(wanted, log, most=most, start=found.onward, to_newer=to_newer)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("most_read", [3, 7, 5000])
def test_the_pages_together_have_every_row_once_in_order(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, most_read: int, is_whole: bool
) -> None:
    monkeypatch.setattr(log_search, "MAX_READ", most_read)
    busy, quiet = forge.webhook(now=now), forge.webhook(now=now, events=["release"])
    fill(forge, 10, now=now)
    fill(forge, 2, now=now + 3 * SECOND, event_type="release")
    log = whole(forge) if is_whole else log_of(busy, quiet)
    ids = list(Delivery.objects.order_by("-id").values_list("id", flat=True))

    assert walk(LogFilter(), log, most=3) == ids
    assert walk(LogFilter(), log, most=3, to_newer=True) == ids[::-1]
    releases = list(Delivery.objects.filter(event_type="release").order_by("-id").values_list("id", flat=True))
    assert len(releases) == 4
    assert walk(LogFilter(event_type="release"), log, most=3) == releases
    assert walk(LogFilter(event_type="release"), log, most=3, to_newer=True) == releases[::-1]


@pytest.mark.parametrize("most_read", [1, 5, 5000])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_pages_of_many_webhooks_have_every_row_once_however_busy_each_is(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, most: int, most_read: int
) -> None:
    monkeypatch.setattr(log_search, "MAX_READ", most_read)
    webhooks = [forge.webhook(now=now, events=[f"kind.{n}"]) for n in range(6)]
    # One is busy at the end, one was busy at the beginning, one has nothing.
    for n, at in enumerate([1, 1, 1, 2, 3, 1, 4, 2, 5, 1, 3, 5, 5, 2, 5, 5]):
        fill(forge, 1, now=now + n * SECOND, event_type=f"kind.{at}")
    failed = Delivery.objects.filter(
        event_type__in=["kind.1", "kind.2", "kind.5"], id__gte=Delivery.objects.order_by("id")[2].id
    )
    failed.update(state="failed", finish_reason="exhausted", finished_at=now, due_at=None)
    log = log_of(*webhooks)

    for wanted in (LogFilter(), LogFilter(state="failed"), LogFilter(state="pending"), LogFilter(event_type="kind.2")):
        rows = Delivery.objects.order_by("-id")
        rows = rows.filter(state=wanted.state) if wanted.state else rows
        rows = rows.filter(event_type=wanted.event_type) if wanted.event_type else rows
        ids = list(rows.values_list("id", flat=True))
        assert ids
        assert walk(wanted, log, most=most) == ids, wanted
        assert walk(wanted, log, most=most, to_newer=True) == ids[::-1], wanted


def test_a_full_page_of_many_webhooks_is_found_at_once(forge: Forge, now: datetime) -> None:
    webhooks = [forge.webhook(now=now, path=f"/{n}") for n in range(7)]
    ids = fill(forge, 4, now=now)

    assert search(LogFilter(), log_of(*webhooks), most=3) == Found(ids[:3], ids[2])
    assert search(LogFilter(), log_of(*webhooks), most=3, start=ids[2]) == Found(ids[3:6], ids[5])


def test_a_search_of_many_webhooks_reads_as_many_rows_as_it_may(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "MAX_READ", 5)
    webhooks = [forge.webhook(now=now, path=f"/{n}") for n in range(6)]
    ids = fill(forge, 3, now=now)

    assert search(LogFilter(event_type="none"), log_of(*webhooks), most=1) == Found([], ids[4], is_cut=True)


def full_search(
    rows: Sequence[Delivery], wanted: LogFilter, log: Log, *, most: int, start: UUID | None, to_newer: bool
) -> Found:
    """Return what a search is to find: it goes through the log row by row, up to its limit."""
    own = [row for row in rows if log.webhooks is None or row.webhook_id in log.webhooks]
    in_order = sorted(own, key=lambda row: row.id, reverse=not to_newer)
    if start is not None:
        in_order = [row for row in in_order if (row.id > start if to_newer else row.id < start)]
    if wanted.state in log_search.STATES_WITH_INDEX and log.webhooks is not None:
        in_order = [row for row in in_order if row.state == wanted.state]
    covered, found = in_order[: log_search.MAX_READ], list[UUID]()
    for row in covered:
        has_status = wanted.statuses is None or (
            row.last_status is not None and wanted.statuses[0] <= row.last_status <= wanted.statuses[1]
        )
        if has_status and wanted.state in {"", row.state} and wanted.event_type in {"", row.event_type}:
            found.append(row.id)
    if len(found) > most:
        return Found(found[:most], found[most - 1])
    is_cut = len(covered) == log_search.MAX_READ
    return Found(found, covered[-1].id if is_cut else None, is_cut=is_cut)


@pytest.mark.parametrize("seed", range(4))
def test_a_search_of_any_webhooks_finds_what_a_full_one_would(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    webhooks = [forge.webhook(now=now, events=[f"kind.{n}"]) for n in range(7)]
    # Some are busy, and some have nothing.
    weights = [chance.choice([0, 1, 2, 20]) for _ in webhooks]
    weights[0] += 1
    for n in range(60):
        kind = chance.choices(range(len(webhooks)), weights)[0]
        pipeline.accept([forge.event(now=now + n * SECOND, event_type=f"kind.{kind}")], now=now + n * SECOND)
    while pipeline.fan_out(now=now + 60 * SECOND).events:
        pass
    finished = {"finish_reason": "exhausted", "finished_at": now, "due_at": None}
    for row in Delivery.objects.all():
        state = chance.choice([{}, {"state": "failed", **finished}, {"state": "held"}])
        status = {"last_status": chance.choice([None, 200, 404, 500])}
        Delivery.objects.filter(pk=row.pk).update(**state, **status)
    rows = list(Delivery.objects.all())

    for _ in range(150):
        monkeypatch.setattr(log_search, "MAX_READ", chance.choice([1, 2, 5, 20, 60, 5000]))
        chosen = chance.sample(webhooks, chance.randint(1, len(webhooks)))
        wanted = LogFilter(
            state=chance.choice(["", "", "failed", "held", "pending"]),
            event_type=chance.choice(["", "", "kind.0", "kind.3"]),
            statuses=chance.choice([None, None, (404, 404), (400, 599)]),
        )
        log = chance.choice([log_of(*chosen), log_of(*chosen), whole(forge)])
        where: dict[str, Any] = {
            "most": chance.choice([1, 2, 10]),
            "start": chance.choice([None, chance.choice(rows).id]),
            "to_newer": chance.choice([False, True]),
        }

        assert search(wanted, log, **where) == full_search(rows, wanted, log, **where), (wanted, log, where)


def test_a_search_stops_after_so_many_rows_and_says_so(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "MAX_READ", 5)
    webhook = forge.webhook(now=now)
    ids = fill(forge, 12, now=now)
    Delivery.objects.filter(pk=ids[7]).update(last_status=404)

    first = search(LogFilter(statuses=(400, 499)), log_of(webhook), most=2)
    assert first == Found([], ids[4], is_cut=True)
    second = search(LogFilter(statuses=(400, 499)), log_of(webhook), most=2, start=first.onward)
    assert second == Found([ids[7]], ids[9], is_cut=True)
    assert search(LogFilter(statuses=(400, 499)), log_of(webhook), most=2, start=second.onward) == Found([], None)


def test_what_failed_long_ago_is_found_at_once(forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_search, "MAX_READ", 3)
    webhook = forge.webhook(now=now)
    ids = fill(forge, 12, now=now)
    finished = {"state": "failed", "finish_reason": "exhausted", "finished_at": now, "due_at": None}
    Delivery.objects.filter(pk=ids[11]).update(**finished)

    assert search(LogFilter(state="failed"), log_of(webhook), most=2) == Found([ids[11]], None)


def test_each_condition_selects_its_own(forge: Forge, now: datetime) -> None:
    webhook, other = forge.webhook(now=now), forge.webhook(now=now, events=["nothing"])
    ids = fill(forge, 4, now=now)
    Delivery.objects.filter(pk=ids[1]).update(last_status=404)
    Delivery.objects.filter(pk=ids[2]).update(event_type="issues")
    Event.objects.filter(pk=Delivery.objects.get(pk=ids[0]).event_id).update(
        idempotency_key="inv-7", fingerprint=b"x", payload=json.dumps({"order": {"id": "ORD-9"}}).encode()
    )
    event = str(Delivery.objects.get(pk=ids[3]).event_id)
    cases: list[tuple[LogFilter, list[UUID]]] = [
        (LogFilter(statuses=(404, 404)), [ids[1]]),
        (LogFilter(statuses=(400, 499)), [ids[1]]),
        (LogFilter(statuses=(500, 599)), []),
        (LogFilter(event_type="issues"), [ids[2]]),
        (LogFilter(state="pending"), ids),
        (LogFilter(state="delivered"), []),
        (LogFilter(after=now + SECOND, before=now + 3 * SECOND), ids[1:3]),
        (LogFilter(text=str(ids[2])), [ids[2]]),
        (LogFilter(text=f"  {str(ids[2]).upper()[:15]}"), [ids[2]]),
        (LogFilter(text=event), [ids[3]]),
        (LogFilter(text=event[:13]), [ids[3]]),
        (LogFilter(text="inv-7"), [ids[0]]),
        (LogFilter(text="ORD-9"), [ids[0]]),
        (LogFilter(text="order-2"), [ids[1]]),
        (LogFilter(text="order-"), ids[1:]),
        (LogFilter(text="order-2", event_type="issues"), []),
        (LogFilter(text="nothing of it"), []),
        (LogFilter(text="%"), []),
    ]

    for wanted, expected in cases:
        assert search(wanted, log_of(webhook), most=50).ids == expected, wanted
        assert search(wanted, whole(forge), most=50).ids == expected, wanted
        assert search(wanted, log_of(other), most=50).ids == [], wanted


def test_the_log_ends_at_its_own_webhooks(forge: Forge, now: datetime) -> None:
    stranger = Forge.make(forge.receiver, "globex")
    mine, theirs = forge.webhook(now=now), stranger.webhook(now=now)
    ids = fill(forge, 2, now=now)
    fill(stranger, 2, now=now)
    foreign = Delivery.objects.filter(webhook=theirs).earliest("id")

    assert search(LogFilter(), whole(forge), most=50).ids == ids
    for text in (str(foreign.pk), str(foreign.event_id), str(foreign.pk)[:8]):
        assert foreign.pk not in search(LogFilter(text=text), log_of(mine), most=50).ids
        assert foreign.pk not in search(LogFilter(text=text), whole(forge), most=50).ids
    assert search(LogFilter(), Log(forge.organization.pk, []), most=50) == Found([], None)
    Webhook.objects.filter(pk=mine.pk).update(deleted_at=now)
    assert search(LogFilter(), whole(forge), most=50).ids == []


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("019cb8b8", "019cb8b8-0000-0000-0000-000000000000", "019cb8b8-ffff-ffff-ffff-ffffffffffff"),
        ("019CB8B8-1E", "019cb8b8-1e00-0000-0000-000000000000", "019cb8b8-1eff-ffff-ffff-ffffffffffff"),
        ("019cb8b81e00753a8f000a1b2c3d4e5f", "019cb8b8-1e00-753a-8f00-0a1b2c3d4e5f",
         "019cb8b8-1e00-753a-8f00-0a1b2c3d4e5f"),
        ("019cb8b", None, None),
        ("019cb8b8x", None, None),
        ("019cb8b8-1e00-753a-8f00-0a1b2c3d4e5f0", None, None),
        ("", None, None),
    ],
)  # fmt: skip
def test_the_beginning_of_an_id_is_a_span_of_ids(text: str, first: str | None, last: str | None) -> None:
    found = ids_beginning_with(text)

    assert (found and str(found.first), found and str(found.last)) == (first, last)


# For a filter, and for the whole log or that of webhooks: the indexes of which one is to be read.
READ = [
    (LogFilter(), False, {"delivery_log_of_webhook"}),
    (LogFilter(), True, {"delivery_log"}),
    (LogFilter(state="failed"), False, {"delivery_failed_of_webhook"}),
    (LogFilter(state="held"), False, {"delivery_held"}),
    (LogFilter(state="pending", event_type="push"), False, {"delivery_log_of_webhook"}),
    (LogFilter(statuses=(400, 499)), True, {"delivery_log"}),
    (LogFilter(text="key"), False, {"delivery_once_per_event_and_webhook"}),
    (LogFilter(text="019cb8b8"), False, {"delivery_log_of_webhook"}),
]


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_a_search_reads_an_index(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, is_analyzed: bool
) -> None:
    webhook = forge.webhook(now=now)
    fill(forge, 1, now=now)
    if is_analyzed:
        # All is of one webhook: with such statistics, any index that has the ids in order seems as good.
        rows = {"webhook": webhook.pk, "organization": forge.organization.pk, "now": now, "state": "failed"}
        with connection.cursor() as cursor:
            cursor.execute(FILL, {**rows, "from": 1, "count": 5000})
            cursor.execute(FILL, {**rows, "from": 10_000, "count": 5000, "state": "held"})
    Event.objects.update(idempotency_key="key", fingerprint=b"x")
    own = Log(forge.organization.pk, [webhook.pk])
    cases = [(wanted, whole(forge) if is_whole else own, indexes) for wanted, is_whole, indexes in READ]
    if is_analyzed:
        two = Log(forge.organization.pk, [webhook.pk, webhook.pk + 1])
        cases += [(wanted, two, indexes) for wanted, is_whole, indexes in READ if not is_whole]
    asked = [statements_of(wanted, log, monkeypatch) for wanted, log, _ in cases]

    with transaction.atomic():
        sql.run("ANALYZE hookhub_delivery", {}) if is_analyzed else forget_statistics()
        sql.run(log_search.MERGE_BY_INDEXES, {})
        plans = ["\n".join(plan for statement in statements for plan in plan_of(statement)) for statements in asked]
        transaction.set_rollback(True)
    for (wanted, log, indexes), plan in zip(cases, plans, strict=True):
        assert "Seq Scan" not in plan, (wanted, log)
        assert "hookhub_delivery_pkey" not in plan, (wanted, log)
        assert all(name in plan for name in indexes), (wanted, log, plan)


def statements_of(wanted: LogFilter, log: Log, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the statements of a search in both directions."""
    asked: list[str] = []
    run = sql.run

    def noting(statement: str, parameters: Mapping[str, object], *, commits: bool = False) -> list[sql.Row]:
        asked.append(statement)
        return run(statement, parameters, commits=commits)

    with monkeypatch.context() as patch:
        patch.setattr(sql, "run", noting)
        search(wanted, log, most=50)
        search(wanted, log, most=50, to_newer=True)
    return asked


def plan_of(statement: str) -> list[str]:
    """Return the plan for any parameters, which is the one that is used."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (GENERIC_PLAN, COSTS OFF) {prepared.parse(statement)[0].decode()}")
        return [line for (line,) in cursor.fetchall()]
