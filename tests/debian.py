"""Finds programs that the tests run, or installs Debian's; without one the tests are skipped visibly."""

import os
import shutil
import subprocess
from functools import cache

import pytest

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
# Another process may be installing something. After new pages of the manual, all of them would be indexed, which takes
# longer than the rest.
INSTALL = (
    "apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--path-exclude=/usr/share/man/*",
    "install", "-y", "--no-install-recommends",
)  # fmt: skip


@cache
def find(name: str, *, package: str) -> str | None:
    """Return the path of a program, installing Debian's package when running as root there; or None."""
    found = shutil.which(name, path=PATH)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        # Debian would start a server that is installed.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        # The lists of packages may be those of today.
        for command in ([*INSTALL, package], ["apt-get", "update"], [*INSTALL, package]):
            subprocess.run(command, check=False, capture_output=True, env=environment)
            if found := shutil.which(name, path=PATH):
                break
    return found


def require(name: str, *, package: str) -> str:
    """Return the path of a program; without it, skip the test, or fail on a build server."""
    return find(name, package=package) or missing(f"no {name} was found: apt-get install {package}")


def missing(what: str) -> str:
    """Skip the test visibly, or fail on a build server."""
    message = f"A TEST DID NOT RUN: {what}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
