"""Reads the hook's settings from ``hookhub.json`` in the git directory and from the environment."""

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
# The keys of ``shapes.SHAPES``. Importing that module would make the pusher wait.
DIALECTS = ("native", "coregit", "code-storage", "sigmagit", "social-gateway")
DEFAULT = DIALECTS[0]

_TEXT = {"url", "api_key", "repository", "html_url", "clone_url", "dialect", "repository_id", "customer_id"}
_SECONDS = {"budget_seconds", "timeout_seconds", "patience_seconds"}
_MAX_SECONDS = 86_400


class NotConfigured(Exception):
    """A setting is missing or invalid; the message names it."""


@dataclass(frozen=True)
class Settings:
    """The settings of the hook in one repository."""

    url: str
    # Not in the repr, so that tracebacks do not show it.
    api_key: str = field(repr=False)
    identity: Identity
    # The vendor system whose event types and payload shapes are published.
    dialect: str = DEFAULT
    # With HOOKHUB_FOREGROUND: how long a push waits for the sender's report.
    budget_seconds: float = 2.0
    # The socket timeout of a request.
    timeout_seconds: float = 10.0
    # How long a sender retries before it leaves the rest to the next push or to --flush.
    patience_seconds: float = 60.0

    def for_push(self, named: Mapping[str, str]) -> Settings:
        """Return the settings for one push, overridden by those from the push's environment."""
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
    """Read the settings of one repository; raise NotConfigured.

    The environment takes precedence over the file, except for the URL and the API key: both come from the file, or both
    from the environment if the file has neither. A pusher may control part of the environment, and could otherwise have
    the file's key sent to a server of the pusher's choice.
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
    """Return the dialect; raise NotConfigured if it has no events for pushes."""
    if dialect not in DIALECTS:
        raise NotConfigured(
            f"dialect must be one of {', '.join(DIALECTS)}, not {dialect!r}: other dialects have no push events"
        )
    return dialect


def checked_url(url: str) -> str:
    """Return HookHub's URL without a trailing slash or ``/v1``; raise NotConfigured if it is invalid."""
    url = url.strip()
    # The part before an @ may hold a password, so the message must not quote it.
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
        raise NotConfigured(f"{rule}: remove the user name, query or fragment")
    if not re.fullmatch(r"[!-~]+", url):
        raise NotConfigured(
            f"{rule}: use Punycode (xn--) for a non-ASCII host, and percent-encode other special characters"
        )
    url = url.rstrip("/")
    return url.removesuffix("/v1")


def checked_key(api_key: str) -> str:
    """Return the API key without surrounding white space; raise NotConfigured, without quoting it, if it is invalid."""
    key = api_key.strip().strip("\ufeff").strip()
    if not re.fullmatch(r"[!-~]{1,1000}", key):
        raise NotConfigured(
            "api_key is empty, too long or contains invalid characters (white space, control characters or non-ASCII "
            "letters); copy it again"
        )
    return key


def name_of(git_dir: Path) -> str:
    """Derive a repository's name from its directory: "widgets" for ``/srv/git/widgets.git`` and ``widgets/.git``."""
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
    """Return the URL and the key from the file, or from the environment; raise NotConfigured unless one has both."""
    source: Mapping[str, Any] = given if given.get("url") or given.get("api_key") else named
    missing = [name for name in ("url", "api_key") if not source.get(name)]
    if not missing:
        return source["url"], source["api_key"]
    if source is given:
        raise NotConfigured(f"set {missing[0]} in {path} as well: url and api_key must come from the same source")
    raise NotConfigured(
        f"set {' and '.join(missing)} in {path} or {' and '.join(f'HOOKHUB_{name.upper()}' for name in missing)} "
        f"in the environment"
    )


def _read_file(path: Path) -> dict[str, Any]:
    try:
        # As bytes, whose encoding json detects: Windows editors write UTF-8 with a byte order mark, or UTF-16.
        given = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise NotConfigured(f"cannot read {path}: {error}") from error
    if not isinstance(given, dict):
        raise NotConfigured(f"{path} must contain a JSON object")
    if unknown := set(given) - _TEXT - _SECONDS - {"private"}:
        raise NotConfigured(f"{path}: unknown settings: {_listed(unknown)}")
    wrong = [name for name in _TEXT & given.keys() if not isinstance(given[name], str)]
    wrong += [name for name in _SECONDS & given.keys() if not _is_span(given[name])]
    wrong += [name for name in ("private",) if not isinstance(given.get(name, True), bool)]
    if wrong:
        raise NotConfigured(f"{path}: wrong type: {_listed(wrong)}")
    # The URL and the key are validated verbatim: replacing invalid characters would produce a different value.
    readable = _TEXT - {"url", "api_key"}
    return {name: shown(value) if name in readable else value for name, value in given.items()}


def _is_span(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 <= value <= _MAX_SECONDS


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(shown(name)[:100] for name in names))
