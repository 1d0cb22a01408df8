"""The scheduler in every worker: it sends wake-ups for due work, and runs maintenance on one worker at a time."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from celery import current_app
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
from deliveries.worker import orphans, process_pool, scheduler
from deliveries.worker.scheduler import Clock, do
from tests.receiver import Answer
from tests.story import Forge, ReadOnly, deliver_due, together

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock(None)
    shutdown.clear()
    process_pool.close_pipe()


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return the results of the next wake-ups; each wake-up pops one."""
    answers = [True] * 100
    monkeypatch.setattr(wakeup, "notify_now", answers.pop)
    return answers


def test_it_rings_when_something_is_due_and_only_then(
    forge: Forge, clock: Clock, rings: list[bool], now: datetime
) -> None:
    clock._ring_for_due_work(now)
    assert len(rings) == 100

    pipeline.accept([forge.event(now=now)], now=now)
    clock._ring_for_due_work(now)

    assert len(rings) == 99


def test_without_redis_it_wakes_the_pool_itself(
    forge: Forge, clock: Clock, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(wakeup, "notify_now", lambda: False)
    monkeypatch.setattr(process_pool, "wake", lambda processes: woken.append("woken"))
    clock._ring_for_due_work(now)
    assert woken == []

    pipeline.accept([forge.event(now=now)], now=now)
    clock._ring_for_due_work(now)

    assert woken == ["woken"]


def test_a_bell_that_redis_takes_and_nobody_hears_does_not_keep_deliveries_waiting_for_ever(
    forge: Forge, clock: Clock, rings: list[bool], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[int] = []
    monkeypatch.setattr(process_pool, "wake", lambda processes: woken.append(len(rings)))
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)], now=now)

    for _ in range(scheduler.MAX_UNHEARD_TICKS - 1):
        clock._ring_for_due_work(now)
    assert woken == []
    clock._ring_for_due_work(now)
    assert woken == [100 - scheduler.MAX_UNHEARD_TICKS]

    # Some worker claims, so wake-ups are received.
    pipeline.fan_out(now=now)
    pipeline.claim(1, now=now)
    pipeline.accept([forge.event(now=now)], now=now)
    for _ in range(scheduler.MAX_UNHEARD_TICKS):
        clock._ring_for_due_work(now)
    assert len(woken) == 1


@pytest.mark.parametrize(("start_method", "is_forked"), [("fork", True), ("spawn", False)])
def test_a_worker_without_forked_processes_drains_in_its_own_where_redis_is_away(
    clock: Clock, forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, start_method: str, is_forked: bool
) -> None:
    drained = threading.Event()
    monkeypatch.setattr(process_pool, "get_start_method", lambda: start_method)
    monkeypatch.setitem(current_app.tasks, wakeup.TASK, drained.set)
    monkeypatch.setattr(wakeup, "notify_now", lambda: False)
    clock._take_charge_of(SimpleNamespace(pool=WithProcesses(), hub=None))
    pipeline.accept([forge.event(now=now)], now=now)

    clock._ring_for_due_work(now)

    if is_forked:
        # There is one wake-up for each process, and no thread of this process consumes any.
        assert process_pool.take(reader_of_the_pipe())
        assert process_pool.take(reader_of_the_pipe())
        assert not process_pool.take(reader_of_the_pipe())
        assert not drained.is_set()
    else:
        assert drained.wait(10)


def reader_of_the_pipe() -> int:
    assert process_pool._pipe is not None
    return process_pool._pipe[0]


class WithProcesses(TaskPool):
    """A process pool that is not started; Celery treats it as one of processes, whatever the start method."""

    def __init__(self) -> None:
        super().__init__(limit=2)

    num_processes = 2


def test_a_worker_told_to_stop_waits_for_the_drain_of_its_own_process(clock: Clock) -> None:
    clock._drains_here = True
    order: list[str] = []

    def drain() -> None:
        with orphans.drain_lock:
            began.set()
            assert may_go_on.wait(10)
            order.append("settled")

    began = threading.Event()

    def stop() -> None:
        assert began.wait(10)
        threading.Timer(0.1, may_go_on.set).start()
        clock.stop(None)
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


def first_chore(*, now: datetime) -> None:
    done.append(("first", now))


def second_chore(*, now: datetime) -> None:
    done.append(("second", now))


def slow_chore(*, now: datetime) -> None:
    inside.set()
    assert may_go_on.wait(10)
    done.append(("slow", now))


def chore_with_a_bug(*, now: datetime) -> None:
    raise RuntimeError("a bug")


def chore_that_writes(*, now: datetime) -> None:
    sql.require_writable()


