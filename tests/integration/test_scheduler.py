"""The scheduler in every worker: it sends wake-ups for due work, and runs maintenance on one worker at a time."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from celery.concurrency.prefork import TaskPool
from django.db import DatabaseError, OperationalError, connection
from pytest_django import Settings

from deliveries import pipeline, shutdown, wakeup
from deliveries.db import sql
from deliveries.maintenance.invariants import check_all
from deliveries.models import Delivery
from deliveries.pipeline import claiming
from deliveries.sending.sender import Sender
from deliveries.stats import stats_of
from deliveries.worker import celery_steps, orphans, process_pool
from deliveries.worker.leadership import Leadership
from deliveries.worker.scheduler import MAX_UNHEARD_TICKS, Scheduler, run_task, run_tasks
from tests.receiver import Answer
from tests.story import Forge, ReadOnly, deliver_due, together

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    yield Scheduler()
    shutdown.reset()
    process_pool.close_pipe()


@pytest.fixture
def wake_ups(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return the results of the next wake-ups; each wake-up pops one."""
    answers = [True] * 100
    monkeypatch.setattr(wakeup, "notify_now", answers.pop)
    return answers


def test_it_sends_a_wake_up_when_something_is_due_and_only_then(
    forge: Forge, scheduler: Scheduler, wake_ups: list[bool], now: datetime
) -> None:
    scheduler._notify_of_due_work(now)
    assert len(wake_ups) == 100

    pipeline.accept([forge.event(now=now)], now=now)
    scheduler._notify_of_due_work(now)

    assert len(wake_ups) == 99


def test_without_redis_it_wakes_the_pool_itself(
    forge: Forge, scheduler: Scheduler, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(wakeup, "notify_now", lambda: False)
    monkeypatch.setattr(process_pool, "wake", lambda processes: woken.append("woken"))
    scheduler._notify_of_due_work(now)
    assert woken == []

    pipeline.accept([forge.event(now=now)], now=now)
    scheduler._notify_of_due_work(now)

    assert woken == ["woken"]


def test_wake_ups_that_redis_accepts_and_no_worker_receives_do_not_delay_deliveries_forever(
    forge: Forge, scheduler: Scheduler, wake_ups: list[bool], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[int] = []
    monkeypatch.setattr(process_pool, "wake", lambda processes: woken.append(len(wake_ups)))
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)], now=now)

    for _ in range(MAX_UNHEARD_TICKS - 1):
        scheduler._notify_of_due_work(now)
    assert woken == []
    scheduler._notify_of_due_work(now)
    assert woken == [100 - MAX_UNHEARD_TICKS]

    # Some worker claims, so wake-ups are received.
    pipeline.fan_out(now=now)
    pipeline.claim(1, now=now)
    pipeline.accept([forge.event(now=now)], now=now)
    for _ in range(MAX_UNHEARD_TICKS):
        scheduler._notify_of_due_work(now)
    assert len(woken) == 1


@pytest.mark.parametrize(("start_method", "is_forked"), [("fork", True), ("spawn", False)])
def test_a_worker_without_forked_processes_runs_the_loop_itself_when_redis_is_away(
    scheduler: Scheduler,
    forge: Forge,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    start_method: str,
    is_forked: bool,
) -> None:
    drained = threading.Event()
    monkeypatch.setattr(celery_steps, "get_start_method", lambda: start_method)
    monkeypatch.setattr(celery_steps, "drain", drained.set)
    monkeypatch.setattr(wakeup, "notify_now", lambda: False)
    step = celery_steps.SchedulerStep(SimpleNamespace())
    step.configure_pool(SimpleNamespace(pool=WithProcesses(), hub=None))
    pipeline.accept([forge.event(now=now)], now=now)

    step.scheduler._notify_of_due_work(now)

    if is_forked:
        # There is one wake-up for each process, and no thread of this process consumes any.
        assert process_pool.take(reader_of_the_pipe())
        assert process_pool.take(reader_of_the_pipe())
        assert not process_pool.take(reader_of_the_pipe())
        assert not drained.is_set()
    else:
        assert drained.wait(60)


def reader_of_the_pipe() -> int:
    assert process_pool._pipe is not None
    return process_pool._pipe[0]


