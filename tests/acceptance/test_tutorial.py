"""The tutorial's code blocks work when pasted one after the other into the terminals that it names."""

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
# A reader starts the receiver in another terminal, and Ctrl-C ends the one before.
PREPARATION = """
LISTENER=
listen() {
  if [ -n "$LISTENER" ]; then kill -INT "$LISTENER"; wait "$LISTENER"; fi
  "$@" >> received.txt 2>> listening.txt &
  LISTENER=$!
  shown=$((${shown:-0} + 1))
  until [ "$(grep -c '^Listening on' listening.txt)" -ge "$shown" ]; do sleep 0.05; done
}
requests=0
one_more_request() {
  requests=$((requests + 1))
  until [ "$(grep -c 'signature ok' received.txt)" -ge "$requests" ]; do sleep 0.05; done
  while curl -s 'http://127.0.0.1:8000/v1/deliveries?state=sending' -H "Authorization: Bearer $KEY" |
    grep -q '"state":"sending"'; do sleep 0.05; done
}
"""


def script(page: str) -> str:
    """Return the page's blocks as one script that does between them what a reader does."""
    parts = [PREPARATION]
    for block in BLOCK.findall(page):
        if "manage.py listen" in block:
            parts.append(f"listen {block}")
        elif block != "make up\n":
            parts.append(block)
            if "/v1/events " in block or "/redeliver" in block:
                parts.append("one_more_request\n")
    return "\n".join([*parts, 'kill -INT "$LISTENER"; wait "$LISTENER"'])


def test_the_tutorial_leads_to_a_verified_delivery_and_to_a_failure_mended(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text()
    receiving, port = f"http://127.0.0.1:{free_port()}", free_port()

    with prepared_home("hookhub-tutorial-") as home:
        environment = {"HOOKHUB_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": ""}
        with service.running(port=port, log=tmp_path / "up.log", environment=environment) as url:
            text = script(page).replace(".venv/bin/python manage.py", f"{sys.executable} {ROOT}/manage.py")
            text = text.replace("--port 9000", f"--port {receiving.rpartition(':')[2]}")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c",
                 text.replace("http://127.0.0.1:9000", receiving).replace("http://127.0.0.1:8000", url)],
                cwd=tmp_path, env={**os.environ, **environment, "NO_PROXY": "*"}, text=True, capture_output=True,
                check=False, timeout=300,
            )  # fmt: skip

    said = done.stdout + done.stderr
    received = (tmp_path / "received.txt").read_text()
    assert done.returncode == 0, said
    assert '"secret":"whsec_' in said
    assert received.count("signature ok") == 3
    assert (received.count("refs/heads/main"), received.count("refs/heads/broken")) == (1, 2)
    # The last block shows the delivery that was mended.
    story = done.stdout[done.stdout.rindex('"attempts":[') :]
    assert re.findall(r'"outcome":"(\w+)","status":(\d+)', story) == [("failed", "500"), ("delivered", "200")]
    assert (tmp_path / "secret.txt").stat().st_mode & 0o077 == 0
