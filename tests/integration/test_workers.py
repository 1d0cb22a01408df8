"""A deployment without running workers shows it where an operator looks: at `/readyz` and on the admin's front page."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from deliveries import pipeline, shutdown, wakeup, workers
from deliveries.db import sql
from deliveries.models import Worker
from deliveries.pipeline import rescue
from deliveries.worker import process_pool
from deliveries.worker.scheduler import Scheduler
from deliveries.workers import ALIVE_FOR, HEARTBEAT_INTERVAL, KEPT_FOR, Heartbeat, Workers
from tests.story import Forge

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture
def database_now(db: None) -> datetime:
    """Return the database's time, which workers and the checks use."""
    return sql.database_now()


def readyz() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def front_page(client: Client) -> str:
    client.force_login(User.objects.create_superuser("op", "op@example.com", "op-password-1"))
    return client.get("/admin/").content.decode()


def test_a_worker_counts_as_alive_for_half_a_minute_after_its_last_heartbeat(now: datetime) -> None:
    Heartbeat("one").beat(now=now)
    Heartbeat("two").beat(now=now + 10 * SECOND)

    assert workers.seen(now=now + ALIVE_FOR) == Workers(alive=2, seen_at=now + 10 * SECOND)
    assert workers.seen(now=now + ALIVE_FOR + SECOND) == Workers(alive=1, seen_at=now + 10 * SECOND)
    assert workers.seen(now=now + ALIVE_FOR + 11 * SECOND) == Workers(alive=0, seen_at=now + 10 * SECOND)


def test_a_heartbeat_is_written_every_five_seconds_and_not_at_each_tick(now: datetime) -> None:
    beat = Heartbeat("one").beat

    written = [beat(now=now + number * SECOND) for number in range(11)]

    assert HEARTBEAT_INTERVAL == 5 * SECOND
    assert [number for number, was_written in enumerate(written) if was_written] == [0, 5, 10]
    assert Worker.objects.get().started_at == now
    assert Worker.objects.get().seen_at == now + 10 * SECOND


@pytest.mark.parametrize("jump", [-timedelta(hours=1), timedelta(hours=1)])
def test_a_clock_that_was_set_makes_no_worker_disappear(now: datetime, jump: timedelta) -> None:
    beat = Heartbeat("one").beat
    beat(now=now)

    beat(now=now + jump)

    assert workers.seen(now=now + jump) == Workers(alive=1, seen_at=now + jump)


def test_a_worker_that_was_stopped_is_gone_at_once_and_is_back_with_its_next_heartbeat(database_now: datetime) -> None:
    heartbeat = Heartbeat("one")
    heartbeat.beat(now=database_now)

    heartbeat.end()
    stopped = workers.seen(now=sql.database_now())
    heartbeat.beat(now=sql.database_now())

    assert stopped.alive == 0
    assert workers.seen(now=sql.database_now()).alive == 1


def test_rows_of_workers_long_gone_are_removed_and_the_last_one_stays_while_none_lives(now: datetime) -> None:
    Heartbeat("old").beat(now=now)
    later = now + KEPT_FOR + SECOND
    assert workers.seen(now=later) == Workers(alive=0, seen_at=now)

    Heartbeat("new").beat(now=later)

    assert list(Worker.objects.values_list("id", flat=True)) == ["new"]


def test_readyz_counts_the_workers_and_stays_200_with_a_warning_when_there_is_none(database_now: datetime) -> None:
    never = readyz()
    heartbeat = Heartbeat("one")
    heartbeat.beat(now=database_now)
    alive = readyz()
    heartbeat.end()
    seen_at = Worker.objects.get().seen_at.isoformat()
    gone = readyz()

    what_to_do = "Events are only stored. Start a worker with `manage.py run worker`."
    assert never == (200, {"status": "ok", "workers": {"alive": 0, "seen_at": None},
                           "warning": f"No worker has started yet. {what_to_do}"})  # fmt: skip
    assert alive == (200, {"status": "ok", "workers": {"alive": 1, "seen_at": database_now.isoformat()}})
    assert gone == (200, {"status": "ok", "workers": {"alive": 0, "seen_at": seen_at}, "warning":
                          f"No worker is running. The last one was seen at {seen_at}. {what_to_do}"})  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_readyz_stays_200_where_the_workers_cannot_be_counted(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE hookhub_worker RENAME TO hookhub_worker_away")
    try:
        found = readyz()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hookhub_worker_away RENAME TO hookhub_worker")

    assert found == (200, {"status": "ok", "workers": None})


def test_the_front_page_warns_that_no_worker_runs_while_work_waits(
    forge: Forge, client: Client, database_now: datetime
) -> None:
    heartbeat = Heartbeat("one")
    heartbeat.beat(now=database_now - timedelta(minutes=3))
    forge.webhook(now=database_now)
    pipeline.accept([forge.event(now=database_now)], now=database_now)

    shown = front_page(client)

    assert (
        '<p class="hh-verdict hh-edge-bad">No worker is running. The last one was seen 3 min ago. '
        "Events are queued. Start a worker with `manage.py run worker`.</p>"
    ) in shown
    assert "Workers running: 0" in shown


def test_the_front_page_says_that_no_worker_runs_also_while_nothing_waits(client: Client, db: None) -> None:
    assert '<p class="hh-verdict hh-edge-warning">No worker has started yet. The queue is empty.</p>' in front_page(
        client
    )


def test_the_front_page_has_no_warning_while_a_worker_lives(client: Client, database_now: datetime) -> None:
    Heartbeat("one").beat(now=database_now)

    shown = front_page(client)

    assert '<p class="hh-verdict hh-edge-good">All deliveries are on time.</p>' in shown
    assert "Workers running: 1" in shown


@pytest.mark.django_db(transaction=True)
def test_a_worker_registers_at_each_tick_of_its_scheduler_and_deregisters_when_it_stops(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, database_now: datetime
) -> None:
    monkeypatch.setattr(wakeup, "notify_now", lambda: True)
    scheduler = Scheduler()

    scheduler._notify_of_due_work(database_now)
    alive = workers.seen(now=database_now)
    # Stopped before its own first tick, so its thread only deregisters the worker.
    scheduler._stopped.set()
    scheduler._send_wakeups()
    shutdown.reset()
    process_pool.close_pipe()

    assert alive == Workers(alive=1, seen_at=database_now)
    assert Worker.objects.get().id == rescue.worker_id()
    assert workers.seen(now=sql.database_now()).alive == 0
