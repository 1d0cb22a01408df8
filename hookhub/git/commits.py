"""Reads commits and the paths they change, one at a time, from a long-running git process."""

from __future__ import annotations

import os
import re
import secrets
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from hookhub.git.listing import GitFailed
from hookhub.git.payloads import as_text

# An import can add a million files in one commit, too many for a webhook.
MAX_PATHS = 3000
# A character takes up to twelve bytes as escaped JSON, and the whole event must stay below 1 MiB.
MAX_MESSAGE = 16_384
MAX_NAME = 1_000
# More than the longest message that is kept, at up to four bytes per character in UTF-8.
MAX_TOKEN_BYTES = 1 << 17
# The last second of the year 9999, the maximum in RFC 3339.
MAX_SECONDS = 253_402_300_799

# The date is raw: git dies of one that it would have to write as a local time before 1970.
_FIELDS = ("%H", "%T", "%an", "%ae", "%cn", "%ce", "%cd", "%B")
_ZONE = re.compile(r"([+-])([01]\d|2[0-3])([0-5]\d)", re.ASCII)


@dataclass(frozen=True)
class Person:
    """The author or committer of a commit."""

    name: str
    email: str


@dataclass(frozen=True)
class Commit:
    """One commit and the paths in which it differs from its first parent."""

    id: str
    tree_id: str
    message: str
    timestamp: str
    # ``timestamp`` as a Unix time in seconds.
    committed_at: int
    author: Person
    committer: Person
    added: tuple[str, ...]
    removed: tuple[str, ...]
    modified: tuple[str, ...]
    truncated: bool


class CommitReader:
    """Reads commits from one ``git diff-tree --stdin``, holding one commit in memory at a time."""

    def __init__(self, *, git_dir: Path, environment: Mapping[str, str], timeout_seconds: float) -> None:
        self._git_dir = git_dir
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        # Random markers, which no commit message or file name can imitate. The end marker is not an object id: git
        # echoes such a line and flushes its output.
        self._start = secrets.token_hex(16).encode()
        self._end = b"end-" + secrets.token_hex(16).encode() + b"\n"

    def read(self, commit: str, parent: str) -> Commit | None:
        """Return a commit with its changes against ``parent`` ("" for a root commit), or None if it does not exist.

        Raise GitFailed.
        """
        try:
            process = self._running()
            assert process.stdin is not None  # noqa: S101 - it is a pipe; for the type checker.
            # A parent on the line overrides the real ones, so that every git version compares a merge with its first.
            process.stdin.write(f"{commit} {parent}".rstrip().encode() + b"\n" + self._end)
            process.stdin.flush()
            return _read_commit(self._tokens(process), start=self._start)
        except (OSError, GitFailed) as error:
            self.close()
            raise GitFailed(f"git diff-tree: {error}") from error

    def close(self) -> None:
        """Kill the git process; the next read starts a new one."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            with process:
                pass

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [
                *("git", "-c", "core.quotePath=false", "diff-tree", "--stdin", "--root", "--always", "-r", "-z"),
                *("--no-renames", "--name-status", "--encoding=UTF-8", "--date=raw"),
                f"--format={'%x00'.join((self._start.decode(), *_FIELDS))}%x00",
            ]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                cwd=self._git_dir,
            )
        return self._process

    def _tokens(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """Yield the NUL-terminated tokens up to the end marker, each cut at ``MAX_TOKEN_BYTES``; raise GitFailed."""
        assert process.stdout is not None  # noqa: S101 - as above.
        descriptor = process.stdout.fileno()
        until = time.monotonic() + self._timeout_seconds
        token = bytearray()
        while True:
            ready, _, _ = select.select([descriptor], [], [], max(0, until - time.monotonic()))
            if not ready:
                raise GitFailed("timed out")
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                raise GitFailed("exited early")
            *whole, rest = chunk.split(b"\0")
            for piece in whole:
                token += piece
                yield bytes(token[:MAX_TOKEN_BYTES])
                token.clear()
            token += rest
            if token.endswith(self._end):
                return
            # Keep the beginning of the token, and its tail, which may be the start of the end marker.
            del token[MAX_TOKEN_BYTES : -len(self._end)]


def _read_commit(tokens: Iterator[bytes], *, start: bytes) -> Commit | None:
    token = next(tokens, None)
    if token is None:
        return None
    if token.lstrip(b"\n") != start:
        raise GitFailed(f"expected the start of a commit, got {token[:80]!r}")
    fields = [_filled(placeholder, as_text(next(tokens, b""))) for placeholder in _FIELDS]
    changed: dict[str, list[str]] = {"A": [], "D": [], "M": []}
    count = 0
    for token in tokens:
        # The line feed that ends the header precedes the first status letter. Paths are verbatim.
        status = as_text(token.lstrip(b"\n"))
        if not status:
            continue
        path = next(tokens, b"")
        count += 1
        if count <= MAX_PATHS:
            changed[status if status in changed else "M"].append(as_text(path))
    return _commit(fields, changed, truncated=count > MAX_PATHS)


def _filled(placeholder: str, text: str) -> str:
    """Return a field's text; for a field that a damaged commit lacks, git prints the placeholder itself."""
    return "" if text == placeholder else text


def _commit(fields: list[str], changed: dict[str, list[str]], *, truncated: bool) -> Commit:
    oid, tree, author, author_email, committer, committer_email, date, message = fields
    # Git appends a line feed to every message, which GitHub does not show.
    message = message.removesuffix("\n")
    timestamp, committed_at = moment(date)
    return Commit(
        id=oid,
        tree_id=tree,
        message=message[:MAX_MESSAGE],
        timestamp=timestamp,
        committed_at=committed_at,
        author=Person(author[:MAX_NAME], author_email[:MAX_NAME]),
        committer=Person(committer[:MAX_NAME], committer_email[:MAX_NAME]),
        added=tuple(changed["A"]),
        removed=tuple(changed["D"]),
        modified=tuple(changed["M"]),
        truncated=truncated or len(message) > MAX_MESSAGE,
    )


def moment(date: str) -> tuple[str, int]:
    """Return a commit's date in RFC 3339 and as a Unix time, from git's raw form, such as ``1772597168 +0100``.

    A date outside the range of RFC 3339, or before 1970, becomes the nearest valid one; one that git cannot parse
    becomes 1970-01-01. A zone that is none becomes UTC.
    """
    seconds, _, zone = date.partition(" ")
    is_number = re.fullmatch(r"-?[0-9]{1,19}", seconds) is not None
    at = min(max(int(seconds), 0), MAX_SECONDS) if is_number else 0
    matched = _ZONE.fullmatch(zone)
    if is_number and int(seconds) == at and matched is not None:
        ahead = timedelta(hours=int(matched[2]), minutes=int(matched[3]))
        try:
            local = datetime.fromtimestamp(at, tz=timezone(ahead if matched[1] == "+" else -ahead))
            return local.isoformat(timespec="seconds"), at
        except (ValueError, OverflowError):
            pass
    return datetime.fromtimestamp(at, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), at
