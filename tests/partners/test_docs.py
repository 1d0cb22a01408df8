"""What the documents of the dialects show can be copied and pasted."""

import re
import subprocess
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Organization
from hookhub.dialects import DIALECTS
from hookhub.models import ApiKey, Scope
from hookhub.procfile import ROOT
from tests.partners.live import deliver
from tests.receiver import Receiver

PAGES = sorted((ROOT / "docs" / "dialects").glob("*.md"))
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What `make up` and the documents say; a page is read with the test's own in their place.
SERVICE, RECEIVER = "http://127.0.0.1:8000", "http://127.0.0.1:9000"
# Each block runs in a shell of its own that knows what the ones before it have set, as a reader's terminal does; an
# answer of 400 and more ends it.
SHELL = """set -euo pipefail
set -o allexport
curl() { command curl --fail-with-body --max-time 30 "$@"; }
test ! -e "$MEMORY" || source "$MEMORY"
%s
declare -px > "$MEMORY"
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_block_runs_as_it_stands(page: Path, live_server: LiveServer, receiver: Receiver, tmp_path: Path) -> None:
    organization = Organization.objects.create(slug="default")
    _, key = ApiKey.issue(organization=organization, scope=Scope.MASTER, now=timezone.now())
    blocks = BLOCK.findall(page.read_text())
    assert any("curl" in block for block in blocks)
    surroundings = {"PATH": "/usr/local/bin:/usr/bin:/bin", "KEY": key, "MEMORY": str(tmp_path / "memory")}

    for block in blocks:
        text = block.replace(SERVICE, live_server.url).replace(RECEIVER, receiver.url("").rstrip("/"))
        done = subprocess.run(
            ["bash", "-c", SHELL % text], cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{page.name}:\n{block}\n{done.stdout}\n{done.stderr}"
        # What a worker would do meanwhile.
        deliver()


def test_every_dialect_has_a_page() -> None:
    assert {page.stem for page in PAGES} >= set(DIALECTS)
