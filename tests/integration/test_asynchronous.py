"""The connection that an event loop waits on: what arrives, what fails, and what is left afterwards."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import psycopg
import pytest
from django.db import DataError, IntegrityError, InterfaceError, InternalError, OperationalError, connection

from deliveries.db import arrays, sql
from hookhub.postgresql.asynchronous import AsyncConnection

pytestmark = pytest.mark.django_db(transaction=True)

INSERT = "INSERT INTO pets (id) VALUES (%(id)s)"

Story = Callable[[AsyncConnection], Awaitable[object]]


@pytest.fixture(autouse=True)
def dsn() -> Iterator[str]:
    """Create a table whose constraint is checked at COMMIT, and yield the database's address."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE pets (id bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    yield connection.connection.info.dsn
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE pets")


@pytest.fixture(params=[3, None], ids=["prepared", "unprepared"], autouse=True)
def threshold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use connections that prepare statements, and ones that must not, as behind some poolers."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "prepare_threshold", request.param)


def pets_there() -> list[int]:
    return [id_ for (id_,) in sql.run("SELECT id FROM pets ORDER BY id", {})]


def tell(story: Story) -> None:
    """Run a story with a connection, on an event loop of its own."""

    async def run() -> None:
        link = AsyncConnection()
        await link.ready()
        try:
            await story(link)
        finally:
            await link.close()

    asyncio.run(run())


async def backend(link: AsyncConnection) -> int:
    [(pid,)] = await link.run("SELECT pg_backend_pid()", {})
    return int(pid)


def end(dsn: str, pid: int) -> None:
    """Terminate a session from the server's side, and wait until it has ended."""
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


def test_rows_and_counts_arrive_before_and_after_the_statement_is_prepared() -> None:
    async def story(link: AsyncConnection) -> None:
        for number in range(6):
            assert await link.change(INSERT, {"id": number}) == 1
            assert await link.run("SELECT %(a)s::text, NULL, %(b)s::bytea[]", {"a": "ü", "b": arrays.byteas([])}) == [
                ("ü", None, [])
            ]
        assert await link.run("DELETE FROM pets WHERE false", {}) == []

    tell(story)

    assert pets_there() == [0, 1, 2, 3, 4, 5]


def test_more_than_the_socket_takes_at_once_arrives_unchanged() -> None:
    content = b"\xff\0" * 10_000_000

    async def story(link: AsyncConnection) -> None:
        for _ in range(2):
            [(arrived,)] = await link.run("SELECT %(all)s::bytea[]", {"all": arrays.byteas([content])})
            assert arrived == [content]

    tell(story)


def test_a_transaction_is_stored_as_a_whole_or_not_at_all() -> None:
    async def story(link: AsyncConnection) -> None:
        before = await backend(link)
        for number in range(5):
            async with link.transaction():
                await link.change(INSERT, {"id": number})
                await link.change(INSERT, {"id": 10 + number})
            with pytest.raises(LookupError):
                async with link.transaction():
                    await link.change(INSERT, {"id": 100})
                    raise LookupError
            with pytest.raises(DataError) as failed:
                async with link.transaction():
                    await link.change(INSERT, {"id": 100})
                    await link.run("SELECT 1 / %(zero)s", {"zero": 0})
            assert isinstance(failed.value.__cause__, psycopg.errors.DivisionByZero)
        async with link.transaction():
            pass
        assert await backend(link) == before

    tell(story)

    assert pets_there() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


def test_a_commit_that_fails_raises() -> None:
    async def story(link: AsyncConnection) -> None:
        await link.change(INSERT, {"id": 1})
        with pytest.raises(IntegrityError):
            async with link.transaction():
                await link.change(INSERT, {"id": 1})
        with pytest.raises(InternalError, match="rolled back"):
            async with link.transaction():
                await link.change(INSERT, {"id": 2})
                with pytest.raises(DataError):
                    await link.run("SELECT 1 / 0", {})
        assert link.is_open

    tell(story)

    assert pets_there() == [1]


@pytest.mark.parametrize("place", ["before", "within", "at the end"])
def test_a_connection_lost_in_a_transaction_is_an_error_and_is_replaced(dsn: str, place: str) -> None:
    async def story(link: AsyncConnection) -> None:
        before = await backend(link)

        with pytest.raises(OperationalError):
            async with link.transaction():
                if place == "before":
                    end(dsn, before)
                await link.change(INSERT, {"id": 1})
                if place == "within":
                    await link.run("SELECT pg_terminate_backend(pg_backend_pid())", {})
                end(dsn, before)
        assert not link.is_open

        await link.ready()
        assert link.is_open
        assert await backend(link) != before

    tell(story)

    assert pets_there() == []


def test_a_session_that_the_server_ends_meanwhile_is_replaced(dsn: str) -> None:
    async def story(link: AsyncConnection) -> None:
        seen: list[int] = []
        for _ in range(3):
            await link.ready()
            seen.append(await backend(link))
            await asyncio.to_thread(end, dsn, seen[-1])
            # Until the loop has looked at the socket, and knows that it must not look again.
            await asyncio.sleep(0)
        assert len(set(seen)) == 3

    tell(story)


def test_a_statement_that_is_cancelled_leaves_no_result_to_the_next() -> None:
    async def story(link: AsyncConnection) -> None:
        before = await backend(link)
        waiting = asyncio.ensure_future(link.run("SELECT pg_sleep(60), 7", {}))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not link.is_open

        await link.ready()
        assert await link.run("SELECT 1", {}) == [(1,)]
        assert await backend(link) != before

    tell(story)


def test_a_statement_that_takes_too_long_is_cancelled() -> None:
    async def story(link: AsyncConnection) -> None:
        for _ in range(5):
            with pytest.raises(OperationalError) as failed:
                async with link.transaction():
                    await link.run("SET LOCAL statement_timeout = 1", {})
                    await link.run("SELECT pg_sleep(60)", {})
            assert isinstance(failed.value.__cause__, psycopg.errors.QueryCanceled)
            assert link.is_open

    tell(story)


def test_without_a_connection_a_statement_is_an_error() -> None:
    async def story(link: AsyncConnection) -> None:
        await link.close()
        with pytest.raises(InterfaceError):
            await link.run("SELECT 1", {})
        assert not link.is_open

    tell(story)
