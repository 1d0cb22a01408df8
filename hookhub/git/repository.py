"""Reads a repository through the ``git`` program; the number of processes does not grow with the commits of a push."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hookhub.git import branches, environment
from hookhub.git.commits import CommitReader
from hookhub.git.listing import GitFailed, list_branches
from hookhub.git.payloads import as_name, as_text

# GitHub's limit. A consumer that needs more commits reads the repository itself.
MAX_COMMITS = 2048
# In a push of many branches: the limit for all of them together, and the number that each may list in any case.
MAX_COMMITS_OF_PUSH = 200_000
MIN_COMMITS = 20
# No pusher waits for these processes, but a sender that hangs in one would hold the spool's lock forever.
GIT_TIMEOUT_SECONDS = 300

Pair = tuple[str, str]
"""A commit and its first parent, "" for a root."""


@dataclass(frozen=True)
class Walk:
    """The result of walking a range of commits.

    ``newest`` is limited and sorted newest first; ``size`` counts all commits. ``forced`` is True if commits were
    removed from the branch.
    """

    newest: tuple[Pair, ...] = ()
    size: int = 0
    forced: bool = False


class Repository:
    """A repository on disk; ``own`` holds the environment variables stored with the push."""

    def __init__(self, git_dir: Path, *, inherited: Mapping[str, str], own: Mapping[str, str]) -> None:
        self._git_dir = git_dir
        self._environment = environment.for_git(inherited, git_dir=git_dir, own=own)
        self.ref_prefix = environment.ref_prefix(own)

    def branches(self) -> dict[str, str]:
        """Return the current branches: full ref name to commit id; raise GitFailed."""
        listing = list_branches(
            self._git_dir,
            environment=self._environment,
            prefix=self.ref_prefix,
            timeout_seconds=GIT_TIMEOUT_SECONDS,
        )
        return branches.parse(listing, prefix=self.ref_prefix)

    def default_branch(self) -> str | None:
        """Return the branch that HEAD points to, which may not exist yet, or None if HEAD is detached."""
        try:
            with self._run("symbolic-ref", "--quiet", f"{self.ref_prefix}HEAD") as output:
                name = as_name(output.read().rstrip(b"\n"))
        except GitFailed:
            return None
        heads = f"{self.ref_prefix}refs/heads/"
        return name[len(heads) :] if name.startswith(heads) else None

    def contains(self, descendant: str, commit: str) -> bool:
        """Return whether ``commit`` equals ``descendant`` or is its ancestor; False if either does not exist."""
        try:
            with self._run("merge-base", "--is-ancestor", commit, descendant) as output:
                output.read()
        except GitFailed:
            return False
        return True

    def walk_update(self, old: str, new: str) -> Walk:
        """Walk the commits reachable from ``new`` but not from ``old``; forced if some are reachable from ``old`` only.

        Raise GitFailed.
        """
        newest: list[Pair] = []
        size, forced = 0, False
        with self._run("rev-list", "--topo-order", "--parents", "--left-right", f"{old}...{new}") as output:
            for line in output:
                if line.startswith(b"<"):
                    forced = True
                    continue
                size += 1
                if size <= MAX_COMMITS:
                    commit, *parents = as_text(line).lstrip(">").split()
                    newest.append((commit, parents[0] if parents else ""))
        return Walk(tuple(newest), size=size, forced=forced)

    def walk_new(self, tips: Sequence[str], *, hidden: Iterable[str]) -> list[Walk]:
        """Walk the commits reachable from the tips but not from ``hidden``; return one Walk for each tip.

        A commit reachable from several tips counts for the first of them. There is one git process for all tips.
        Unknown ids in ``hidden`` are ignored. Raise GitFailed.
        """
        if not tips:
            return []
        revisions = [*tips, *(f"^{oid}" for oid in hidden)]
        arguments = ("rev-list", "--topo-order", "--parents", "--ignore-missing", "--stdin")
        with self._run(*arguments, lines=dict.fromkeys(revisions)) as output:
            return _assigned(output, tips)

    def first_parents(self, commits: Iterable[str]) -> dict[str, str]:
        """Return each commit's first parent, "" for a root commit; raise GitFailed."""
        queries = list(commits)
        if not queries:
            return {}
        with self._run("rev-list", "--no-walk=unsorted", "--parents", "--stdin", lines=queries) as output:
            found = [as_text(line).split() for line in output]
        return {commit: parents[0] if parents else "" for commit, *parents in found}

    def peel(self, oids: Iterable[str]) -> dict[str, str]:
        """Return the commit of each object id, following annotated tags; omit ids of other objects. Raise GitFailed."""
        queries = list(dict.fromkeys(oids))
        if not queries:
            return {}
        with self._run("cat-file", "--batch-check", lines=[f"{oid}^{{}}" for oid in queries]) as output:
            answers = [as_text(line).split() for line in output]
        return {oid: answer[0] for oid, answer in zip(queries, answers) if answer[1:2] == ["commit"]}

    def reader(self) -> CommitReader:
        """Return a reader of single commits, which the caller closes."""
        return CommitReader(git_dir=self._git_dir, environment=self._environment, timeout_seconds=GIT_TIMEOUT_SECONDS)

    @contextmanager
    def _run(self, *arguments: str, lines: Iterable[str] = ()) -> Iterator[IO[bytes]]:
        """Run git with ``lines`` as its input and yield its output stream; raise GitFailed if it fails."""
        # Temporary files instead of pipes: git may fill its output pipe before it has read its input, a deadlock.
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
            stdin.write("".join(f"{line}\n" for line in lines).encode())
            stdin.seek(0)
            try:
                process = subprocess.Popen(
                    ["git", *arguments],
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=self._environment,
                    cwd=self._git_dir,
                )
            except OSError as error:
                raise GitFailed(f"cannot run git: {error}") from error
            deadline = threading.Timer(GIT_TIMEOUT_SECONDS, process.kill)
            deadline.daemon = True
            deadline.start()
            try:
                with process:
                    assert process.stdout is not None  # noqa: S101 - it is a pipe; for the type checker.
                    yield process.stdout
            finally:
                deadline.cancel()
            if process.returncode:
                stderr.seek(0)
                errors = as_text(stderr.read(10_000)).strip().splitlines()
                raise GitFailed(f"git {arguments[0]}: {errors[-1] if errors else f'exit status {process.returncode}'}")


def _assigned(output: Iterable[bytes], tips: Sequence[str]) -> list[Walk]:
    """Assign each commit of a walk to the first tip from which it is reachable.

    Children precede their parents in the output, so that only the frontier of the walk is held in memory.
    """
    limit = min(MAX_COMMITS, max(MIN_COMMITS, MAX_COMMITS_OF_PUSH // len(tips)))
    newest: list[list[Pair]] = [[] for _ in tips]
    sizes = [0] * len(tips)
    first_tip: dict[str, int] = {}
    for index, tip in enumerate(tips):
        first_tip.setdefault(tip, index)
    for line in output:
        commit, *parents = as_text(line).split()
        # A tip may be the id of an annotated tag, which the walk does not list.
        index = first_tip.pop(commit, 0)
        for parent in parents:
            first_tip[parent] = min(index, first_tip.get(parent, index))
        sizes[index] += 1
        if sizes[index] <= limit:
            newest[index].append((commit, parents[0] if parents else ""))
    return [Walk(tuple(pairs), size=size) for pairs, size in zip(newest, sizes)]
