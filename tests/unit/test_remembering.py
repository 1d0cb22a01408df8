"""Which database lookups are cached, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest

from hookhub import remembering
from hookhub.remembering import SPAN, Memory

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("later", "is_known"),
    [(timedelta(0), True), (SPAN - MOMENT, True), (SPAN, False), (timedelta(days=1), False), (-MOMENT, False)],
)
def test_an_answer_holds_for_its_span_and_not_before_it_was_given(later: timedelta, *, is_known: bool) -> None:
    memory = Memory[str, int]()

    memory.learn("a", 1, now=NOON, generation=0)

    assert memory.recall("a", now=NOON + later) == (1 if is_known else None)


def test_what_was_never_asked_or_is_forgotten_is_not_known() -> None:
    memory = Memory[str, int]()
    memory.learn("a", 1, now=NOON, generation=0)

    memory.forget("a")
    memory.forget("b")

    assert (memory.recall("a", now=NOON), memory.recall("b", now=NOON)) == (None, None)


def test_of_more_than_it_can_hold_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "MAX_ENTRIES", 3)
    memory = Memory[str, int]()

    for number, name in enumerate("abcad"):
        memory.learn(name, number, now=NOON, generation=0)

    assert [memory.recall(name, now=NOON) for name in "abcd"] == [3, None, 2, 4]


def test_an_answer_from_before_a_change_is_not_remembered_after_it() -> None:
    memory = Memory[str, int]()
    generation = memory.generation

    memory.forget("a")
    memory.learn("a", 1, now=NOON, generation=generation)

    assert memory.recall("a", now=NOON) is None


def test_a_change_has_all_that_it_concerns_forgotten_and_nothing_else() -> None:
    memory = Memory[str, int]()
    for name, number in (("a", 1), ("b", 2), ("c", 1)):
        memory.learn(name, number, now=NOON, generation=memory.generation)

    memory.forget_where(lambda _, number: number == 1)

    assert [memory.recall(name, now=NOON) for name in "abc"] == [None, 2, None]
