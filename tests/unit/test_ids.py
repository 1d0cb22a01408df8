"""Ids that sort by time."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

import pytest

from deliveries.db.ids import first_id_at, uuid7, uuid7s

# Far from all times for which other tests create ids.
NOON = datetime(2031, 3, 4, 12, 0, 0, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def millisecond_of(found: UUID) -> int:
    return found.int >> 80


def test_an_id_has_the_version_the_variant_and_the_moment_of_rfc_9562() -> None:
    for step in range(200):
        made = uuid7(NOON + step * MILLISECOND)

        assert (made.version, made.variant) == (7, RFC_4122)
        assert millisecond_of(made) == int((NOON + step * MILLISECOND).timestamp() * 1000)


def test_ids_of_one_millisecond_sort_in_the_order_they_were_made_however_many_there_are() -> None:
    moment = NOON + timedelta(days=1)

    made = [uuid7(moment) for _ in range(10_000)]

    assert made == sorted(made)
    assert len(set(made)) == 10_000


def test_many_at_once_are_what_as_many_one_by_one_would_be() -> None:
    moment = NOON + timedelta(days=4)

    made = [uuid7(moment), *uuid7s(moment, 10_000), *uuid7s(moment, 0), uuid7(moment), *uuid7s(moment, 2)]

    assert made == sorted(made)
    assert len(set(made)) == 10_004
    assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}
    assert millisecond_of(made[-1]) - millisecond_of(made[0]) == 2


def test_ids_of_neighbouring_milliseconds_asked_for_in_turns_sort_in_the_order_they_were_made() -> None:
    early, late = NOON + timedelta(days=2), NOON + timedelta(days=2, milliseconds=1)

    made = [uuid7(moment) for _ in range(1000) for moment in (late, early)]

    assert made == sorted(made)


def test_threads_never_make_one_id_twice_and_each_sees_its_own_in_order() -> None:
    moment = NOON + timedelta(days=3)
    made: list[list[UUID]] = [[] for _ in range(8)]
    together = threading.Barrier(8)

    def make(mine: list[UUID]) -> None:
        together.wait()
        mine.extend(uuid7(moment) for _ in range(2000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({one for mine in made for one in mine}) == 16_000
    assert all(mine == sorted(mine) for mine in made)


def test_who_travels_back_in_time_gets_ids_of_that_time() -> None:
    uuid7(NOON + timedelta(days=4))

    made = uuid7(NOON + timedelta(days=4, seconds=-1))

    assert millisecond_of(made) == int((NOON + timedelta(days=4, seconds=-1)).timestamp() * 1000)


@pytest.mark.parametrize(
    "moment",
    [NOON, NOON + timedelta(microseconds=999), datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)],
)
def test_the_first_id_of_a_moment_is_not_above_any_of_its_ids_and_above_all_earlier_ones(moment: datetime) -> None:
    first = first_id_at(moment)

    assert (first.version, first.variant) == (7, RFC_4122)
    assert first <= uuid7(moment)
    assert UUID(int=(millisecond_of(first) << 80) - 1 if millisecond_of(first) else 0) < first
    assert first == first_id_at(moment.replace(microsecond=moment.microsecond // 1000 * 1000))


def test_for_a_time_before_all_ids_there_is_a_first_id_too() -> None:
    assert first_id_at(datetime(1926, 12, 1, tzinfo=UTC)) == first_id_at(datetime(1970, 1, 1, tzinfo=UTC))
