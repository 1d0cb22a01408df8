"""Every curl of the documents about dialects, pasted into a shell as they stand, and what they say it answers."""

import json
import os
import re
import subprocess
from typing import Any

import pytest
from django.utils import timezone

from deliveries.models import Organization
from hookhub.models import ApiKey, Scope
from hookhub.procfile import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BETWEEN = "--- the next block ---"
# A refusal ends the script, and its body says why.
PRELUDE = 'set -euo pipefail; curl() { command curl --fail-with-body "$@"; }\n'


@pytest.mark.parametrize("name", ["coregit", "codmir", "sigmagit", "code-storage"])
@pytest.mark.django_db(transaction=True)
def test_what_is_pasted_from_the_document_does_what_it_says(live_server: Any, name: str) -> None:
    organization = Organization.objects.create(slug="default")
    _, key = ApiKey.issue(organization=organization, scope=Scope.MASTER, now=timezone.now())
    blocks = BLOCK.findall((ROOT / "docs" / "dialects" / f"{name}.md").read_text())
    pasted = [text for kind, text in blocks if kind == "bash"]
    script = PRELUDE + f"\necho; echo '{BETWEEN}'\n".join(pasted).replace("http://127.0.0.1:8000", live_server.url)

    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "KEY": key}, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    # A 204 has nothing to say.
    answers = [json.loads(text) if text.strip() else None for text in done.stdout.split(BETWEEN)]
    promised = promised_answers(blocks)
    assert len(answers) == len(pasted)
    for position, promise in promised.items():
        assert same(answers[position], promise), (answers[position], promise)


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
