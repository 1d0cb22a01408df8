"""Recognizes a pooler such as PgBouncer, behind which each transaction may have another session of the server."""

import secrets
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

# Returns whether there is a pooler, and sets the parameters of the session if there is none. A pooler invents the
# process id that it tells its clients. With ``true``, set_config() lasts until the end of the transaction, which is
# this statement: the session would go to other clients with the parameters.
BEGIN_SESSION = """
SELECT is_pooled, (
    SELECT count(set_config(name, value, is_pooled))
    FROM unnest(%(names)s::text[], %(values)s::text[]) AS parameter (name, value)
)
FROM (SELECT coalesce(%(stated)s::boolean, pg_backend_pid() <> %(pid)s) AS is_pooled) AS recognition
"""


def parameters_of(
    connection: "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]",
    settings: Mapping[str, Any],
) -> dict[str, object]:
    """Return the parameters of BEGIN_SESSION for a new connection with these settings of Django's."""
    session: dict[str, str] = settings.get("SESSION", {})
    return {
        "names": list(session),
        "values": list(session.values()),
        "stated": settings.get("IS_POOLED"),
        "pid": connection.info.backend_pid,
    }


def keeps_prepared(pgconn: PGconn) -> PQGen[bool]:
    """Return whether the pooler prepares a client's statements on each session; a generator for ``connection.wait``.

    Such a pooler gives them names of its own. With any other, the name of this one is found on the server, and removed.
    If it is interrupted, the connection is closed.
    """
    name = f"probe_{secrets.token_hex(8)}"
    try:
        results = yield from _probe(pgconn, name=name)
    except BaseException:
        pgconn.finish()
        raise
    return results[1].ntuples == 0


def _probe(pgconn: PGconn, *, name: str) -> PQGen[list[PGresult]]:
    # One transaction, and therefore one session.
    pgconn.enter_pipeline_mode()
    pgconn.send_prepare(name.encode(), b"SELECT 1")
    pgconn.send_query_params(b"SELECT FROM pg_prepared_statements WHERE name = $1", [name.encode()])
    forget = f"DO $$ BEGIN EXECUTE 'DEALLOCATE {name}'; EXCEPTION WHEN invalid_sql_statement_name THEN NULL; END $$"
    pgconn.send_query_params(forget.encode(), None)
    pgconn.pipeline_sync()
    yield from generators.send(pgconn)
    results: list[PGresult] = []
    # One for each, and one for the sync.
    for _ in range(4):
        results += yield from generators.fetch_many(pgconn)
    pgconn.exit_pipeline_mode()
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
    return results
