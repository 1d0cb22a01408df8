"""Arrays in PostgreSQL's binary format are read back unchanged."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from django.db import DataError, transaction

from deliveries.db import arrays, sql

pytestmark = pytest.mark.django_db

MOMENTS = [
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 3, 4, 12, tzinfo=timezone(timedelta(hours=14))),
    None,
]
SPANS = [timedelta(0), timedelta(microseconds=-1), timedelta(days=400, microseconds=1)]
ARRAYS = {
    "bytea": (arrays.byteas, [b"", b"\0\xff", None, b"x" * 10_000]),
    "text": (arrays.texts, ["", "NULL", None, '{"a",\\}', "ü🎉", "x" * 10_000]),
    "bigint": (arrays.bigints, [0, -1, None, 2**63 - 1, -(2**63)]),
    "uuid": (arrays.uuids, [UUID(int=0), UUID(int=2**128 - 1)]),
    "timestamptz": (arrays.timestamps, MOMENTS),
    "interval": (arrays.intervals, SPANS),
    "boolean": (arrays.booleans, [True, False]),
}


@pytest.mark.parametrize("element", ARRAYS)
def test_every_value_arrives_unchanged(element: str) -> None:
    make, values = ARRAYS[element]

    for some in (values, values[:1], [], values * 100):
        assert sql.run(f"SELECT %(a)s::{element}[]", {"a": make(some)}) == [(some,)]  # type: ignore[operator]


def test_a_megabyte_arrives_unchanged() -> None:
    values = [None, b"\0\xff" * 500_000, b""]

    assert sql.run("SELECT %(a)s::bytea[]", {"a": arrays.byteas(values)}) == [(values,)]


def test_a_nul_or_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(DataError), transaction.atomic():
        sql.run("SELECT %(a)s::text[]", {"a": arrays.texts(["a\0b"])})
    with pytest.raises(UnicodeEncodeError):
        arrays.texts(["\ud800"])
