"""The post-receive hook: writes the push to the spool, starts a detached sender, and never delays or fails the push.

Spool first, then send from a detached process. Sending from the hook would couple every push to HookHub's health: while
HookHub hangs, each push would wait for the timeout. A push costs one small durable write instead, whatever its size and
the state of HookHub, and its events survive a crash before they are sent.

Nothing that can fail precedes the write to the spool: no settings, no git process, no module that a minimal Python may
lack. This is why the modules for the later steps are imported only then.

Git waits until the hook has closed its standard streams, so the sender closes all of them. Where a session's processes
are killed with the session (systemd's KillUserProcesses), the sender may die. The spool remains, and the next push
sends it, or ``post-receive --flush`` from a timer.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hookhub.git import environment as git_environment
from hookhub.git import locations
from hookhub.git.payloads import Change, Push, as_name, as_text, shown
from hookhub.git.spool import Spool, SpoolFull

if TYPE_CHECKING:
    import argparse

# Git servers pass the name of the pusher in one of these variables. The fallback is the hook's own login name.
# The variables in which OpenTelemetry passes a trace to a program.
_TRACE = ("TRACEPARENT", "TRACESTATE")
_PUSHER_NAMES = ("HOOKHUB_PUSHER", "GL_USERNAME", "GL_USER", "GITEA_PUSHER_NAME", "REMOTE_USER")
_PUSHER_IDS = ("HOOKHUB_PUSHER_ID", "GL_ID", "GITEA_PUSHER_ID")
_PUSHER_EMAILS = ("HOOKHUB_PUSHER_EMAIL", "GITEA_PUSHER_EMAIL", "GIT_COMMITTER_EMAIL")
_OF_A_PUSH = ("repository", "html_url", "clone_url", "dialect", "repository_id", "customer_id")
FLUSH_WAIT_SECONDS = 60

_LINE = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) (.+)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as git's hook (without arguments), or with ``--flush`` or ``--retry-rejected``; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    foreground = os.environ.get("HOOKHUB_FOREGROUND", "0") not in ("", "0")
    if arguments:
        options = _options(arguments)
        if options.retry_rejected is not None:
            return flush(options.retry_rejected, environment=os.environ, report=_print, retry_rejected=True)
        if options.flush is not None:
            return flush(options.flush, environment=os.environ, report=_print)
        foreground = foreground or options.foreground
    receive(sys.stdin.buffer, environment=os.environ, foreground=foreground, report=_print)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    import argparse  # noqa: PLC0415 - git passes no arguments, and the pusher waits.

    parser = argparse.ArgumentParser(prog="post-receive", description="Publish events to HookHub for every push.")
    parser.add_argument(
        "--flush", nargs="?", const=".", metavar="REPOSITORY", help="send the events queued in the spool now"
    )
    parser.add_argument(
        "--retry-rejected", nargs="?", const=".", metavar="REPOSITORY",
        help="requeue the events that HookHub rejected, and send them again",
    )  # fmt: skip
    parser.add_argument("--foreground", action="store_true", help="wait briefly for the sender and print its result")
    return parser.parse_args(arguments)


def receive(
    lines: IO[bytes], *, environment: Mapping[str, str], foreground: bool, report: Callable[[str], None]
) -> None:
    """Store a push in the spool and start its sender; report any failure as one line to ``report`` and never raise."""
    try:
        changes = read_changes(lines)
        if not changes:
            return
        git_dir = locations.of_hook(environment)
        push = _push(changes, environment, git_dir=git_dir)
        path = Spool(git_dir).append(push, at_ns=time.time_ns())
    except SpoolFull as full:
        report(f"no events for this push: {full}")
        return
    except Exception as bug:  # noqa: BLE001 - reported; git has accepted the push, so it must not appear to fail.
        report(f"events for this push may be missing: {type(bug).__name__}: {bug}")
        return
    try:
        from hookhub.git.launcher import start_sender  # noqa: PLC0415 - the push is in the spool even if this fails.

        start_sender(push, path=path, git_dir=git_dir, environment=environment, foreground=foreground, report=report)
    except Exception as problem:  # noqa: BLE001 - reported; the push waits in the spool.
        name = "" if type(problem).__name__ == "NotConfigured" else f"{type(problem).__name__}: "
        report(f"this push is queued in {path.parent} and not sent yet: {name}{problem}")


def flush(
    repository: str, *, environment: Mapping[str, str], report: Callable[[str], None], retry_rejected: bool = False
) -> int:
    """Send the spool in this process, trying each request once; return the exit status, 0 if nothing is left.

    When run by root, the process first switches to the repository's owner, since the owner controls what is in the
    directory, including symbolic links.
    """
    from hookhub.git.privileges import drop_privileges  # noqa: PLC0415 - as above.
    from hookhub.git.settings import NotConfigured  # noqa: PLC0415 - as above.
    from hookhub.git.uploader import counted, drain  # noqa: PLC0415 - not needed by git's hook.

    try:
        git_dir = locations.find(Path(repository))
        environment = drop_privileges(git_dir, environment)
        if retry_rejected:
            report(f"{counted(Spool(git_dir).requeue(), 'file')} requeued")
        drained = drain(git_dir, environment=environment, patience_seconds=0, wait_seconds=FLUSH_WAIT_SECONDS)
    except (OSError, locations.NoRepository, NotConfigured) as problem:
        report(str(problem))
        return 1
    report(str(drained))
    return 1 if drained.waiting or drained.elsewhere else 0


def read_changes(lines: IO[bytes]) -> tuple[Change, ...]:
    """Parse git's ``old new ref`` lines; raise ValueError for any other line."""
    changes = []
    for line in lines:
        match = _LINE.fullmatch(line.rstrip(b"\n"))
        if match is None:
            raise ValueError(f"expected 'old new ref' from git, got {as_text(line[:200]).rstrip()!r}")
        changes.append(Change(*(as_name(part) for part in match.groups())))
    return tuple(changes)


def _push(changes: tuple[Change, ...], environment: Mapping[str, str], *, git_dir: Path) -> Push:
    return Push(
        nonce=os.urandom(16).hex(),
        pushed_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        pusher_name=_first(_PUSHER_NAMES, environment) or _login(),
        pusher_email=_first(_PUSHER_EMAILS, environment),
        changes=changes,
        pusher_id=_first(_PUSHER_IDS, environment),
        named={name: shown(value) for name in _OF_A_PUSH if (value := environment.get(f"HOOKHUB_{name.upper()}"))},
        git=git_environment.of_the_repository(environment, git_dir=git_dir),
        trace={name.lower(): shown(value) for name in _TRACE if (value := environment.get(name))},
    )


def _first(names: Sequence[str], environment: Mapping[str, str]) -> str | None:
    return next((shown(environment[name]) for name in names if environment.get(name)), None)


def _login() -> str:
    try:
        import pwd  # noqa: PLC0415 - not in every Python, and rarely needed.

        return pwd.getpwuid(os.geteuid()).pw_name
    except (ImportError, KeyError):
        return "unknown"


def _print(sentence: str) -> None:
    """Print one line, which the pusher sees as ``remote: hookhub: …``."""
    # The pusher may have disconnected already.
    try:
        print(f"hookhub: {' '.join(shown(sentence).split())}", file=sys.stderr, flush=True)
    except OSError:
        return
