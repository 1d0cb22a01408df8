"""Where HookHub is and what this repository is called: the environment first, then ``hookhub.json`` beside the refs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hookhub.git.payloads import Identity
from hookhub.git.shapes import DEFAULT, SHAPES

FILE_NAME = "hookhub.json"

_TEXT = {"url", "api_key", "repository", "html_url", "clone_url", "dialect", "repository_id", "customer_id"}
_SECONDS = {"budget_seconds", "timeout_seconds", "patience_seconds"}


class NotConfigured(Exception):
    """The hook cannot know where to send; the message names the setting."""


@dataclass(frozen=True)
class Settings:
    """Everything the hook can be told."""

    url: str
    api_key: str
    identity: Identity
    # The system whose events and shapes pushes are told in.
    dialect: str = DEFAULT
    # How long a push may wait for its events to be sent when HOOKHUB_FOREGROUND asks for that at all.
    budget_seconds: float = 2.0
    # How long one request may be silent.
    timeout_seconds: float = 10.0
    # How long a sender keeps trying before it leaves the rest to the next push or to --flush.
    patience_seconds: float = 60.0


def read_settings(git_dir: Path, *, environment: Mapping[str, str]) -> Settings:
    """Read the settings of one repository; raise NotConfigured with the sentence to show."""
    given = _read_file(git_dir / FILE_NAME)
    for name in _TEXT:
        if value := environment.get(f"HOOKHUB_{name.upper()}"):
            given[name] = as_unicode(value)
    for name in ("url", "api_key"):
        if not given.get(name):
            raise NotConfigured(f"set {name} in {git_dir / FILE_NAME} or HOOKHUB_{name.upper()} in the environment")
    identity = Identity(
        name=given.get("repository") or name_of(git_dir),
        html_url=(given.get("html_url") or "").rstrip("/") or None,
        clone_url=given.get("clone_url") or None,
        private=given.get("private", True),
        id=given.get("repository_id") or None,
        customer_id=given.get("customer_id") or None,
    )
    dialect = checked_dialect(given.get("dialect") or DEFAULT)
    spans = {name: float(given[name]) for name in _SECONDS if name in given}
    url = checked_url(given["url"])
    return Settings(url=url, api_key=given["api_key"], identity=identity, dialect=dialect, **spans)


def checked_dialect(dialect: str) -> str:
    """Return the dialect if pushes can be told in it; raise NotConfigured when they cannot."""
    if dialect not in SHAPES:
        raise NotConfigured(f"dialect must be one of {', '.join(SHAPES)}: no other tells of pushes; not {dialect!r}")
    return dialect


def checked_url(url: str) -> str:
    """Return HookHub's address without a trailing slash or ``/v1``; raise NotConfigured when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotConfigured(f"url must look like https://hooks.example.org, not {url!r}")
    url = url.rstrip("/")
    return url.removesuffix("/v1")


def name_of(git_dir: Path) -> str:
    """Guess a repository's name from its directory: ``/srv/git/widgets.git`` and ``widgets/.git`` are both widgets."""
    directory = git_dir.parent if git_dir.name == ".git" else git_dir
    return as_unicode(directory.name.removesuffix(".git"))


def as_unicode(text: str) -> str:
    """Replace what the operating system handed over and is not UTF-8, for JSON has no others."""
    return os.fsencode(text).decode("utf-8", errors="replace")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise NotConfigured(f"{path} cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise NotConfigured(f"{path} must hold one JSON object")
    if unknown := set(given) - _TEXT - _SECONDS - {"private"}:
        raise NotConfigured(f"{path} sets {', '.join(sorted(unknown))}, which HookHub does not know")
    wrong = [name for name in _TEXT & given.keys() if not isinstance(given[name], str)]
    wrong += [name for name in _SECONDS & given.keys() if not isinstance(given[name], (int, float))]
    if wrong:
        raise NotConfigured(f"{path}: {', '.join(sorted(wrong))} has the wrong type")
    return given
