"""Keyset pagination: page ten thousand costs what page one costs, and nothing is counted."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

# How many rows one page may scan for a filter that no index serves. However rare the matching rows are, a page scans no
# more than this, and shows where to continue.
MAX_SCANNED = 50_000

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """The sort columns of a list, all in one direction; the last of them is unique."""

    columns: tuple[str, ...]
    descending: bool

    def reversed(self) -> "Order":
        """Return the opposite order."""
        return Order(self.columns, not self.descending)

    def order_by(self) -> list[str]:
        """Return the arguments for ``order_by``."""
        return [f"-{column}" if self.descending else column for column in self.columns]

    def after(self, key: Key, *, inclusive: bool = False) -> Q:
        """Return the condition for the rows after ``key``."""
        step = "lt" if self.descending else "gt"
        *lead, (last, value) = zip(self.columns, key, strict=True)
        condition = Q(**{f"{last}__{step}{'e' if inclusive else ''}": value})
        for column, value in reversed(lead):
            # In this form the index on the leading column serves the whole condition.
            condition = Q(**{f"{column}__{step}e": value}) & (Q(**{f"{column}__{step}": value}) | condition)
        return condition

    def parse(self, text: str, model: type[Model]) -> Key:
        """Return the key in a URL parameter; raise ValueError if it is invalid."""
        words = text.split("~")
        if len(words) != len(self.columns):
            raise ValueError("its position belongs to another list")
        fields = {field.attname: field for field in model._meta.fields}
        try:
            return tuple(fields[column].to_python(word) for column, word in zip(self.columns, words, strict=True))
        except ValidationError as error:
            raise ValueError("its position is malformed") from error


NEWEST_FIRST = Order(("id",), descending=True)


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a page in order, and the keys at which the adjacent pages start."""

    rows: list[Any]
    newer: str | None
    older: str | None
    # How many rows were scanned, if the scan ended before the page was full or the list ended; else None.
    scanned: int | None = None


def read_page(
    rows: QuerySet[Any], *, order: Order, start: Key | None, backwards: bool, size: int, served: QuerySet[Any] | None
) -> Page:
    """Return the page after ``start``, or the one before it if ``backwards``.

    If no index serves the whole filter, ``served`` are the rows that an index finds for a part of it, and MAX_SCANNED
    of them are scanned for the rest; else it is None.
    """
    direction, all_rows = order.reversed() if backwards else order, rows
    if start is not None:
        rows = rows.filter(direction.after(start))
    limit = None if served is None else _last_to_scan(served, direction=direction, start=start)
    if limit is not None:
        rows = rows.filter(direction.reversed().after(limit, inclusive=True))
    found = list(rows.order_by(*direction.order_by())[: size + 1])
    is_full = len(found) > size
    found = found[:size]
    onward = _key_of(found[-1], order) if is_full else limit
    scanned = None if limit is None or is_full else MAX_SCANNED
    if not backwards:
        back = None if start is None else _key_of(found[0], order) if found else limit or start
        return Page(found, newer=_format(back), older=_format(onward), scanned=scanned)
    if onward is None:
        # The start of the list is reached: a full first page is more useful than the few rows before the previous page.
        return read_page(all_rows, order=order, start=None, backwards=False, size=size, served=served)
    found.reverse()
    back = _key_of(found[-1], order) if found else limit
    return Page(found, newer=_format(onward), older=_format(back), scanned=scanned)


def _last_to_scan(served: QuerySet[Any], *, direction: Order, start: Key | None) -> Key | None:
    """Return the key of the last row that one page may scan, or None if the list ends before it."""
    if start is not None:
        served = served.filter(direction.after(start))
    keys = served.order_by(*direction.order_by()).values_list(*direction.columns)[MAX_SCANNED - 1 : MAX_SCANNED]
    return next(iter(keys), None)


def _key_of(row: Model, order: Order) -> Key:
    return tuple(getattr(row, column) for column in order.columns)


def _format(key: Key | None) -> str | None:
    if key is None:
        return None
    return "~".join(value.isoformat() if hasattr(value, "isoformat") else str(value) for value in key)
