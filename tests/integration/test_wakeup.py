"""The notifier: sends wake-ups through a real Valkey, and blocks no caller when Redis is missing or hangs."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.conf import settings as settings_of_django
from pytest_django import Settings

from deliveries import wakeup
from deliveries.wakeup import (
    BREAKER_COOLDOWN,
    MAX_QUEUED,
    Notifier,
    Route,
    Work,
    listening_key,
    wakeup_key,
)
from deliveries.worker.kombu_transport import is_wakeup_message


@pytest.fixture
def present(settings: Settings) -> str:
    """Return the URL of a database of the real Valkey that no other test uses for wake-ups."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return re.sub(r"db=\d+", f"db={8 + worker % 8}", settings.REDIS_URL)


@pytest.fixture
def valkey(present: str, settings: Settings) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(present)
    client.flushdb()
    settings.REDIS_URL = present
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
    return f"unix://{tmp_path}/nobody.sock?db=0"


def queued(valkey: redis.Redis) -> int:
    """Return the number of wake-ups in Celery's queue."""
    return int(valkey.llen(settings_of_django.HOOKHUB_QUEUE))  # type: ignore[arg-type]


def waiting(valkey: redis.Redis, work: Work) -> int:
    """Return the number of wake-ups that wait for a listening worker loop."""
    return int(valkey.llen(wakeup_key(work)))  # type: ignore[arg-type]


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_wake_up_is_one_message_without_data(notifier: Notifier, valkey: redis.Redis) -> None:
    assert notifier.try_to_notify()

    assert queued(valkey) == 1
    [message] = valkey.lrange(settings_of_django.HOOKHUB_QUEUE, 0, -1)  # type: ignore[misc]
    assert b"deliveries.drain" in message
    assert b'"eta"' not in message
    assert is_wakeup_message(message)


def test_wake_ups_that_no_worker_receives_do_not_pile_up(notifier: Notifier, valkey: redis.Redis) -> None:
    assert [notifier.try_to_notify() for _ in range(3 * MAX_QUEUED)] == [True] * 3 * MAX_QUEUED

    assert (queued(valkey), waiting(valkey, Work.ANY)) == (MAX_QUEUED, 1)
    valkey.lpop(settings_of_django.HOOKHUB_QUEUE)
    notifier.try_to_notify()
    assert queued(valkey) == MAX_QUEUED


def test_while_a_loop_listens_a_wake_up_waits_for_it_and_wakes_no_other_process(
    notifier: Notifier, valkey: redis.Redis
) -> None:
    valkey.set(listening_key(), 1)

    assert notifier.try_to_notify(Work.EVENTS, Route.LISTENER)
    assert notifier.try_to_notify(Work.EVENTS, Route.LISTENER)

    assert (queued(valkey), waiting(valkey, Work.EVENTS), waiting(valkey, Work.ANY)) == (0, 1, 0)


def test_without_a_listening_loop_a_wake_up_goes_to_an_idle_process_once_in_a_while(
    notifier: Notifier, valkey: redis.Redis
) -> None:
    assert notifier.try_to_notify(Work.EVENTS, Route.LISTENER)
    assert notifier.try_to_notify(Work.EVENTS, Route.LISTENER)
    assert queued(valkey) == 1

    make_older(valkey, Work.EVENTS)

    assert notifier.try_to_notify(Work.EVENTS, Route.LISTENER)
    assert queued(valkey) == 2


def test_a_wake_up_that_a_busy_loop_leaves_lying_goes_to_an_idle_process(
    notifier: Notifier, valkey: redis.Redis
) -> None:
    valkey.set(listening_key(), 1)
    notifier.try_to_notify(Work.EVENTS, Route.LISTENER)
    make_older(valkey, Work.EVENTS)

    notifier.try_to_notify(Work.EVENTS, Route.LISTENER)
    notifier.try_to_notify(Work.EVENTS, Route.LISTENER)

    assert (queued(valkey), waiting(valkey, Work.EVENTS)) == (1, 1)


def make_older(valkey: redis.Redis, work: Work) -> None:
    """Make a waiting wake-up seem to have been sent long ago."""
    sent_at = valkey.lindex(wakeup_key(work), 0)
    assert sent_at is not None
    valkey.lset(wakeup_key(work), 0, int(sent_at) - 60_000)  # type: ignore[arg-type]


def test_an_idle_process_can_be_woken_past_a_listening_loop(notifier: Notifier, valkey: redis.Redis) -> None:
    valkey.set(listening_key(), 1)

    assert notifier.try_to_notify(Work.ANY, Route.PROCESS)

    assert (queued(valkey), waiting(valkey, Work.ANY)) == (1, 0)


def test_the_scheduler_wakes_a_listening_loop_and_an_idle_process(notifier: Notifier, valkey: redis.Redis) -> None:
    valkey.set(listening_key(), 1)

    assert notifier.try_to_notify()

    assert (queued(valkey), waiting(valkey, Work.ANY)) == (1, 1)


