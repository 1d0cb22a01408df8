"""Run SQL: PostgreSQL is the queue, and each step of the pipeline has its statements in its own file.

Rules for every statement of the pipeline: Time is a parameter, never ``now()``, so that tests control it. Rows of a
table are locked in the order of their ids. Rows locked by another worker are skipped wherever that is harmless: a
claim, which holds locks on webhooks, never waits for a delivery, and settling never waits for a webhook. Otherwise one
locked row would block every worker. Each statement touches a bounded number of rows.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import psycopg
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

Row = tuple[Any, ...]

# How many deliveries one statement holds, releases or cancels; the next statement continues with the rest.
BATCH = 5000
# psycopg remembers how it parsed a statement of up to this many bytes.
MAX_PARSED_ONCE = 4096


def run(statement: str, parameters: Mapping[str, object]) -> list[Row]:
    """Run one statement with server-side parameters on Django's connection and return its rows.

    Django's own cursors interpolate parameters on the client, which rules out prepared statements and doubles the
    size of every payload. Raises the errors of ``django.db``; OperationalError if the parameters are not the cause.
    """
    with connection.wrap_database_errors, _cursor() as cursor:
        cursor.execute(to_short(statement), parameters, binary=True)
        # ``description`` would cost half as much as the whole call: it builds an object for each column.
        return cursor.fetchall() if cursor.pgresult is not None and cursor.pgresult.nfields else []


def change(statement: str, parameters: Mapping[str, object]) -> int:
    """Run one statement in the same way and return the number of rows it wrote."""
    with connection.wrap_database_errors, _cursor() as cursor:
        return cursor.execute(to_short(statement), parameters).rowcount


@lru_cache(maxsize=256)
def to_short(statement: str) -> str:
    """Return a statement without indentation, which psycopg would parse again for each execution for its length.

    Its literals must not contain line breaks. Other statements are returned as they are.
    """
    if len(statement) <= MAX_PARSED_ONCE:
        return statement
    return "\n".join(line.strip() for line in statement.splitlines())


def _cursor() -> "psycopg.Cursor[Row]":
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)


# A cached plan lives as long as its connection. A plan made while the tables of a new installation were empty uses
# sequential scans, and keeps them when there are a million rows, until ANALYZE runs. (Disabling hash and merge joins as
# well would cost a sixth of PostgreSQL's time: joins within a batch are faster as hash joins.)
# Before PostgreSQL 18, a sequential scan that cannot be avoided raises a plan's cost above any threshold of the JIT
# compiler, which would then compile a statement of milliseconds for a tenth of a second.
PREFER_INDEXES = "SELECT set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)"


def prefer_indexes() -> None:
    """Make every connection that this process opens after this call avoid sequential scans."""
    connection_created.connect(_set_preferences, dispatch_uid=__name__)


def _set_preferences(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(PREFER_INDEXES)


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
