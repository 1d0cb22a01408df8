"""A connection to Django's database for an event loop, which runs statements without a thread that waits for them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from django.db import InterfaceError, connection

from hookhub.postgresql.base import SET_PARAMETERS, is_quiet

# Django's own, for its cursors.
FOR_DJANGO = frozenset({"context", "cursor_factory"})


class AsyncConnection:
    """A connection with the parameters and the session of Django's, opened when it is needed.

    Raises the errors of ``django.db``. After one of the server or the session the next statement gets a new connection.
    """

    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def ready(self) -> None:
        """Connect, unless there is a connection that the server has not closed."""
        if self._connection is not None and not is_quiet(self._connection):
            await self.close()
        if self._connection is None:
            parameters = {k: v for k, v in connection.get_connection_params().items() if k not in FOR_DJANGO}
            session: dict[str, str] = connection.settings_dict.get("SESSION", {})
            with connection.wrap_database_errors:
                made = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
                await made.execute(SET_PARAMETERS, [list(session), list(session.values())], prepare=False)
            self._connection = made

    async def close(self) -> None:
        """Close the connection."""
        made, self._connection = self._connection, None
        if made is not None:
            await made.close()

    async def change(self, statement: str, parameters: Mapping[str, object]) -> int:
        """Run one statement with server-side parameters and return the number of rows it wrote."""
        return (await self._execute(statement, parameters)).rowcount

    async def run(self, statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Run one statement with server-side parameters and return its rows."""
        cursor = await self._execute(statement, parameters)
        return await cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Return a context in which statements are one transaction; ``ready`` must have been awaited."""
        # Around BEGIN and COMMIT too, whose errors would otherwise be psycopg's.
        with connection.wrap_database_errors:
            async with self._ready_connection().transaction():
                yield

    async def _execute(self, statement: str, parameters: Mapping[str, object]) -> psycopg.AsyncCursor[Any]:
        with connection.wrap_database_errors:
            return await psycopg.AsyncCursor(self._ready_connection()).execute(statement, parameters)

    def _ready_connection(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None:
            raise InterfaceError("not connected")
        return self._connection

    @property
    def is_open(self) -> bool:
        """Whether the connection still stands, so that an error was reported by the server."""
        return self._connection is not None and not self._connection.closed
