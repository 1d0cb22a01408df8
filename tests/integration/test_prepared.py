"""Prepared statements and transactions on a real PostgreSQL: what arrives, what fails, and what is left afterwards."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any
from unittest import mock
from uuid import UUID

import psycopg
import pytest
from django.db import DataError, Error, IntegrityError, InternalError, OperationalError, connection, transaction

from deliveries.db import arrays, sql

pytestmark = pytest.mark.django_db(transaction=True)

INSERT = "INSERT INTO pets (id) VALUES (%(id)s)"
FAIL = "SELECT 1 / %(zero)s"
END_OWN_SESSION = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.fixture(autouse=True)
def pets() -> Iterator[None]:
    """Create a table whose constraint is checked at COMMIT."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE pets (id bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    yield
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE pets")


# How a transaction ends: by its block, with its last statement, or with that and not waited for until the block ends.
HOW = {"later": {}, "together": {"commits": True}, "behind": {"commits": True, "is_commit_awaited": False}}
hows = pytest.mark.parametrize("how", HOW.values(), ids=HOW)


@pytest.fixture(params=[3, None], ids=["prepared", "unprepared"])
def threshold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """Use connections that prepare statements, and ones that must not, as behind some poolers."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "prepare_threshold", request.param)
    connection.close()
    found: int | None = request.param
    return found


def round_trips() -> "AbstractContextManager[mock.Mock]":
    """Count how often a connection waits for the server."""
    return mock.patch.object(psycopg.Connection, "wait", autospec=True, side_effect=psycopg.Connection.wait)


def pets_there() -> list[int]:
    return [id_ for (id_,) in sql.run("SELECT id FROM pets ORDER BY id", {})]


def backend() -> int:
    return int(sql.run("SELECT pg_backend_pid()", {})[0][0])


def prepared_statements() -> set[str]:
    return {text for (text,) in sql.run("SELECT statement FROM pg_prepared_statements", {})}


VALUES: dict[str, tuple[str, object]] = {
    "NULL": ("bigint", None),
    "the largest number": ("bigint", 2**63 - 1),
    "the smallest number": ("bigint", -(2**63)),
    "true": ("boolean", True),
    "text": ("text", "ü🎉\\'"),
    "no text": ("text", ""),
    "bytes that are no text": ("bytea", b"\xff\0\xfe"),
    "a UUID": ("uuid", UUID(int=2**128 - 1)),
    "a time": ("timestamptz", datetime(1, 1, 1, tzinfo=UTC)),
    "a span": ("interval", timedelta(days=-400, microseconds=1)),
    "a list": ("text[]", ["a", None]),
}


@pytest.mark.parametrize(("kind", "value"), VALUES.values(), ids=VALUES)
def test_a_value_arrives_unchanged_before_and_after_the_statement_is_prepared(
    kind: str, value: object, threshold: int | None
) -> None:
    statement = f"SELECT %(value)s::{kind}, %(value)s::{kind} IS NULL, NULL::{kind}"

    for _ in range(6):
        assert sql.run(statement, {"value": value}) == [(value, value is None, None)]

    assert len([text for text in prepared_statements() if f"::{kind}" in text]) == (threshold is not None)


def test_one_statement_takes_parameters_of_different_types() -> None:
    for value in [1, None, UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), 2, None] * 5:
        [(text,)] = sql.run("SELECT %(value)s::text", {"value": value})
        assert (text is None) == (value is None)


@pytest.mark.parametrize("value", ["a\0b", 2**63])
def test_a_value_that_postgresql_does_not_have_is_a_data_error(value: object) -> None:
    with pytest.raises(DataError):
        sql.run("SELECT %(value)s::text", {"value": value})
    assert sql.run("SELECT 1", {}) == [(1,)]


def test_rows_are_counted_when_they_are_written() -> None:
    ids = arrays.bigints(range(5))

    assert sql.change("INSERT INTO pets SELECT unnest(%(ids)s::bigint[])", {"ids": ids}) == 5
    assert sql.change("DELETE FROM pets WHERE id = ANY(%(ids)s::bigint[])", {"ids": arrays.bigints([])}) == 0
    assert sql.change("DELETE FROM pets WHERE id > %(id)s RETURNING id", {"id": 2}) == 2
    assert sql.run("SELECT id FROM pets WHERE false", {}) == []


@pytest.mark.parametrize("times", [1, 6])
@hows
def test_a_transaction_of_two_statements_takes_two_round_trips_if_the_last_one_commits(
    how: dict[str, bool], times: int, threshold: int | None
) -> None:
    pets_there()
    for id_ in range(times):
        with round_trips() as waits, sql.transaction():
            sql.run("SELECT count(*) FROM pets", {})
            sql.run(INSERT, {"id": id_}, **how)
        assert waits.call_count == (2 if how == HOW["together"] else 3)

    assert pets_there() == list(range(times))


def test_nothing_is_sent_for_a_transaction_without_statements() -> None:
    backend()
    with mock.patch.object(psycopg.Connection, "wait", side_effect=AssertionError), sql.transaction():
        pass


@pytest.mark.parametrize("times", [1, 6])
@hows
@pytest.mark.parametrize("place", [0, 1])
def test_a_statement_that_fails_aborts_its_transaction(
    place: int, how: dict[str, bool], times: int, threshold: int | None
) -> None:
    before = backend()
    for _ in range(times):
        with pytest.raises(DataError) as failed, sql.transaction():
            if place:
                sql.run(INSERT, {"id": 1})
            sql.run(FAIL, {"zero": 0}, **how)
        assert isinstance(failed.value.__cause__, psycopg.errors.DivisionByZero)

    assert (pets_there(), backend()) == ([], before)


@pytest.mark.parametrize("times", [1, 6])
@hows
def test_a_commit_that_fails_raises(how: dict[str, bool], times: int, threshold: int | None) -> None:
    before = backend()
    sql.run(INSERT, {"id": 1})

    for _ in range(times):
        with pytest.raises(IntegrityError), sql.transaction():
            sql.run("SELECT 1", {})
            sql.run(INSERT, {"id": 1}, **how)

    assert (pets_there(), backend()) == ([1], before)


# A trigger at COMMIT, which is under way for as long as it sleeps.
SLEEP_AT_COMMIT = """
CREATE FUNCTION pg_temp.sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER sleep AFTER INSERT ON pets DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION pg_temp.sleep()
"""


def test_rows_come_before_the_commit_is_done_and_the_block_ends_after_it() -> None:
    with connection.cursor() as cursor:
        cursor.execute(SLEEP_AT_COMMIT)
    before = backend()
    for id_ in range(6):
        with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
            with sql.transaction():
                assert sql.run(f"{INSERT} RETURNING id", {"id": id_}, **HOW["behind"]) == [(id_,)]
                during = other.execute("SELECT count(*) FROM pets").fetchone()
            after = other.execute("SELECT count(*) FROM pets").fetchone()
        assert (during, after) == ((id_,), (id_ + 1,))

    assert backend() == before


@pytest.mark.parametrize("times", [1, 6])
def test_what_fails_while_the_commit_is_under_way_does_not_stop_it(times: int, threshold: int | None) -> None:
    before = backend()
    for id_ in range(times):
        with pytest.raises(LookupError), sql.transaction():
            sql.run(INSERT, {"id": id_}, **HOW["behind"])
            raise LookupError

    assert (pets_there(), backend()) == (list(range(times)), before)


def test_while_the_commit_is_under_way_django_cannot_use_the_connection() -> None:
    with pytest.raises(OperationalError, match="pipeline"), sql.transaction():
        sql.run(INSERT, {"id": 1}, **HOW["behind"])
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    assert pets_there() == [1]


@pytest.mark.parametrize("times", [1, 6])
def test_a_commit_can_be_sent_before_the_end_of_the_block(times: int, threshold: int | None) -> None:
    before = backend()
    for id_ in range(times):
        with round_trips() as waits, pytest.raises(LookupError), sql.transaction():
            sql.run(INSERT, {"id": id_})
            sql.commit_ahead()
            sql.commit_ahead()
            raise LookupError
        assert waits.call_count == 3
        with pytest.raises(RuntimeError, match="committed"), sql.transaction():
            sql.run(INSERT, {"id": id_ + 100})
            sql.commit_ahead()
            sql.run(INSERT, {"id": id_ + 200})

    assert (pets_there(), backend()) == ([*range(times), *range(100, 100 + times)], before)


@pytest.mark.parametrize("times", [1, 6])
def test_a_commit_that_was_sent_ahead_and_fails_raises(times: int, threshold: int | None) -> None:
    before = backend()
    sql.run(INSERT, {"id": 1})
    for _ in range(times):
        with pytest.raises(IntegrityError), sql.transaction():
            sql.run(INSERT, {"id": 1})
            sql.commit_ahead()
        with pytest.raises(InternalError, match="rolled back"), sql.transaction():
            sql.run(INSERT, {"id": 2})
            with suppress(DataError):
                sql.run(FAIL, {"zero": 0})
            sql.commit_ahead()

    assert (pets_there(), backend()) == ([1], before)


def test_nothing_is_committed_ahead_where_there_is_nothing_to_commit() -> None:
    backend()
    with mock.patch.object(psycopg.Connection, "wait", side_effect=AssertionError), sql.transaction():
        sql.commit_ahead()
    sql.commit_ahead()

    with suppress(LookupError), transaction.atomic():
        with sql.transaction():
            sql.run(INSERT, {"id": 1})
            sql.commit_ahead()
        raise LookupError
    assert pets_there() == []


def test_code_between_the_statements_may_decide_against_the_transaction() -> None:
    before = backend()

    with pytest.raises(LookupError), sql.transaction():
        sql.run(INSERT, {"id": 1})
        raise LookupError

    assert (pets_there(), backend()) == ([], before)


def test_an_error_that_is_swallowed_does_not_end_as_a_commit() -> None:
    with pytest.raises(InternalError, match="rolled back"), sql.transaction():
        sql.run(INSERT, {"id": 1})
        with suppress(DataError):
            sql.run(FAIL, {"zero": 0})

    assert pets_there() == []


def test_after_the_commit_a_transaction_takes_no_statement() -> None:
    with pytest.raises(RuntimeError, match="committed"), sql.transaction():
        sql.run(INSERT, {"id": 1}, commits=True)
        sql.run(INSERT, {"id": 2})

    assert pets_there() == [1]


def test_a_transaction_in_another_is_refused() -> None:
    with pytest.raises(RuntimeError, match="inside another"), sql.transaction(), sql.transaction():
        pass

    assert pets_there() == []


@pytest.mark.parametrize("fails", [False, True])
def test_within_an_atomic_block_it_is_a_savepoint_and_the_outer_transaction_decides(*, fails: bool) -> None:
    called: list[list[int]] = []

    with suppress(LookupError), transaction.atomic():
        transaction.on_commit(lambda: called.append(pets_there()))
        with sql.transaction():
            sql.run(INSERT, {"id": 1}, commits=True)
        with suppress(DataError), sql.transaction():
            sql.run(INSERT, {"id": 2})
            sql.run(FAIL, {"zero": 0}, commits=True)
        assert called == []
        if fails:
            raise LookupError

    assert (called, pets_there()) == (([], []) if fails else ([[1]], [1]))


def test_the_first_statement_of_an_atomic_block_begins_its_transaction() -> None:
    pets_there()

    with suppress(LookupError), transaction.atomic():
        with round_trips() as waits:
            sql.run(INSERT, {"id": 1})
        raise LookupError

    assert (waits.call_count, pets_there()) == (1, [])


def end_session() -> None:
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.connection.info.backend_pid])


def statement(text: str, **how: bool) -> Callable[[], object]:
    return lambda: sql.run(text, {}, **how)


ENDS: dict[str, list[Callable[[], object]]] = {
    "before the first statement": [end_session, statement("INSERT INTO pets VALUES (1)")],
    "by the first statement": [statement(END_OWN_SESSION), statement("INSERT INTO pets VALUES (1)")],
    "between": [statement("INSERT INTO pets VALUES (1)"), end_session, statement("SELECT 1", commits=True)],
    "by the last statement": [
        statement("INSERT INTO pets VALUES (1)"),
        statement(END_OWN_SESSION, commits=True),
    ],
    "by the last statement, whose COMMIT is not awaited": [
        statement("INSERT INTO pets VALUES (1)"),
        statement(END_OWN_SESSION, **HOW["behind"]),
    ],
    "before the COMMIT": [statement("INSERT INTO pets VALUES (1)"), end_session],
    "before the rollback": [statement("INSERT INTO pets VALUES (1)"), end_session, statement("SELECT 1 / 0")],
}


@pytest.mark.parametrize("steps", ENDS.values(), ids=ENDS)
def test_a_connection_lost_within_a_transaction_is_an_error_and_is_replaced(
    steps: list[Callable[[], object]], threshold: int | None
) -> None:
    before = backend()

    with pytest.raises(OperationalError), sql.transaction():
        for step in steps:
            step()

    assert pets_there() == []
    assert backend() != before


def test_a_connection_lost_outside_of_transactions_is_an_error() -> None:
    with pytest.raises(OperationalError) as failed:
        sql.run(END_OWN_SESSION, {})

    assert isinstance(failed.value.__cause__, psycopg.errors.AdminShutdown)
    connection.close_if_unusable_or_obsolete()
    assert pets_there() == []


@hows
def test_a_statement_that_takes_too_long_is_cancelled(how: dict[str, bool], threshold: int | None) -> None:
    before = backend()
    for _ in range(5):
        with pytest.raises(OperationalError) as failed, sql.transaction():
            sql.run("SET LOCAL statement_timeout = 1", {})
            sql.run("SELECT pg_sleep(%(seconds)s::bigint)", {"seconds": 60}, **how)
        assert isinstance(failed.value.__cause__, psycopg.errors.QueryCanceled)

    assert (pets_there(), backend()) == ([], before)


def test_a_plan_that_has_outlived_its_columns_is_an_error_of_a_connection_that_is_left() -> None:
    before = backend()
    for _ in range(5):
        sql.run("SELECT * FROM pets", {})
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE pets ADD COLUMN name text")

    with pytest.raises(OperationalError) as failed:
        sql.run("SELECT * FROM pets", {})

    assert isinstance(failed.value.__cause__, psycopg.errors.FeatureNotSupported)
    connection.close_if_unusable_or_obsolete()
    sql.run(INSERT, {"id": 1})
    assert sql.run("SELECT * FROM pets", {}) == [(1, None)]
    assert backend() != before


def test_a_session_that_has_lost_its_prepared_statements_is_left() -> None:
    for _ in range(5):
        pets_there()
    with connection.cursor() as cursor:
        cursor.execute("DISCARD ALL")

    with pytest.raises(OperationalError) as failed:
        pets_there()

    assert isinstance(failed.value.__cause__, psycopg.errors.InvalidSqlStatementName)
    connection.close_if_unusable_or_obsolete()
    assert pets_there() == []


def test_a_statement_that_cannot_be_prepared_fails_each_time_in_the_same_way() -> None:
    for _ in range(6):
        with pytest.raises(Error) as failed:
            sql.run("SELECT nothing FROM pets", {})
        assert isinstance(failed.value.__cause__, psycopg.errors.UndefinedColumn)
    assert pets_there() == []


def test_a_copy_is_refused_and_its_connection_replaced() -> None:
    with pytest.raises(Error):
        sql.run("COPY pets TO STDOUT", {})
    connection.close_if_unusable_or_obsolete()

    assert pets_there() == []


class Interrupted(Exception):
    """As raised by a signal handler."""


@contextmanager
def interrupted_soon() -> Iterator[None]:
    """Let a signal handler raise Interrupted after a moment; then end the session, which goes on with its statement."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    end, dsn = "SELECT pg_terminate_backend(%s, 10000)", connection.connection.info.dsn
    session = connection.connection.info.backend_pid
    handler = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        with psycopg.connect(dsn, autocommit=True) as other:
            other.execute(end, [session])


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_statement_that_is_interrupted_by_a_signal_leaves_no_result_to_the_next(*, in_transaction: bool) -> None:
    before = backend()
    with (
        interrupted_soon(),
        pytest.raises(Interrupted),
        sql.transaction() if in_transaction else nullcontext(),
    ):
        sql.run("SELECT pg_sleep(60), 7", {})
    # As a worker does after any failure.
    connection.close()

    assert pets_there() == []
    assert backend() != before


