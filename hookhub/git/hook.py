"""The post-receive hook: writes the push down, leaves a sender behind, and never makes the pusher wait or fail.

Always spool first, then send from a detached process. Sending at once would tie every push to HookHub's health: even
with a time limit each push would pay that limit while HookHub hangs. This way a push costs one small durable write,
whatever HookHub does, however much was pushed, and events outlive a crash between the two.

Nothing that can fail comes before the spool: no settings, no git, no module that a minimal Python may lack. That is why
what comes after it is imported only then.

Git waits until the hook has closed its standard streams, so the sender gives up all of them. Where the system ends
every process of a session with the session (systemd's KillUserProcesses), the sender may die; the spool stays, and the
next push, or ``post-receive --flush`` from a timer, sends it.
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
from hookhub.git import places
from hookhub.git.payloads import Change, Push, as_name, as_text, shown
from hookhub.git.spool import Spool, SpoolFull

if TYPE_CHECKING:
    import argparse

# Servers that let people push name them in one of these; our own login is the last resort.
_PUSHER_NAMES = ("HOOKHUB_PUSHER", "GL_USERNAME", "GL_USER", "GITEA_PUSHER_NAME", "REMOTE_USER")
_PUSHER_IDS = ("HOOKHUB_PUSHER_ID", "GL_ID", "GITEA_PUSHER_ID")
_PUSHER_EMAILS = ("HOOKHUB_PUSHER_EMAIL", "GITEA_PUSHER_EMAIL", "GIT_COMMITTER_EMAIL")
_OF_A_PUSH = ("repository", "html_url", "clone_url", "dialect", "repository_id", "customer_id")
FLUSH_WAIT_SECONDS = 60

_LINE = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) (.+)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program: git's hook without arguments, or ``--flush [REPOSITORY]``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    foreground = os.environ.get("HOOKHUB_FOREGROUND", "0") not in ("", "0")
    if arguments:
        options = _options(arguments)
        if options.retry_rejected is not None:
            return flush(options.retry_rejected, environment=os.environ, say=_complain, retry_rejected=True)
        if options.flush is not None:
            return flush(options.flush, environment=os.environ, say=_complain)
        foreground = foreground or options.foreground
    receive(sys.stdin.buffer, environment=os.environ, foreground=foreground, say=_complain)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    import argparse  # noqa: PLC0415 - git gives the hook no arguments, and waits for it.

    parser = argparse.ArgumentParser(prog="post-receive", description="Announces every push at HookHub.")
    parser.add_argument("--flush", nargs="?", const=".", metavar="REPOSITORY", help="send now what waits in the spool")
    parser.add_argument(
        "--retry-rejected", nargs="?", const=".", metavar="REPOSITORY",
        help="put back what HookHub refused for good, and send it again",
    )  # fmt: skip
    parser.add_argument("--foreground", action="store_true", help="wait a moment for the sender and say what it did")
    return parser.parse_args(arguments)


def receive(lines: IO[bytes], *, environment: Mapping[str, str], foreground: bool, say: Callable[[str], None]) -> None:
    """Write a push down and have it sent; whatever goes wrong is one line to ``say`` and no more."""
    try:
        changes = read_changes(lines)
        if not changes:
            return
        git_dir = places.of_hook(environment)
        push = _push(changes, environment, git_dir=git_dir)
        path = Spool(git_dir).keep(push, at_ns=time.time_ns())
    except SpoolFull as full:
        say(f"this push is not announced: {full}")
        return
    except Exception as bug:  # noqa: BLE001 - reported; the push has already happened and must not look failed.
        say(f"this push may not be announced: {type(bug).__name__}: {bug}")
        return
    try:
        from hookhub.git.announcing import announce  # noqa: PLC0415 - the push is safe if even this fails.

        announce(push, path=path, git_dir=git_dir, environment=environment, foreground=foreground, say=say)
    except Exception as problem:  # noqa: BLE001 - reported; the push waits in the spool.
        name = "" if type(problem).__name__ == "NotConfigured" else f"{type(problem).__name__}: "
        say(f"this push waits in {path.parent} and is not announced yet: {name}{problem}")


def flush(
    repository: str, *, environment: Mapping[str, str], say: Callable[[str], None], retry_rejected: bool = False
) -> int:
    """Send what waits, in this process, once; return the exit status: 0 when nothing is left.

    Run by root, this becomes the user who owns the repository, who may have put anything into its place.
    """
    from hookhub.git.draining import drain  # noqa: PLC0415 - git's hook does not need it.
    from hookhub.git.owner import become_owner_of  # noqa: PLC0415 - as above.
    from hookhub.git.settings import NotConfigured  # noqa: PLC0415 - as above.

    try:
        git_dir = places.find(Path(repository))
        environment = become_owner_of(git_dir, environment)
        if retry_rejected:
            say(f"{Spool(git_dir).put_back()} files put back")
        drained = drain(git_dir, environment=environment, patience_seconds=0, wait_seconds=FLUSH_WAIT_SECONDS)
    except (OSError, places.NoRepository, NotConfigured) as problem:
        say(str(problem))
        return 1
    say(str(drained))
    return 1 if drained.waiting or drained.elsewhere else 0


def read_changes(lines: IO[bytes]) -> tuple[Change, ...]:
    """Read git's ``old new ref`` lines; a line of any other form is a ValueError."""
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
    )


def _first(names: Sequence[str], environment: Mapping[str, str]) -> str | None:
    return next((shown(environment[name]) for name in names if environment.get(name)), None)


def _login() -> str:
    try:
        import pwd  # noqa: PLC0415 - not in every Python, and seldom asked.

        return pwd.getpwuid(os.geteuid()).pw_name
    except (ImportError, KeyError):
        return "unknown"


def _complain(sentence: str) -> None:
    """Say one line to the pusher, who sees it as ``remote: hookhub: …``."""
    # The pusher may have hung up already.
    try:
        print(f"hookhub: {' '.join(shown(sentence).split())}", file=sys.stderr, flush=True)
    except OSError:
        return
