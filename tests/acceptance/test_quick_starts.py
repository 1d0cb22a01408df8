"""The first steps of README.md, docs/mcp.md and docs/observability.md work when they are pasted into the terminals.

They share one HookHub, which is started with the settings of all of them.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from hookhub.embedded import service
from hookhub.procfile import ROOT
from testbed.processes import free_port, wait_for
from tests.prepared import prepared_home

pytestmark = pytest.mark.acceptance


def blocks(page: str, *languages: str) -> list[str]:
    """Return the blocks of a page in some languages, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [block for language, block in found if language in languages]


# A block in Python is for a Django project; tests/acceptance/test_wheel.py runs that of docs/django.md.
README = blocks("README.md", "")
OF_MCP, [AGENT] = blocks("docs/mcp.md", "bash"), blocks("docs/mcp.md", "python")
INSTALL_METRICS, UP_WITH_METRICS, LOOK_AT_METRICS, *_ = blocks("docs/observability.md", "")


class Up(NamedTuple):
    """A HookHub as a reader of the pages has started it, in a folder with what they made before."""

    folder: Path
    url: str
    metrics_port: str
    environment: Mapping[str, str]

    def paste(self, text: str) -> str:
        """Run commands of a page in bash, each of which must succeed; return what they print."""
        return run(text.replace("http://127.0.0.1:8000", self.url), self.folder, **self.environment)


def run(text: str, folder: Path, **environment: str) -> str:
    """Run commands with the programs of this environment, and return their output."""
    text = text.replace("manage.py", f"{ROOT}/manage.py").replace("requirements-", f"{ROOT}/requirements-")
    text = text.replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env={**os.environ, **environment, "NO_PROXY": "*"},
        text=True, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr + done.stdout


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder, metrics_port = tmp_path_factory.mktemp("terminal"), str(free_port())
    certificate, start = OF_MCP[0].rsplit("\n", 2)[:2]
    assert start == "HOOKHUB_CA_BUNDLE=$PWD/agent.pem make up"
    run(certificate, folder)
    settings, _, command = UP_WITH_METRICS.partition(" .venv/bin/python ")
    assert (settings.partition("=")[0], command) == ("HOOKHUB_METRICS_PORT", "manage.py up\n")
    with prepared_home("hookhub-test-") as home:
        environment = {
            "HOOKHUB_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": "",
            # The web server of the tutorial's test has as many processes as by default.
            "WEB_WORKERS": "1",
            "HOOKHUB_CA_BUNDLE": str(folder / "agent.pem"),
            "HOOKHUB_METRICS_PORT": metrics_port, "HOOKHUB_METRICS_DIR": str(folder / "metrics"),
        }  # fmt: skip
        with service.running(port=free_port(), log=folder / "up.log", environment=environment) as url:
            yield Up(folder, url, metrics_port, environment)


def test_the_readmes_blocks_work_one_after_the_other(up: Up) -> None:
    running = {"make demo", "make up", "listen"}
    pasted = [block for block in README if not any(word in block for word in running)]
    assert len(README) - len(pasted) == len(running)

    said = up.paste("\n".join(pasted))

    assert '"secret":"whsec_' in said
    assert re.search(r'"type":"push","accepted_at":', said)
    assert "Created repository" in said
    assert "is reachable and accepts events for widgets with this key." in said
    assert (up.folder / "key.txt").stat().st_mode & 0o077 == 0


def test_the_first_metrics_are_there_as_the_page_says(up: Up) -> None:
    assert "prometheus-client" in up.paste(INSTALL_METRICS)
    printed_port = UP_WITH_METRICS.partition("=")[2].partition(" ")[0]
    look = LOOK_AT_METRICS.replace(printed_port, up.metrics_port)
    # The worker's first heartbeat may be a moment away.
    shown = up.paste(f"until {look.rstrip()} | grep -q '^hookhub_workers_alive 1'; do sleep 0.2; done; {look}")

    assert "hookhub_workers_alive 1.0" in shown


@contextmanager
def agent(folder: Path, *, port: int) -> Iterator[Path]:
    """Run the receiver of docs/mcp.md; yield the file of what it prints."""
    printed = folder / "printed.txt"
    (folder / "agent.py").write_text(AGENT.replace("9443", str(port)))
    with printed.open("w") as file:
        running = subprocess.Popen([sys.executable, "agent.py"], cwd=folder, stdout=file)
    try:
        yield printed
    finally:
        running.kill()
        running.wait()


def test_an_agent_is_played_as_the_page_says(up: Up) -> None:
    callback = free_port()
    with agent(up.folder, port=callback) as printed:
        wait_for(lambda: requests.get(f"{up.url}/readyz", timeout=30).ok, "HookHub")
        # Instead of a moment's patience.
        patience = f"until grep -q production {printed}; do sleep 0.05; done\n"
        said = up.paste("\n".join(OF_MCP[1:]).replace("sleep 1\n", patience).replace("9443", str(callback)))

    assert re.search(
        r'"result":\{"id":"sub_[0-9a-f]{32}","refreshBefore":"[^"]+Z","cursor":null,"truncated":false', said
    )
    verification, event = printed.read_text().splitlines()
    assert '"type": "verification"' in verification
    assert '"data": {"environment": "production", "version": "1.2"}, "cursor": null}' in event
    # The tool shows the event, and the subscription ends.
    assert '"structuredContent":{"events":[{"eventId":' in said
    assert said.endswith('{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}\n')