class WithProcesses(TaskPool):
    """A process pool that is not started; Celery treats it as one of processes, whatever the start method."""

    def __init__(self) -> None:
        super().__init__(limit=2)

    num_processes = 2


def test_a_worker_that_stops_waits_for_the_loop_of_its_own_process(scheduler: Scheduler) -> None:
    scheduler.runs_loop_here = True
    order: list[str] = []

    def drain() -> None:
        with orphans.drain_lock:
            began.set()
            assert may_go_on.wait(60)
            order.append("settled")

    began = threading.Event()

    def stop() -> None:
        assert began.wait(60)
        threading.Timer(0.1, may_go_on.set).start()
        scheduler.stop()
        order.append("stopped")

    together(drain, stop)

    assert order == ["settled", "stopped"]


# Maintenance functions are configured by import path, so these are module-level.
done: list[tuple[str, datetime]] = []
inside, may_go_on = threading.Event(), threading.Event()


@pytest.fixture(autouse=True)
def nothing_done_yet() -> None:
    done.clear()
    inside.clear()
    may_go_on.clear()


def first_task(*, now: datetime) -> None:
    done.append(("first", now))


def second_task(*, now: datetime) -> None:
    done.append(("second", now))


def slow_task(*, now: datetime) -> None:
    inside.set()
    assert may_go_on.wait(60)
    done.append(("slow", now))


def task_with_a_bug(*, now: datetime) -> None:
    raise RuntimeError("a bug")


def task_that_writes(*, now: datetime) -> None:
    sql.require_writable()


