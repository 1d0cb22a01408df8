"""What PostgreSQL says of a session, of a role or of itself, kept apart from what it says of somebody's values."""

from types import TracebackType
from typing import TYPE_CHECKING

import psycopg
from django.db import OperationalError
from django.db.utils import DatabaseErrorWrapper

if TYPE_CHECKING:
    from hookhub.postgresql.base import DatabaseWrapper

# How the SQLSTATEs begin that no value has brought about, so that another connection, or the same later on, may fare
# better, and of which psycopg nevertheless makes something else than an OperationalError, as it does of those that say
# that the server shuts down, is full, or has met a lock, a deadlock or a time limit.
OF_THE_SESSION = (
    # The transaction is read-only, as all are on a server that became a standby or whose provider saves its last disk
    # space; or it was ended for taking too long.
    "25",
    # A plan was kept for longer than the columns it is about.
    "0A000",
    # A prepared statement is not there, or there already: behind a pooler this is another session than it was.
    "26000",
    "42P05",
    # The role may not: another way of providers to have a database written to no more.
    "42501",
)


class ErrorWrapper(DatabaseErrorWrapper):
    """Raises what Django makes of psycopg's errors, and an OperationalError for all that is no value's fault."""

    wrapper: "DatabaseWrapper"

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise it; a connection that it speaks against is not to be used for longer than what is under way."""
        if isinstance(exc_value, psycopg.Error) and (exc_value.sqlstate or "").startswith(OF_THE_SESSION):
            self.wrapper.errors_occurred = self.wrapper.is_to_be_left = True
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)
