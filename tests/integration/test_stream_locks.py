"""Entries of the stream that wait for another transaction: the others are stored, and none of them is lost."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import Settings
from redis import Redis

from deliveries.models import Event, Organization, Repository
from hookhub import publish, publish_batch
from hookhub.publishing.redis_stream import dead_letters
from hookhub.publishing.redis_stream.consumer import Consumer, connect
from hookhub.publishing.redis_stream.reader import FIRST_BATCH, PENDING_CHECK_INTERVAL, Reader
from tests.story import Forge

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing but the limit that is tested end a statement's waiting."""
    session = {"lock_timeout": "0", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
    monkeypatch.setitem(connection.settings_dict, "SESSION", {**connection.settings_dict["SESSION"], **session})
    connection.close()


@pytest.fixture
def valkey(settings: Settings) -> Iterator[Redis]:
    with connect(settings.REDIS_URL) as client:
        yield client


class Worker:
    """A reader of the stream, whose clock goes on at each batch by as much as makes it look at pending entries."""

    def __init__(self, client: Redis, stream: str, now: datetime) -> None:
        self._now = now
        self._reader = Reader(Consumer(client, stream=stream, name="first"), clock=lambda: self._now)

    def take(self, *, later: timedelta = PENDING_CHECK_INTERVAL) -> int:
        self._now += later
        return self._reader.take()


@pytest.fixture
def worker(valkey: Redis, stream: str, now: datetime) -> Worker:
    made = Worker(valkey, stream, now)
    made.take()
    return made


def add(valkey: Redis, stream: str, *ids: str, **more: str) -> None:
    for uid in ids:
        valkey.xadd(stream, {"event": json.dumps({"type": "push", "data": uid, "id": uid, **more})})


def counts(valkey: Redis, stream: str) -> tuple[int, int, int]:
    found = dead_letters.count(valkey, stream)
    return found.waiting, found.in_hand, found.refused


def stored() -> list[Any]:
    return [json.loads(bytes(payload)) for payload in Event.objects.order_by("id").values_list("payload", flat=True)]


@contextmanager
def long_transaction(change: Callable[[], object], *, commits: bool = True) -> Iterator[None]:
    """Hold a project's transaction with a change open during the block."""
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            change()
            is_held.set()
            may_end.wait(60)
            transaction.set_rollback(not commits)
        connection.close()

    with ThreadPoolExecutor(1) as project:
        held = project.submit(hold)
        assert is_held.wait(60)
        # Should the block wait for the transaction, it fails by what it then finds.
        watch = threading.Timer(20, may_end.set)
        watch.start()
        try:
            yield
            assert not may_end.is_set()
        finally:
            watch.cancel()
            may_end.set()
            held.result()


@pytest.mark.parametrize("commits", [True, False])
def test_a_key_that_another_transaction_holds_delays_its_own_entry_only(
    forge: Forge, worker: Worker, valkey: Redis, stream: str, commits: bool
) -> None:
    add(valkey, stream, "other 1", "held", "other 2")

    with long_transaction(lambda: publish("push", "held", organization="acme", id="held"), commits=commits):
        assert worker.take() == 3
        assert stored() == ["other 1", "other 2"]
        assert counts(valkey, stream) == (0, 1, 0)
        # What is published meanwhile does not wait either.
        add(valkey, stream, "other 3")
        for _ in range(2):
            worker.take()
        assert stored() == ["other 1", "other 2", "other 3"]

    worker.take()

    assert sorted(stored()) == ["held", "other 1", "other 2", "other 3"]
    assert counts(valkey, stream) == (0, 0, 0)


def test_any_number_of_waiting_entries_keeps_no_other_from_being_read(
    forge: Forge, worker: Worker, valkey: Redis, stream: str
) -> None:
    held = [f"held {number}" for number in range(3 * FIRST_BATCH)]
    events = [{"type": "push", "data": uid, "id": uid} for uid in held]
    add(valkey, stream, *held, "other 1")

    with long_transaction(lambda: publish_batch(events, organization="acme")):
        for _ in range(4):
            worker.take()
        assert stored() == ["other 1"]
        # A check of what is pending takes several batches. After it, and not only in its place, come new entries.
        add(valkey, stream, "other 2")
        for _ in range(6):
            worker.take()
        assert stored() == ["other 1", "other 2"]

    for _ in range(4):
        worker.take()

    assert sorted(stored()) == sorted([*held, "other 1", "other 2"])
    assert counts(valkey, stream) == (0, 0, 0)


def test_an_organization_that_another_transaction_holds_delays_only_what_creates_a_repository(
    forge: Forge, worker: Worker, valkey: Redis, stream: str
) -> None:
    Organization.objects.update(create_repositories=True)
    add(valkey, stream, "other 1")
    add(valkey, stream, "held", repository="gadgets")
    add(valkey, stream, "other 2")

    with long_transaction(lambda: publish("push", 1, organization="acme", repository="things")):
        worker.take()
        assert stored() == ["other 1", "other 2"]

    worker.take()

    assert sorted(map(str, stored())) == ["1", "held", "other 1", "other 2"]
    assert Repository.objects.filter(name="gadgets").exists()
    assert counts(valkey, stream) == (0, 0, 0)
