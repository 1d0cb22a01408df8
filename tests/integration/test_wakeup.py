"""The notifier: sends wake-ups through a real Valkey, and blocks no caller when Redis is missing or hangs."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from celery import current_app
from pytest_django import Settings

from deliveries import wakeup
from deliveries.wakeup import BREAKER_COOLDOWN, MAX_QUEUED, Notifier


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda url: monkeypatch.setattr(current_app.conf, "broker_write_url", url)


@pytest.fixture
def present(settings: Settings) -> str:
    """Return the URL of a database of the real Valkey that no other test uses for wake-ups."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return re.sub(r"virtual_host=\d+", f"virtual_host={8 + worker % 8}", settings.CELERY_BROKER_URL)


@pytest.fixture
def valkey(present: str, broker: Callable[[str], None]) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(present.replace("redis+socket", "unix").replace("virtual_host", "db"))
    client.flushdb()
    broker(present)
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def bell() -> Iterator[Notifier]:
    made = Notifier()
    yield made
    made._close()


@pytest.fixture
def hanging() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@pytest.fixture
def absent(tmp_path: Path) -> str:
    """Return the URL of a socket without a listener."""
    return f"redis+socket://{tmp_path}/nobody.sock?virtual_host=0"


def unheard(valkey: redis.Redis) -> int:
    return int(valkey.llen(current_app.conf.task_default_queue))  # type: ignore[arg-type]


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_ring_is_one_message_that_says_only_that_there_is_work(bell: Notifier, valkey: redis.Redis) -> None:
    assert bell.try_to_notify()

    assert unheard(valkey) == 1
    [message] = valkey.lrange(current_app.conf.task_default_queue, 0, -1)  # type: ignore[misc]
    assert b"deliveries.drain" in message
    assert b'"eta": null' in message


def test_rings_that_nobody_hears_do_not_pile_up(bell: Notifier, valkey: redis.Redis) -> None:
    assert [bell.try_to_notify() for _ in range(3 * MAX_QUEUED)] == [True] * 3 * MAX_QUEUED

    assert unheard(valkey) == MAX_QUEUED
    valkey.lpop(current_app.conf.task_default_queue)
    bell.try_to_notify()
    assert unheard(valkey) == MAX_QUEUED


def test_asking_a_thousand_times_rings_a_few_times_and_the_last_wish_is_not_lost(
    bell: Notifier, valkey: redis.Redis
) -> None:
    for _ in range(1000):
        bell.request()
    wait_until(lambda: unheard(valkey) >= 1)

    # Requested during the pause after a wake-up; this request must not be lost.
    before = unheard(valkey)
    bell.request()
    wait_until(lambda: unheard(valkey) == before + 1)

    assert unheard(valkey) <= 4


def test_asking_from_many_threads_makes_one_thread_that_rings(bell: Notifier, valkey: redis.Redis) -> None:
    before = threading.active_count()
    threads = [threading.Thread(target=bell.request) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wait_until(lambda: unheard(valkey) >= 1)
    assert threading.active_count() == before + 1


@pytest.mark.parametrize("kind", ["absent", "hanging"])
def test_asking_returns_at_once_without_redis(
    bell: Notifier, broker: Callable[[str], None], request: pytest.FixtureRequest, kind: str
) -> None:
    broker(request.getfixturevalue(kind))

    started = time.monotonic()
    for _ in range(1000):
        bell.request()
    assert time.monotonic() - started < 0.2

    wait_until(lambda: bell._silent_until > 0)


@pytest.mark.parametrize(("kind", "seconds"), [("absent", 0.5), ("hanging", 1.5)])
def test_ringing_without_redis_fails_soon_and_is_not_tried_again_for_a_while(
    bell: Notifier, broker: Callable[[str], None], request: pytest.FixtureRequest, kind: str, seconds: float
) -> None:
    broker(request.getfixturevalue(kind))

    started = time.monotonic()
    assert not bell.try_to_notify()
    assert time.monotonic() - started < seconds

    started = time.monotonic()
    assert [bell.try_to_notify() for _ in range(100)] == [False] * 100
    assert time.monotonic() - started < 0.05


def test_the_bell_rings_again_once_redis_is_back(
    bell: Notifier, valkey: redis.Redis, broker: Callable[[str], None], absent: str, present: str
) -> None:
    broker(absent)
    assert not bell.try_to_notify()
    broker(present)
    assert not bell.try_to_notify()

    # As if the circuit breaker's cooldown were over.
    bell._silent_until -= BREAKER_COOLDOWN.total_seconds()

    assert bell.try_to_notify()
    assert unheard(valkey) == 1


def test_flushing_everything_does_not_silence_it(bell: Notifier, valkey: redis.Redis) -> None:
    assert bell.try_to_notify()

    # Has the same effect here as FLUSHALL, which would affect tests running at the same time.
    valkey.flushdb()

    assert bell.try_to_notify()
    assert unheard(valkey) == 1


def test_a_connection_that_was_cut_is_made_anew(bell: Notifier, valkey: redis.Redis) -> None:
    assert bell.try_to_notify()
    mine, database = str(valkey.client_id()), str(valkey.get_connection_kwargs()["db"])
    others = [one["id"] for one in valkey.client_list() if one["db"] == database and one["id"] != mine]
    assert others
    for one in others:
        valkey.client_kill_filter(_id=one)

    if not bell.try_to_notify():
        bell._silent_until = 0
        assert bell.try_to_notify()

    assert unheard(valkey) == 2


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("x"), redis.ResponseError("OOM")], ids=repr)
def test_whatever_goes_wrong_the_next_wish_is_rung_for(
    bell: Notifier, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    send, failed = bell._send, threading.Event()

    def fail_once() -> None:
        if not failed.is_set():
            failed.set()
            raise error
        send()

    monkeypatch.setattr(bell, "_send", fail_once)
    bell.request()
    wait_until(failed.is_set)
    wait_until(lambda: bell._link is None)
    bell._silent_until = 0

    def has_rung() -> bool:
        bell._silent_until = 0
        return unheard(valkey) == 1

    bell.request()
    wait_until(has_rung)


def test_rubbish_under_the_queues_name_is_moved_aside_and_the_bell_rings(bell: Notifier, valkey: redis.Redis) -> None:
    valkey.set(current_app.conf.task_default_queue, "rubbish")

    assert bell.try_to_notify()

    assert unheard(valkey) == 1
    [aside] = valkey.keys("*:wrong-type:*")
    assert valkey.get(aside) == b"rubbish"


def test_a_command_that_ends_rings_for_what_is_still_wanted(bell: Notifier, valkey: redis.Redis) -> None:
    bell.notify_before_exit()
    assert unheard(valkey) == 0

    bell._wanted.set()
    bell.notify_before_exit()
    assert unheard(valkey) == 1


def test_the_processs_own_bell_is_rung_through_the_module(
    valkey: redis.Redis, bell: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "_notifier", bell)

    assert wakeup.notify_now()
    assert unheard(valkey) == 1
    wakeup.notify()
    wait_until(lambda: unheard(valkey) >= 2)


def test_after_a_fork_the_child_has_a_bell_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = Notifier()
    monkeypatch.setattr(wakeup, "_notifier", parents)
    assert wakeup._own_notifier() is parents

    # From the child's point of view: the notifier belongs to another process.
    parents._pid -= 1

    assert wakeup._own_notifier() is not parents
    assert wakeup._notifier.is_ours
