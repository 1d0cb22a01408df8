"""Published bodies that are mostly white space: the length of each pattern match is bounded, and so is their sum."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from hookhub.publishing import event_objects
from hookhub.publishing.event_objects import MAX_SPACE_IN_ONE_LOOK, document, lines

MEMBERS = 5
SPACES = 300_000
# A name has up to 255 characters and two quotes, and up to 64 of white space on either side of its colon.
MAX_OTHER_LOOK = 255 + 2 + 64 + 1 + 64


class Counting:
    """A pattern that records the length of each match."""

    def __init__(self, pattern: "re.Pattern[str]", looks: list[int]) -> None:
        self.pattern, self.looks = pattern, looks

    def match(self, text: str, at: int) -> Any:
        found = self.pattern.match(text, at)
        self.looks.append(found.end() - at if found else 0)
        return found


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[int]]]:
    seen: dict[str, list[int]] = {"_space": [], "_plain_name": [], "_after_value": []}
    for name, noted in seen.items():
        monkeypatch.setattr(event_objects, name, Counting(getattr(event_objects, name), noted))
    return seen


def spaced(space: str, *, members: int = MEMBERS) -> str:
    """Return an object with this white space wherever any is allowed."""
    inner = f"{space},{space}".join(f'"m{number}"{space}:{space}{number}' for number in range(members))
    return f"{space}{{{space}{inner}{space}}}{space}"


@pytest.mark.parametrize("space", [" ", "\t", "\r", "\n", " \r\n\t"], ids=["blanks", "tabs", "returns", "lines", "all"])
def test_megabytes_of_space_between_the_parts_of_an_event_are_passed_over_in_bounded_looks(
    looks: dict[str, list[int]], space: str
) -> None:
    text = spaced(space * (SPACES // len(space)))

    found, is_array = document(text, most=len(text))
    [event] = list(found)

    assert (list(event), is_array) == ([f"m{number}" for number in range(MEMBERS)], False)
    assert max(looks["_space"]) <= MAX_SPACE_IN_ONE_LOOK
    assert max(looks["_plain_name"] + looks["_after_value"]) <= MAX_OTHER_LOOK
    # Every character is matched once, except at both ends, which are matched again, and the rest that one match leaves.
    assert sum(looks["_space"]) <= len(text) + 2 * SPACES
    assert len(looks["_space"]) <= len(text) // MAX_SPACE_IN_ONE_LOOK + 8 * MEMBERS


def test_twice_the_space_is_twice_the_work_and_no_more(looks: dict[str, list[int]]) -> None:
    work = []
    for spaces in (SPACES, 2 * SPACES):
        for noted in looks.values():
            noted.clear()
        text = spaced(" " * spaces)
        list(document(text, most=len(text))[0])
        work.append(sum(sum(noted) for noted in looks.values()))

    assert work[1] <= 2.1 * work[0]


def test_space_after_which_nothing_follows_is_looked_at_a_bounded_number_of_times(
    looks: dict[str, list[int]],
) -> None:
    space = " " * SPACES
    for begin, end in (('{"a"', ""), ('{"a":1', ""), ('{"a":1,', ""), ('{"a"', "1"), ('{"a":1', "1"), ("[", "")):
        text = begin + space + end
        for noted in looks.values():
            noted.clear()
        with pytest.raises(ValueError, match=r"expected|Expecting|value"):
            list(document(text, most=len(text))[0])

        assert sum(sum(noted) for noted in looks.values()) <= 3 * SPACES, (begin, end)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_any_amount_of_space_reads_the_same(count: int) -> None:
    space = " " * count
    expected = [{f"m{number}": event_objects.NOT_KEPT for number in range(MEMBERS)}]

    for most in (10, 1_000_000):
        assert list(document(spaced(space), most=most)[0]) == expected
        assert list(lines(spaced(space) + "\n", most=most)) == expected
    assert list(document(f"{space}{{{space}}}{space}", most=10)[0]) == [{}]
    data = f'{{"data"{space}:{space}[1, 2]{space},{space}"type"{space}:{space}"a"{space}}}'
    assert list(document(data, most=1000)[0]) == [{"data": ([1, 2], "[1, 2]"), "type": ("a", '"a"')}]
