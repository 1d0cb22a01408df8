"""Looks up a row by what only one row can have."""

from collections.abc import Iterable
from typing import TypeVar

Row = TypeVar("Row")


def find_one(rows: Iterable[Row]) -> Row | None:
    """Return the row of a query that finds one at most, by a unique column, or None.

    Django's ``first`` would sort by the primary key, and to prepare that takes a fifth of the time of such a query.
    """
    return next(iter(rows), None)
