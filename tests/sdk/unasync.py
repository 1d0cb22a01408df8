"""Makes the synchronous Python client from the asynchronous one, so that no method is written twice."""

import re
import subprocess
import sys
from collections.abc import Mapping

from hookhub.procfile import ROOT

PACKAGE = ROOT / "sdk" / "python" / "src" / "hookhub_client"
# The transports differ in more than this, so that both are written by hand.
MODULES = ("client", "deliveries", "organizations", "portal", "replays", "webhooks")
HEADING = "# Made by `make sdk` from ../aio/{name}.py, which is the one to change.\n"
REPLACED = (
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bimport asyncio\n", ""),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"\bAsync(Client|Transport|Iterator)\b", r"\1"),
    (r"from hookhub_client\.(aio|client)\.", "from ."),
)


def write() -> None:
    """Write the synchronous modules."""
    for name, text in files().items():
        (PACKAGE / "client" / name).write_text(text)


def files() -> Mapping[str, str]:
    """Return the content of each synchronous module by its file's name."""
    return {f"{name}.py": _made(name) for name in MODULES}


def _made(name: str) -> str:
    text = (PACKAGE / "aio" / f"{name}.py").read_text()
    for pattern, replacement in REPLACED:
        text = re.sub(pattern, replacement, text)
    docstring, _, rest = text.partition("\n")
    text = f"{docstring}\n\n{HEADING.format(name=name)}{rest}"
    # Shorter lines may be joined, and imports sorted otherwise.
    path = PACKAGE / "client" / f"{name}.py"
    for options in (("check", "--fix", "--select=I", "--quiet"), ("format", "--quiet")):
        command = [sys.executable, "-m", "ruff", *options, "--stdin-filename", path, "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return text
