"""Installs the hook: packs this package into one executable file and writes its settings into the repository."""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hookhub.git import environment, locations
from hookhub.git.payloads import as_text
from hookhub.git.privileges import dropped_privileges, environment_of
from hookhub.git.settings import FILE_NAME, Settings, checked_dialect, checked_key, checked_url, name_of, read_settings

_MARK = "hookhub/git/hook.py"
# The installed hook does not need these.
_LEFT_OUT = {"__main__.py", "checking.py", "install.py"}
_START = "import sys\n\nfrom hookhub.git.hook import main\n\nsys.exit(main())\n"
# A fixed date makes the build reproducible, so that an administrator can compare two hosts.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class InstallError(Exception):
    """Nothing was installed; the message gives the reason and a remedy."""


@dataclass(frozen=True)
class Installed:
    """The installed files, the previous hook if it was renamed, and a note about an unusual location of the hook."""

    git_dir: Path
    hook: Path
    settings: Path
    backup: Path | None
    note: str | None = None

    def read_settings(self) -> Settings:
        """Return the settings as the hook reads them, ignoring the environment of this process."""
        return read_settings(self.git_dir, environment={})


@dataclass(frozen=True)
class _Hooks:
    """The directory in which git looks for hooks, and the file that configures it (None for the default directory)."""

    directory: Path
    origin: str | None = None
    is_of_this_user: bool = False


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
    """Write the hook and its settings into a repository; raise InstallError, or NotConfigured for invalid settings.

    Another post-receive hook is an error, unless ``force`` is given, which renames it. An earlier version of our own
    hook is replaced.
    """
    try:
        git_dir = locations.find(repository)
    except locations.NoRepository as error:
        raise InstallError(str(error)) from error
    # Validate everything before the first write.
    chosen: dict[str, Any] = {
        "url": checked_url(url),
        "api_key": checked_key(api_key),
        "repository": name or name_of(git_dir),
    }
    optional = {
        "html_url": html_url,
        "clone_url": clone_url,
        "dialect": checked_dialect(dialect) if dialect else None,
        "repository_id": repository_id,
        "customer_id": customer_id,
    }
    chosen.update({key: value for key, value in optional.items() if value})
    hooks = _hooks_of(git_dir)
    hook, settings = hooks.directory / hook_name, git_dir / FILE_NAME
    with dropped_privileges(git_dir):
        backup = _back_up(hook, force=force)
        hook.parent.mkdir(exist_ok=True)
        _write(settings, f"{json.dumps(chosen, indent=2)}\n".encode(), mode=0o600)
        _write(hook, build_zipapp(interpreter=interpreter), mode=0o755)
    return Installed(git_dir, hook, settings, backup, note=_note(hooks, git_dir))


def _back_up(hook: Path, *, force: bool) -> Path | None:
    """Rename another hook and return its new path, or None if there is none; raise InstallError without ``force``."""
    if not hook.exists() or _is_ours(hook):
        return None
    if not force:
        raise InstallError(_how_to_chain(hook))
    backup = hook.with_name(f"{hook.name}.before-hookhub")
    if backup.exists():
        raise InstallError(f"{hook} is not HookHub's, and its backup {backup} already exists; move one of them")
    hook.rename(backup)
    return backup


def build_zipapp(*, interpreter: str = "/usr/bin/env python3") -> bytes:
    """Return this package as one executable file, a Python zip application that needs only Python 3.9."""
    buffer = io.BytesIO()
    buffer.write(
        f"#!{interpreter}\n# HookHub's post-receive hook, a Python zip application: unzip it to read it.\n".encode()
    )
    # Not compressed: decompression needs zlib, which a minimal Python may lack, and would take time on every push.
    with zipfile.ZipFile(buffer, "a", compression=zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", _EPOCH), _START)
        archive.writestr(zipfile.ZipInfo("hookhub/__init__.py", _EPOCH), "")
        for source in sorted(Path(__file__).parent.glob("*.py")):
            if source.name not in _LEFT_OUT:
                archive.writestr(zipfile.ZipInfo(f"hookhub/git/{source.name}", _EPOCH), source.read_text("utf-8"))
    return buffer.getvalue()


def _hooks_of(git_dir: Path) -> _Hooks:
    """Return where git looks for hooks when the repository's owner receives a push; raise InstallError.

    ``core.hooksPath`` may point elsewhere. It is read as the owner, since the configuration of another user does not
    apply to the owner's processes.
    """
    owner = git_dir.stat().st_uid
    inherited = dict(os.environ) if owner == os.geteuid() else environment_of(owner, os.environ)
    command = ["git", "config", "--show-origin", "--show-scope", "--null", "--type=path", "--get", "core.hooksPath"]
    with dropped_privileges(git_dir):
        done = subprocess.run(
            command,
            capture_output=True,
            cwd=git_dir,
            env=environment.for_git(inherited, git_dir=git_dir, own={}),
            check=False,
        )
    if done.returncode == 1:
        return _Hooks(git_dir / "hooks")
    if done.returncode:
        raise InstallError(f"git cannot determine the hooks directory: {as_text(done.stderr).strip()}")
    scope, origin, path = done.stdout.split(b"\0")[:3]
    # A relative path is relative to the repository's directory, in which git runs the hook.
    directory = (git_dir / os.fsdecode(path)).resolve()
    return _Hooks(directory, origin=as_text(origin), is_of_this_user=scope == b"global")


def _note(hooks: _Hooks, git_dir: Path) -> str | None:
    if hooks.origin is not None:
        note = f"core.hooksPath in {hooks.origin} is {hooks.directory}, so the hook was installed there"
        if hooks.is_of_this_user:
            note += (
                f". That is a per-user setting: when another user receives a push, git looks in {git_dir / 'hooks'} "
                f"instead. To install there, run this command with GIT_CONFIG_GLOBAL=/dev/null"
            )
        return note
    if git_dir.stat().st_uid != os.geteuid() and os.environ.get("HOME"):
        return "The repository belongs to another user, whose git configuration determines the hooks directory"
    return None


def _is_ours(hook: Path) -> bool:
    if not zipfile.is_zipfile(hook):
        return False
    with zipfile.ZipFile(hook) as archive:
        return _MARK in archive.namelist()


def _how_to_chain(hook: Path) -> str:
    alternative = hook.with_name("hookhub-post-receive")
    return f"""{hook} exists and is not HookHub's.
Either replace it with --force (the old one is renamed to {hook.name}.before-hookhub),
or install under another name with --hook-name {alternative.name}, and call that from your hook. In a shell script:

    lines=$(cat)
    printf '%s\\n' "$lines" | "{alternative}"
    printf '%s\\n' "$lines" | your-own-command"""


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file atomically; it never exists with a wider mode."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        # Set the exact mode: the umask was applied when the file was created.
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
