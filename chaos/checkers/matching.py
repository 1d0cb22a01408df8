"""Matching of requests to attempts that covers as many as possible."""

from collections.abc import Sequence


def match_pairs(fits: Sequence[Sequence[bool]], *, first: Sequence[int]) -> dict[int, int]:
    """Return a fitting row for each column, by column.

    The ``first`` rows are matched before the others; the matching is as large as possible.
    """
    taken: dict[int, int] = {}

    def serve(row: int, seen: set[int]) -> bool:
        """Find a column for a row, moving earlier rows to other columns where necessary."""
        for column, is_fitting in enumerate(fits[row]):
            if is_fitting and column not in seen:
                seen.add(column)
                if column not in taken or serve(taken[column], seen):
                    taken[column] = row
                    return True
        return False

    for row in (*first, *(row for row in range(len(fits)) if row not in first)):
        serve(row, set())
    return taken
