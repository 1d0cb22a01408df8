"""Pure checks for leaks during a soak, and that the soak killed enough processes."""

from collections.abc import Mapping, Sequence
from statistics import median

Points = Sequence[tuple[float, float]]

PARENT_MEMORY, PARENT_FILES, DEAD_ROWS = "worker parent: memory", "worker parent: open files", "dead rows"

# The most by which the median of the last third may exceed that of the first. In half an hour the parent of a healthy
# worker gains 2 MB and no file. Dead rows vary by tens of thousands between two rounds of autovacuum; without
# autovacuum they would reach 900,000.
CEILINGS: Mapping[str, float] = {PARENT_MEMORY: 12, PARENT_FILES: 15, DEAD_ROWS: 100_000}
# This fraction at the beginning is ignored: caches fill, and autovacuum has not run yet.
WARM_UP = 0.1
# With fewer samples the medians mean nothing.
MIN_SAMPLES = 9

KILLS_A_MINUTE = 200 / 30


def grown(curves: Mapping[str, Points]) -> list[str]:
    """Return a message for each curve, by name, that grew beyond its ceiling or has too few samples."""
    return [
        error for name, ceiling in CEILINGS.items() if (error := _growth_error(name, curves.get(name, ()), ceiling))
    ]


def too_few_kills(kills: int, *, minutes: float) -> list[str]:
    """Return a message if fewer processes were killed than required for this many minutes."""
    required = int(minutes * KILLS_A_MINUTE)
    return [f"only {kills} kills in {minutes:g} minutes; at least {required} are required"] if kills < required else []


def medians(points: Points) -> tuple[float, float]:
    """Return the medians of the first and the last third, without the warm-up; needs at least MIN_SAMPLES points."""
    values = [value for _, value in points][int(len(points) * WARM_UP) :]
    third = len(values) // 3
    return median(values[:third]), median(values[-third:])


def _growth_error(name: str, points: Points, ceiling: float) -> str | None:
    if len(points) < MIN_SAMPLES:
        return f"{name}: {len(points)} samples are too few to detect growth"
    before, after = medians(points)
    if after - before <= ceiling:
        return None
    return (
        f"{name} grew from {before:,.0f} to {after:,.0f} between the first and the last third; "
        f"the limit is {ceiling:,g} more"
    )
