"""Finds Debian's Prometheus with promtool, or unpacks it; without one the tests are skipped visibly."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from hookhub.procfile import ROOT

NAMES = ("prometheus", "promtool")
# Unpacked and not installed: as a service it would start at once, on a port of its own.
FOLDER = ROOT / ".hookhub" / "prometheus"
MISSING = (
    "THE TESTS WITH PROMETHEUS DID NOT RUN: it was not found. Install it (apt-get install prometheus) or name the "
    "folder of its programs in the variable PROMETHEUS."
)


@cache
def find() -> Path | None:
    """Return the folder with both programs, unpacking Debian's package where apt-get is; or None."""
    found = look()
    if found is None and "PROMETHEUS" not in os.environ and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        unpack()
        found = look()
    return found


def look() -> Path | None:
    """Return the folder of the installed or unpacked programs, or None; PROMETHEUS names it or disables the search."""
    named = os.environ.get("PROMETHEUS")
    if named is not None:
        folders = [Path(named)]
    else:
        installed = shutil.which(NAMES[0])
        folders = [Path(installed).parent] if installed else []
        folders.append(FOLDER / "usr" / "bin")
    for folder in folders:
        if all((folder / name).is_file() for name in NAMES):
            return folder
    return None


def unpack() -> None:
    """Download Debian's package and unpack it into a folder of this checkout."""
    # Several test processes may do so at the same time.
    draft = FOLDER.with_name(f"{FOLDER.name}.{os.getpid()}")
    draft.mkdir(parents=True, exist_ok=True)

    def run(*command: str) -> bool:
        return subprocess.run(command, check=False, capture_output=True, cwd=draft).returncode == 0

    if not run("apt-get", "download", "prometheus"):
        run("apt-get", "update")
        run("apt-get", "download", "prometheus")
    for package in draft.glob("prometheus_*.deb"):
        if run("dpkg-deb", "-x", str(package), str(draft)) and not FOLDER.exists():
            package.unlink()
            try:
                draft.rename(FOLDER)
            except OSError:
                break
    shutil.rmtree(draft, ignore_errors=True)


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; without it, skip the test, or fail on a build server."""
    folder = find()
    if folder is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return str(folder / name)
