"""A worker loop that stays and listens: what wakes it through a real Valkey, and what ends its stay."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import redis
from django.db import connection
from pytest_django import Settings

from deliveries import pipeline, shutdown, wakeup
from deliveries.models import Delivery
from deliveries.sending.sender import make_sender
from deliveries.wakeup import Notifier, Route, Work, listening_key, wakeup_key
from deliveries.worker import listener, loop, process_pool, residency
from deliveries.worker.listener import Listener
from deliveries.worker.loop import Progress, WorkerLoop
from deliveries.worker.slots import OVERCOMMIT
from tests.story import Forge, Stopped

pytestmark = pytest.mark.django_db(transaction=True)

LONG = timedelta(seconds=60)


@pytest.fixture(autouse=True)
def valkey(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        keys = [listening_key(), *(wakeup_key(work) for work in Work), settings.HOOKHUB_QUEUE]
        client.delete(*keys)
        yield client
        client.delete(*keys)


@pytest.fixture(autouse=True)
def seat() -> Iterator[None]:
    residency.open_seat()
    yield
    residency.close_seat()
    shutdown.reset()


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """Return the wake-ups heard by the loops of this test."""
    heard: list[Work] = []
    hear = WorkerLoop._hear
    monkeypatch.setattr(WorkerLoop, "_hear", lambda self, work: (heard.append(work), hear(self, work)))
    return heard


class Ear(Listener):
    """A listener that remembers whether its loop has listened, however short that was."""

    def __init__(self) -> None:
        super().__init__()
        self.has_listened = threading.Event()

    def arm(self, *, marks: bool) -> bool:
        is_armed = super().arm(marks=marks)
        if is_armed:
            self.has_listened.set()
        return is_armed


class Loops:
    """Worker loops, each in a thread of its own, as the processes of a worker would run them."""

    def __init__(self, threads: ThreadPoolExecutor, now: datetime) -> None:
        self._threads, self._now = threads, now
        self.ears: list[Ear] = []

    def start(self, *, stay: timedelta = LONG) -> "Future[Progress]":
        """Start a loop and wait until it listens, or has listened."""
        ear = Ear()
        self.ears.append(ear)
        running = self._threads.submit(self._run, ear, stay)
        assert ear.has_listened.wait(30)
        return running

    def _run(self, ear: Listener, stay: timedelta) -> Progress:
        sender = make_sender(slots=4 * OVERCOMMIT)
        try:
            one = WorkerLoop(sender, Stopped(self._now), LONG, stay)
            one.listener = ear
            return one.run()
        finally:
            sender.close()
            connection.close()


@pytest.fixture
def loops(now: datetime) -> Iterator[Loops]:
    with ThreadPoolExecutor(4) as threads:
        yield Loops(threads, now)
        shutdown.request()


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.002)


def queued(valkey: redis.Redis, settings: Settings) -> int:
    return int(valkey.llen(settings.HOOKHUB_QUEUE))  # type: ignore[arg-type]


def test_an_idle_loop_takes_an_event_up_without_a_message_to_celery(
    forge: Forge, loops: Loops, woken: list[Work], valkey: redis.Redis, settings: Settings, now: datetime
) -> None:
    forge.webhook(now=now)
    loops.start()

    pipeline.accept([forge.event(now=now)], now=now)

    forge.receiver.wait_for(1)
    wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 1)
    assert woken == [Work.EVENTS]
    assert queued(valkey, settings) == 0


def test_a_loop_hears_a_wake_up_also_while_a_request_is_in_flight(
    forge: Forge, loops: Loops, woken: list[Work], now: datetime
) -> None:
    may_answer = threading.Event()
    forge.webhook(now=now, path="/slow", events=["slow"])
    forge.webhook(now=now, path="/quick", events=["quick"])
    loops.start()
    forge.receiver.script = lambda link, request: (
        request.path == "/quick" or may_answer.wait(30),
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    )  # type: ignore[assignment, return-value]
    pipeline.accept([forge.event("slow", now=now)], now=now)
    forge.receiver.wait_for(1)

    pipeline.accept([forge.event("quick", now=now)], now=now)

    wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 1)
    may_answer.set()
    assert woken == [Work.EVENTS, Work.EVENTS]


def test_one_of_two_listening_loops_takes_an_event(
    forge: Forge, loops: Loops, woken: list[Work], monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    # Two workers, of which each has a process that stays.
    monkeypatch.setattr(residency, "take_seat", lambda: True)
    forge.webhook(now=now)
    loops.start()
    loops.start()

    pipeline.accept([forge.event(now=now)], now=now)

    wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 1)
    assert woken == [Work.EVENTS]


def test_a_second_process_of_a_worker_does_not_stay(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    monkeypatch.setattr(residency, "take_seat", lambda: False)
    sender = make_sender(slots=4 * OVERCOMMIT)

    assert WorkerLoop(sender, Stopped(now), LONG, LONG).run() == Progress(0, 0)

    sender.close()


def test_shutdown_ends_a_listening_loop_at_once(
    loops: Loops, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the test may take: only the shutdown itself can end the wait.
    monkeypatch.setattr(loop, "MAX_WAIT", LONG)
    monkeypatch.setattr(listener, "BLOCK", LONG)
    running = loops.start()
    assert valkey.exists(listening_key())

    shutdown.request()

    assert running.result(30) == Progress(0, 0)
    assert not valkey.exists(listening_key())


def test_after_its_stay_a_loop_ends_and_wake_ups_go_to_celery_again(
    loops: Loops, valkey: redis.Redis, settings: Settings, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MAX_WAIT", timedelta(milliseconds=10))

    assert loops.start(stay=timedelta(milliseconds=50)).result(30) == Progress(0, 0)

    assert not valkey.exists(listening_key())
    assert Notifier().try_to_notify(Work.EVENTS, Route.LISTENER)
    assert queued(valkey, settings) == 1


def test_work_of_which_a_wake_up_was_not_heard_is_found_before_the_loop_ends(
    forge: Forge, loops: Loops, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MAX_WAIT", timedelta(milliseconds=10))
    forge.webhook(now=now)
    withdraw = Listener.withdraw
    accepted: list[bool] = []

    def accept_and_withdraw(self: Listener) -> bool:
        if not accepted:
            accepted.append(True)
            monkeypatch.setattr(wakeup, "notify", lambda *_: None)
            pipeline.accept([forge.event(now=now)], now=now)
        return withdraw(self)

    monkeypatch.setattr(Listener, "withdraw", accept_and_withdraw)

    assert loops.start(stay=timedelta(milliseconds=50)).result(30) == Progress(1, 1)


def test_a_loop_without_redis_does_the_work_and_ends(
    forge: Forge, now: datetime, settings: Settings, tmp_path: Path
) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/absent.sock?db=0"
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)], now=now)
    sender = make_sender(slots=4 * OVERCOMMIT)
    one = WorkerLoop(sender, Stopped(now), LONG, LONG)
    one.listener = Listener()

    assert one.run() == Progress(1, 1)

    sender.close()


def test_a_listening_loop_that_loses_redis_ends(loops: Loops, valkey: redis.Redis) -> None:
    running = loops.start()
    link = loops.ears[0].link
    assert link is not None

    link._socket.shutdown(socket.SHUT_RDWR)

    assert running.result(30) == Progress(0, 0)


def test_while_redis_hangs_the_workers_pipe_wakes_a_listening_loop(
    forge: Forge, loops: Loops, woken: list[Work], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_pool.open_pipe()
    monkeypatch.setattr(wakeup, "notify", lambda *_: None)
    forge.webhook(now=now)
    loops.start()
    pipeline.accept([forge.event(now=now)], now=now)

    process_pool.wake(1)

    wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 1)
    assert woken == [Work.ANY]
    shutdown.request()
    process_pool.close_pipe()
