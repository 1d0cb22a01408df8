"""Where the fault harness keeps the logs and histories of its runs."""

from contextlib import ExitStack
from pathlib import Path

from chaos.scenarios.catalogue import SCENARIOS
from chaos.setup import folder_for


def test_a_scenario_that_is_run_again_keeps_its_records_beside_those_of_the_first_run(tmp_path: Path) -> None:
    scenario, keep = SCENARIOS[0], tmp_path / "kept" / "here"
    with ExitStack() as stack:
        first = folder_for(scenario, keep, stack)
        (first / "web.log").write_text("the first run")
        second, third = folder_for(scenario, keep, stack), folder_for(scenario, keep, stack)

    names = [scenario.name, f"{scenario.name}-2", f"{scenario.name}-3"]
    assert [first, second, third] == [keep / name for name in names]
    assert (first / "web.log").read_text() == "the first run"
    assert [list(folder.iterdir()) for folder in (second, third)] == [[], []]


def test_without_keep_the_folder_goes_with_the_run() -> None:
    with ExitStack() as stack:
        folder = folder_for(SCENARIOS[0], None, stack)
        assert folder.is_dir()

    assert not folder.exists()
