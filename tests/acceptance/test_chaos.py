"""The short form of the fault harness: nothing is lost, and two mutants are detected; `make chaos` runs the rest."""

import json
import subprocess
import sys

import pytest

from chaos.scenarios.catalogue import SHORT
from chaos.scenarios.mutants import PROOF
from hookhub import procfile
from tests.prepared import prepared

pytestmark = pytest.mark.acceptance

# The same seed gives the same run, as far as the machine allows.
SEED = 20261121


def chaos(*arguments: str) -> list[dict[str, object]]:
    """Run scenarios from the command line and return their lines of JSON; raise with the output when it fails."""
    command = [sys.executable, "-m", "chaos", *arguments, "--seed", str(SEED), "--prepared", str(prepared() / "keyed")]
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


def test_bugs_built_in_on_purpose_are_found() -> None:
    verdicts = chaos("proof")

    assert [verdict["scenario"] for verdict in verdicts] == [scenario.name for scenario in PROOF]
    for verdict in verdicts:
        assert verdict["breaches"], verdict
