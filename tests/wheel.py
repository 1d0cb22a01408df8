"""Environments with nothing but HookHub's wheel, one for each Django, or its requirements, made until these change."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

import pytest

from hookhub.procfile import ROOT

UV = Path(sys.executable).parent / "uv"
# What the wheel is made of, and what no test writes to: another wheel would replace the environments that tests use.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "hookhub", "deliveries", "sdk/python", "docs")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "node_modules")


class Kind(NamedTuple):
    """What an environment has: a Python, an extra of the wheel, and other packages."""

    name: str
    python: str
    extra: str
    packages: tuple[str, ...]


OLDEST = Kind("django-5.2", "3.11", "[celery]", ("Django~=5.2.0",))
# Without Celery. Its Python is that of the first Django 6.
NEWEST = Kind("django-6", "3.12", "", ("Django>=6,<7",))
SERVICE = Kind("service", "3.11", "[service,embedded]", ())


def environment(kind: Kind) -> Path:
    """Return the folder of an environment's programs, which is made unless another process of this run has done so."""
    home = ROOT / ".hookhub" / "wheels"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wheel = _wheel(home)
        made = home / kind.name
        stamp = made / f"made-from-{wheel.parent.name}"
        if not stamp.exists():
            uv("venv", "--clear", "--python", _python(kind.python), made)
            uv("pip", "install", "--python", made / "bin" / "python", f"{wheel}{kind.extra}", *kind.packages)
            stamp.touch()
    return made / "bin"


def requirements_alone() -> Path:
    """Return the folder of programs of an environment with only requirements.txt, made once until that changes."""
    home, requirements = ROOT / ".hookhub" / "wheels", ROOT / "requirements.txt"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = home / "requirements"
        stamp = made / f"made-from-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]}"
        if not stamp.exists():
            venv.create(made, clear=True, with_pip=False)
            uv("pip", "install", "--python", made / "bin" / "python", "--require-hashes", "-r", requirements)
            stamp.touch()
    return made / "bin"


def _python(version: str) -> Path:
    """Return an interpreter of this version; without one, skip the test visibly."""
    for path in _interpreters(version):
        # The shim of a version manager fails unless its version is chosen.
        if path.exists() and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip(f"A TEST DID NOT RUN: no Python {version} was found")


def _interpreters(version: str) -> list[Path]:
    """Return where an interpreter of this version may be: first that of the tests, and those of pyenv last."""
    on_path = shutil.which(f"python{version}")
    found = [Path(sys.base_exec_prefix) / "bin" / f"python{version}"]
    found += [] if on_path is None else [Path(on_path)]
    roots = {Path.home() / ".pyenv", *(path.parent.parent for path in found if path.parent.name == "shims")}
    return found + sorted(path for root in roots for path in root.glob(f"versions/{version}.*/bin/python"))


def _wheel(home: Path) -> Path:
    """Return the wheel of the sources as they are."""
    folder = home / _fingerprint()
    if not folder.exists():
        for old in home.glob("*/*.whl"):
            shutil.rmtree(old.parent)
        # A copy, because the build writes into the sources' folder. Links lead to what the SDK shares with HookHub.
        sources = home / "sources"
        shutil.rmtree(sources, ignore_errors=True)
        sources.mkdir()
        for name in SOURCES:
            path = ROOT / name
            if path.is_dir():
                shutil.copytree(path, sources / name, ignore=LEFT_OUT)
            else:
                shutil.copy(path, sources / name)
        draft = home / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        uv("build", "--wheel", "--out-dir", draft, sources)
        draft.rename(folder)
    [wheel] = folder.glob("*.whl")
    return wheel


def _fingerprint() -> str:
    found = hashlib.sha256()
    for name in SOURCES:
        path = ROOT / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(f"{file.relative_to(ROOT)} {file.stat().st_size} {file.stat().st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]


def uv(*arguments: str | Path) -> None:
    """Run uv, which installs from its cache in a tenth of pip's time."""
    # uv would otherwise prefer the environment that the tests run in.
    outside = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        # With the system's certificates, as pip: a proxy of the network may have its own.
        [str(UV), *map(str, arguments), "--quiet", "--system-certs"],
        env=outside,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
