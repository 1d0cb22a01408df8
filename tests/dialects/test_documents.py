"""Every curl of the documents about dialects, pasted into a shell as they stand, and what they say it answers."""

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

from deliveries.drain import drain_once
from deliveries.models import Organization
from hookhub.dialects import DIALECTS
from hookhub.models import ApiKey, Scope
from hookhub.procfile import ROOT
from tests.receiver import Receiver

PAGES = sorted((ROOT / "docs" / "dialects").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What the documents say, where a test has its own.
SERVICE, RECEIVER = "http://127.0.0.1:8000", "http://127.0.0.1:9000"
# Each block runs in a shell that knows what the ones before it have set, as a reader's terminal does. A refusal ends
# it, and its body says why.
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
        # What a worker would do meanwhile.
        drain_once(timedelta(seconds=30))


def test_every_dialect_has_a_page() -> None:
    assert {page.stem for page in PAGES} >= set(DIALECTS)


def promised_answers(blocks: list[tuple[str, str]]) -> dict[int, Any]:
    """What the documents say is answered, by the number of the block of commands that it stands behind."""
    found: dict[int, Any] = {}
    commands = -1
    for position, (kind, text) in enumerate(blocks):
        if kind == "bash":
            commands += 1
        elif kind == "json" and position and blocks[position - 1][0] == "bash":
            found[commands] = json.loads(text)
    return found


def same(found: Any, told: Any) -> bool:
    """Whether an answer is what a document tells, where an ellipsis stands for what cannot be told; so do moments."""
    if isinstance(told, dict):
        return (
            isinstance(found, dict) and found.keys() == told.keys() and all(same(found[key], told[key]) for key in told)
        )
    if isinstance(told, list):
        return isinstance(found, list) and len(found) == len(told) and all(map(same, found, told))
    if isinstance(told, str) and re.fullmatch(r"[\d-]{10}T[\d:.]+Z", told):
        return re.fullmatch(re.sub(r"\d", r"\\d", re.escape(told)), found) is not None
    if isinstance(told, str) and told.endswith("…"):
        # Of an id or a secret in hex nothing can be told; a prefix such as whsec_ can.
        start = "" if re.fullmatch(r"[0-9a-f-]*…", told) else told[:-1]
        return isinstance(found, str) and found.startswith(start) and len(found) > len(told)
    return bool(found == told)
