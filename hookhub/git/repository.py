"""What a push brought, asked of git itself in a constant number of processes per ref."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# Like GitHub: a consumer that wants more asks the repository itself.
MAX_COMMITS = 2048
# An import can add a million files in one commit; nobody reads them in a webhook.
MAX_PATHS = 3000
# Twelve bytes is the most one character can cost as escaped JSON, and a whole event must stay below 1 MiB.
MAX_MESSAGE = 16_384
MAX_NAME = 1_000
# Nobody waits for these processes, but a sender that hangs in one would hold the spool's lock for ever.
GIT_TIMEOUT_SECONDS = 300

_FIELDS = ("%H", "%T", "%an", "%ae", "%cn", "%ce", "%cI", "%ct", "%B")


class GitFailed(Exception):
    """Git could not answer; the message is its own last line."""


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


@dataclass(frozen=True)
class Walk:
    """Commits between two points: the newest, newest first, each with its first parent, and how many there are."""

    newest: tuple[tuple[str, str], ...]
    size: int
    forced: bool


def is_zero(oid: str) -> bool:
    """Tell whether an object id is git's "nothing" (all zeros, of either hash)."""
    return not oid.strip("0")


class Repository:
    """A repository on disk, read through the ``git`` program."""

    def __init__(self, git_dir: Path) -> None:
        self.git_dir = git_dir
        # With GIT_DIR given, git asks nobody who owns the directory: an administrator may flush another user's spool.
        # Replacement objects would make the ids we report differ from those that were pushed.
        self._environment = {**os.environ, "GIT_DIR": str(git_dir), "GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C"}
        # Once post-receive runs, the pushed objects have left the quarantine; pointing there would find nothing.
        if self._environment.pop("GIT_QUARANTINE_PATH", None) is not None:
            self._environment.pop("GIT_OBJECT_DIRECTORY", None)
            self._environment.pop("GIT_ALTERNATE_OBJECT_DIRECTORIES", None)

    def branches(self) -> dict[str, str]:
        """List every branch as it is now: full ref name to commit id."""
        with self._run("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/") as output:
            lines = [line.rstrip(b"\n").partition(b" ") for line in output]
        return {as_text(name): as_text(oid) for oid, _, name in lines}

    def default_branch(self) -> str | None:
        """Name the branch that HEAD points at (it need not exist yet), or None when HEAD is detached."""
        try:
            with self._run("symbolic-ref", "--quiet", "HEAD") as output:
                name = as_text(output.read().rstrip(b"\n"))
        except GitFailed:
            return None
        return name[len("refs/heads/") :] if name.startswith("refs/heads/") else None

    def walk_update(self, old: str, new: str) -> Walk:
        """Walk what ``new`` has and ``old`` has not; forced when ``old`` has something that ``new`` has not."""
        with self._run("rev-list", "--topo-order", "--parents", "--left-right", f"{old}...{new}") as output:
            return _read_walk(output)

    def walk_new(self, new: str, *, hidden: Iterable[str]) -> Walk:
        """Walk what ``new`` has and none of ``hidden`` has (unknown ids among them hide nothing)."""
        revisions = [new, *(f"^{oid}" for oid in hidden)]
        arguments = ("rev-list", "--topo-order", "--parents", "--ignore-missing", "--stdin")
        with self._run(*arguments, lines=revisions) as output:
            return _read_walk(output)

    def commits(self, pairs: Iterable[tuple[str, str]]) -> dict[str, Commit]:
        """Read commits, given as (commit, first parent or ""), with their changed paths; by id."""
        # Random, so that no commit message and no file name can pass for the start of a commit.
        marker = secrets.token_hex(16)
        arguments = (
            *("diff-tree", "--stdin", "--root", "--always", "-r", "-z", "--no-renames", "--name-status"),
            *("--encoding=UTF-8", f"--format={'%x00'.join((marker, *_FIELDS))}%x00"),
        )
        lines = [f"{commit} {parent}".rstrip() for commit, parent in pairs]
        if not lines:
            return {}
        # A parent on the line overrides the real ones: a merge is compared with its first parent only, in every git.
        with self._run(*arguments, lines=lines) as output:
            return {commit.id: commit for commit in _read_commits(_tokens(output), marker=marker.encode())}

    def first_parents(self, commits: Iterable[str]) -> dict[str, str]:
        """Give each commit's first parent, "" for a root."""
        asked = list(commits)
        if not asked:
            return {}
        with self._run("rev-list", "--no-walk=unsorted", "--parents", "--stdin", lines=asked) as output:
            found = [as_text(line).split() for line in output]
        return {commit: parents[0] if parents else "" for commit, *parents in found}

    def peel(self, oids: Iterable[str]) -> dict[str, str]:
        """Follow annotated tags to the commits they name; ids that lead to no commit are left out."""
        asked = list(oids)
        if not asked:
            return {}
        with self._run("cat-file", "--batch-check", lines=[f"{oid}^{{}}" for oid in asked]) as output:
            answers = [as_text(line).split() for line in output]
        return {oid: answer[0] for oid, answer in zip(asked, answers) if answer[1:2] == ["commit"]}

    @contextmanager
    def _run(self, *arguments: str, lines: Iterable[str] = ()) -> Iterator[IO[bytes]]:
        """Run git and yield its output as a stream; raise GitFailed when it fails."""
        # Files and not pipes: git may fill its output before it has read its input, and both sides would wait.
        with tempfile.TemporaryFile() as questions, tempfile.TemporaryFile() as complaints:
            questions.write("".join(f"{line}\n" for line in lines).encode())
            questions.seek(0)
            command = ["git", "-c", "core.quotePath=false", *arguments]
            try:
                process = subprocess.Popen(
                    command, stdin=questions, stdout=subprocess.PIPE, stderr=complaints, env=self._environment
                )
            except OSError as error:
                raise GitFailed(f"git cannot be started: {error}") from error
            deadline = threading.Timer(GIT_TIMEOUT_SECONDS, process.kill)
            deadline.daemon = True
            deadline.start()
            try:
                with process:
                    assert process.stdout is not None  # noqa: S101 - we asked for a pipe; this tells the type checker.
                    yield process.stdout
            finally:
                deadline.cancel()
            if process.returncode:
                complaints.seek(0)
                said = as_text(complaints.read(10_000)).strip().splitlines()
                raise GitFailed(f"git {arguments[0]}: {said[-1] if said else f'exit status {process.returncode}'}")


