"""A connection to Django's database for an event loop, which runs statements without a thread that waits for them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import psycopg
from django.db import InterfaceError, InternalError, connection
from psycopg.abc import PQGen
from psycopg.pq.abc import PGresult
from psycopg.waiting import Ready, Wait

from deliveries.db.prepared import BEGIN, COMMIT, ROLLBACK, Bound, Row, Session
from hookhub.postgresql import pooler
from hookhub.postgresql.base import is_quiet

# Django's own, for its cursors.
FOR_DJANGO = frozenset({"context", "cursor_factory"})
NOTHING_ELSE: Mapping[str, str] = MappingProxyType({})


class AsyncConnection:
    """A connection with the parameters and the session of Django's, opened when it is needed.

    It executes one statement at a time. Raises the errors of ``django.db``. After one of the server or the session the
    next statement gets a new connection.
    """

    def __init__(self, *, session: Mapping[str, str] = NOTHING_ELSE) -> None:
        """``session`` are parameters of PostgreSQL that it has instead of those of Django's."""
        self._watched: WatchedConnection | None = None
        self._is_in_transaction = False
        self._session = session

    async def ready(self) -> None:
        """Connect, unless there is a connection that the server has not closed."""
        if self._watched is not None and not is_quiet(self._watched.connection):
            await self.close()
        if self._watched is None:
            parameters = {k: v for k, v in connection.get_connection_params().items() if k not in FOR_DJANGO}
            session = {**connection.settings_dict.get("SESSION", {}), **self._session}
            settings = {**connection.settings_dict, "SESSION": session}
            with connection.wrap_database_errors:
                made = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
                begun = await made.execute(pooler.BEGIN_SESSION, pooler.parameters_of(made, settings), prepare=False)
                is_pooled, _ = await begun.fetchone() or (False, 0)
                is_to_prepare = made.prepare_threshold is not None
                if is_pooled and is_to_prepare and not await made.wait(pooler.keeps_prepared(made.pgconn)):
                    made.prepare_threshold = None
            self._watched = WatchedConnection(made, session if is_pooled else None)

    async def close(self) -> None:
        """Close the connection."""
        made, self._watched = self._watched, None
        if made is not None:
            await made.close()

    async def change(self, statement: str, parameters: Mapping[str, object]) -> int:
        """Run one statement with server-side parameters and return the number of rows it wrote."""
        return (await self._execute(statement, parameters)).command_tuples or 0

    async def run(self, statement: str, parameters: Mapping[str, object]) -> list[Row]:
        """Run one statement with server-side parameters and return its rows."""
        result = await self._execute(statement, parameters)
        return self._ready_connection().session.rows_of(result)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Return a context in which statements are one transaction; ``ready`` must have been awaited.

        BEGIN is sent together with the first statement.
        """
        watched = self._ready_connection()
        self._is_in_transaction = True
        try:
            yield
        except BaseException:
            if watched.session.is_in_transaction:
                await self._roll_back(watched)
            raise
        finally:
            self._is_in_transaction = False
        if watched.session.is_in_transaction:
            with connection.wrap_database_errors:
                [done] = await watched.execute([COMMIT])
            if done.command_status != b"COMMIT":
                raise InternalError("a statement has failed, so the transaction was rolled back instead of committed")

    async def _roll_back(self, watched: "WatchedConnection") -> None:
        try:
            await watched.execute([ROLLBACK])
        except psycopg.Error:
            # The server rolls back when it notices that the connection is lost.
            await self.close()

    async def _execute(self, statement: str, parameters: Mapping[str, object]) -> PGresult:
        watched = self._ready_connection()
        with connection.wrap_database_errors:
            bound = watched.session.bind(statement, parameters)
            begins = self._is_in_transaction and not watched.session.is_in_transaction
            results = await watched.execute([BEGIN, bound] if begins else [bound])
        return results[-1]

    def _ready_connection(self) -> "WatchedConnection":
        if self._watched is None:
            raise InterfaceError("not connected")
        return self._watched

    @property
    def is_open(self) -> bool:
        """Whether the connection still stands, so that an error was reported by the server."""
        return self._watched is not None and not self._watched.connection.closed


class WatchedConnection:
    """A connection whose socket the event loop watches, so that it wakes up once for each response.

    psycopg's own waiting registers the socket anew for each statement, together with a timer.
    """

    def __init__(self, made: "psycopg.AsyncConnection[Any]", parameters: Mapping[str, str] | None) -> None:
        self.connection = made
        self.session = Session(made, parameters=parameters)
        self._loop = asyncio.get_running_loop()
        self._fileno = made.fileno()
        self._is_reading = self._is_writing = False
        # Of the statements that are being executed.
        self._exchange: PQGen[list[PGresult]] | None = None
        self._done: asyncio.Future[list[PGresult]] = self._loop.create_future()

    async def execute(self, statements: Sequence[Bound]) -> list[PGresult]:
        """Execute statements in one round trip and return their results; if cancelled, close the connection."""
        if self.connection.closed:
            raise psycopg.OperationalError("the connection is closed")
        if not self._is_reading:
            self._loop.add_reader(self._fileno, self._advance, Ready.R)
            self._is_reading = True
        self._exchange = self.session.execute(statements)
        self._done = self._loop.create_future()
        self._advance(None)
        try:
            return await self._done
        finally:
            if self._exchange is not None:
                self._stop_watching()
                self._exchange.close()
                self._exchange = None

    def _advance(self, ready: Ready | None) -> None:
        """Continue the exchange now that the socket is ready, until it has to wait again or has ended."""
        if self._exchange is None:
            # Unasked: most likely the server has closed the connection, which is for ``AsyncConnection.ready`` to see.
            self._stop_watching()
            return
        try:
            awaited = self._exchange.send(ready)  # type: ignore[arg-type] # None starts it
        except StopIteration as ended:
            self._exchange = None
            self._done.set_result(ended.value)
        except Exception as error:  # noqa: BLE001 - it is raised where the statement was executed
            self._exchange = None
            self._done.set_exception(error)
        else:
            self._watch_writing(is_awaited=bool(awaited & Wait.W))
            return
        self._watch_writing(is_awaited=False)
        if self.connection.closed:
            self._stop_watching()

    def _watch_writing(self, *, is_awaited: bool) -> None:
        if is_awaited and not self._is_writing:
            self._loop.add_writer(self._fileno, self._advance, Ready.W)
        elif self._is_writing and not is_awaited:
            self._loop.remove_writer(self._fileno)
        self._is_writing = is_awaited

    def _stop_watching(self) -> None:
        """Forget the socket, before another one gets its number."""
        self._watch_writing(is_awaited=False)
        if self._is_reading:
            self._loop.remove_reader(self._fileno)
            self._is_reading = False

    async def close(self) -> None:
        """Close the connection."""
        self._stop_watching()
        await self.connection.close()
