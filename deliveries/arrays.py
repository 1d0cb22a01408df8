"""PostgreSQL arrays in their binary form: a batch's columns at a tenth of what psycopg's own lists cost."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

# What the elements are called in PostgreSQL's catalogue, the same in every version.
BOOLEAN, BYTEA, BIGINT, TEXT, TIMESTAMPTZ, INTERVAL, UUID_ = 16, 17, 20, 25, 1184, 1186, 2950

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NULL = b"\xff\xff\xff\xff"
_head = struct.Struct(">iiiii").pack
_sized = struct.Struct(">i").pack
_TRUE, _FALSE = b"\0\0\0\1\1", b"\0\0\0\1\0"
_sized_interval = struct.Struct(">iqii").pack
_sized_bigint = struct.Struct(">iq").pack
_sized_uuid = _sized(16)


class Array(bytes):
    """A whole array as PostgreSQL reads it; the statement says by a cast of what type it is."""


class ArrayDumper(Dumper):
    """Hands an array over as it is: it is written already, and a list of a thousand is one value to psycopg."""

    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        """Give the bytes."""
        return obj


def register() -> None:
    """Teach psycopg arrays; connections opened before do not know them."""
    psycopg.adapters.register_dumper(Array, ArrayDumper)


def columns(
    rows: Sequence[Mapping[str, Any]], writers: Mapping[str, Callable[[Iterable[Any]], Array]]
) -> dict[str, Array]:
    """Turn rows into one array for each column, as ``unnest`` wants them."""
    return {name: write([row[name] for row in rows]) for name, write in writers.items()}


def byteas(values: Iterable[bytes | None]) -> Array:
    """Give a ``bytea[]``."""
    return _array(BYTEA, [_NULL if value is None else _sized(len(value)) + value for value in values])


def texts(values: Iterable[str | None]) -> Array:
    """Give a ``text[]``; raises UnicodeEncodeError for half of a pair of surrogates."""
    written = (None if value is None else value.encode() for value in values)
    return _array(TEXT, [_NULL if value is None else _sized(len(value)) + value for value in written])


def bigints(values: Iterable[int | None]) -> Array:
    """Give a ``bigint[]``."""
    return _array(BIGINT, [_NULL if value is None else _sized_bigint(8, value) for value in values])


def uuids(values: Iterable[UUID]) -> Array:
    """Give a ``uuid[]``."""
    return _array(UUID_, [_sized_uuid + value.bytes for value in values])


def moments(values: Iterable[datetime | None]) -> Array:
    """Give a ``timestamptz[]``."""
    return _array(
        TIMESTAMPTZ,
        [_NULL if value is None else _sized_bigint(8, (value - _EPOCH) // _MICROSECOND) for value in values],
    )


def spans(values: Iterable[timedelta]) -> Array:
    """Give an ``interval[]``; of PostgreSQL's three parts only the microseconds are used."""
    return _array(INTERVAL, [_sized_interval(16, value // _MICROSECOND, 0, 0) for value in values])


def flags(values: Iterable[bool]) -> Array:
    """Give a ``boolean[]``."""
    return _array(BOOLEAN, [_TRUE if value else _FALSE for value in values])


def _array(element: int, items: list[bytes]) -> Array:
    """Put a head before the elements, each of which has its length before it."""
    if not items:
        return Array(struct.pack(">iii", 0, 0, element))
    return Array(_head(1, 1, element, len(items), 1) + b"".join(items))
