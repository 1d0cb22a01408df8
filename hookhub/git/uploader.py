"""Drains a repository's spool: builds the events of pushes and sends them in order, one sender at a time."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hookhub.git import branches
from hookhub.git.events import build_events
from hookhub.git.listing import GitFailed
from hookhub.git.payloads import Push
from hookhub.git.repository import Repository
from hookhub.git.sending import Accepted, Answer, Misconfigured, Rejected, TooLarge, Unavailable, send
from hookhub.git.settings import NotConfigured, Settings, read_settings
from hookhub.git.spool import Progress, Spool, SpoolFull

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 15.0
# Later pushes to undo when the tips were recorded by the hook: concurrent ones may have moved a branch before that.
CONCURRENT_PUSHES = 64
# Later pushes to undo when the hook recorded no tips: all of them have moved branches since.
LATER_PUSHES = 1_000


@dataclass
class DrainResult:
    """The result of a sender's run.

    ``sent`` counts events; ``rejected`` and ``waiting`` count files in the spool. ``problem`` is the reason why files
    wait. ``elsewhere`` is True if another sender holds the lock.
    """

    sent: int = 0
    rejected: int = 0
    waiting: int = 0
    problem: str | None = None
    elsewhere: bool = False

    def __str__(self) -> str:
        """Return a summary in one line."""
        parts = [f"{counted(self.sent, 'event')} sent"] if self.sent or not self.elsewhere else []
        parts += [f"{counted(self.rejected, 'file')} rejected (see hookhub-spool/rejected)"] if self.rejected else []
        parts += [f"{counted(self.waiting, 'file')} queued: {self.problem}"] if self.waiting else []
        parts += ["another sender is processing the rest"] if self.elsewhere else []
        return ", ".join(parts)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 file`` or ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def drain(
    git_dir: Path, *, environment: Mapping[str, str], patience_seconds: float | None = None, wait_seconds: float = 0
) -> DrainResult:
    """Send everything in the spool, retrying for ``patience_seconds``; the rest stays for the next sender.

    Wait up to ``wait_seconds`` for the lock. Raise NotConfigured, also recorded in the spool, if the settings are
    incomplete or invalid.
    """
    spool = Spool(git_dir)
    try:
        settings = read_settings(git_dir, environment=environment)
    except NotConfigured as problem:
        spool.record_problem(str(problem))
        raise
    patience = settings.patience_seconds if patience_seconds is None else patience_seconds
    sender = _Sender(spool, git_dir, settings, environment, until=time.monotonic() + patience)
    while True:
        with spool.sender_lock(wait_seconds=wait_seconds) as alone:
            if not alone:
                sender.drained.elsewhere = True
                return sender.drained
            sender.run()
        # The sender of a push that arrived between our last check and the release of the lock found it taken and
        # exited, so check again.
        if sender.drained.problem is not None or not (spool.pushes() or spool.batches()):
            return sender.drained


class _Sender:
    """Drains a spool; its caller holds the lock."""

    def __init__(
        self, spool: Spool, git_dir: Path, settings: Settings, environment: Mapping[str, str], *, until: float
    ) -> None:
        self._spool = spool
        self._git_dir = git_dir
        self._settings = settings
        self._environment = environment
        self._until = until
        self._pause = FIRST_PAUSE_SECONDS
        self.drained = DrainResult()

    def run(self) -> None:
        """Build and send events until the spool is empty, or a problem blocks the rest."""
        drained = self.drained
        while True:
            drained.problem = self._expand()
            batches = self._spool.batches()
            if not batches or not self._send(batches):
                break
        drained.waiting = len(self._spool.batches()) + len(self._spool.pushes())
        self._spool.record_problem(drained.problem or self._rejection())

    def _rejection(self) -> str | None:
        if not self.drained.rejected:
            return None
        return (
            f"{counted(self.drained.rejected, 'file')} rejected permanently; see {self._spool.rejected} for the "
            f"reasons, and run the hook with --retry-rejected {self._git_dir} to send again"
        )

    def _send(self, batches: list[Path]) -> bool:
        try:
            return self._send_all(batches)
        except OSError as failed:
            self.drained.problem = str(failed)
            return False

    def _send_all(self, batches: list[Path]) -> bool:
        """Send requests in order; return False if one of them blocks those behind it."""
        for path in batches:
            while path.exists():
                lines = path.read_bytes()
                if not _is_json(lines):
                    self._reject(path, reason="corrupted: not every line is a JSON object")
                    continue
                settings = self._settings
                answer = send(
                    lines, url=settings.url, api_key=settings.api_key, timeout_seconds=settings.timeout_seconds
                )
                if not isinstance(answer, Unavailable):
                    self._pause = FIRST_PAUSE_SECONDS
                    if not self._apply(path, answer, lines=lines):
                        return False
                elif answer.may_be_too_slow and self._split(path, answer):
                    if not self._send_all(self._parts_of(path)):
                        return False
                elif not self._wait(answer):
                    return False
        return True

    def _wait(self, answer: Unavailable) -> bool:
        """Wait before the next attempt; return False if the deadline comes first."""
        self.drained.problem = answer.problem
        self._spool.record_problem(answer.problem)
        wait = max(self._pause, answer.retry_after_seconds)
        if time.monotonic() + wait > self._until:
            return False
        time.sleep(wait)
        self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)
        return True

    def _apply(self, path: Path, answer: Answer, *, lines: bytes) -> bool:
        """Act on a response; return False if it blocks the requests behind it as well.

        A rejected request is bisected until the invalid event is alone, so that no valid one is rejected with it.
        """
        if isinstance(answer, Accepted):
            self._spool.remove(path)
            self.drained.sent += lines.count(b"\n")
            return True
        if isinstance(answer, (Rejected, TooLarge)):
            if self._split(path, answer):
                return self._send_all(self._parts_of(path))
            if isinstance(answer, Rejected):
                self._reject(path, reason=answer.problem)
                return True
        if isinstance(answer, (TooLarge, Misconfigured)):
            self.drained.problem = answer.problem
        return False

    def _split(self, path: Path, answer: Rejected | TooLarge | Unavailable) -> bool:
        try:
            return self._spool.split(path)
        except OSError as failed:
            raise OSError(f"{answer.problem}; the request cannot be split: {failed.strerror}") from failed

    def _parts_of(self, path: Path) -> list[Path]:
        """Return the parts of a request that was split; they sort before all later requests."""
        return [each for each in self._spool.batches() if each.stem.startswith(path.stem)]

    def _reject(self, path: Path, *, reason: str) -> None:
        self._spool.reject(path, reason=reason)
        self.drained.rejected += 1

    def _expand(self) -> str | None:
        """Convert every push in the spool to requests; return the problem that stopped it, or None."""
        paths = self._spool.pushes()
        for index, path in enumerate(paths):
            try:
                push = self._spool.read_push(path)
            except ValueError as error:
                self._reject(path, reason=str(error))
                continue
            try:
                for progress in self._replace(path, push, later=paths[index + 1 :]):
                    if len(push.changes) > progress.change + 1:
                        self._spool.record_problem(_progress_of(push, progress))
            except (SpoolFull, GitFailed, OSError) as failed:
                return str(failed)
            except Exception:  # noqa: BLE001 - recorded with the rejected push, which must not block the rest.
                self._reject(path, reason=traceback.format_exc())
        return None

    def _replace(self, path: Path, push: Push, *, later: list[Path]) -> Iterator[Progress]:
        spool = self._spool
        repository = Repository(self._git_dir, inherited=self._environment, own=push.git)
        before = self._before(path, push, repository, later=later)
        namespace = repository.ref_prefix
        settings = self._settings.for_push(push.named)
        events = build_events(
            push,
            repository=repository,
            identity=settings.identity,
            before=before,
            dialect=settings.dialect,
            is_first=not before and not spool.has_published(namespace),
            since=spool.progress_of(path),
        )
        yield from spool.replace(path, events, namespace=namespace)
        spool.mark_published(namespace)

    def _before(self, path: Path, push: Push, repository: Repository, *, later: list[Path]) -> dict[str, str]:
        listing, prefix = self._spool.refs_of(path), repository.ref_prefix
        seen = repository.branches() if listing is None else branches.parse(listing, prefix=prefix)
        announced = None if listing is None else self._spool.announced_refs(prefix)
        return branches.before(
            push,
            seen=seen,
            later=list(self._readable(later[: LATER_PUSHES if listing is None else CONCURRENT_PUSHES], push)),
            announced=None if announced is None else branches.parse(announced, prefix=prefix),
            contains=repository.contains,
        )

    def _readable(self, paths: list[Path], push: Push) -> Iterator[Push]:
        """Yield the pushes to the same namespace; skip an unreadable one, which is rejected in its turn."""
        for path in paths:
            with suppress(ValueError, OSError):
                other = self._spool.read_push(path)
                if other.git.get("GIT_NAMESPACE") == push.git.get("GIT_NAMESPACE"):
                    yield other


def _progress_of(push: Push, progress: Progress) -> str:
    return (
        f"converting a push of {len(push.changes):,} refs to events, {progress.change:,} done; "
        f"if this process exits, the next one continues from there"
    )


def _is_json(lines: bytes) -> bool:
    try:
        return all(isinstance(json.loads(line), dict) for line in lines.splitlines())
    except (ValueError, RecursionError):
        return False
