"""The connection to PostgreSQL: its settings, how it detects failures, and when it is closed."""

import gc
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest
from django.db import (
    DataError,
    Error,
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)

from deliveries.db import sql
from testbed.proxy import Proxy
from tests.story import counted_statements

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def onlooker() -> Iterator["psycopg.Connection[tuple[int]]"]:
    """Yield a separate connection to inspect the others."""
    connection.ensure_connection()
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as looking:
        yield looking


def end(onlooker: "psycopg.Connection[tuple[int]]", pid: int) -> None:
    """Terminate a connection from the server's side, and wait until it has ended."""
    assert onlooker.execute("SELECT pg_terminate_backend(%s, 10000)", [pid]).fetchone() == (True,)


def backend() -> int:
    return int(sql.run("SELECT pg_backend_pid()", {})[0][0])


def test_a_request_that_finds_its_connection_well_asks_nothing_beforehand() -> None:
    before = backend()
    connection.close_if_unusable_or_obsolete()

    with counted_statements() as statements:
        after = backend()

    assert (after, len(statements)) == (before, 1)


def test_the_limits_of_a_session_are_set_without_the_first_message_which_pgbouncer_refuses() -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "plan_cache_mode")
    connection.close()

    shown = [sql.run(f"SHOW {name}", {})[0][0] for name in names]

    assert shown == ["30s", "10s", "30s", "force_generic_plan"]
    assert "options" not in connection.connection.info.get_parameters()


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_connection_that_the_server_ended_is_made_anew(
    onlooker: "psycopg.Connection[tuple[int]]", *, in_transaction: bool
) -> None:
    before = backend()
    connection.close_if_unusable_or_obsolete()
    end(onlooker, before)

    with transaction.atomic() if in_transaction else nullcontext():
        after = backend()

    assert after != before


def test_what_the_server_says_unasked_is_not_taken_for_its_end(onlooker: "psycopg.Connection[tuple[int]]") -> None:
    sql.run("LISTEN bell", {})
    before = backend()
    connection.close_if_unusable_or_obsolete()
    onlooker.execute("NOTIFY bell")

    after = backend()
    sql.run("UNLISTEN bell", {})

    assert after == before


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("22021", DataError),
        ("23514", IntegrityError),
        ("42P01", ProgrammingError),
        ("XX000", InternalError),
        *(
            (state, OperationalError)
            for state in (
                "08006", "0A000", "25006", "25P02", "25P03", "25P04", "26000", "40001", "40P01", "42501", "42P05",
                "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "58030",
            )
        ),
    ],
)  # fmt: skip
def test_what_is_said_of_the_session_or_the_server_is_an_operational_error(state: str, kind: type[Error]) -> None:
    statement = f"DO $$ BEGIN RAISE 'so it is' USING ERRCODE = '{state}'; END $$"

    for ask in (lambda: sql.run(statement, {}), lambda: connection.cursor().execute(statement)):
        with pytest.raises(Error, match="so it is") as caught:
            ask()
        assert type(caught.value) is kind
        assert getattr(caught.value.__cause__, "sqlstate", "") == state


@pytest.mark.parametrize("is_asked_first", [False, True])
def test_a_connection_that_is_read_only_is_left_for_another(*, is_asked_first: bool) -> None:
    before = backend()
    sql.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", {})

    with pytest.raises(OperationalError):
        sql.require_writable()
    if is_asked_first:
        # It is left even though it answers queries.
        assert backend() == before
    connection.close_if_unusable_or_obsolete()

    sql.require_writable()
    assert backend() != before
    assert connection.is_usable()


def test_a_connection_ends_with_its_thread_and_no_sooner() -> None:
    seen: list[int] = []
    made: list[Any] = []
    own = backend()

    def work() -> None:
        seen.append(backend())
        made.append(connection.connection)
        # Closing a second connection of the same thread does not close the first.
        second = connections["default"].copy()
        second.ensure_connection()
        second.close()
        seen.append(backend())

    # Closing must not depend on the garbage collector.
    gc.disable()
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        is_closed = made[0].closed
    finally:
        gc.enable()

    assert (len(set(seen)), is_closed, backend()) == (1, True, own)


def test_a_fork_that_ends_leaves_its_parents_connection_open() -> None:
    before = backend()

    pid = os.fork()
    if pid == 0:
        try:
            # As a forked worker does, without sending anything to the server.
            connections["default"].connection = None
            connection.ensure_connection()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)

    assert backend() == before


def test_a_server_that_vanishes_without_a_word_is_noticed_by_tcp_within_half_a_minute() -> None:
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    # The embedded server uses a Unix socket; the proxy before it makes that a TCP connection.
    at = f"{parameters['host']}/.s.PGSQL.{parameters.get('port') or 5432}"
    target = at if at.startswith("/") else (parameters["host"], int(parameters.get("port") or 5432))

    with (
        Proxy(target) as proxy,
        psycopg.connect(**{**parameters, "host": "127.0.0.1", "port": proxy.port}) as link,
        socket.socket(fileno=os.dup(link.fileno())) as tcp,
    ):
        options = {
            name: tcp.getsockopt(level, getattr(socket, name))
            for level, name in (
                (socket.SOL_SOCKET, "SO_KEEPALIVE"),
                (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
                (socket.IPPROTO_TCP, "TCP_KEEPINTVL"),
                (socket.IPPROTO_TCP, "TCP_KEEPCNT"),
                (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"),
            )
        }

    assert options["SO_KEEPALIVE"]
    # The first limit is for an idle connection, the second for one with unacknowledged data.
    assert options["TCP_KEEPIDLE"] + options["TCP_KEEPINTVL"] * options["TCP_KEEPCNT"] <= 30
    assert 0 < options["TCP_USER_TIMEOUT"] <= 30_000
