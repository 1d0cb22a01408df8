"""Run SQL: PostgreSQL is the queue, and each step of the pipeline has its statements in its own file.

Rules for every statement of the pipeline: Time is a parameter, never ``now()``, so that tests control it. Rows of a
table are locked in the order of their ids. Rows locked by another worker are skipped wherever that is harmless: a
claim, which holds locks on webhooks, never waits for a delivery, and settling never waits for a webhook. Otherwise one
locked row would block every worker. Each statement touches a bounded number of rows.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, InternalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.transaction import Atomic, atomic
from psycopg.abc import PQGen
from psycopg.errors import LockNotAvailable
from psycopg.pq.abc import PGresult

from deliveries.db import prepared
from deliveries.db.prepared import BEGIN, COMMIT, ROLLBACK, Bound

Row = prepared.Row
Result = TypeVar("Result")
Session = prepared.Session[psycopg.Connection[Any]]

# How many deliveries one statement holds, releases or cancels; the next statement continues with the rest.
BATCH = 5000


def run(
    statement: str, parameters: Mapping[str, object], *, commits: bool = False, is_commit_awaited: bool = True
) -> list[Row]:
    """Run one statement with server-side parameters on Django's connection and return its rows.

    ``commits`` says that it is the last one of a ``transaction``, which is then committed in the same round trip.
    Unless ``is_commit_awaited``, the rows are returned before that is done, and the end of the block waits for it.
    Raises the errors of ``django.db``; OperationalError if the parameters are not the cause.

    Django's own cursors interpolate parameters on the client, which rules out prepared statements and doubles the
    size of every payload.
    """
    session, result = _execute(statement, parameters, commits=commits, is_commit_awaited=is_commit_awaited)
    return session.rows_of(result)


def change(statement: str, parameters: Mapping[str, object]) -> int:
    """Run one statement in the same way and return the number of rows it wrote."""
    return _execute(statement, parameters)[1].command_tuples or 0


def transaction() -> "Transaction":
    """Return a context in which all that ``run`` and ``change`` execute is one transaction.

    BEGIN is sent together with the first statement. COMMIT is sent together with a statement that ``commits``, or at
    the end of the block; an exception rolls back. Inside an ``atomic`` block of Django's it is a savepoint, and
    ``commits`` has no effect. The ORM must not be used in it.
    """
    return Transaction()


def commit_ahead() -> None:
    """Send the COMMIT of the ``transaction`` unless that has happened; the end of the block waits for it."""
    current = _thread.transaction
    if current is not None and not current.is_committed and current.session.is_in_transaction:
        current.commit_ahead()


@contextmanager
def atomic_waiting(most: timedelta) -> Iterator[None]:
    """Return an ``atomic`` block in which no statement waits longer than this for a lock; see ``is_lock_timeout``."""
    with atomic():
        run(LIMIT_LOCK_WAITS, {"most": f"{most.total_seconds()}s"})
        yield


LIMIT_LOCK_WAITS = "SELECT set_config('lock_timeout', %(most)s, true)"


def is_lock_timeout(error: Exception) -> bool:
    """Return whether an error of ``django.db`` says that a statement has waited too long for a lock."""
    return getattr(error.__cause__, "sqlstate", None) == LockNotAvailable.sqlstate


def after_commit(call: Callable[[], object]) -> None:
    """Call this once Django's transaction is committed, or at once if there is none.

    With autocommit off it is never called, because Django does not see the commit. Workers look for work every second.
    """
    wrapper = connections[DEFAULT_DB_ALIAS]
    if wrapper.in_atomic_block or wrapper.get_autocommit():
        wrapper.on_commit(call)


class Transaction:
    """See ``transaction``."""

    def __init__(self) -> None:
        # Whether its COMMIT was sent, and whether the result of that is to come.
        self.is_committed = self.is_committing = False
        self._savepoint: Atomic | None = None

    def __enter__(self) -> None:
        """Take the connection; nothing is sent yet."""
        self._wrapper = connections[DEFAULT_DB_ALIAS]
        if self._wrapper.in_atomic_block:
            self._savepoint = atomic()
            self._savepoint.__enter__()
            return
        if _thread.transaction is not None:
            raise RuntimeError("a transaction cannot be inside another one")
        self.session = _session_of(self._wrapper)
        _thread.transaction = self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back after an exception, if that has not happened yet."""
        if self._savepoint is not None:
            self._savepoint.__exit__(exc_type, exc_value, traceback)
            return
        _thread.transaction = None
        if self.is_committing:
            self._end_commit(self.session.last())
            return
        if not self.session.is_in_transaction:
            return
        if exc_type is None:
            self._end_commit(_sent(self.session, COMMIT))
            return
        try:
            _wait(self.session, _sent(self.session, ROLLBACK))
        except psycopg.Error:
            # The server rolls back when it notices that the connection is lost.
            self._wrapper.close()

    def commit_ahead(self) -> None:
        """Send COMMIT, and leave waiting for its result to the end of the block."""
        with self._wrapper.wrap_database_errors:
            _wait(self.session, self.session.execute([COMMIT], is_last_awaited=False))
        self.is_committed = self.is_committing = True

    def _end_commit(self, commit: PQGen[PGresult]) -> None:
        try:
            with self._wrapper.wrap_database_errors:
                done = _wait(self.session, commit)
        finally:
            if self.session.connection.closed:
                self._wrapper.close()
        if done.command_status != b"COMMIT":
            raise InternalError("a statement has failed, so the transaction was rolled back instead of committed")


