"""A table as one test runs all cases, and names those that failed."""

import pytest

from tests.tables import rows_of, running, together


def test_all_cases_run_and_those_that_failed_are_named() -> None:
    ran = []

    def test(number: int) -> None:
        ran.append(number)
        assert number != 2
        if number == 3:
            pytest.fail("three")

    with pytest.raises(BaseExceptionGroup, match="2 of 4 cases failed") as raised:
        running(test, [(f"no. {number}", {"number": number}) for number in range(1, 5)])()

    assert ran == [1, 2, 3, 4]
    assert [(type(error), error.__notes__) for error in raised.value.exceptions] == [
        (AssertionError, ["the case: no. 2"]),
        (pytest.fail.Exception, ["the case: no. 3"]),
    ]


def test_cases_have_the_names_and_values_of_their_marks() -> None:
    one = pytest.mark.parametrize("a", [1, pytest.param(2, id="two")]).mark
    both = pytest.mark.parametrize(("b", "c"), {"x": (3, 4)}.values(), ids=["x"]).mark

    assert [together(rows) for rows in zip(rows_of(one), rows_of(both) * 2, strict=True)] == [
        ("(1,) - x", {"a": 1, "b": 3, "c": 4}),
        ("two - x", {"a": 2, "b": 3, "c": 4}),
    ]
