"""Execute statements through libpq: prepared once per connection, in binary format, several in one round trip.

psycopg's cursors do the same for any statement and any type, at three times the cost of what is needed for the few
types of the pipeline. Waiting for the connection and reading results are psycopg's here too.
"""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult

from deliveries.db import arrays

Connection = TypeVar("Connection", bound=psycopg.Connection[Any] | psycopg.AsyncConnection[Any])
Row = tuple[Any, ...]
# A parameter: the OID of its type (0: the one that the statement casts it to), its format and its bytes.
Dumped = tuple[int, int, bytes | None]
# A statement and the types of its parameters, which are fixed when it is prepared.
Key = tuple[bytes, tuple[int, ...]]

# Sets parameters until the end of the transaction.
SET_IN_TRANSACTION = """
SELECT set_config(name, value, true) FROM unnest(%(names)s::text[], %(values)s::text[]) AS parameter (name, value)
"""

# Different statements that a connection prepares; HookHub has a quarter as many. Others are executed unprepared.
MAX_PREPARED = 200

_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(%)|)")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# Numbers the names of prepared statements. No two sessions of a process use the same name.
_numbers = count()
_SUCCESS = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
_bigint = struct.Struct(">q").pack
_interval = struct.Struct(">qii").pack


class Bound(NamedTuple):
    """A statement and the values of its parameters, as libpq takes them."""

    query: bytes
    types: tuple[int, ...] = ()
    formats: tuple[int, ...] = ()
    values: tuple[bytes | None, ...] = ()

    @property
    def key(self) -> Key:
        """What a prepared statement is found by."""
        return self.query, self.types


BEGIN, COMMIT, ROLLBACK = Bound(b"BEGIN"), Bound(b"COMMIT"), Bound(b"ROLLBACK")


def begin_of(connection: psycopg.Connection[Any]) -> Bound:
    """Return the BEGIN that psycopg would send, with the isolation level that a project has set, if any."""
    level = connection.isolation_level
    return BEGIN if level is None else Bound(f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}".encode())


@lru_cache(maxsize=512)
def parse(statement: str) -> tuple[bytes, tuple[str, ...]]:
    """Return a statement with ``$1`` for ``%(name)s`` and ``%`` for ``%%``, and the names in the order of the numbers.

    Raises ProgrammingError for any other percent sign.
    """
    numbers: dict[str, int] = {}

    def replace(found: re.Match[str]) -> str:
        name, percent = found.groups()
        if name is None and percent is None:
            raise psycopg.ProgrammingError(f"neither %(name)s nor %%: {statement[found.start() :][:20]!r}")
        return percent or f"${numbers.setdefault(name, len(numbers) + 1)}"

    return _PLACEHOLDER.sub(replace, statement).encode(), tuple(numbers)


def _dump_integer(value: int) -> Dumped:
    try:
        return arrays.BIGINT, Format.BINARY, _bigint(value)
    except struct.error as error:
        raise psycopg.DataError(f"{value} is out of range for a bigint") from error


# For exactly these types, at a fraction of the cost of psycopg's dumpers.
DUMPERS: Mapping[type, Callable[[Any], Dumped]] = {
    type(None): lambda _: (0, 1, None),
    arrays.Array: lambda value: (0, 1, value),
    arrays.Encoded: lambda value: (0, 1, value),
    bool: lambda value: (arrays.BOOLEAN, 1, b"\1" if value else b"\0"),
    int: _dump_integer,
    UUID: lambda value: (arrays.UUID_, 1, value.bytes),
    datetime: lambda value: (arrays.TIMESTAMPTZ, 1, _bigint(arrays.microseconds(value - _EPOCH))),
    timedelta: lambda value: (arrays.INTERVAL, 1, _interval(arrays.microseconds(value), 0, 0)),
}


