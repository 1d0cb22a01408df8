"""Finds PgBouncer for the tests: Debian's, and one that knows prepared statements.

``python -m tests.pgbouncer`` prints the path of the latter, after having built it if need be, which takes minutes.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests import debian

# With it came prepared statements in transaction mode.
FIRST_WITH_PREPARED = (1, 21)
BUILT = Path(__file__).resolve().parent.parent / ".hookhub" / "pgbouncer" / "pgbouncer"
BUILDS_FROM = "deb-src http://deb.debian.org/debian trixie main\n"
MISSING = "No PgBouncer of version 1.21 or later was found: python -m tests.pgbouncer builds one"
NEEDED = ("gcc", "make", "pkg-config", "dpkg-dev", "libevent-dev", "libssl-dev")


def program() -> str:
    """Return the path of a PgBouncer; without one, skip the test, or fail on a build server."""
    return debian.require("pgbouncer", package="pgbouncer")


def program_with_prepared() -> str:
    """Return the path of one that knows prepared statements; without one, skip the test."""
    return find_with_prepared() or pytest.skip(MISSING)


@cache
def find_with_prepared() -> str | None:
    """Return the path of one that knows prepared statements: Debian's, or one that was built; or None."""
    found = debian.find("pgbouncer", package="pgbouncer")
    for path in (found, str(BUILT)):
        if path and Path(path).exists() and version_of(path) >= FIRST_WITH_PREPARED:
            return path
    return None


def find_or_build() -> str | None:
    """Return the path of one that knows prepared statements, building Debian 13's if need be; or None."""
    found = find_with_prepared()
    if found is not None or os.geteuid() != 0 or not shutil.which("apt-get"):
        return found
    with tempfile.TemporaryDirectory() as folder:
        return build(Path(folder))


def version_of(path: str) -> tuple[int, ...]:
    """Return the version of a PgBouncer."""
    printed = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", printed)
    return tuple(map(int, found.groups())) if found else ()


def build(folder: Path) -> str | None:
    """Build the version of Debian 13 from its source; return the path, or None if that fails."""
    (folder / "sources.list").write_text(BUILDS_FROM)
    (folder / "lists" / "partial").mkdir(parents=True)
    apart = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
    }
    options = [word for name, value in apart.items() for word in ("-o", f"{name}={value}")]
    steps = (
        ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", *NEEDED],
        ["apt-get", *options, "update"],
        ["apt-get", *options, "source", "--download-only", "pgbouncer"],
        ["sh", "-c", "tar xf pgbouncer_*.orig.tar.gz && cd pgbouncer-* && ./configure --without-cares && make -j2"],
    )
    for step in steps:
        done = subprocess.run(step, cwd=folder, check=False, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return None
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(next(folder.glob("pgbouncer-*/pgbouncer")), BUILT)
    return str(BUILT)


if __name__ == "__main__":
    print(find_or_build() or sys.exit("no PgBouncer of version 1.21 or later was found or could be built"))
