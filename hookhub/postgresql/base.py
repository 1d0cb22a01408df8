"""Django's connection to PostgreSQL, cheaper to keep and closed in time: when nobody needs it, or it does not serve."""

import os
import select
import threading
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.utils.functional import cached_property

from hookhub.postgresql.errors import ErrorWrapper


class DatabaseWrapper(base.DatabaseWrapper):
    """Looks at the socket before each request, where Django asks the server a question; ends with its thread."""

    # Django's own, of which its stubs do not know.
    health_check_enabled: bool
    health_check_done: bool
    errors_occurred: bool

    # Whether the server answers here and yet will not do what it is there for.
    is_to_be_left = False

    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        """Tell errors that are no value's fault from those that are."""
        return ErrorWrapper(self)

    def is_usable(self) -> bool:
        """Tell whether the server answers and does what it is asked."""
        return not self.is_to_be_left and bool(super().is_usable())

    def get_new_connection(self, conn_params: dict[str, Any]) -> "psycopg.Connection[Any]":
        """Connect, until the thread ends at the latest."""
        connection: psycopg.Connection[Any] = super().get_new_connection(conn_params)
        self.is_to_be_left = False
        _of_this_thread.closers[id(self)] = Closer(connection)
        return connection

    def init_connection_state(self) -> None:
        """Set the session's parameters, which ``SESSION`` in the settings of the database names."""
        super().init_connection_state()
        session: dict[str, str] = self.settings_dict.get("SESSION", {})
        self.connection.execute(SET_PARAMETERS, [list(session), list(session.values())], prepare=False)

    def close_if_health_check_failed(self) -> None:
        """Leave a connection that the server has left.

        A server that ends a connection says so or hangs up, and either is something to read where between two requests
        there should be nothing; only then is it asked. A network that went away in silence is noticed by neither: the
        question would wait for its answer for as long as the statement after it.
        """
        is_to_be_checked = self.health_check_enabled and not self.health_check_done
        if is_to_be_checked and self.connection is not None and is_quiet(self.connection):
            self.health_check_done = True
        super().close_if_health_check_failed()


SET_PARAMETERS = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS parameter (name, value)"


class Closer:
    """Closes a connection when the last one who holds this lets go of it: the thread that made the connection.

    The web server ends threads that have been idle for a while. Their connections are part of cycles, and would stay
    open until the garbage collector comes round to them, which in an idle process is never.
    """

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection
        self._pid = os.getpid()

    def __del__(self) -> None:
        """Close it, unless it is only a fork's copy: closing that would end the parent's."""
        if self._pid == os.getpid():
            self._connection.close()


class _Closers(threading.local):
    """Those of one thread, by the wrapper they belong to."""

    def __init__(self) -> None:
        self.closers: dict[int, Closer] = {}


_of_this_thread = _Closers()


def is_quiet(connection: "psycopg.Connection[Any]") -> bool:
    """Tell whether a connection is open, and nothing has come through it that nobody asked for."""
    if connection.closed:
        return False
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN)
    return not look.poll(0)
