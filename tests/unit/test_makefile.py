"""What `make venv` installs with."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hookhub.procfile import ROOT

# It stands for Python, pip and uv, and notes how the two were called.
STAND_IN = """#!/bin/sh
case "$(basename $0) $*" in
    *" -c "*) ;;
    *" -m venv "*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/pip && cp "$0" .venv/bin/uv ;;
    *"pip config list") printf '%s\\n' "$CONFIGURED" ;;
    *" install "*" /dev/fd/"*) echo "pip installs uv" >> calls ;;
    "uv "*" install "*) echo "uv installs" >> calls; exit $UV_FAILS ;;
    *" install "*) echo "pip installs" >> calls ;;
esac
"""


@pytest.mark.parametrize(
    ("configured", "uv_fails", "calls"),
    [
        ("", 0, ["pip installs uv", "uv installs"]),
        ("", 1, ["pip installs uv", "uv installs", "pip installs"]),
        ("global.cert='/etc/ssl/ours.pem'\nglobal.timeout='60'", 0, ["pip installs uv", "uv installs"]),
        ("global.index-url='https://mirror.example/simple'", 0, ["pip installs"]),
        (":env:.index-url='https://mirror.example/simple'", 0, ["pip installs"]),
        ("install.extra-index-url='https://mirror.example/simple'", 0, ["pip installs"]),
        (":env:.no-index='1'", 0, ["pip installs"]),
        ("global.proxy='http://proxy.example:3128'", 0, ["pip installs"]),
    ],
)
def test_uv_installs_unless_pip_is_set_up_for_an_index_or_a_proxy(
    tmp_path: Path, configured: str, uv_fails: int, calls: list[str]
) -> None:
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "requirements-docs.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "CONFIGURED": configured, "UV_FAILS": str(uv_fails)}

    done = subprocess.run(
        ["make", "venv", f"PYTHON={python}"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert (done.returncode, (tmp_path / "calls").read_text().splitlines()) == (0, calls), done.stderr