def as_text(raw: bytes) -> str:
    """Decode what git holds; bytes that are not UTF-8 become U+FFFD, for JSON has no others."""
    return raw.decode("utf-8", errors="replace")


def _tokens(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(1 << 20):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    if rest:
        yield rest


def _read_walk(output: Iterable[bytes]) -> Walk:
    newest: list[tuple[str, str]] = []
    size, forced = 0, False
    for line in output:
        if line.startswith(b"<"):
            forced = True
            continue
        size += 1
        if size <= MAX_COMMITS:
            commit, *parents = as_text(line).lstrip(">").split()
            newest.append((commit, parents[0] if parents else ""))
    return Walk(tuple(newest), size=size, forced=forced)


def _read_commits(tokens: Iterator[bytes], *, marker: bytes) -> Iterator[Commit]:
    token = next(tokens, None)
    while token is not None:
        if token.lstrip(b"\n") != marker:
            raise GitFailed(f"git diff-tree: expected the start of a commit, got {token[:80]!r}")
        fields = [as_text(next(tokens, b"")) for _ in _FIELDS]
        changed: dict[str, list[str]] = {"A": [], "D": [], "M": []}
        count = 0
        # The line feed that ends the header sticks to the first status letter; paths are taken as they are.
        while (token := next(tokens, None)) is not None and token.lstrip(b"\n") != marker:
            status = as_text(token.lstrip(b"\n"))
            if not status:
                continue
            path = next(tokens, b"")
            count += 1
            if count <= MAX_PATHS:
                changed[status if status in changed else "M"].append(as_text(path))
        yield _commit(fields, changed, truncated=count > MAX_PATHS)


def _commit(fields: list[str], changed: dict[str, list[str]], *, truncated: bool) -> Commit:
    oid, tree, author, author_email, committer, committer_email, timestamp, seconds, message = fields
    # Git ends every message with a line feed of its own; nobody wrote it and GitHub does not show it.
    message = message.removesuffix("\n")
    return Commit(
        id=oid,
        tree_id=tree,
        message=message[:MAX_MESSAGE],
        timestamp=timestamp,
        committed_at=int(seconds) if seconds.lstrip("-").isdecimal() else 0,
        author=Person(author[:MAX_NAME], author_email[:MAX_NAME]),
        committer=Person(committer[:MAX_NAME], committer_email[:MAX_NAME]),
        added=tuple(changed["A"]),
        removed=tuple(changed["D"]),
        modified=tuple(changed["M"]),
        truncated=truncated or len(message) > MAX_MESSAGE,
    )
