"""Installs the hook: this package as one executable file, and its settings beside the repository's refs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hookhub.git.hook import find_git_dir
from hookhub.git.repository import as_text
from hookhub.git.settings import FILE_NAME, checked_dialect, checked_url, name_of

_MARK = "hookhub/git/hook.py"
# Not 'install.py': what is installed does not install.
_MODULES = (
    *("__init__", "draining", "history", "hook", "payloads", "repository", "sending", "settings", "shapes", "spool"),
    "telling",
)
_START = "import sys\n\nfrom hookhub.git.hook import main\n\nsys.exit(main())\n"
# The same bytes for the same version: an administrator can compare two hosts.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Refused(Exception):
    """Nothing was installed; the message says why and what can be done."""


@dataclass(frozen=True)
class Installed:
    """What was written."""

    hook: Path
    settings: Path
    set_aside: Path | None


def install(
    repository: Path,
    *,
    url: str,
    api_key: str,
    name: str | None = None,
    html_url: str | None = None,
    clone_url: str | None = None,
    dialect: str | None = None,
    repository_id: str | None = None,
    customer_id: str | None = None,
    hook_name: str = "post-receive",
    interpreter: str = "/usr/bin/env python3",
    force: bool = False,
) -> Installed:
    """Write the hook and its settings into a repository; raise Refused when another hook is there already.

    With ``force`` the other hook is set aside beside ours. Installing over our own hook renews it.
    """
    git_dir = find_git_dir(repository)
    hook = _hooks_directory(git_dir) / hook_name
    set_aside = None
    if hook.exists() and not _is_ours(hook):
        if not force:
            raise Refused(_how_to_chain(hook))
        set_aside = hook.with_name(f"{hook.name}.before-hookhub")
        if set_aside.exists():
            raise Refused(f"{hook} is not HookHub's and {set_aside} is taken; move one of them away")
        hook.rename(set_aside)
    chosen: dict[str, Any] = {"url": checked_url(url), "api_key": api_key, "repository": name or name_of(git_dir)}
    optional = {
        "html_url": html_url,
        "clone_url": clone_url,
        "dialect": checked_dialect(dialect) if dialect else None,
        "repository_id": repository_id,
        "customer_id": customer_id,
    }
    chosen.update({key: value for key, value in optional.items() if value})
    settings = git_dir / FILE_NAME
    hook.parent.mkdir(exist_ok=True)
    _write(settings, f"{json.dumps(chosen, indent=2)}\n".encode(), mode=0o600, like=git_dir)
    _write(hook, packed(interpreter=interpreter), mode=0o755, like=git_dir)
    return Installed(hook=hook, settings=settings, set_aside=set_aside)


def packed(*, interpreter: str = "/usr/bin/env python3") -> bytes:
    """Pack this package into one executable file: a Python zip application that needs nothing but Python 3.9."""
    buffer = io.BytesIO()
    buffer.write(
        f"#!{interpreter}\n# HookHub's post-receive hook, a Python zip application: unzip it to read it.\n".encode()
    )
    with zipfile.ZipFile(buffer, "a", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", _EPOCH), _START)
        archive.writestr(zipfile.ZipInfo("hookhub/__init__.py", _EPOCH), "")
        for module in _MODULES:
            source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
            archive.writestr(zipfile.ZipInfo(f"hookhub/git/{module}.py", _EPOCH), source)
    return buffer.getvalue()


def _hooks_directory(git_dir: Path) -> Path:
    """Ask git, because ``core.hooksPath`` may point elsewhere."""
    command = ["git", "--git-dir", str(git_dir), "rev-parse", "--git-path", "hooks"]
    asked = subprocess.run(command, capture_output=True, cwd=git_dir, check=False)
    if asked.returncode:
        raise Refused(as_text(asked.stderr).strip())
    return (git_dir / os.fsdecode(asked.stdout.rstrip(b"\n"))).resolve()


def _is_ours(hook: Path) -> bool:
    if not zipfile.is_zipfile(hook):
        return False
    with zipfile.ZipFile(hook) as archive:
        return _MARK in archive.namelist()


def _how_to_chain(hook: Path) -> str:
    beside = hook.with_name("hookhub-post-receive")
    return f"""{hook} exists and is not HookHub's.
Either replace it with --force (the old one is kept as {hook.name}.before-hookhub),
or install beside it with --hook-name {beside.name} and let your hook call ours. In a shell script:

    lines=$(cat)
    printf '%s\\n' "$lines" | "{beside}"
    printf '%s\\n' "$lines" | your-own-work"""


def _write(path: Path, content: bytes, *, mode: int, like: Path) -> None:
    """Write a file whole, with its mode from the first moment, owned as the repository is when root writes it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        # The umask has had its say in the mode; the file's purpose has the last word.
        os.fchmod(file.fileno(), mode)
        if os.geteuid() == 0:
            owner = like.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
