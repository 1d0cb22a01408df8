"""Every curl command of the documents about dialects works when pasted into a shell, and returns what they show."""

import json
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Organization
from deliveries.worker.loop import run_until_idle
from hookhub.dialects import DIALECTS
from hookhub.models import ApiKey, Scope
from hookhub.procfile import ROOT
from tests.receiver import Receiver

PAGES = sorted((ROOT / "docs" / "dialects").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The documents use these URLs; a test replaces them with its own.
SERVICE, RECEIVER = "http://127.0.0.1:8000", "http://127.0.0.1:9000"
# Each block runs in a shell with the variables that earlier blocks set, as in a reader's terminal. An error response
# ends the block, and its body is printed.
SHELL = """set -euo pipefail
set -o allexport
curl() { command curl --fail-with-body "$@"; }
test ! -e "$MEMORY" || source "$MEMORY"
%s
declare -px > "$MEMORY"
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.django_db(transaction=True, reset_sequences=True)
def test_what_is_pasted_from_the_document_does_what_it_says(
    live_server: LiveServer, receiver: Receiver, tmp_path: Path, page: Path
) -> None:
    organization = Organization.objects.create(slug="default")
    _, key = ApiKey.issue(organization=organization, scope=Scope.MASTER, now=timezone.now())
    blocks = BLOCK.findall(page.read_text())
    pasted = [text for kind, text in blocks if kind == "bash"]
    promised = promised_answers(blocks)
    assert any("curl" in text for text in pasted)

    for position, text in enumerate(pasted):
        command = SHELL % text.replace(SERVICE, live_server.url).replace(RECEIVER, receiver.url("").rstrip("/"))
        done = subprocess.run(
            ["bash", "-c", command], env={**os.environ, "KEY": key, "MEMORY": str(tmp_path / "memory")},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        if position in promised:
            said = done.stdout.replace(live_server.url, SERVICE).replace(receiver.url("").rstrip("/"), RECEIVER)
            assert same(json.loads(said), promised[position]), (said, promised[position])
        # What a worker would do in the meantime.
        run_until_idle(timedelta(seconds=30))


def test_every_dialect_has_a_page() -> None:
    assert {page.stem for page in PAGES} >= set(DIALECTS)


def promised_answers(blocks: list[tuple[str, str]]) -> dict[int, Any]:
    """Return the responses that the documents show, by the number of the block of commands that they follow."""
    found: dict[int, Any] = {}
    commands = -1
    for position, (kind, text) in enumerate(blocks):
        if kind == "bash":
            commands += 1
        elif kind == "json" and position and blocks[position - 1][0] == "bash":
            found[commands] = json.loads(text)
    return found


def same(found: Any, told: Any) -> bool:
    """Return whether a response is what a document shows, where an ellipsis or a timestamp matches any other value."""
    if isinstance(told, dict):
        return (
            isinstance(found, dict) and found.keys() == told.keys() and all(same(found[key], told[key]) for key in told)
        )
    if isinstance(told, list):
        return isinstance(found, list) and len(found) == len(told) and all(map(same, found, told))
    if isinstance(told, str) and re.fullmatch(r"[\d-]{10}T[\d:.]+Z", told):
        return re.fullmatch(re.sub(r"\d", r"\\d", re.escape(told)), found) is not None
    if isinstance(told, str) and told.endswith("…"):
        # Nothing of an id or a hex secret is known; a prefix such as whsec_ is.
        start = "" if re.fullmatch(r"[0-9a-f-]*…", told) else told[:-1]
        return isinstance(found, str) and found.startswith(start) and len(found) > len(told)
    return bool(found == told)
