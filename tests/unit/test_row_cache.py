"""Which database lookups are cached, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest

from hookhub import row_cache
from hookhub.row_cache import TTL, RowCache

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("later", "is_known"),
    [(timedelta(0), True), (TTL - MOMENT, True), (TTL, False), (timedelta(days=1), False), (-MOMENT, False)],
)
def test_an_answer_holds_for_its_span_and_not_before_it_was_given(later: timedelta, *, is_known: bool) -> None:
    cache = RowCache[str, int]()

    cache.put("a", 1, now=NOON, generation=0)

    assert cache.get("a", now=NOON + later) == (1 if is_known else None)


def test_what_was_never_asked_or_is_forgotten_is_not_known() -> None:
    cache = RowCache[str, int]()
    cache.put("a", 1, now=NOON, generation=0)

    cache.evict("a")
    cache.evict("b")

    assert (cache.get("a", now=NOON), cache.get("b", now=NOON)) == (None, None)


def test_of_more_than_it_can_hold_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_cache, "MAX_ENTRIES", 3)
    cache = RowCache[str, int]()

    for number, name in enumerate("abcad"):
        cache.put(name, number, now=NOON, generation=0)

    assert [cache.get(name, now=NOON) for name in "abcd"] == [3, None, 2, 4]


def test_an_answer_from_before_a_change_is_not_remembered_after_it() -> None:
    cache = RowCache[str, int]()
    generation = cache.generation

    cache.evict("a")
    cache.put("a", 1, now=NOON, generation=generation)

    assert cache.get("a", now=NOON) is None


def test_a_change_has_all_that_it_concerns_forgotten_and_nothing_else() -> None:
    cache = RowCache[str, int]()
    for name, number in (("a", 1), ("b", 2), ("c", 1)):
        cache.put(name, number, now=NOON, generation=cache.generation)

    cache.evict_where(lambda _, number: number == 1)

    assert [cache.get(name, now=NOON) for name in "abc"] == [None, 2, None]
