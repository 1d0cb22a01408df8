"""The README's code blocks work when pasted one after the other, as a new user does."""

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

# A block in Python is for a Django project; tests/acceptance/test_wheel.py runs that of docs/django.md.
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks() -> list[str]:
    """Return every block of commands in the README, in order."""
    return [block for language, block in BLOCK.findall((ROOT / "README.md").read_text()) if language != "python"]


def test_the_readmes_blocks_work_one_after_the_other(tmp_path: Path) -> None:
    running = {"make demo", "make up", "listen"}
    pasted = [block for block in blocks() if not any(word in block for word in running)]
    assert len(blocks()) - len(pasted) == len(running)

    with prepared_home("hookhub-test-") as home:
        # The web server of the tutorial's test has as many processes as by default.
        environment = {"HOOKHUB_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": "", "WEB_WORKERS": "1"}
        with service.running(port=free_port(), log=tmp_path / "up.log", environment=environment) as url:
            script = "\n".join(pasted).replace(".venv/bin/python manage.py", f"{sys.executable} {ROOT}/manage.py")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script.replace("http://127.0.0.1:8000", url)],
                cwd=tmp_path, env={**os.environ, **environment, "NO_PROXY": "*"}, text=True, capture_output=True,
                check=False, timeout=300,
            )  # fmt: skip

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert '"secret":"whsec_' in said
    assert re.search(r'"type":"push","accepted_at":', said)
    assert "Created repository" in said
    assert "is reachable and accepts events for widgets with this key." in said
    assert (tmp_path / "key.txt").stat().st_mode & 0o077 == 0
