"""What a check of an invariant is."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "fault", "waiting"]


@dataclass(frozen=True, slots=True)
class Check:
    """An invariant, the query for its violations, and what a violation means to an operator.

    ``of_filtered`` returns lines with a filter and an event's data; those whose data passes the filter are violations,
    too.
    """

    name: str
    invariant: str
    sql: str
    meaning: str
    broken: Verdict = "fault"
    of_filtered: str = ""


def orphans(table: str, column: str, *, of: str, key: str = "id") -> str:
    """Return the query for the rows of ``table`` whose ``column`` refers to no row of the table ``of``."""
    return f"SELECT t.{key}::text FROM {table} t WHERE NOT EXISTS (SELECT FROM {of} WHERE id = t.{column})"
