"""Reads commits one at a time, with the paths they change, from one git process."""

from __future__ import annotations

import os
import re
import secrets
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from hookhub.git.listing import GitFailed
from hookhub.git.payloads import as_text

# An import can add a million files in one commit; nobody reads them in a webhook.
MAX_PATHS = 3000
# Twelve bytes is the most one character can cost as escaped JSON, and a whole event must stay below 1 MiB.
MAX_MESSAGE = 16_384
MAX_NAME = 1_000
# More than the longest message that is kept, at four bytes a character.
MAX_TOKEN_BYTES = 1 << 17
# The last second that RFC 3339 can write.
MAX_SECONDS = 253_402_300_799

_FIELDS = ("%H", "%T", "%an", "%ae", "%cn", "%ce", "%cI", "%ct", "%B")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]([01]\d|2[0-3]):[0-5]\d)")


@dataclass(frozen=True)
class Person:
    """An author or committer, as the commit names them."""

    name: str
    email: str


@dataclass(frozen=True)
class Commit:
    """One commit and the paths in which it differs from its first parent."""

    id: str
    tree_id: str
    message: str
    timestamp: str
    # The same in seconds since 1970.
    committed_at: int
    author: Person
    committer: Person
    added: tuple[str, ...]
    removed: tuple[str, ...]
    modified: tuple[str, ...]
    truncated: bool


class CommitReader:
    """One ``git diff-tree`` that is asked for commit after commit, so that a single one is in memory."""

    def __init__(self, *, git_dir: Path, environment: Mapping[str, str], timeout_seconds: float) -> None:
        self._git_dir = git_dir
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        # Random, so that no commit message and no file name can pass for the start of a commit or the end of it. The
        # end is no object id: git repeats such a line, and flushes what it has written so far.
        self._start = secrets.token_hex(16).encode()
        self._end = b"end-" + secrets.token_hex(16).encode() + b"\n"

    def read(self, commit: str, parent: str) -> Commit | None:
        """Return a commit compared with its first parent ("" for a root), or None when it is not there."""
        try:
            process = self._running()
            assert process.stdin is not None  # noqa: S101 - we asked for a pipe; this tells the type checker.
            # A parent on the line overrides the real ones: a merge is compared with its first parent, in every git.
            process.stdin.write(f"{commit} {parent}".rstrip().encode() + b"\n" + self._end)
            process.stdin.flush()
            return _read_commit(self._tokens(process), start=self._start)
        except (OSError, GitFailed) as error:
            self.close()
            raise GitFailed(f"git diff-tree: {error}") from error

    def close(self) -> None:
        """End the process; the next commit gets another."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            with process:
                pass

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [
                *("git", "-c", "core.quotePath=false", "diff-tree", "--stdin", "--root", "--always", "-r", "-z"),
                *("--no-renames", "--name-status", "--encoding=UTF-8"),
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
        """Yield what stands between zero bytes until the end line, and of what is very long the beginning."""
        assert process.stdout is not None  # noqa: S101 - as above.
        descriptor = process.stdout.fileno()
        until = time.monotonic() + self._timeout_seconds
        token = bytearray()
        while True:
            ready, _, _ = select.select([descriptor], [], [], max(0, until - time.monotonic()))
            if not ready:
                raise GitFailed("no answer in time")
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                raise GitFailed("ended early")
            *whole, rest = chunk.split(b"\0")
            for piece in whole:
                token += piece
                yield bytes(token[:MAX_TOKEN_BYTES])
                token.clear()
            token += rest
            if token.endswith(self._end):
                return
            # Keep the beginning, and what may be the beginning of the end line.
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
        # The line feed that ends the header sticks to the first status letter; paths are taken as they are.
        status = as_text(token.lstrip(b"\n"))
        if not status:
            continue
        path = next(tokens, b"")
        count += 1
        if count <= MAX_PATHS:
            changed[status if status in changed else "M"].append(as_text(path))
    return _commit(fields, changed, truncated=count > MAX_PATHS)


def _filled(placeholder: str, text: str) -> str:
    """Return a field's text; git repeats the placeholder of what a damaged commit does not have."""
    return "" if text == placeholder else text


def _commit(fields: list[str], changed: dict[str, list[str]], *, truncated: bool) -> Commit:
    oid, tree, author, author_email, committer, committer_email, written, seconds, message = fields
    # Git ends every message with a line feed of its own; nobody wrote it and GitHub does not show it.
    message = message.removesuffix("\n")
    timestamp, committed_at = moment(written, seconds)
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


def moment(written: str, seconds: str) -> tuple[str, int]:
    """Return when a commit was made, in RFC 3339 and in seconds since 1970, from what git makes of its date.

    A date that RFC 3339 cannot write becomes the nearest that it can, and one that git cannot read is 1970.
    """
    is_number = seconds.isascii() and seconds.lstrip("-").isdecimal() and len(seconds) < 20
    at = min(max(int(seconds), 0), MAX_SECONDS) if is_number else 0
    if is_number and int(seconds) == at and _MOMENT.fullmatch(written):
        try:
            # Python before 3.11 does not read the letter.
            if datetime.fromisoformat(written.replace("Z", "+00:00")).timestamp() == at:
                return written, at
        except (ValueError, OverflowError):
            pass
    return datetime.fromtimestamp(at, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), at
