"""Requests that wait for another transaction: each is tried again until it ends, or its time is over."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from django.db import OperationalError

from deliveries.events import Batch, NewEvent, Receipt
from hookhub.server import lock_waits
from hookhub.server.group_commit import NotStored
from hookhub.server.lock_waits import LockWaits
from hookhub.server.pool import Full

NOW = datetime(2026, 3, 4, tzinfo=UTC)
RECEIPTS = [Receipt(UUID(int=1), "push", NOW, is_repeat=False)]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_waits, "PAUSE_SECONDS", 0.0)


def batch(*keys: str | None) -> Batch:
    return Batch([NewEvent(1, None, "push", ("push",), b"1", NOW, idempotency_key=key) for key in keys])


def locked() -> OperationalError:
    error = OperationalError("canceling statement due to lock timeout")
    error.__cause__ = psycopg.errors.LockNotAvailable()
    return error


class Store:
    """Answers one attempt after the other, and notes for whose keys is waited meanwhile."""

    def __init__(self, *answers: list[Receipt] | Exception | None) -> None:
        self.answers = list(answers)
        self.waiting: list[list[bool]] = []
        self.waits = LockWaits(self, max_waiting=2)

    async def __call__(self, one: Batch) -> list[Receipt] | Exception | None:
        found = [self.waits.waits_for_key_of(each) for each in (batch("a"), batch(None, "b"), batch("c", None))]
        self.waiting.append(found)
        return self.answers.pop(0) if self.answers else locked()


def test_it_is_tried_again_until_it_is_stored_and_its_keys_are_known_until_then() -> None:
    store = Store(locked(), locked(), RECEIPTS)

    assert asyncio.run(store.waits.store(batch("a", None, "b"))) == RECEIPTS

    assert store.waiting == [[True, True, False]] * 3
    assert not store.waits.waits_for_key_of(batch("a"))


@pytest.mark.parametrize(
    ("answer", "error"), [(None, NotStored), (OperationalError("gone"), OperationalError), (KeyError(), KeyError)]
)
def test_it_ends_with_what_else_becomes_of_it(answer: Exception | None, error: type[Exception]) -> None:
    store = Store(locked(), answer)

    with pytest.raises(error):
        asyncio.run(store.waits.store(batch("a")))

    assert len(store.waiting) == 2
    assert not store.waits.waits_for_key_of(batch("a"))


def test_it_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_waits, "WAIT_SECONDS", 0.05)
    store = Store()

    with pytest.raises(OperationalError, match="lock timeout"):
        asyncio.run(store.waits.store(batch("a")))

    assert store.waiting


def test_of_two_with_a_key_the_second_still_waits_for_it_and_no_more_than_the_limit_wait() -> None:
    store = Store()

    async def scenario() -> None:
        first, second = (asyncio.ensure_future(store.waits.store(batch("a"))) for _ in "12")
        while len(store.waiting) < 4:
            await asyncio.sleep(0)
        with pytest.raises(Full):
            await store.waits.store(batch("c"))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert store.waits.waits_for_key_of(batch("a"))
        store.answers = [RECEIPTS]
        assert await second == RECEIPTS
        assert not store.waits.waits_for_key_of(batch("a"))

    asyncio.run(scenario())
