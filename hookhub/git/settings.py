"""Where HookHub is and what this repository is called, from ``hookhub.json`` beside the refs and the environment."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hookhub.git.payloads import Identity, shown

FILE_NAME = "hookhub.json"
# The keys of ``shapes.SHAPES``, which the pusher does not wait to have loaded.
DIALECTS = ("native", "coregit", "code-storage", "sigmagit", "social-gateway")
DEFAULT = DIALECTS[0]

_TEXT = {"url", "api_key", "repository", "html_url", "clone_url", "dialect", "repository_id", "customer_id"}
_SECONDS = {"budget_seconds", "timeout_seconds", "patience_seconds"}
_MAX_SECONDS = 86_400


class NotConfigured(Exception):
    """The hook cannot know where to send; the message names the setting."""


@dataclass(frozen=True)
class Settings:
    """Everything the hook can be told."""

    url: str
    # Not in what is printed of it: tracebacks must not tell it.
    api_key: str = field(repr=False)
    identity: Identity
    # The system whose events and shapes pushes are told in.
    dialect: str = DEFAULT
    # How long a push may wait for its events to be sent when HOOKHUB_FOREGROUND asks for that at all.
    budget_seconds: float = 2.0
    # How long one request may be silent.
    timeout_seconds: float = 10.0
    # How long a sender keeps trying before it leaves the rest to the next push or to --flush.
    patience_seconds: float = 60.0

    def for_push(self, named: Mapping[str, str]) -> Settings:
        """Return the settings for a push whose own environment named some of them."""
        identity = self.identity
        own = Identity(
            name=named.get("repository") or identity.name,
            html_url=(named.get("html_url") or "").rstrip("/") or identity.html_url,
            clone_url=named.get("clone_url") or identity.clone_url,
            private=identity.private,
            id=named.get("repository_id") or identity.id,
            customer_id=named.get("customer_id") or identity.customer_id,
        )
        dialect = named.get("dialect")
        return replace(self, identity=own, dialect=dialect if dialect in DIALECTS else self.dialect)


def read_settings(git_dir: Path, *, environment: Mapping[str, str]) -> Settings:
    """Read the settings of one repository; raise NotConfigured with the sentence to show.

    The environment wins, but for the address and the key: these come from one source together, and the file's win.
    A pusher may have a part in the environment, who is not to have the file's key sent to an address of his own.
    """
    path = git_dir / FILE_NAME
    given = _read_file(path)
    named = {name: shown(value) for name in _TEXT if (value := environment.get(f"HOOKHUB_{name.upper()}"))}
    url, api_key = _address_and_key(path, given, named)
    merged = {**given, **{name: value for name, value in named.items() if name not in ("url", "api_key")}}
    spans = {name: float(merged[name]) for name in _SECONDS if name in merged}
    return Settings(
        url=checked_url(url),
        api_key=checked_key(api_key),
        identity=_identity(merged, git_dir),
        dialect=checked_dialect(merged.get("dialect") or DEFAULT),
        **spans,
    )


def checked_dialect(dialect: str) -> str:
    """Return the dialect if pushes can be told in it; raise NotConfigured when they cannot."""
    if dialect not in DIALECTS:
        raise NotConfigured(f"dialect must be one of {', '.join(DIALECTS)}: no other tells of pushes; not {dialect!r}")
    return dialect


def checked_url(url: str) -> str:
    """Return HookHub's address without a trailing slash or ``/v1``; raise NotConfigured when it is none."""
    url = url.strip()
    # What is before an @ may be a password, and is not repeated.
    quoted = "" if "@" in url else f", not {shown(url)[:200]!r}"
    rule = f"url must look like https://hooks.example.org{quoted}"
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise NotConfigured(f"{rule}: {error}" if quoted else rule) from None
    if not is_address:
        raise NotConfigured(rule)
    if parts.username is not None or parts.query or parts.fragment:
        raise NotConfigured(f"{rule}: without a user name, ? or #")
    if not re.fullmatch(r"[!-~]+", url):
        raise NotConfigured(f"{rule}: write a host beyond ASCII in its xn-- form, and other characters as %XX")
    url = url.rstrip("/")
    return url.removesuffix("/v1")


def checked_key(api_key: str) -> str:
    """Return the key without white space around it; raise NotConfigured, without showing it, when it cannot be one."""
    key = api_key.strip().strip("\ufeff").strip()
    if not re.fullmatch(r"[!-~]{1,1000}", key):
        raise NotConfigured(
            "api_key holds characters that no key has (white space, a control character, a letter beyond ASCII) "
            "or is empty; copy it again from where it was shown"
        )
    return key


def name_of(git_dir: Path) -> str:
    """Guess a repository's name from its directory: ``/srv/git/widgets.git`` and ``widgets/.git`` are both widgets."""
    directory = git_dir.parent if git_dir.name == ".git" else git_dir
    name = directory.name
    return shown(name.removesuffix(".git"))


def _identity(given: Mapping[str, Any], git_dir: Path) -> Identity:
    return Identity(
        name=given.get("repository") or name_of(git_dir),
        html_url=(given.get("html_url") or "").rstrip("/") or None,
        clone_url=given.get("clone_url") or None,
        private=given.get("private", True),
        id=given.get("repository_id") or None,
        customer_id=given.get("customer_id") or None,
    )


def _address_and_key(path: Path, given: Mapping[str, Any], named: Mapping[str, str]) -> tuple[str, str]:
    """Choose the source that has both."""
    source: Mapping[str, Any] = given if given.get("url") or given.get("api_key") else named
    missing = [name for name in ("url", "api_key") if not source.get(name)]
    if not missing:
        return source["url"], source["api_key"]
    if source is given:
        raise NotConfigured(f"set {missing[0]} in {path} too: the address and the key come from one place")
    raise NotConfigured(
        f"set {' and '.join(missing)} in {path} or {' and '.join(f'HOOKHUB_{name.upper()}' for name in missing)} "
        f"in the environment"
    )


def _read_file(path: Path) -> dict[str, Any]:
    try:
        # As bytes: editors of Windows put a byte order mark before UTF-8, or write UTF-16.
        given = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise NotConfigured(f"{path} cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise NotConfigured(f"{path} must hold one JSON object")
    if unknown := set(given) - _TEXT - _SECONDS - {"private"}:
        raise NotConfigured(f"{path} sets {_listed(unknown)}, which HookHub does not know")
    wrong = [name for name in _TEXT & given.keys() if not isinstance(given[name], str)]
    wrong += [name for name in _SECONDS & given.keys() if not _is_span(given[name])]
    wrong += [name for name in ("private",) if not isinstance(given.get(name, True), bool)]
    if wrong:
        raise NotConfigured(f"{path}: {_listed(wrong)} has the wrong type")
    # The address and the key are checked as they are: to repair one would be to make up another.
    readable = _TEXT - {"url", "api_key"}
    return {name: shown(value) if name in readable else value for name, value in given.items()}


def _is_span(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 <= value <= _MAX_SECONDS


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(shown(name)[:100] for name in names))