def chore_that_the_database_refuses(*, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def paths(*chores: Callable[..., object]) -> tuple[str, ...]:
    return tuple(f"{__name__}.{chore.__name__}" for chore in chores)


def test_the_chores_are_done_in_their_order(forge: Forge, clock: Clock, now: datetime, settings: Settings) -> None:
    settings.HOOKHUB_CHORES = paths(first_chore, second_chore)

    clock._do_chores(now)

    assert done == [("first", now), ("second", now)]


def test_one_worker_at_a_time_does_the_chores(forge: Forge, clock: Clock, now: datetime, settings: Settings) -> None:
    settings.HOOKHUB_CHORES = paths(slow_chore)

    def second_clock() -> None:
        assert inside.wait(10)
        Clock(None)._do_chores(now)
        may_go_on.set()

    together(lambda: clock._do_chores(now), second_clock)
    assert done == [("slow", now)]

    # The lock is free for the next tick of any scheduler.
    together(lambda: Clock(None)._do_chores(now))
    assert len(done) == 2


@pytest.mark.parametrize("chore", [chore_with_a_bug, chore_that_the_database_refuses])
def test_a_chore_that_fails_is_reported_and_keeps_no_other_from_being_done(
    forge: Forge, clock: Clock, now: datetime, settings: Settings, caplog: pytest.LogCaptureFixture,
    chore: Callable[..., object],
) -> None:  # fmt: skip
    settings.HOOKHUB_CHORES = paths(chore, second_chore)

    clock._do_chores(now)

    assert done == [("second", now)]
    assert f"{chore.__name__} failed" in caplog.text


def test_without_a_connection_the_tick_ends(forge: Forge, now: datetime) -> None:
    def lose_it(*, now: datetime) -> None:
        connection.connection.close()
        chore_that_the_database_refuses(now=now)

    with pytest.raises(DatabaseError):
        do("lost", lose_it, now=now)
    connection.close()


def test_where_nothing_can_be_written_down_nobody_is_woken_and_the_tick_ends(
    forge: Forge, clock: Clock, rings: list[bool], now: datetime, read_only: ReadOnly,
    monkeypatch: pytest.MonkeyPatch, settings: Settings,
) -> None:  # fmt: skip
    settings.HOOKHUB_CHORES = paths(first_chore, chore_that_writes)
    woken: list[int] = []
    monkeypatch.setattr(process_pool, "wake", lambda processes: woken.append(len(rings)))
    pipeline.accept([forge.event(now=now)], now=now)
    read_only.on()

    for _ in range(scheduler.MAX_UNHEARD_TICKS + 1):
        with pytest.raises(OperationalError):
            clock._ring_for_due_work(now)
    with pytest.raises(OperationalError):
        clock._do_chores(now)

    assert (len(rings), woken) == (100, [])
    assert not connection.is_usable()


def test_a_standby_that_knows_of_nothing_to_do_is_not_believed(
    forge: Forge, clock: Clock, now: datetime, read_only: ReadOnly
) -> None:
    read_only.on()

    with pytest.raises(OperationalError):
        clock._ring_for_due_work(now)

    assert not connection.is_usable()


def test_it_ticks_through_errors_until_it_is_stopped_and_then_says_so_to_every_drain(
    forge: Forge, clock: Clock, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.HOOKHUB_CHORES = ()
    ticked, errors = threading.Event(), [RuntimeError("a bug"), DatabaseError("away"), OSError("gone")]

    def tick(**_: object) -> bool:
        if errors:
            raise errors.pop()
        ticked.set()
        return False

    monkeypatch.setattr(scheduler, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(claiming, "is_anything_to_do", tick)
    clock.start(SimpleNamespace(pool=SimpleNamespace()))

    assert ticked.wait(10)
    assert not shutdown.is_set()
    clock.stop(None)

    assert shutdown.is_set()
    assert not any(thread.is_alive() for thread in clock._threads)


def test_a_chore_that_takes_its_time_does_not_silence_the_bell(
    forge: Forge, clock: Clock, now: datetime, monkeypatch: pytest.MonkeyPatch, settings: Settings, rings: list[bool]
) -> None:
    settings.HOOKHUB_CHORES = paths(slow_chore)
    monkeypatch.setattr(scheduler, "TICK_SECONDS", 0.01)
    pipeline.accept([forge.event(now=now)], now=now)
    clock.start(SimpleNamespace(pool=SimpleNamespace()))
    assert inside.wait(10)
    before = len(rings)

    until = time.monotonic() + 10
    while len(rings) > before - 3:
        assert time.monotonic() < until
        time.sleep(0.005)

    may_go_on.set()
    clock.stop(None)


def test_every_chore_of_the_settings_exists_and_has_nothing_to_do_in_an_empty_database(
    forge: Forge, clock: Clock, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    clock._do_chores(now)

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
