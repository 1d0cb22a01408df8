"""The settler: which results it keeps, and which it loses, when the database rejects them or goes away."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import pytest
from django.db import DataError, OperationalError

from deliveries import pipeline
from deliveries.pipeline.attempting import AttemptResult
from deliveries.pipeline.settling import Settled
from deliveries.worker.outage import Outage
from deliveries.worker.results import ResultBuffer
from deliveries.worker.settler import Settler
from tests.unit.made_up import NOW, a_reply, a_result

FIRST, BAD, LOCKED, LAST = (
    a_result(a_reply(200), delivery_id=UUID(f"019cb8b8-1e00-7000-8000-00000000000{n}")) for n in range(1, 5)
)


class Clock:
    def __call__(self) -> datetime:
        return NOW

    def resync(self) -> None:
        pass


class Database:
    """Rejects any batch with BAD, defers LOCKED, and is unavailable for the calls numbered in ``unavailable_at``."""

    def __init__(self) -> None:
        self.calls = 0
        self.unavailable_at: set[int] = set()
        self.settled: list[AttemptResult] = []
        self.repeats: list[bool] = []

    def settle(self, results: Sequence[AttemptResult], *, is_repeated: bool, now: datetime) -> Settled:
        self.calls += 1
        self.repeats.append(is_repeated)
        if self.calls in self.unavailable_at:
            raise OperationalError("away")
        if BAD in results:
            raise DataError("rejected")
        self.settled += [result for result in results if result is not LOCKED]
        return Settled(set(), [result for result in results if result is LOCKED])


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database()
    monkeypatch.setattr(pipeline, "settle", database.settle)
    return database


def settler_of(*results: AttemptResult) -> tuple[Settler, ResultBuffer]:
    buffer = ResultBuffer()
    for result in results:
        buffer.add(result, now=0)
    return Settler(buffer, clock=Clock(), outage=Outage()), buffer


def test_a_batch_is_settled_at_once_and_deferred_results_are_kept(database: Database) -> None:
    settler, buffer = settler_of(FIRST, LOCKED, LAST)

    assert settler.settle()

    assert (database.calls, database.settled, settler.settled) == (1, [FIRST, LAST], 2)
    assert buffer.unsettled == [LOCKED]


def test_of_a_rejected_batch_only_the_bad_result_is_lost(database: Database) -> None:
    settler, buffer = settler_of(FIRST, BAD, LOCKED, LAST)

    assert settler.settle()

    assert (database.calls, database.settled, settler.settled) == (5, [LAST, FIRST], 2)
    assert buffer.unsettled == [LOCKED]


def test_while_the_database_is_unavailable_every_result_is_kept_and_settled_as_a_repetition(
    database: Database,
) -> None:
    settler, buffer = settler_of(FIRST, LAST)
    database.unavailable_at = {1}

    assert not settler.settle()
    assert (buffer.unsettled, settler.settled) == ([FIRST, LAST], 0)
    assert settler.settle()
    buffer.add(FIRST, now=0)
    assert settler.settle()

    assert (buffer.unsettled, settler.settled) == ([], 3)
    assert database.repeats == [False, True, False]


@pytest.mark.parametrize(
    ("call", "unsettled"), [(2, [FIRST, BAD, LOCKED, LAST]), (3, [FIRST, BAD, LOCKED]), (4, [FIRST, BAD, LOCKED])]
)
def test_a_database_that_goes_away_while_results_are_settled_one_by_one_loses_none(
    database: Database, call: int, unsettled: list[AttemptResult]
) -> None:
    settler, buffer = settler_of(FIRST, BAD, LOCKED, LAST)
    database.unavailable_at = {call}

    assert not settler.settle()
    assert buffer.unsettled == unsettled
    assert settler.settle()

    assert buffer.unsettled == [LOCKED]
    assert sorted(result.claim.delivery_id for result in database.settled) == [
        FIRST.claim.delivery_id, LAST.claim.delivery_id,
    ]  # fmt: skip
    assert settler.settled == 2


@pytest.mark.parametrize(("has_failed", "must_abandon"), [(False, False), (True, True)])
def test_results_are_abandoned_only_after_an_outage(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, has_failed: bool, must_abandon: bool
) -> None:
    settler, _ = settler_of(FIRST)
    database.unavailable_at = {1} if has_failed else set()
    now = [100.0]
    monkeypatch.setattr("deliveries.worker.settler.time.monotonic", lambda: now[0])

    settler.settle()
    assert not settler.must_abandon()
    now[0] += 5

    assert settler.must_abandon() is must_abandon
