"""Statements and parameters as they are passed to libpq."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import psycopg
import pytest

from deliveries.db import arrays
from deliveries.db.prepared import DUMPERS, parse

STATEMENTS = {
    "no parameter": ("SELECT 1", b"SELECT 1", ()),
    "one": ("SELECT %(a)s", b"SELECT $1", ("a",)),
    "two": ("SELECT %(b)s, %(a)s", b"SELECT $1, $2", ("b", "a")),
    "one twice": ("SELECT %(a)s, %(b)s, %(a)s::int", b"SELECT $1, $2, $1::int", ("a", "b")),
    "a percent sign": ("SELECT 7 %% %(a)s, 'x%%'", b"SELECT 7 % $1, 'x%'", ("a",)),
    "beyond ASCII": ("SELECT 'é', %(a)s", "SELECT 'é', $1".encode(), ("a",)),
}


@pytest.mark.parametrize(("statement", "query", "names"), STATEMENTS.values(), ids=STATEMENTS)
def test_named_parameters_are_numbered(statement: str, query: bytes, names: tuple[str, ...]) -> None:
    assert parse(statement) == (query, names)


@pytest.mark.parametrize("statement", ["SELECT 'x%'", "SELECT %s", "SELECT %(a)", "SELECT %(a)d"])
def test_a_lone_percent_sign_is_refused(statement: str) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        parse(statement)


VALUES = {
    "NULL": (None, (0, 1, None)),
    "true": (True, (16, 1, b"\1")),
    "false": (False, (16, 1, b"\0")),
    "a number": (-2, (20, 1, b"\xff" * 7 + b"\xfe")),
    "a UUID": (UUID(int=1), (2950, 1, b"\0" * 15 + b"\1")),
    "a time": (datetime(2000, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), (1184, 1, b"\0" * 8)),
    "before 2000": (datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), (1184, 1, b"\xff" * 8)),
    "a span": (timedelta(seconds=-1), (1186, 1, (-1_000_000).to_bytes(8, "big", signed=True) + b"\0" * 8)),
    "an array": (arrays.Array(b"abc"), (0, 1, b"abc")),
}


@pytest.mark.parametrize(("value", "dumped"), VALUES.values(), ids=VALUES)
def test_a_value_is_passed_in_binary_format(value: object, dumped: tuple[int, int, bytes | None]) -> None:
    assert DUMPERS[type(value)](value) == dumped


def test_a_number_beyond_a_bigint_is_a_data_error() -> None:
    with pytest.raises(psycopg.DataError):
        DUMPERS[int](2**63)
