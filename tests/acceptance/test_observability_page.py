"""The quick start of docs/observability.md works as printed, in a folder without anything else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hookhub.embedded import service
from hookhub.procfile import ROOT
from testbed.processes import free_port
from tests.prepared import prepared_home

pytestmark = pytest.mark.acceptance

BLOCK = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_first_metrics_are_there_as_the_page_says(tmp_path: Path) -> None:
    install, up, look, *_ = BLOCK.findall((ROOT / "docs" / "observability.md").read_text())
    settings, _, command = up.partition(" .venv/bin/python ")
    name, _, printed_port = settings.partition("=")
    assert (name, command) == ("HOOKHUB_METRICS_PORT", "manage.py up\n")
    port = str(free_port())

    def paste(block: str, **environment: str) -> str:
        text = block.replace(".venv/bin/python", sys.executable).replace("requirements-", f"{ROOT}/requirements-")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text.replace(printed_port, port)],
            cwd=tmp_path, env={**os.environ, **environment, "NO_PROXY": "*"}, text=True, capture_output=True,
            check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "prometheus-client" in paste(install)
    with prepared_home("hookhub-metrics-") as home:
        environment = {
            "HOOKHUB_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": "", "WEB_WORKERS": "1", name: port,
            "HOOKHUB_METRICS_DIR": str(tmp_path / "metrics"),
        }  # fmt: skip
        with service.running(port=free_port(), log=tmp_path / "up.log", environment=environment):
            # The worker's first heartbeat may be a moment away.
            shown = paste(f"until {look.rstrip()} | grep -q '^hookhub_workers_alive 1'; do sleep 0.2; done; {look}")

    assert "hookhub_workers_alive 1.0" in shown