def task_that_the_database_rejects(*, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def paths(*tasks: Callable[..., object]) -> tuple[str, ...]:
    return tuple(f"{__name__}.{task.__name__}" for task in tasks)


def test_maintenance_tasks_run_in_their_order(
    forge: Forge, scheduler: Scheduler, now: datetime, settings: Settings
) -> None:
    settings.HOOKHUB_CHORES = paths(first_task, second_task)

    scheduler._run_tasks(now)

    assert done == [("first", now), ("second", now)]


def test_one_worker_at_a_time_runs_maintenance(
    forge: Forge, scheduler: Scheduler, now: datetime, settings: Settings
) -> None:
    settings.HOOKHUB_CHORES = paths(slow_task)

    another = Leadership("maintenance", worker="another")

    def second_worker() -> None:
        assert inside.wait(60)
        run_tasks(settings.HOOKHUB_CHORES, leadership=another, now=now)
        may_go_on.set()

    together(lambda: scheduler._run_tasks(now), second_worker)
    assert done == [("slow", now)]

    scheduler._maintenance.resign()
    together(lambda: run_tasks(settings.HOOKHUB_CHORES, leadership=another, now=now))
    assert len(done) == 2


@pytest.mark.parametrize("task", [task_with_a_bug, task_that_the_database_rejects])
def test_a_maintenance_task_that_fails_is_logged_and_prevents_no_other(
    forge: Forge, scheduler: Scheduler, now: datetime, settings: Settings, caplog: pytest.LogCaptureFixture,
    task: Callable[..., object],
) -> None:  # fmt: skip
    settings.HOOKHUB_CHORES = paths(task, second_task)

    scheduler._run_tasks(now)

    assert done == [("second", now)]
    assert f"{task.__name__} failed" in caplog.text


def test_without_a_connection_the_tick_ends(forge: Forge, now: datetime) -> None:
    def lose_it(*, now: datetime) -> None:
        connection.connection.close()
        task_that_the_database_rejects(now=now)

    with pytest.raises(DatabaseError):
        run_task("lost", lose_it, now=now)
    connection.close()


def test_against_a_read_only_database_no_worker_is_woken_and_the_tick_ends(
    forge: Forge, scheduler: Scheduler, wake_ups: list[bool], now: datetime, read_only: ReadOnly,
    monkeypatch: pytest.MonkeyPatch, settings: Settings,
) -> None:  # fmt: skip
    settings.HOOKHUB_CHORES = paths(first_task, task_that_writes)
    woken: list[int] = []
    monkeypatch.setattr(process_pool, "wake", lambda processes: woken.append(len(wake_ups)))
    pipeline.accept([forge.event(now=now)], now=now)
    read_only.on()

    for _ in range(MAX_UNHEARD_TICKS + 1):
        with pytest.raises(OperationalError):
            scheduler._notify_of_due_work(now)
    with pytest.raises(OperationalError):
        scheduler._run_tasks(now)

    assert (len(wake_ups), woken) == (100, [])
    assert not connection.is_usable()


def test_a_standby_without_work_is_not_believed(
    forge: Forge, scheduler: Scheduler, now: datetime, read_only: ReadOnly
) -> None:
    read_only.on()

    with pytest.raises(OperationalError):
        scheduler._notify_of_due_work(now)

    assert not connection.is_usable()


def test_it_ticks_through_errors_until_it_is_stopped_and_then_requests_shutdown(
    forge: Forge, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.HOOKHUB_CHORES = ()
    ticked, errors = threading.Event(), [RuntimeError("a bug"), DatabaseError("away"), OSError("gone")]

    def tick(**_: object) -> bool:
        if errors:
            raise errors.pop()
        ticked.set()
        return False

    monkeypatch.setattr("deliveries.worker.scheduler.TICK_SECONDS", 0.01)
    monkeypatch.setattr(claiming, "is_anything_to_do", tick)
    scheduler.start()

    assert ticked.wait(60)
    assert not shutdown.is_requested()
    scheduler.stop()

    assert shutdown.is_requested()
    assert not any(thread.is_alive() for thread in scheduler._threads)


def test_a_slow_maintenance_task_delays_no_wake_up(
    forge: Forge,
    scheduler: Scheduler,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    wake_ups: list[bool],
) -> None:
    settings.HOOKHUB_CHORES = paths(slow_task)
    monkeypatch.setattr("deliveries.worker.scheduler.TICK_SECONDS", 0.01)
    pipeline.accept([forge.event(now=now)], now=now)
    scheduler.start()
    assert inside.wait(60)
    before = len(wake_ups)

    until = time.monotonic() + 60
    while len(wake_ups) > before - 3:
        assert time.monotonic() < until
        time.sleep(0.005)

    may_go_on.set()
    scheduler.stop()


def test_every_maintenance_task_of_the_settings_exists_and_has_nothing_to_do_in_an_empty_database(
    forge: Forge, scheduler: Scheduler, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler._run_tasks(now)

    assert caplog.text == ""


def test_after_all_kinds_of_trouble_the_ledger_is_right_and_the_stats_add_up(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    good, bad = forge.webhook(now=now, path="/good"), forge.webhook(now=now, path="/bad", retry_schedule=[60])
    forge.receiver.answers["/bad"] = [Answer(500), Answer(200), Answer(500)]
    later = now + timedelta(minutes=2)
    forge.accept(4, now=now + timedelta(minutes=1))
    deliver_due(sender, now=now + timedelta(minutes=1))
    deliver_due(sender, now=later)
    deliver_due(sender, now=later + timedelta(minutes=2))

    assert {finding.check.name: finding.verdict for finding in check_all(now=later) if finding.verdict == "fault"} == {}
    found = stats_of(bad, window=timedelta(hours=1), now=later)
    assert (found.attempts, found.succeeded) == (7, 1)
    assert found.success_rate == pytest.approx(1 / 7)
    assert found.deliveries == {"delivered": 1, "failed": 3}
    assert stats_of(good, window=timedelta(hours=1), now=later).success_rate == 1.0
    nothing = stats_of(good, window=timedelta(seconds=1), now=later + timedelta(days=1))
    assert (nothing.attempts, nothing.success_rate, nothing.p50_ms, nothing.deliveries) == (0, None, None, {})
    assert Delivery.objects.count() == 8


def test_a_slow_notice_delays_no_maintenance(
    forge: Forge, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.HOOKHUB_NOTICES, settings.HOOKHUB_CHORES = paths(slow_task), paths(first_task)
    monkeypatch.setattr("deliveries.worker.scheduler.TICK_SECONDS", 0.01)
    scheduler.start()
    assert inside.wait(60)
    before = len(done)

    until = time.monotonic() + 60
    while len(done) < before + 3:
        assert time.monotonic() < until
        time.sleep(0.005)

    assert {name for name, _ in done} == {"first"}
    may_go_on.set()
    scheduler.stop()
