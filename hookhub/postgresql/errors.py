"""Separates errors of the session, the role or the server from errors caused by the data."""

from types import TracebackType
from typing import Protocol

import psycopg
from django.db import OperationalError
from django.db.utils import DatabaseErrorWrapper

# SQLSTATE prefixes caused by the session or the server, not by the data, so that a retry on another connection, or
# later, may succeed. psycopg does not map these to OperationalError, as it does a server that shuts down or is full,
# locks, deadlocks and timeouts.
OF_THE_SESSION = (
    # The transaction is read-only, as on a standby or where the provider blocks writes to save disk space; or it was
    # ended for taking too long.
    "25",
    # A cached plan has outlived a change of its columns.
    "0A000",
    # A prepared statement is missing or already exists: behind a pooler this is a different session.
    "26000",
    "42P05",
    # The role lacks the privilege: another way in which providers block writes.
    "42501",
)


class Markable(Protocol):
    """What a session error marks on its connection."""

    errors_occurred: bool
    is_to_be_left: bool


class ErrorWrapper(DatabaseErrorWrapper):
    """Raises Django's exception for an error of psycopg, and OperationalError for every session error."""

    wrapper: Markable

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise the error; after a session error mark the connection so that it is not reused."""
        if isinstance(exc_value, psycopg.Error) and (exc_value.sqlstate or "").startswith(OF_THE_SESSION):
            self.wrapper.errors_occurred = self.wrapper.is_to_be_left = True
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)
