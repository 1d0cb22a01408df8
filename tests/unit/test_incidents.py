"""When a failing webhook is announced: the levels, what has been used up, and what ends an incident."""

from datetime import UTC, datetime, timedelta

import pytest

from deliveries.policy.incidents import (
    CALM,
    DISABLED,
    Failing,
    Incident,
    Over,
    Progress,
    Recovered,
    Retried,
    Step,
    decide,
    level_after,
    level_of,
    may_reach,
    progress_by_count,
    progress_by_time,
)

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SCHEDULE = [MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR]
TOTAL = sum(SCHEDULE, timedelta(0))
FOREVER = timedelta(days=365)


@pytest.mark.parametrize(
    ("percent", "level"),
    [(0, 0), (49, 0), (50, 50), (69, 50), (70, 70), (89, 70), (90, 90), (99, 90)],
)
def test_the_highest_level_reached(percent: int, level: int) -> None:
    assert level_of(percent) == level


@pytest.mark.parametrize(("announced", "level"), [(None, 50), (0, 50), (50, 70), (70, 90), (90, None), (100, None)])
def test_the_next_level(announced: int | None, level: int | None) -> None:
    assert level_after(announced) == level


def incident(
    *,
    failures: int = 5,
    succeeded: timedelta | None = None,
    announced: int | None = None,
    announced_after: timedelta = HOUR,
) -> Incident:
    """Return an incident that began at noon; ``succeeded`` is how long after."""
    return Incident(
        NOON,
        failures,
        None if succeeded is None else NOON + succeeded,
        announced,
        None if announced is None else NOON + announced_after,
    )


# label: (incident, percent, how long after its beginning, what to do)
STEPS: dict[str, tuple[Incident, int, timedelta, Step | None]] = {
    "below the first level": (incident(), 49, HOUR, None),
    "the first level": (incident(), 50, HOUR, Failing(50)),
    "from nothing to 90 % announces the highest only": (incident(), 95, HOUR, Failing(90)),
    "a level that was announced": (incident(announced=50), 65, 2 * HOUR, None),
    "the next level": (incident(announced=50), 70, 2 * HOUR, Failing(70)),
    "a level lower than announced, after a longer Retry-After": (incident(announced=90), 60, 2 * HOUR, None),
    "enabled again, and failing again": (incident(announced=0), 50, 2 * HOUR, Failing(50)),
    "enabled again, without a success yet": (incident(announced=0, failures=0), 0, 2 * HOUR, None),
    "enabled again, with a success from before": (
        incident(announced=0, failures=0, succeeded=HOUR / 2), 0, 2 * HOUR, None,
    ),
    "enabled again, with a success": (incident(announced=0, failures=0, succeeded=2 * HOUR), 0, 2 * HOUR, Recovered()),
    "disabled, and one success of a request in flight came before": (
        incident(announced=DISABLED, failures=0, succeeded=HOUR / 2), 0, 2 * HOUR, None,
    ),
    "a success": (incident(announced=50, failures=0, succeeded=2 * HOUR), 0, 2 * HOUR, Recovered()),
    "a success that ended just before the announcement": (
        incident(announced=50, failures=0, succeeded=HOUR - SECOND), 0, 2 * HOUR, Recovered(),
    ),
    "a success, and failing again": (incident(announced=90, succeeded=2 * HOUR), 95, FOREVER, Recovered()),
    "a success, nothing announced": (incident(failures=0, succeeded=SECOND), 0, CALM, Over()),
    "a success, but a moment ago": (incident(failures=0, succeeded=SECOND), 0, CALM - SECOND, None),
    "the clock was set back": (incident(failures=0, succeeded=SECOND), 0, -HOUR, Over()),
    "the clock was set back, still failing": (incident(), 0, -HOUR, None),
    "failing again before it was calm": (incident(succeeded=SECOND), 10, FOREVER, None),
}  # fmt: skip


@pytest.mark.parametrize(("found", "percent", "after", "step"), STEPS.values(), ids=STEPS)
def test_each_level_is_announced_once_and_a_success_ends_it(
    found: Incident, percent: int, after: timedelta, step: Step | None
) -> None:
    assert decide(found, percent=percent, now=NOON + after) == step


# label: (failures used, due after, looked at after, percent, disabled after)
TIMES: dict[str, tuple[int, timedelta, timedelta, int, timedelta]] = {
    "at once": (1, MINUTE, timedelta(0), 0, TOTAL),
    "a moment later": (1, MINUTE, SECOND, 0, TOTAL),
    "half of it": (5, TOTAL, TOTAL / 2, 50, TOTAL),
    "just before the half": (5, TOTAL, TOTAL / 2 - SECOND, 49, TOTAL),
    "nine tenths": (5, TOTAL, TOTAL * 9 / 10, 90, TOTAL),
    "the last attempt is due": (5, TOTAL, TOTAL, 99, TOTAL),
    "the last attempt waits for a worker": (5, TOTAL, 2 * TOTAL, 99, 2 * TOTAL),
    "Retry-After of a day makes it longer": (
        1, 24 * HOUR, 12 * HOUR, 100 * 12 * HOUR // (24 * HOUR + TOTAL - MINUTE), 24 * HOUR + TOTAL - MINUTE,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("used", "due", "after", "percent", "disabled"), TIMES.values(), ids=TIMES)
def test_the_share_of_the_schedule_that_has_passed(
    used: int, due: timedelta, after: timedelta, percent: int, disabled: timedelta
) -> None:
    found = progress_by_time(Retried(NOON, NOON + due, used), schedule=SCHEDULE, now=NOON + after)

    expected = None if after == timedelta(0) else NOON + disabled
    assert found == Progress(percent, expected)


def test_a_clock_set_back_uses_up_nothing() -> None:
    assert progress_by_time(Retried(NOON, NOON + MINUTE, 1), schedule=SCHEDULE, now=NOON - HOUR) == Progress(0, None)


@pytest.mark.parametrize(
    ("failures", "allowed", "percent"),
    [(9, 0, 0), (0, 10, 0), (1, 10, 10), (5, 10, 50), (9, 10, 90), (10, 10, 99), (20, 10, 99), (2, 3, 66)],
)
def test_the_share_of_the_failures_allowed(failures: int, allowed: int, percent: int) -> None:
    assert progress_by_count(failures, failures_allowed=allowed) == Progress(percent, None)


def test_no_schedule_is_used_up_faster_than_its_sum() -> None:
    found = incident()

    assert not may_reach(50, found, schedule=SCHEDULE, now=NOON + TOTAL / 2 - SECOND)
    assert may_reach(50, found, schedule=SCHEDULE, now=NOON + TOTAL / 2)
    assert not may_reach(70, found, schedule=SCHEDULE, now=NOON + TOTAL / 2)
    assert not may_reach(50, found, schedule=[], now=NOON + FOREVER)
    # Only what has passed since the last success counts.
    assert not may_reach(50, incident(succeeded=HOUR), schedule=SCHEDULE, now=NOON + TOTAL / 2)
