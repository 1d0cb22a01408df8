"""The post-receive hook: writes the push down, leaves a sender behind, and never makes the pusher wait or fail.

Always spool first, then send from a detached process. Sending at once would tie every push to HookHub's health: even
with a time limit each push would pay that limit while HookHub hangs. This way a push costs one small durable write,
whatever HookHub does, however much was pushed, and events outlive a crash between the two.

Git waits until the hook has closed its standard streams, so the sender gives up all of them. Where the system ends
every process of a session with the session (systemd's KillUserProcesses), the sender may die; the spool stays, and the
next push, or ``post-receive --flush`` from a timer, sends it.
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hookhub.git.payloads import Change, Push
from hookhub.git.repository import as_text
from hookhub.git.settings import NotConfigured, Settings, as_unicode, read_settings
from hookhub.git.spool import Spool, SpoolFull

if TYPE_CHECKING:
    from hookhub.git.draining import Drained

# Whoever lets people push says who they are in one of these; our own login is the last resort.
_PUSHER_NAMES = ("HOOKHUB_PUSHER", "GL_USERNAME", "GL_USER", "GITEA_PUSHER_NAME", "REMOTE_USER")
_PUSHER_IDS = ("HOOKHUB_PUSHER_ID", "GL_ID", "GITEA_PUSHER_ID")
_PUSHER_EMAILS = ("HOOKHUB_PUSHER_EMAIL", "GITEA_PUSHER_EMAIL", "GIT_COMMITTER_EMAIL")
# A backstop far beyond anything a healthy sender does, for what no time limit in Python reaches: a hung resolver.
LONGEST_LIFE_SECONDS = 1800
FLUSH_WAIT_SECONDS = 60

_LINE = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) (.+)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program: git's hook without arguments, or ``--flush [REPOSITORY]``."""
    parser = argparse.ArgumentParser(prog="post-receive", description="Tells HookHub about every push.")
    parser.add_argument("--flush", nargs="?", const=".", metavar="REPOSITORY", help="send now what waits in the spool")
    parser.add_argument("--foreground", action="store_true", help="wait a moment for the sender and say what it did")
    options = parser.parse_args(arguments)
    if options.flush is not None:
        return flush(options.flush, environment=os.environ, say=_complain)
    foreground = options.foreground or os.environ.get("HOOKHUB_FOREGROUND", "0") not in ("", "0")
    receive(sys.stdin.buffer, environment=os.environ, foreground=foreground, say=_complain)
    return 0


def receive(lines: IO[bytes], *, environment: Mapping[str, str], foreground: bool, say: Callable[[str], None]) -> None:
    """Take note of a push and see that it is sent; whatever goes wrong is one line to ``say`` and no more."""
    try:
        changes = read_changes(lines)
        if not changes:
            return
        git_dir = Path(environment.get("GIT_DIR") or ".").resolve()
        settings = read_settings(git_dir, environment=environment)
        Spool(git_dir).keep(_push(changes, environment), at_ns=time.time_ns())
        _send_detached(git_dir, settings, foreground=foreground, say=say)
    except SpoolFull as full:
        say(f"this push is not announced: {full}")
    except NotConfigured as problem:
        say(f"this push is not announced: {problem}")
    except Exception as bug:  # noqa: BLE001 - reported; the push has already happened and must not look failed.
        say(f"this push may not be announced: {type(bug).__name__}: {bug}")


