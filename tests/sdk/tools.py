"""The programs that the SDKs in other languages are tested with: where they are, and what to do if they are missing."""

import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hookhub.procfile import ROOT
from tests.made_once import alone
from tests.partners import node
from tests.wheel import uv

PYTHON = ROOT / "sdk" / "python"
TYPESCRIPT = ROOT / "sdk" / "typescript"
GO = ROOT / "sdk" / "go"
MODULE = "github.com/hookhub/hookhub/sdk/go"
# Nothing is downloaded, and no newer toolchain is looked for. Of the standard library, which Go compiles on a new
# machine, no C is compiled, and nothing optimized. Tables for debuggers would take a quarter of that, and half of a
# program's linking.
GO_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-mod=mod '-gcflags=all=-N -l -dwarf=false' '-ldflags=-s -w'",
    "GOPROXY": "off",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}


def run(*command: str | Path, cwd: Path, seconds: float = 300, **environment: str) -> str:
    """Run a program and return its output; fail with all of its output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def go() -> str:
    """Return the path of Go. If it is missing, skip the test with the reason, and fail it in CI."""
    found = shutil.which("go")
    if found is None:
        reason = "sdk/go is NOT TESTED, because Go is missing; install Go 1.24 or later: https://go.dev/dl/"
        if "PYTEST_CURRENT_TEST" in os.environ and "CI" not in os.environ:
            pytest.skip(reason)
        raise AssertionError(reason)
    return found


def has_go() -> bool:
    """Return whether Go is on this machine."""
    return shutil.which("go") is not None


def npm_packages() -> Path:
    """Return the folder of what sdk/typescript is built with; fail with instructions if it is missing."""
    node.require(TYPESCRIPT)
    return TYPESCRIPT / "node_modules"


@cache
def typescript() -> Path:
    """Compile sdk/typescript, once for all processes of a run and until it changes, and return its folder."""
    sources = [
        *sorted((TYPESCRIPT / "src").glob("*.ts")),
        TYPESCRIPT / "tsconfig.json",
        TYPESCRIPT / "package-lock.json",
    ]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    made = TYPESCRIPT / "dist" / ".made-from"
    with alone("typescript"):
        if not made.exists() or made.read_text() != digest:
            shutil.rmtree(made.parent, ignore_errors=True)
            run(node.node(), npm_packages() / "typescript" / "bin" / "tsc", cwd=TYPESCRIPT)
            made.write_text(digest)
    return TYPESCRIPT


@cache
def installed_python() -> Path:
    """Install sdk/python by itself, without the packages that it needs, and return the folder that it is in.

    This is done once for all processes of a run and until it changes.
    """
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    with alone("sdk-python"), TemporaryDirectory() as drafts:
        # A build leaves files in the source, which a later build would pack.
        source = shutil.copytree(PYTHON, Path(drafts) / "sdk-python", ignore=ignored)
        digest = hashlib.sha256()
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(source)}\0".encode() + path.read_bytes())
        made = ROOT / ".hookhub" / "sdk-python" / digest.hexdigest()[:16]
        if not made.exists():
            shutil.rmtree(made.parent, ignore_errors=True)
            uv("pip", "install", "--python", sys.executable, "--no-deps", "--target", f"{made}-unfinished", source)
            made.with_name(f"{made.name}-unfinished").rename(made)
    return made


def go_program(folder: Path, **files: str) -> Path:
    """Compile programs that use sdk/go, one for each name and source, and return the folder that they are in."""
    for name, source in files.items():
        (folder / name).mkdir()
        (folder / name / "main.go").write_text(source)
    run(go(), "mod", "init", "programs", cwd=folder, **GO_ENVIRONMENT)
    run(go(), "mod", "edit", f"-require={MODULE}@v0.0.0", f"-replace={MODULE}={GO}", cwd=folder, **GO_ENVIRONMENT)
    (folder / "bin").mkdir()
    run(go(), "build", "-o", folder / "bin", "./...", cwd=folder, **GO_ENVIRONMENT)
    return folder / "bin"


def first_example(sdk: Path) -> str:
    """Return the first block of code of an SDK's README."""
    return (sdk / "README.md").read_text().split("```")[1].partition("\n")[2]