@hows
def test_a_commit_that_is_interrupted_by_a_signal_leaves_no_result_to_the_next(how: dict[str, bool]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SLEEP_AT_COMMIT)
    before = backend()

    # The exception, which refers to all frames that it came through, is kept.
    with interrupted_soon(), pytest.raises(Interrupted) as failed, sql.transaction():
        sql.run(INSERT, {"id": 1}, **how)

    assert backend() != before
    assert failed.value is not None


def test_a_connection_lost_while_the_commit_is_under_way_is_an_error_and_is_replaced() -> None:
    with connection.cursor() as cursor:
        cursor.execute(SLEEP_AT_COMMIT)
    before = backend()

    with pytest.raises(OperationalError), sql.transaction():
        sql.run(INSERT, {"id": 1}, **HOW["behind"])
        end_session()

    assert backend() != before
    assert pets_there() == []


def test_notices_and_notifications_arrive() -> None:
    said: list[Any] = []
    sql.run("LISTEN pets", {})
    connection.connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
    connection.connection.add_notify_handler(lambda notification: said.append(notification.payload))

    with sql.transaction():
        sql.run("DO $$ BEGIN RAISE NOTICE 'woof'; END $$", {})
        sql.run("NOTIFY pets, 'meow'", {}, commits=True)
    pets_there()

    assert said == ["woof", "meow"]
