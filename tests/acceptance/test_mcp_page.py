"""The conversation of docs/mcp.md works when it is pasted into the terminals that the page names."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from hookhub.embedded import service
from hookhub.procfile import ROOT
from testbed.processes import free_port, wait_for
from tests.prepared import prepared_home

pytestmark = pytest.mark.acceptance

PAGE = (ROOT / "docs" / "mcp.md").read_text()
BASH = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
[AGENT] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def run(text: str, folder: Path, **environment: str) -> str:
    """Run commands in bash, each of which must succeed; return what they print."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env={**os.environ, **environment, "NO_PROXY": "*"},
        text=True, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def agent(folder: Path, *, port: int) -> Iterator[Path]:
    """Run the page's receiver; yield the file of what it prints."""
    printed = folder / "printed.txt"
    (folder / "agent.py").write_text(AGENT.replace("9443", str(port)))
    with printed.open("w") as file:
        running = subprocess.Popen([sys.executable, "agent.py"], cwd=folder, stdout=file)
    try:
        yield printed
    finally:
        running.kill()
        running.wait()


def test_an_agent_is_played_as_the_page_says(tmp_path: Path) -> None:
    certificate, start = BASH[0].rsplit("\n", 2)[:2]
    assert start == "HOOKHUB_CA_BUNDLE=$PWD/agent.pem make up"
    run(certificate, tmp_path)
    callback, port = free_port(), free_port()

    with prepared_home("hookhub-mcp-") as home, agent(tmp_path, port=callback) as printed:
        settings = {
            "HOOKHUB_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": "",
            "HOOKHUB_CA_BUNDLE": str(tmp_path / "agent.pem"), "WEB_WORKERS": "1",
        }  # fmt: skip
        with service.running(port=port, log=tmp_path / "up.log", environment=settings) as url:
            wait_for(lambda: requests.get(f"{url}/readyz", timeout=30).ok, "HookHub")
            text = "\n".join(BASH[1:]).replace(".venv/bin/python manage.py", f"{sys.executable} {ROOT}/manage.py")
            text = text.replace("http://127.0.0.1:8000", url).replace("9443", str(callback))
            # Instead of a moment's patience.
            patience = f"until grep -q production {printed}; do sleep 0.05; done\n"
            said = run(text.replace("sleep 1\n", patience), tmp_path, **settings)

    assert re.search(
        r'"result":\{"id":"sub_[0-9a-f]{32}","refreshBefore":"[^"]+Z","cursor":null,"truncated":false', said
    )
    verification, event = printed.read_text().splitlines()
    assert '"type": "verification"' in verification
    assert '"data": {"environment": "production", "version": "1.2"}, "cursor": null}' in event
    # The tool shows the event, and the subscription ends.
    assert '"structuredContent":{"events":[{"eventId":' in said
    assert said.endswith('{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}\n')
