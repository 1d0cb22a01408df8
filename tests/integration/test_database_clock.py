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
        self.queries = 0
        # Seconds that each of the next queries takes.
        self.round_trips: Iterator[float] = iter(())

    def advance(self, seconds: float) -> None:
        self.steady, self.wall, self.database = self.steady + seconds, self.wall + seconds, self.database + seconds

    def query(self) -> datetime:
        self.queries += 1
        reported = START + self.database * SECOND
        self.advance(next(self.round_trips, 0.0))
        return reported

    def error_of(self, clock: DatabaseClock) -> timedelta:
        return clock() - (START + self.database * SECOND)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(database_clock, "steady", lambda: world.steady)
    monkeypatch.setattr(database_clock.time, "time", lambda: world.wall)
    monkeypatch.setattr(database_clock.sql, "database_now", world.query)
    return world


@pytest.mark.django_db
def test_the_clock_is_the_databases() -> None:
    clock = DatabaseClock()

    first, second = clock(), clock()

    assert first <= second
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_slow_sample_is_taken_again(world: World) -> None:
    world.round_trips = iter((0.5, 0.3, 0.0))

    clock = DatabaseClock()

    assert (world.queries, world.error_of(clock)) == (3, timedelta(0))


def test_of_slow_samples_the_fastest_is_used(world: World) -> None:
    world.round_trips = iter((0.5, 0.2, 0.3))

    clock = DatabaseClock()

    assert (world.queries, abs(world.error_of(clock))) == (3, timedelta(seconds=0.1))


def test_the_database_is_queried_from_time_to_time_and_not_for_each_poll(world: World) -> None:
    clock = DatabaseClock()
    for _ in range(100):
        world.advance(0.125)
        clock.resync()

    assert timedelta(seconds=5) == database_clock.VALID_FOR
    assert world.queries == 1 + 2


@pytest.mark.parametrize("step", [-3600.0, -0.5, 0.5, 3600.0])
def test_when_the_databases_clock_is_set_ours_follows(world: World, step: float) -> None:
    clock = DatabaseClock()

    world.database += step
    world.advance(database_clock.VALID_FOR / SECOND)
    clock.resync()

    assert world.error_of(clock) == timedelta(0)


def test_after_a_suspension_the_database_is_queried_at_once(world: World) -> None:
    clock = DatabaseClock()

    # The machine was suspended: its steady clock stopped, and its wall clock was corrected.
    world.wall, world.database = world.wall + 60, world.database + 60
    assert world.error_of(clock) == timedelta(seconds=-60)
    clock.resync()

    assert world.error_of(clock) == timedelta(0)
    clock.resync()
    assert world.queries == 2


def test_a_slow_sample_that_agrees_is_not_taken_again(world: World) -> None:
    clock = DatabaseClock()
    world.advance(database_clock.VALID_FOR / SECOND)

    world.round_trips = iter((2.0,))
    clock.resync()

    assert (world.queries, world.error_of(clock)) == (2, timedelta(0))


def test_a_slow_sample_that_disagrees_is_taken_again(world: World) -> None:
    clock = DatabaseClock()
    world.advance(database_clock.VALID_FOR / SECOND)
    world.database += 10

    world.round_trips = iter((2.0, 0.01))
    clock.resync()

    assert (world.queries, abs(world.error_of(clock)) <= timedelta(seconds=0.005)) == (3, True)


def test_while_the_database_is_unavailable_time_advances_and_the_query_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = DatabaseClock()
    world.advance(60)

    def away() -> datetime:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(database_clock.sql, "database_now", away)
        with pytest.raises(OSError, match="away"):
            clock.resync()
    assert world.error_of(clock) == timedelta(0)
    clock.resync()

    assert world.queries == 2


def test_the_steady_clock_advances() -> None:
    before = steady()
    time.sleep(0.001)
    assert steady() > before
