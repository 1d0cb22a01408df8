"""The checks of the soak distinguish growth from fluctuation, and detect too few kills."""

import pytest

from chaos.checkers.leaks import CEILINGS, DEAD_ROWS, PARENT_FILES, PARENT_MEMORY, Points, grown, medians, too_few_kills

# The number of samples in half an hour.
SAMPLES = 360


def stepping(before: float, after: float) -> Points:
    return [(5.0 * place, before if place < SAMPLES / 2 else after) for place in range(SAMPLES)]


def rising(start: float, end: float, samples: int = SAMPLES) -> Points:
    return [(5.0 * place, start + (end - start) * place / (samples - 1)) for place in range(samples)]


WELL = {
    PARENT_MEMORY: rising(120, 122),
    PARENT_FILES: rising(30, 30),
    # Autovacuum runs once a minute.
    DEAD_ROWS: [(5.0 * place, 2_500.0 * (place % 12)) for place in range(SAMPLES)],
}


def test_a_healthy_run_has_room_below_every_ceiling() -> None:
    assert set(WELL) == set(CEILINGS)
    assert grown(WELL) == []


@pytest.mark.parametrize(
    ("name", "points", "told"),
    [
        (
            PARENT_MEMORY,
            stepping(120, 133),
            "worker parent: memory grew from 120 to 133 between the first and the last third; the limit is 12 more",
        ),
        (
            PARENT_FILES,
            stepping(30, 46),
            "worker parent: open files grew from 30 to 46 between the first and the last third; the limit is 15 more",
        ),
        (
            DEAD_ROWS,
            stepping(0, 900_000),
            "dead rows grew from 0 to 900,000 between the first and the last third; the limit is 100,000 more",
        ),
    ],
)
def test_what_grows_and_does_not_stop_is_told_of(name: str, points: Points, told: str) -> None:
    assert grown({**WELL, name: points}) == [told]


def test_a_curve_that_nobody_looked_at_does_not_pass_for_one_that_does_not_grow() -> None:
    assert grown({**WELL, PARENT_FILES: []}) == ["worker parent: open files: 0 samples are too few to detect growth"]
    assert grown({DEAD_ROWS: WELL[DEAD_ROWS], PARENT_MEMORY: WELL[PARENT_MEMORY]}) != []


def test_what_fills_at_the_beginning_is_no_growth() -> None:
    filling = [(5.0 * place, 40.0 if place < 30 else 120.0) for place in range(SAMPLES)]

    assert medians(filling) == (120, 120)
    assert grown({**WELL, PARENT_MEMORY: filling}) == []


def test_two_minutes_are_enough_to_judge() -> None:
    assert grown({name: points[:23] for name, points in WELL.items()}) == []
    assert grown({**WELL, PARENT_MEMORY: rising(120, 160, samples=23)}) != []


@pytest.mark.parametrize(
    ("kills", "minutes", "told"),
    [
        (200, 30, []),
        (199, 30, ["only 199 kills in 30 minutes; at least 200 are required"]),
        (13, 2, []),
        (12, 2, ["only 12 kills in 2 minutes; at least 13 are required"]),
        (0, 0.1, []),
    ],
)
def test_a_soak_with_too_few_kills_is_told_of(kills: int, minutes: float, told: list[str]) -> None:
    assert too_few_kills(kills, minutes=minutes) == told