def _execute(
    statement: str, parameters: Mapping[str, object], *, commits: bool = False, is_commit_awaited: bool = True
) -> tuple[Session, PGresult]:
    """Execute a statement, with the BEGIN and the COMMIT that it takes with it, and return its result."""
    current = _thread.transaction
    wrapper = connections[DEFAULT_DB_ALIAS]
    with wrapper.wrap_database_errors:
        if current is None:
            session = _session_of(wrapper)
            # In an ``atomic`` block, psycopg would send it before the first statement.
            begins = not session.connection.autocommit and not session.is_in_transaction
        else:
            session = current.session
            if current.is_committed:
                raise RuntimeError("the transaction is committed")
            begins = not session.is_in_transaction
        batch = [session.bind(statement, parameters)]
        if begins:
            # The pipeline's own transactions rely on READ COMMITTED; those of a project are as it wants them.
            batch.insert(0, BEGIN if current is not None else prepared.begin_of(session.connection))
        if commits and current is not None:
            batch.append(COMMIT)
            results = _wait(session, session.execute(batch, is_last_awaited=is_commit_awaited))
            current.is_committed, current.is_committing = True, not is_commit_awaited
        else:
            results = _wait(session, session.execute(batch))
    return session, results[begins]


def _wait(session: Session, steps: PQGen[Result]) -> Result:
    try:
        return session.connection.wait(steps)
    finally:
        # If a signal handler has raised, they still wait for the server, and this closes the connection.
        steps.close()


def _sent(session: Session, command: Bound) -> PQGen[PGresult]:
    [result] = yield from session.execute([command])
    return result


def _session_of(wrapper: BaseDatabaseWrapper) -> Session:
    """Return the session of Django's connection, which is connected if need be."""
    wrapper.close_if_health_check_failed()
    wrapper.ensure_connection()
    if _thread.session is None or _thread.session.connection is not wrapper.connection:
        _thread.session = Session(wrapper.connection, parameters=getattr(wrapper, "transaction_parameters", None))
    return _thread.session


class _ThreadState(threading.local):
    """The session of a thread's connection, and the transaction that it is in."""

    session: Session | None = None
    transaction: Transaction | None = None


_thread = _ThreadState()


# A cached plan lives as long as its connection. A plan made while the tables of a new installation were empty uses
# sequential scans, and keeps them when there are a million rows, until ANALYZE runs. (Disabling hash and merge joins as
# well would cost a sixth of PostgreSQL's time: joins within a batch are faster as hash joins.)
# Before PostgreSQL 18, a sequential scan that cannot be avoided raises a plan's cost above any threshold of the JIT
# compiler, which would then compile a statement of milliseconds for a tenth of a second.
PREFERENCES = {"enable_seqscan": "off", "jit": "off"}
PREFER_INDEXES = "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in PREFERENCES.items())


def prefer_indexes() -> None:
    """Make every connection that this process opens after this call avoid sequential scans."""
    connection_created.connect(_set_preferences, dispatch_uid=__name__)


def _set_preferences(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    parameters = getattr(connection, "transaction_parameters", None)
    if parameters:
        connection.transaction_parameters = {**parameters, **PREFERENCES}  # type: ignore[attr-defined] # HookHub's own
    # Projects with another backend of Django's say by this setting that there is a pooler, whose other clients would
    # get the session with its parameters.
    elif not connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        with connection.cursor() as cursor:
            cursor.execute(PREFER_INDEXES)


# Batches that delete events, and those that create deliveries of old ones, are serialized: an event must not be deleted
# by a statement that began before it got a delivery. An arbitrary number, the same in every process of a deployment.
RETENTION_LOCK = 7_305_663
LOCK_RETENTION = "SELECT pg_advisory_xact_lock(%(key)s)"

# For reading the next rows of a log, in the order of an index, in one transaction. A plan that knows neither the limit
# nor the span of ids takes the one for a tenth of the rows, and the other for few rows. Either makes it read and sort
# all of them.
PREFER_ORDERED_INDEXES = """
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true)
"""

# For commands that read whole tables. If one is killed, the server ends its statement, whose snapshot would otherwise
# keep VACUUM from the queue for as long as it takes.
ALLOW_ANY_TIME = """
SELECT set_config('statement_timeout', '0', true), set_config('client_connection_check_interval', '5s', true)
"""

# For transactions that need not wait for the WAL flush: if the server crashes, their work is lost as a whole and done
# again. Nothing is sent because of it before a claim commits, and that commit flushes all earlier WAL.
ASYNC_COMMIT = "set_config('synchronous_commit', 'off', true)"


def database_now() -> datetime:
    """Return the database server's time: workers on hosts with different clocks must agree on leases and schedules."""
    moment: datetime = run("SELECT clock_timestamp()", {})[0][0]
    return moment


# Inserts no row, but fails on a read-only server.
PROBE_WRITE = "INSERT INTO hookhub_outbox SELECT * FROM hookhub_outbox WHERE false"


def require_writable() -> None:
    """Raise the database's error if events cannot be stored: a server that answers queries may still be read-only."""
    run(PROBE_WRITE, {})