class Session(Generic[Connection]):
    """A connection and the statements that it has prepared.

    A statement is prepared once it has been executed ``prepare_threshold`` times, a parameter of psycopg's connections;
    with None never, as a pooler may require. ``parameters`` of PostgreSQL are set in each transaction, together with
    its first statement: behind a pooler in transaction mode each transaction may have another session of the server.
    """

    def __init__(self, connection: Connection, *, parameters: Mapping[str, str] | None = None) -> None:
        self.connection: Connection = connection
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._names: dict[Key, bytes] = {}
        # How often a statement that is not prepared yet was executed.
        self._executions: dict[Key, int] = {}
        self._settings: Bound | None = None
        if parameters:
            lists = {"names": arrays.texts(list(parameters)), "values": arrays.texts(list(parameters.values()))}
            self._settings = self.bind(SET_IN_TRANSACTION, lists)

    def bind(self, statement: str, parameters: Mapping[str, object]) -> Bound:
        """Return a statement and the values of its parameters; raises ProgrammingError if one is missing."""
        query, names = parse(statement)
        if not names:
            return Bound(query)
        try:
            values = [parameters[name] for name in names]
        except KeyError as error:
            raise psycopg.ProgrammingError(f"the parameter {error} is missing") from error
        return Bound(query, *zip(*map(self._dump, values), strict=True))

    def _dump(self, value: object) -> Dumped:
        dump = DUMPERS.get(type(value))
        if dump is not None:
            return dump(value)
        dumper = self._transformer.get_dumper(value, PyFormat.AUTO)
        content = dumper.dump(value)
        return dumper.oid, dumper.format, None if content is None else bytes(content)

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction is open, in which a statement may have failed."""
        return self._pgconn.transaction_status != TransactionStatus.IDLE

    def execute(self, statements: Sequence[Bound], *, is_last_awaited: bool = True) -> PQGen[list[PGresult]]:
        """Execute statements in one round trip and return the result of each; a generator for ``connection.wait``.

        Raises the error of the first that fails; those after it are not executed. If sending or receiving fails or is
        interrupted, the connection is closed: late results would be taken for those of the next statements.

        Unless ``is_last_awaited``, return while the server executes the last one, whose result ``last`` returns. Until
        then the connection takes no other statement.
        """
        sent = list(statements)
        settings_at = int(sent[0].query.startswith(BEGIN.query))
        sets = self._settings is not None and not self.is_in_transaction
        if self._settings is not None and sets:
            # Statements that are sent together are one transaction, also without a BEGIN.
            sent.insert(settings_at, self._settings)
        try:
            if is_last_awaited and len(sent) == 1 and not self._is_to_be_prepared(sent[0]):
                self._send(sent[0])
                results: list[PGresult] = yield from generators.execute(self._pgconn)
            else:
                results = yield from self._execute_in_pipeline(sent, awaited=len(sent) - (not is_last_awaited))
        except BaseException:
            self._pgconn.finish()
            raise
        for result in results:
            self._require_success(result)
        # After those of the statements that had to be prepared.
        found = results[len(results) - len(sent) + (not is_last_awaited) :]
        if sets:
            del found[settings_at]
        return found

    def last(self) -> PQGen[PGresult]:
        """Return the result that ``execute`` did not wait for; raises its error, and closes a connection like it."""
        results: list[PGresult] = []
        try:
            # Its own, and that of the sync.
            yield from self._fetch(2, into=results)
            self._pgconn.exit_pipeline_mode()
        except BaseException:
            self._pgconn.finish()
            raise
        self._require_success(results[0])
        return results[0]

    def _execute_in_pipeline(self, statements: Sequence[Bound], *, awaited: int) -> PQGen[list[PGresult]]:
        """Execute statements, first preparing those that are due for it; return the results of both.

        Returns after ``awaited`` of the statements, unless one of them fails. Ends early if the connection is lost
        after the server has given the reason.
        """
        pgconn = self._pgconn
        pgconn.enter_pipeline_mode()
        new = {each.key: b"hookhub_%d" % next(_numbers) for each in statements if self._is_to_be_prepared(each)}
        for (query, types), name in new.items():
            pgconn.send_prepare(name, query, types)
        self._names |= new
        for each in statements[:awaited]:
            self._send(each)
        if awaited < len(statements):
            # Otherwise the server would send their results together with the last one.
            pgconn.send_flush_request()
            self._send(statements[-1])
        pgconn.pipeline_sync()
        yield from generators.send(pgconn)
        results: list[PGresult] = []
        try:
            yield from self._fetch(len(new) + awaited, into=results)
            is_left = awaited < len(statements) and all(result.status in _SUCCESS for result in results)
            if not is_left:
                # One for each of the others, and one for the sync.
                yield from self._fetch(len(statements) - awaited + 1, into=results)
        except psycopg.OperationalError:
            if not any(result.status == ExecStatus.FATAL_ERROR for result in results):
                raise
            return results
        if is_left:
            return results
        pgconn.exit_pipeline_mode()
        for key, result in zip(new, results, strict=False):
            if result.status != ExecStatus.COMMAND_OK:
                del self._names[key]
        return results[:-1]

    def _fetch(self, count: int, *, into: list[PGresult]) -> PQGen[None]:
        """Add the results of as many statements, or of the sync after them, to ``into``."""
        for _ in range(count):
            into += yield from generators.fetch_many(self._pgconn)

    def _is_to_be_prepared(self, bound: Bound) -> bool:
        key = bound.key
        if key in self._names:
            return False
        threshold = self.connection.prepare_threshold
        return threshold is not None and self._executions.get(key, 0) >= threshold

    def _send(self, bound: Bound) -> None:
        """Put a statement into libpq's buffer."""
        name = self._names.get(bound.key)
        if name is not None:
            self._pgconn.send_query_prepared(name, bound.values, bound.formats, Format.BINARY)
            return
        self._pgconn.send_query_params(bound.query, bound.values, bound.types, bound.formats, Format.BINARY)
        if bound.key in self._executions or len(self._executions) < MAX_PREPARED:
            self._executions[bound.key] = self._executions.get(bound.key, 0) + 1

    def _require_success(self, result: PGresult) -> None:
        """Raise the error that a result reports."""
        if result.status in _SUCCESS:
            return
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result, encoding=self.connection.info.encoding)
        # For example COPY, which needs the connection for itself.
        self._pgconn.finish()
        raise psycopg.NotSupportedError(f"unexpected result: {ExecStatus(result.status).name}")

    def rows_of(self, result: PGresult) -> list[Row]:
        """Return the rows of a result; none if the statement returns no rows."""
        if not result.nfields:
            return []
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(0, result.ntuples, tuple)
        # A large result would stay in memory until the next one.
        self._transformer.set_pgresult(None)
        return rows
