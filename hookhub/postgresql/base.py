"""Django's PostgreSQL connection with a cheaper health check, closed when its thread ends or its session fails."""

import os
import select
import threading
from collections.abc import Mapping
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.utils.functional import cached_property

from deliveries.db.prepared import SET_IN_TRANSACTION
from hookhub.postgresql import pooler
from hookhub.postgresql.errors import ErrorWrapper


class DatabaseWrapper(base.DatabaseWrapper):
    """Checks the socket before each request instead of querying the server; closes the connection with its thread."""

    # Django's attributes, missing from its stubs.
    health_check_enabled: bool
    health_check_done: bool
    errors_occurred: bool

    # Whether the session answers but is unusable, for example because it is read-only.
    is_to_be_left = False
    # Whether a pooler may give each transaction another session. Then these parameters are set in each transaction.
    is_pooled = False
    transaction_parameters: Mapping[str, str] | None = None

    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        """Return the wrapper that separates session errors from data errors."""
        return ErrorWrapper(self)

    def is_usable(self) -> bool:
        """Return whether the server answers and the session can be used."""
        return not self.is_to_be_left and bool(super().is_usable())

    def get_new_connection(self, conn_params: dict[str, Any]) -> "psycopg.Connection[Any]":
        """Return a new connection, which is closed when its thread ends at the latest."""
        connection: psycopg.Connection[Any] = super().get_new_connection(conn_params)
        self.is_to_be_left = False
        _of_this_thread.closers[id(self)] = Closer(connection)
        return connection

    def init_connection_state(self) -> None:
        """Set the session parameters listed under ``SESSION`` in the database's settings, and look for a pooler."""
        super().init_connection_state()
        made: psycopg.Connection[Any] = self.connection
        statement, parameters = pooler.BEGIN_SESSION, pooler.parameters_of(made, self.settings_dict)
        self.is_pooled, _ = made.execute(statement, parameters, prepare=False).fetchone() or (False, 0)
        self.transaction_parameters = self.settings_dict.get("SESSION") if self.is_pooled else None
        is_to_prepare = made.prepare_threshold is not None
        if self.is_pooled and is_to_prepare and not made.wait(pooler.keeps_prepared(made.pgconn)):
            made.prepare_threshold = None

    def _set_autocommit(self, autocommit: bool) -> None:  # noqa: FBT001 - Django's signature
        """Switch autocommit; behind a pooler, begin a transaction with the parameters of the session."""
        super()._set_autocommit(autocommit)  # type: ignore[misc] # missing in its stubs
        if not autocommit and self.transaction_parameters:
            names, values = list(self.transaction_parameters), list(self.transaction_parameters.values())
            with self.wrap_database_errors:
                self.connection.execute(SET_IN_TRANSACTION, {"names": names, "values": values}, prepare=False)

    def chunked_cursor(self) -> Any:
        """Return a cursor of the server; behind a pooler, outside a transaction, one that reads all rows at once."""
        self.ensure_connection()
        return self.cursor() if self.is_pooled and not self.in_atomic_block else super().chunked_cursor()

    def close_if_health_check_failed(self) -> None:
        """Close the connection if the server has closed it.

        A server that ends a connection sends a message or closes the socket. Either makes the socket readable, which it
        should not be between two requests; only then is the server queried. A network that went away silently is
        detected neither this way nor by a query, which would block for as long as the statement after it.
        """
        is_to_be_checked = self.health_check_enabled and not self.health_check_done
        if is_to_be_checked and self.connection is not None and is_quiet(self.connection):
            self.health_check_done = True
        super().close_if_health_check_failed()


class Closer:
    """Closes its connection when it is garbage-collected, which is when the thread that opened the connection ends.

    The web server ends threads that have been idle for a while. Their connections are part of reference cycles and
    would stay open until the garbage collector runs, which in an idle process is never.
    """

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection
        self._pid = os.getpid()

    def __del__(self) -> None:
        """Close the connection, unless this is a forked child's copy: closing that would end the parent's."""
        if self._pid == os.getpid():
            self._connection.close()


class _Closers(threading.local):
    """The closers of one thread, by the ``id()`` of their ``DatabaseWrapper``."""

    def __init__(self) -> None:
        self.closers: dict[int, Closer] = {}


_of_this_thread = _Closers()


def is_quiet(connection: "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]") -> bool:
    """Return whether the connection is open and has no unread data."""
    if connection.closed:
        return False
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN)
    return not look.poll(0)
