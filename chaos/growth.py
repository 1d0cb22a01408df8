"""Whether anything grows in the course of a soak, and whether enough was killed: pure judgements of what was seen."""

from collections.abc import Mapping, Sequence
from statistics import median

Points = Sequence[tuple[float, float]]

PARENT_MEMORY, PARENT_FILES, DEAD_ROWS = "worker's parent", "worker's parent's open files", "dead rows"

# By how much the median of the last third may be above that of the first. In half an hour a healthy worker's parent
# gains 2 MB and no file. Dead rows go up and down by tens of thousands between two rounds of autovacuum; were they not
# cleared away, it would be 900,000.
CEILINGS: Mapping[str, float] = {PARENT_MEMORY: 12, PARENT_FILES: 15, DEAD_ROWS: 100_000}
# So large a part at the beginning is not looked at: caches fill, and autovacuum has not come by yet.
WARM_UP = 0.1
# With fewer samples than these a third says nothing.
SAMPLES_LEAST = 9

KILLS_A_MINUTE = 200 / 30


def grown(curves: Mapping[str, Points]) -> list[str]:
    """Say what has grown beyond its ceiling, and what was seen too seldom to tell; ``curves`` are by name."""
    return [fault for name, ceiling in CEILINGS.items() if (fault := _fault_in(name, curves.get(name, ()), ceiling))]


def too_few_kills(kills: int, *, minutes: float) -> list[str]:
    """Say so when fewer were killed than belong to so many minutes."""
    wanted = int(minutes * KILLS_A_MINUTE)
    return [f"{kills} kills in {minutes:g} minutes; {wanted} are the least"] if kills < wanted else []


def medians(points: Points) -> tuple[float, float]:
    """Give the medians of the first third and of the last, without the warm-up; there must be SAMPLES_LEAST points."""
    values = [value for _, value in points][int(len(points) * WARM_UP) :]
    third = len(values) // 3
    return median(values[:third]), median(values[-third:])


def _fault_in(name: str, points: Points, ceiling: float) -> str | None:
    if len(points) < SAMPLES_LEAST:
        return f"{name}: seen {len(points)} times, which is too seldom to tell whether it grows"
    before, after = medians(points)
    if after - before <= ceiling:
        return None
    return f"{name}: {before:,.0f} in the first third and {after:,.0f} in the last; {ceiling:,g} more are the most"