def test_a_wake_up_for_any_work_replaces_one_for_events(notifier: Notifier, valkey: redis.Redis) -> None:
    notifier._pending |= {(Work.EVENTS, Route.LISTENER), (Work.ANY, Route.LISTENER)}

    notifier.notify_before_exit()

    assert (waiting(valkey, Work.EVENTS), waiting(valkey, Work.ANY)) == (0, 1)


def test_a_thousand_requests_send_a_few_wake_ups_and_the_last_request_is_not_lost(
    notifier: Notifier, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "MIN_INTERVAL", timedelta(seconds=1))
    sent, send = [], notifier._send
    monkeypatch.setattr(notifier, "_send", lambda *args, **more: (sent.append(args), send(*args, **more)))

    for _ in range(1000):
        notifier.request()
    wait_until(lambda: bool(sent) and not notifier._pending)
    # Requested during the pause after a wake-up; this request must not be lost.
    before = len(sent)
    notifier.request()
    wait_until(lambda: len(sent) == before + 1)

    assert len(sent) <= 4
    assert waiting(valkey, Work.ANY) == 1


def test_the_first_request_after_a_pause_is_sent_by_the_caller_itself(notifier: Notifier, valkey: redis.Redis) -> None:
    assert notifier.try_to_notify()
    valkey.flushdb()
    notifier._next_at = 0

    notifier.request(Work.EVENTS)

    assert notifier._thread is None
    wait_until(lambda: waiting(valkey, Work.EVENTS) == 1)


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
    notifier: Notifier, settings: Settings, request: pytest.FixtureRequest, kind: str
) -> None:
    settings.REDIS_URL = request.getfixturevalue(kind)

    started = time.monotonic()
    for _ in range(1000):
        notifier.request()
    # With a hanging Redis, a thousand attempts would take minutes.
    assert time.monotonic() - started < 30

    wait_until(lambda: notifier._paused_until > 0)


@pytest.mark.parametrize("kind", ["absent", "hanging"])
def test_sending_without_redis_fails_soon_and_is_not_retried_for_a_while(
    notifier: Notifier,
    settings: Settings,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    settings.REDIS_URL = request.getfixturevalue(kind)
    monkeypatch.setattr(wakeup, "BREAKER_COOLDOWN", timedelta(minutes=1))

    started = time.monotonic()
    assert not notifier.try_to_notify()
    assert time.monotonic() - started < 30

    monkeypatch.setattr(notifier, "_send", lambda *_, **__: pytest.fail("tried again"))
    assert [notifier.try_to_notify() for _ in range(100)] == [False] * 100


def test_wake_ups_are_sent_again_once_redis_is_back(
    notifier: Notifier, valkey: redis.Redis, settings: Settings, absent: str, present: str
) -> None:
    settings.REDIS_URL = absent
    assert not notifier.try_to_notify()
    settings.REDIS_URL = present
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

    def fail_once(*args: object, **more: object) -> None:
        if not failed.is_set():
            failed.set()
            raise error
        send(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(notifier, "_send", fail_once)
    notifier.request()
    wait_until(failed.is_set)
    wait_until(lambda: notifier._link is None)
    notifier._paused_until = 0

    def is_sent() -> bool:
        notifier._paused_until = 0
        return queued(valkey) == 1

    notifier.request()
    wait_until(is_sent)


def test_a_key_of_another_type_under_the_queues_name_is_renamed_and_the_wake_up_sent(
    notifier: Notifier, valkey: redis.Redis
) -> None:
    valkey.set(settings_of_django.HOOKHUB_QUEUE, "rubbish")

    assert notifier.try_to_notify()

    assert queued(valkey) == 1
    [aside] = valkey.keys("*:wrong-type:*")
    assert valkey.get(aside) == b"rubbish"


def test_a_pending_request_is_sent_before_the_process_exits(notifier: Notifier, valkey: redis.Redis) -> None:
    notifier.notify_before_exit()
    assert queued(valkey) == 0

    notifier._pending.add((Work.ANY, Route.LISTENER))
    notifier.notify_before_exit()
    assert queued(valkey) == 1


def test_the_module_uses_this_processs_notifier(
    valkey: redis.Redis, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "_notifier", notifier)

    assert wakeup.notify_now()
    assert queued(valkey) == 1
    wakeup.notify(Work.EVENTS)
    wait_until(lambda: waiting(valkey, Work.EVENTS) == 1)
    wakeup.notify_idle_process()
    wait_until(lambda: queued(valkey) == 3)


def test_after_a_fork_the_child_gets_another_notifier(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = Notifier()
    monkeypatch.setattr(wakeup, "_notifier", parents)
    assert wakeup._own_notifier() is parents

    # From the child's point of view: the notifier belongs to another process.
    parents._pid -= 1

    assert wakeup._own_notifier() is not parents
    assert wakeup._notifier.is_ours
