"""The external interface does not change by accident: names, fields, options and values match the golden files."""

import difflib

import pytest

from tests.contract.pages import GOLDEN, PAGES, text_of

ADVICE = (
    "If this is a change on purpose: `make contract` writes the golden files anew (as does `python -m tests.contract "
    "--write`), and CHANGELOG.md tells users of it."
)


@pytest.mark.parametrize("page", PAGES)
def test_what_users_meet_is_what_it_was(page: str) -> None:
    path = GOLDEN / f"{page}.txt"
    golden, now = path.read_text(), text_of(page)

    difference = "".join(
        difflib.unified_diff(
            golden.splitlines(keepends=True), now.splitlines(keepends=True), f"golden/{path.name}", "the code", n=1
        )
    )

    assert not difference, f"{difference}\n{ADVICE}"


def test_every_golden_file_is_compared() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(PAGES)
