"""Which request was which attempt's: a pairing that serves as many as can be served."""

from collections.abc import Sequence


def pair_off(fits: Sequence[Sequence[bool]], *, first: Sequence[int]) -> dict[int, int]:
    """Give each column a row that fits it, all of the ``first`` rows served and as many columns as can be."""
    taken: dict[int, int] = {}

    def serve(row: int, seen: set[int]) -> bool:
        """Find a column for a row, moving others along."""
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
