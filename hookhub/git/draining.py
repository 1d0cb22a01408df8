"""Empties a repository's spool: turns pushes into events and sends them, in order, one sender at a time."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from hookhub.git.payloads import Push, branches_before
from hookhub.git.repository import GitFailed, Repository
from hookhub.git.sending import Accepted, Answer, Hopeless, Misconfigured, Unavailable, send
from hookhub.git.settings import Settings
from hookhub.git.spool import Spool, SpoolFull
from hookhub.git.telling import build_events

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0


@dataclass
class Drained:
    """What a sender came to."""

    sent: int = 0
    rejected: int = 0
    waiting: int = 0
    problem: str | None = None
    elsewhere: bool = False

    def __str__(self) -> str:
        """Say it in one line."""
        said = [f"{self.sent} events sent"] if self.sent or not self.elsewhere else []
        said += [f"{self.rejected} files set aside in hookhub-spool/rejected"] if self.rejected else []
        said += [f"{self.waiting} files wait: {self.problem}"] if self.waiting else []
        said += ["another sender is at work on the rest"] if self.elsewhere else []
        return ", ".join(said)


def drain(git_dir: Path, settings: Settings, *, patience_seconds: float, wait_seconds: float = 0) -> Drained:
    """Send everything that waits, trying for ``patience_seconds``; what is left stays for the next sender."""
    spool = Spool(git_dir)
    until = time.monotonic() + patience_seconds
    drained = Drained()
    while True:
        with spool.only_sender(wait_seconds=wait_seconds) as alone:
            if not alone:
                drained.elsewhere = True
                return drained
            _drain_alone(spool, git_dir, settings, until=until, drained=drained)
        # A push that came between our last look and the end of our lock found the lock taken, and left it to us.
        if drained.problem is not None or not (spool.pushes() or spool.batches()):
            return drained


def _drain_alone(spool: Spool, git_dir: Path, settings: Settings, *, until: float, drained: Drained) -> None:
    pause = FIRST_PAUSE_SECONDS
    while True:
        drained.problem = _expand(spool, git_dir, settings, drained=drained)
        batches = spool.batches()
        if not batches:
            break
        lines = batches[0].read_bytes()
        answer = send(lines, url=settings.url, api_key=settings.api_key, timeout_seconds=settings.timeout_seconds)
        if isinstance(answer, Unavailable):
            drained.problem = answer.problem
            spool.record_problem(answer.problem)
            wait = max(pause, answer.retry_after_seconds)
            if time.monotonic() + wait > until:
                break
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        elif isinstance(answer, Misconfigured):
            drained.problem = answer.problem
            break
        else:
            pause = FIRST_PAUSE_SECONDS
            _settle(spool, batches[0], answer, lines=lines, drained=drained)
    drained.waiting = len(spool.batches()) + len(spool.pushes())
    spool.record_problem(drained.problem)


def _settle(spool: Spool, path: Path, answer: Answer, *, lines: bytes, drained: Drained) -> None:
    """Remove what was accepted; find what is hopeless by halving, so that one bad event takes no good one with it."""
    if isinstance(answer, Accepted):
        spool.remove(path)
        drained.sent += lines.count(b"\n")
    elif isinstance(answer, Hopeless) and not spool.halve(path):
        spool.reject(path, reason=answer.problem)
        drained.rejected += 1


def _expand(spool: Spool, git_dir: Path, settings: Settings, *, drained: Drained) -> str | None:
    """Turn every kept push into the requests to send; give the problem that stopped it, or None."""
    kept: list[tuple[Path, Push]] = []
    for path in spool.pushes():
        try:
            kept.append((path, spool.read_push(path)))
        except ValueError as error:
            spool.reject(path, reason=str(error))
            drained.rejected += 1
    if not kept:
        return None
    repository = Repository(git_dir)
    try:
        now = repository.branches()
    except GitFailed as failed:
        return str(failed)
    for index, (path, push) in enumerate(kept):
        before = branches_before(push, later=[later for _, later in kept[index + 1 :]], now=now)
        is_first = not before and not spool.is_creation_told()
        events = build_events(
            push,
            repository=repository,
            identity=settings.identity,
            before=before,
            dialect=settings.dialect,
            is_first=is_first,
        )
        try:
            spool.replace(path, events)
            spool.note_creation()
        except SpoolFull as full:
            return str(full)
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - recorded with the push set aside: one that we cannot build must not stop the rest.
            spool.reject(path, reason=traceback.format_exc())
            drained.rejected += 1
    return None
