"""The list of all tests: what a process of xdist makes of it, and when it no longer holds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import collected
from tests.collected import Collected, Expected, ListedTests

FOLDER = Path("/tests")
ONE, TWO = FOLDER / "test_one.py", FOLDER / "test_two.py"
IDS = {ONE: ["one::a", "one::b", "one::not_selected"], TWO: ["two::a"]}
LISTED = [Expected("one::b", ONE, False), Expected("one::a", ONE, False), Expected("two::a", TWO, False)]


def listed(monkeypatch: pytest.MonkeyPatch, found: dict[Path, list[str]]) -> tuple[ListedTests, list[Path]]:
    """Return tests as listed, where modules have those found; and the modules that were imported so far."""
    imported: list[Path] = []

    def genitems(module: Any) -> list[Any]:
        imported.append(module.path)
        return [SimpleNamespace(nodeid=nodeid) for nodeid in found[module.path]]

    session: Any = SimpleNamespace(genitems=genitems)
    folder: Any = SimpleNamespace(path=FOLDER)
    inside = SimpleNamespace(passed=True, result=[SimpleNamespace(path=path) for path in found])
    monkeypatch.setattr(collected, "collect_one_node", lambda _: inside)
    return ListedTests(session, Collected("", ("", ""), LISTED, IDS, {}), [folder]), imported


def test_a_module_is_imported_once_and_not_before_a_test_of_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tests, imported = listed(monkeypatch, IDS)

    assert ([test.nodeid for test in tests], imported) == (["one::b", "one::a", "two::a"], [])
    assert (tests[1].nodeid, imported) == ("one::a", [ONE])
    assert (tests[0].nodeid, imported) == ("one::b", [ONE])
    assert (tests[2].nodeid, imported) == ("two::a", [ONE, TWO])


@pytest.mark.parametrize("found", [["one::a", "one::b"], ["one::a", "one::b", "one::not_selected", "one::new"], []])
def test_a_module_with_other_tests_than_listed_ends_the_run(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    tests, _ = listed(monkeypatch, {**IDS, ONE: found})

    with pytest.raises(RuntimeError, match=r"test_one\.py has other tests than listed"):
        _ = tests[1]


def test_the_list_holds_until_a_file_is_changed_added_or_deleted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(collected, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    file = tmp_path / "tests" / "names.json"
    states = []
    for content in ("", "[]", None, "[]"):
        file.unlink() if content is None else file.write_text(content)
        states.append(collected.state_of_files())
        (tmp_path / ".cache").mkdir(exist_ok=True)
        (tmp_path / ".cache" / str(len(states))).touch()
        assert collected.state_of_files() == states[-1]

    assert len(set(states)) == 4
