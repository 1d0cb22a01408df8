"""The stream's thread in a worker: it reads what is published despite failures, and stops on request."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from pytest_django import Settings
from redis import Redis

from deliveries import pipeline
from deliveries.models import Event
from hookhub.publishing.redis_stream import thread
from hookhub.publishing.redis_stream.bootstep import StreamStep
from hookhub.publishing.redis_stream.consumer import GROUP
from hookhub.publishing.redis_stream.reader import Reader
from hookhub.publishing.redis_stream.thread import StreamThread, name_of_this_process
from testbed.processes import wait_for
from tests.story import Forge

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def valkey(settings: Settings, stream: str) -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL) as client:
        yield client


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamThread]:
    monkeypatch.setattr(thread, "RETRY_DELAY", thread.RETRY_DELAY / 100)
    made = StreamThread()
    yield made
    made.stop()
    assert made._thread is None or not made._thread.is_alive()


@pytest.fixture
def hanging() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@pytest.fixture
def absent(tmp_path: Path) -> str:
    """Return the URL of a socket without a listener."""
    return f"unix://{tmp_path}/nobody.sock?db=0"


def add(valkey: Redis, stream: str, data: object) -> None:
    valkey.xadd(stream, {"event": json.dumps({"type": "push", "data": data})})


def stored() -> list[Any]:
    return [json.loads(bytes(payload)) for payload in Event.objects.order_by("id").values_list("payload", flat=True)]


def test_what_is_published_is_stored_soon_after(forge: Forge, step: StreamThread, valkey: Redis, stream: str) -> None:
    add(valkey, stream, "before it started")
    step.start()
    wait_for(lambda: stored() == ["before it started"], "the events")

    add(valkey, stream, "while it waits")

    wait_for(lambda: stored() == ["before it started", "while it waits"], "the events")
    wait_for(lambda: valkey.xlen(stream) == 0, "the events")


def test_it_stops_at_once_and_leaves_the_group(forge: Forge, step: StreamThread, valkey: Redis, stream: str) -> None:
    step.start()
    add(valkey, stream, 1)
    wait_for(lambda: stored() == [1], "the events")
    assert len(valkey.xinfo_consumers(stream, GROUP)) == 1  # type: ignore[arg-type]

    step.stop()

    assert step._thread is not None
    assert not step._thread.is_alive()
    assert valkey.xinfo_consumers(stream, GROUP) == []


def test_a_stream_that_vanishes_while_it_waits_is_made_again(
    forge: Forge, step: StreamThread, valkey: Redis, stream: str
) -> None:
    step.start()
    wait_for(lambda: valkey.exists(stream), "the events")

    # Has the same effect here as FLUSHALL, which would affect tests running at the same time.
    valkey.delete(stream)
    add(valkey, stream, "after")

    wait_for(lambda: stored() == ["after"], "the events")


@pytest.mark.parametrize("kind", ["absent", "hanging"])
def test_without_redis_it_says_so_once_and_stops_all_the_same(
    forge: Forge, settings: Settings, step: StreamThread, stream: str, request: pytest.FixtureRequest, kind: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    settings.REDIS_URL = request.getfixturevalue(kind)
    monkeypatch.setattr("hookhub.publishing.redis_stream.consumer.SOCKET_TIMEOUT", thread.BLOCK / 10)
    tried = threading.Semaphore(0)
    take = Reader.take

    def counted(*args: Any, **more: Any) -> int:
        tried.release()
        return take(*args, **more)

    monkeypatch.setattr(Reader, "take", counted)
    step.start()
    for _ in range(4):
        assert tried.acquire(timeout=60)

    step.stop()

    assert step._thread is not None
    assert not step._thread.is_alive()
    told = [record for record in caplog.records if record.name == "hookhub.stream"]
    assert [record.levelno for record in told] == [logging.WARNING]
    assert "Cannot read the stream from Redis" in told[0].message


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationalError("away"), "Cannot store the stream's entries in the database (OperationalError): away"),
        (RuntimeError("a bug"), "Reading the stream failed (RuntimeError('a bug'))"),
    ],
    ids=["database", "bug"],
)
def test_trouble_is_told_once_and_so_is_its_end_and_nothing_is_lost(
    forge: Forge, step: StreamThread, valkey: Redis, stream: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, error: Exception, told: str,
) -> None:  # fmt: skip
    accept, failures = pipeline.accept, [error] * 5

    def fail_at_first(*args: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return accept(*args, **more)

    monkeypatch.setattr(pipeline, "accept", fail_at_first)
    for number in range(3):
        add(valkey, stream, number)

    step.start()

    wait_for(lambda: stored() == [0, 1, 2], "the events")
    wait_for(lambda: "Reading of the stream resumed" in caplog.text, "the events")
    assert caplog.text.count(told) == 1
    assert failures == []


def test_its_own_connection_may_break(forge: Forge, step: StreamThread, valkey: Redis, stream: str) -> None:
    # Threads of earlier tests may still be connected.
    clients = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    before = set(_run(clients))
    add(valkey, stream, 1)
    step.start()
    wait_for(lambda: stored() == [1], "the events")

    [(own,)] = set(_run(clients)) - before
    assert _run(f"SELECT pg_terminate_backend({own})") == [(True,)]
    add(valkey, stream, 2)

    wait_for(lambda: stored() == [1, 2], "the events")


def _run(sql: str) -> list[Any]:
    with connections["default"].cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def test_it_takes_no_part_when_it_is_switched_off(settings: Settings) -> None:
    settings.HOOKHUB_STREAM = ""
    assert not StreamStep(None).include_if(None)

    settings.HOOKHUB_STREAM = "hookhub:events"
    assert StreamStep(None).include_if(None)


def test_an_address_that_is_not_redis_is_told_and_does_not_keep_the_worker_from_working(
    step: StreamThread, settings: Settings, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL, url = "sentinel://127.0.0.1:1", settings.REDIS_URL

    step.start()
    step.stop()
    settings.REDIS_URL = url

    assert "HOOKHUB_STREAM=off" in caplog.text


def test_the_worker_has_it_among_its_steps() -> None:
    from celery.bootsteps import Blueprint

    from hookhub.service.celery import app

    loaded = {Blueprint().load_step(step)[1] for step in app.steps["worker"]}

    assert StreamStep in loaded


def test_no_two_starts_have_one_name() -> None:
    assert name_of_this_process() != name_of_this_process()
