"""The database's clock as a worker tracks it: whatever happens to clocks, no lease may start in the past."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from deliveries.worker import database_clock
from deliveries.worker.database_clock import DatabaseClock, steady

START = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class World:
    """Three clocks in seconds since the start: our steady clock, our wall clock, and the database's clock."""

    def __init__(self) -> None:
        self.steady = self.wall = self.database = 0.0
        self.asked = 0
        # Seconds that each of the next answers takes.
        self.ways: Iterator[float] = iter(())

    def go_on(self, seconds: float) -> None:
        self.steady, self.wall, self.database = self.steady + seconds, self.wall + seconds, self.database + seconds

    def ask(self) -> datetime:
        self.asked += 1
        told = START + self.database * SECOND
        self.go_on(next(self.ways, 0.0))
        return told

    def error_of(self, clock: DatabaseClock) -> timedelta:
        return clock() - (START + self.database * SECOND)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(database_clock, "steady", lambda: world.steady)
    monkeypatch.setattr(database_clock.time, "time", lambda: world.wall)
    monkeypatch.setattr(database_clock.sql, "database_now", world.ask)
    return world


@pytest.mark.django_db
def test_the_clock_is_the_databases() -> None:
    clock = DatabaseClock()

    first, second = clock(), clock()

    assert first <= second
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_answer_that_was_long_on_its_way_is_asked_for_again(world: World) -> None:
    world.ways = iter((0.5, 0.3, 0.0))

    clock = DatabaseClock()

    assert (world.asked, world.error_of(clock)) == (3, timedelta(0))


def test_of_answers_that_all_took_long_the_soonest_is_gone_by(world: World) -> None:
    world.ways = iter((0.5, 0.2, 0.3))

    clock = DatabaseClock()

    assert (world.asked, abs(world.error_of(clock))) == (3, timedelta(seconds=0.1))


def test_the_database_is_asked_again_now_and_then_and_not_for_each_look(world: World) -> None:
    clock = DatabaseClock()
    for _ in range(100):
        world.go_on(0.125)
        clock.resync()

    assert timedelta(seconds=5) == database_clock.HOLDS
    assert world.asked == 1 + 2


@pytest.mark.parametrize("step", [-3600.0, -0.5, 0.5, 3600.0])
def test_a_clock_of_the_databases_that_is_set_is_followed(world: World, step: float) -> None:
    clock = DatabaseClock()

    world.database += step
    world.go_on(database_clock.HOLDS / SECOND)
    clock.resync()

    assert world.error_of(clock) == timedelta(0)


def test_a_machine_that_stood_still_asks_at_once(world: World) -> None:
    clock = DatabaseClock()

    # The machine was suspended: its steady clock stopped, and its wall clock was corrected.
    world.wall, world.database = world.wall + 60, world.database + 60
    assert world.error_of(clock) == timedelta(seconds=-60)
    clock.resync()

    assert world.error_of(clock) == timedelta(0)
    clock.resync()
    assert world.asked == 2


def test_a_slow_answer_that_says_nothing_against_the_time_is_not_asked_for_again(world: World) -> None:
    clock = DatabaseClock()
    world.go_on(database_clock.HOLDS / SECOND)

    world.ways = iter((2.0,))
    clock.resync()

    assert (world.asked, world.error_of(clock)) == (2, timedelta(0))


def test_a_slow_answer_that_contradicts_is_asked_for_again(world: World) -> None:
    clock = DatabaseClock()
    world.go_on(database_clock.HOLDS / SECOND)
    world.database += 10

    world.ways = iter((2.0, 0.01))
    clock.resync()

    assert (world.asked, abs(world.error_of(clock)) <= timedelta(seconds=0.005)) == (3, True)


def test_while_the_database_does_not_answer_the_time_goes_on_and_it_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = DatabaseClock()
    world.go_on(60)

    def away() -> datetime:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(database_clock.sql, "database_now", away)
        with pytest.raises(OSError, match="away"):
            clock.resync()
    assert world.error_of(clock) == timedelta(0)
    clock.resync()

    assert world.asked == 2


def test_the_steady_clock_goes_on() -> None:
    before = steady()
    time.sleep(0.001)
    assert steady() > before
