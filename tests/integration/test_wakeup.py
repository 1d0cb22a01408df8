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
def notifier() -> Iterator[Notifier]:
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


def queued(valkey: redis.Redis) -> int:
    return int(valkey.llen(current_app.conf.task_default_queue))  # type: ignore[arg-type]


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_wake_up_is_one_message_without_data(notifier: Notifier, valkey: redis.Redis) -> None:
    assert notifier.try_to_notify()

    assert queued(valkey) == 1
    [message] = valkey.lrange(current_app.conf.task_default_queue, 0, -1)  # type: ignore[misc]
    assert b"deliveries.drain" in message
    assert b'"eta": null' in message


def test_wake_ups_that_no_worker_receives_do_not_pile_up(notifier: Notifier, valkey: redis.Redis) -> None:
    assert [notifier.try_to_notify() for _ in range(3 * MAX_QUEUED)] == [True] * 3 * MAX_QUEUED

    assert queued(valkey) == MAX_QUEUED
    valkey.lpop(current_app.conf.task_default_queue)
    notifier.try_to_notify()
    assert queued(valkey) == MAX_QUEUED


def test_a_thousand_requests_send_a_few_wake_ups_and_the_last_request_is_not_lost(
    notifier: Notifier, valkey: redis.Redis
) -> None:
    for _ in range(1000):
        notifier.request()
    wait_until(lambda: queued(valkey) >= 1)

    # Requested during the pause after a wake-up; this request must not be lost.
    before = queued(valkey)
    notifier.request()
    wait_until(lambda: queued(valkey) == before + 1)

    assert queued(valkey) <= 4


def test_requests_of_many_threads_start_one_thread_that_sends(notifier: Notifier, valkey: redis.Redis) -> None:
    before = threading.active_count()
    threads = [threading.Thread(target=notifier.request) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wait_until(lambda: queued(valkey) >= 1)
    assert threading.active_count() == before + 1


@pytest.mark.parametrize("kind", ["absent", "hanging"])
def test_a_request_returns_at_once_without_redis(
    notifier: Notifier, broker: Callable[[str], None], request: pytest.FixtureRequest, kind: str
) -> None:
    broker(request.getfixturevalue(kind))

    started = time.monotonic()
    for _ in range(1000):
        notifier.request()
    assert time.monotonic() - started < 0.2

    wait_until(lambda: notifier._paused_until > 0)


@pytest.mark.parametrize(("kind", "seconds"), [("absent", 0.5), ("hanging", 1.5)])
def test_sending_without_redis_fails_soon_and_is_not_retried_for_a_while(
    notifier: Notifier, broker: Callable[[str], None], request: pytest.FixtureRequest, kind: str, seconds: float
) -> None:
    broker(request.getfixturevalue(kind))

    started = time.monotonic()
    assert not notifier.try_to_notify()
    assert time.monotonic() - started < seconds

    started = time.monotonic()
    assert [notifier.try_to_notify() for _ in range(100)] == [False] * 100
    assert time.monotonic() - started < 0.05


def test_wake_ups_are_sent_again_once_redis_is_back(
    notifier: Notifier, valkey: redis.Redis, broker: Callable[[str], None], absent: str, present: str
) -> None:
    broker(absent)
    assert not notifier.try_to_notify()
    broker(present)
    assert not notifier.try_to_notify()

    # As if the circuit breaker's cooldown were over.
    notifier._paused_until -= BREAKER_COOLDOWN.total_seconds()

    assert notifier.try_to_notify()
    assert queued(valkey) == 1


def test_after_a_flush_of_redis_wake_ups_are_sent(notifier: Notifier, valkey: redis.Redis) -> None:
    assert notifier.try_to_notify()

    # Has the same effect here as FLUSHALL, which would affect tests running at the same time.
    valkey.flushdb()

    assert notifier.try_to_notify()
    assert queued(valkey) == 1


def test_a_connection_that_was_cut_is_made_anew(notifier: Notifier, valkey: redis.Redis) -> None:
    assert notifier.try_to_notify()
    mine, database = str(valkey.client_id()), str(valkey.get_connection_kwargs()["db"])
    others = [one["id"] for one in valkey.client_list() if one["db"] == database and one["id"] != mine]
    assert others
    for one in others:
        valkey.client_kill_filter(_id=one)

    if not notifier.try_to_notify():
        notifier._paused_until = 0
        assert notifier.try_to_notify()

    assert queued(valkey) == 2


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("x"), redis.ResponseError("OOM")], ids=repr)
def test_after_any_error_the_next_request_is_sent(
    notifier: Notifier, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    send, failed = notifier._send, threading.Event()

    def fail_once() -> None:
        if not failed.is_set():
            failed.set()
            raise error
        send()

    monkeypatch.setattr(notifier, "_send", fail_once)
    notifier.request()
    wait_until(failed.is_set)
    wait_until(lambda: notifier._connection is None)
    notifier._paused_until = 0

    def is_sent() -> bool:
        notifier._paused_until = 0
        return queued(valkey) == 1

    notifier.request()
    wait_until(is_sent)


def test_a_key_of_another_type_under_the_queues_name_is_renamed_and_the_wake_up_sent(
    notifier: Notifier, valkey: redis.Redis
) -> None:
    valkey.set(current_app.conf.task_default_queue, "rubbish")

    assert notifier.try_to_notify()

    assert queued(valkey) == 1
    [aside] = valkey.keys("*:wrong-type:*")
    assert valkey.get(aside) == b"rubbish"


def test_a_pending_request_is_sent_before_the_process_exits(notifier: Notifier, valkey: redis.Redis) -> None:
    notifier.notify_before_exit()
    assert queued(valkey) == 0

    notifier._requested.set()
    notifier.notify_before_exit()
    assert queued(valkey) == 1


def test_the_module_uses_this_processs_notifier(
    valkey: redis.Redis, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "_notifier", notifier)

    assert wakeup.notify_now()
    assert queued(valkey) == 1
    wakeup.notify()
    wait_until(lambda: queued(valkey) >= 2)


def test_after_a_fork_the_child_gets_another_notifier(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = Notifier()
    monkeypatch.setattr(wakeup, "_notifier", parents)
    assert wakeup._own_notifier() is parents

    # From the child's point of view: the notifier belongs to another process.
    parents._pid -= 1

    assert wakeup._own_notifier() is not parents
    assert wakeup._notifier.is_ours
