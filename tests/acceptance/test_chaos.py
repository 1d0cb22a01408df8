"""The fault harness: a little of everything loses nothing, and every bug built in on purpose is found."""

import json
import subprocess
import sys

import pytest

from chaos.hunts import HUNTS
from chaos.scenarios import SHORT
from hookhub import procfile

pytestmark = pytest.mark.acceptance

# A run is the same for the same seed as far as a machine lets it.
SEED = 20261121
# Two tests can take turns with others; each has servers of its own.
HUNTED = [scenario.name for scenario, _ in HUNTS.values()]
HALVES = (HUNTED[: len(HUNTED) // 2], HUNTED[len(HUNTED) // 2 :])


def chaos(*arguments: str) -> list[dict[str, object]]:
    """Run scenarios as anybody would, and give their lines of JSON; raises with what was told when it is not well."""
    command = [sys.executable, "-m", "chaos", *arguments, "--seed", str(SEED)]
    done = subprocess.run(command, cwd=procfile.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_little_of_everything_loses_nothing_and_doubles_only_what_was_in_flight() -> None:
    verdicts = chaos("short")

    assert [verdict["scenario"] for verdict in verdicts] == [scenario.name for scenario in SHORT]
    for verdict in verdicts:
        assert {name: verdict[name] for name in ("lost", "unexpected", "breaches")} == {
            "lost": 0,
            "unexpected": 0,
            "breaches": 0,
        }
        assert int(str(verdict["accepted"])) > 50
    assert int(str(verdicts[0]["kills"])) >= 5


@pytest.mark.parametrize("names", HALVES, ids=("first-half", "second-half"))
def test_each_bug_built_in_on_purpose_is_found(names: list[str]) -> None:
    verdicts = chaos(*names)

    assert [verdict["scenario"] for verdict in verdicts] == names
    for verdict in verdicts:
        assert verdict["breaches"], verdict
