"""The files at the root that hosts, editors and bots read are valid, and run what developers run."""

import configparser
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hookhub.procfile import ROOT

HIDDEN = [*ROOT.glob(".*.y*ml"), *ROOT.glob(".github/**/*.yml")]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("path", HIDDEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_hidden_yaml_file_can_be_read(path: Any) -> None:
    assert yaml.safe_load(path.read_text())


def test_both_ci_systems_run_what_a_developer_runs() -> None:
    [*_, last] = read(".github/workflows/ci.yml")["jobs"]["test"]["steps"]

    assert last == {"run": ".ci/run"}
    assert read(".gitlab-ci.yml")["test"]["script"] == [".ci/run"]
    assert (ROOT / ".ci" / "run").read_text().endswith("exec make test\n")


def test_ci_has_the_python_that_the_project_requires() -> None:
    [python] = [step["with"]["python-version"] for step in read(".github/workflows/ci.yml")["jobs"]["test"]["steps"]
                if "python-version" in step.get("with", {})]  # fmt: skip

    assert f'requires-python = ">={python}"' in (ROOT / "pyproject.toml").read_text()
    assert read(".gitlab-ci.yml")["test"]["image"].startswith(f"python:{python}-")


def test_commits_are_checked_with_the_locked_tools() -> None:
    hooks = [hook for repository in read(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]

    assert {hook["entry"].split()[0] for hook in hooks} == {".venv/bin/ruff", ".venv/bin/mypy"}
    assert {hook["language"] for hook in hooks} == {"system"}


def test_issue_forms_have_what_their_host_requires() -> None:
    for form in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        content = yaml.safe_load(form.read_text())
        assert content["name"]
        assert content["description"]
        assert [part["attributes"]["label"] for part in content["body"] if part["type"] != "markdown"]


def test_editors_and_the_update_bot_can_read_their_settings() -> None:
    editor = configparser.ConfigParser(strict=True)
    editor.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    line_length = re.findall(r"^line-length = (\d+)$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert editor["*"]["max_line_length"] == line_length[0]
    assert json.loads((ROOT / "renovate.json").read_text())["packageRules"]


@pytest.mark.parametrize(
    ("measured", "taken"),
    [
        pytest.param(["1000", "1000"], 0, id="the first of equals"),
        pytest.param(["1000", "900"], 0, id="the first of almost equals"),
        pytest.param(["1000", "1500"], 0, id="the first, which is quicker"),
        pytest.param(["1500", "1000"], 1, id="the second, which is quicker"),
        pytest.param(["1500", "1000", "1000"], 1, id="the first of those that are quicker"),
        pytest.param(["", "1000"], 1, id="the only one that can make an environment"),
        pytest.param(["", ""], 0, id="the first, if none can"),
    ],
)
def test_the_environment_is_made_with_a_much_quicker_python_or_else_the_first(
    tmp_path: Path, measured: list[str], taken: int
) -> None:
    pythons = [tmp_path / str(number) / "python3.11" for number in range(len(measured))]
    for python, microseconds in zip(pythons, measured, strict=True):
        python.parent.mkdir()
        python.write_text(f"#!/bin/sh\necho {microseconds}\nexit {0 if microseconds else 1}\n")
        python.chmod(0o755)
    (tmp_path / "bash").symlink_to(shutil.which("bash") or "")
    path = os.pathsep.join(str(python.parent) for python in pythons)

    chosen = subprocess.run(
        [ROOT / ".ci" / "python"], env={"PATH": f"{path}:{tmp_path}"}, check=True, capture_output=True, text=True
    )

    assert (chosen.stdout, chosen.stderr) == (f"{pythons[taken]}\n", "")