def flush(repository: str, *, environment: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Send what waits, in this process, once; give the exit status: 0 when nothing is left."""
    try:
        git_dir = find_git_dir(Path(repository))
        settings = read_settings(git_dir, environment=environment)
        drained = _drain(git_dir, settings, patience_seconds=0, wait_seconds=FLUSH_WAIT_SECONDS)
    except (OSError, NotConfigured) as problem:
        say(str(problem))
        return 1
    say(str(drained))
    return 1 if drained.waiting or drained.elsewhere else 0


def find_git_dir(repository: Path) -> Path:
    """Find the directory that holds the refs of a repository, bare or not; raise NotConfigured when it is none."""
    command = ["git", "-C", str(repository), "rev-parse", "--git-common-dir"]
    # A hook's own environment names a repository already, and would win over the one we are asked for.
    environment = {name: value for name, value in os.environ.items() if name != "GIT_DIR"}
    asked = subprocess.run(command, capture_output=True, env=environment, check=False)
    if asked.returncode:
        raise NotConfigured(f"{repository} is not a git repository: {as_text(asked.stderr).strip()}")
    return (repository / os.fsdecode(asked.stdout.rstrip(b"\n"))).resolve()


def read_changes(lines: IO[bytes]) -> tuple[Change, ...]:
    """Read git's ``old new ref`` lines; a line of any other form is a ValueError."""
    changes = []
    for line in lines:
        match = _LINE.fullmatch(line.rstrip(b"\n"))
        if match is None:
            raise ValueError(f"expected 'old new ref' from git, got {as_text(line[:200]).rstrip()!r}")
        changes.append(Change(*(as_text(part) for part in match.groups())))
    return tuple(changes)


def _push(changes: tuple[Change, ...], environment: Mapping[str, str]) -> Push:
    return Push(
        nonce=uuid.uuid4().hex,
        pushed_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        pusher_name=_first(_PUSHER_NAMES, environment) or _login(),
        pusher_email=_first(_PUSHER_EMAILS, environment),
        changes=changes,
        pusher_id=_first(_PUSHER_IDS, environment),
    )


def _first(names: Sequence[str], environment: Mapping[str, str]) -> str | None:
    return next((as_unicode(environment[name]) for name in names if environment.get(name)), None)


def _login() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "unknown"


def _send_detached(git_dir: Path, settings: Settings, *, foreground: bool, say: Callable[[str], None]) -> None:
    """Leave a sender behind; in the foreground, wait for its report for as long as the budget lasts."""
    report = _detach(lambda: str(_drain(git_dir, settings, patience_seconds=settings.patience_seconds)), git_dir)
    try:
        if foreground:
            ready, _, _ = select.select([report], [], [], settings.budget_seconds)
            said = as_text(os.read(report, 4096)) if ready else ""
            say(said or "the events wait in the spool; HookHub has not answered yet")
    finally:
        os.close(report)


def _drain(git_dir: Path, settings: Settings, *, patience_seconds: float, wait_seconds: float = 0) -> Drained:
    # Loading what sends (http, ssl, e-mail) takes several times as long as all that the pusher waits for.
    from hookhub.git.draining import drain  # noqa: PLC0415 - in the detached sender, where nobody waits.

    return drain(git_dir, settings, patience_seconds=patience_seconds, wait_seconds=wait_seconds)


def _detach(work: Callable[[], str], git_dir: Path) -> int:
    """Run ``work`` in a process that belongs to nobody; give a descriptor on which its result can be read."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        return reading
    # From here on we are the copy, and must never return into the program that was copied.
    try:
        os.setsid()
        if not os.fork():
            _let_go_of_streams(writing)
            # Nobody may read any more; that is no reason to die of SIGPIPE in the middle of the work.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(LONGEST_LIFE_SECONDS)
            _report(work, git_dir, descriptor=3)
    finally:
        os._exit(0)


def _let_go_of_streams(keep: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    if keep != 3:
        os.dup2(keep, 3)
    os.closerange(4, 4096)


def _report(work: Callable[[], str], git_dir: Path, *, descriptor: int) -> None:
    try:
        said = work()
    except Exception as bug:  # noqa: BLE001 - recorded in the spool, the only place left to say it.
        said = f"{type(bug).__name__}: {bug}"
        Spool(git_dir).record_problem(said)
    os.write(descriptor, said.encode("utf-8", errors="replace")[:4096])


def _complain(sentence: str) -> None:
    """Say one line to the pusher, who sees it as ``remote: hookhub: …``."""
    # The pusher may have hung up already.
    try:
        print(f"hookhub: {' '.join(sentence.split())}", file=sys.stderr, flush=True)
    except OSError:
        return
