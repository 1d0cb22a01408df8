"""Server processes that outlive their starter: their account, their access to files, their start and stop."""

import contextlib
import fcntl
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("hookhub.server_processes")

# Crash recovery after a power failure can take most of a minute on a slow disk; a server that exits is noticed at once.
PATIENCE_SECONDS = 60
_POLL_SECONDS = 0.02

_ACCOUNT_NAME = "pgserver"

# Servers do not inherit the caller's environment: PGPORT would change their port, and they need no secrets. LC_ALL
# keeps the log in English, and keeps macOS from starting a locale thread that PostgreSQL refuses.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

# The shell exits at once, so init adopts the server and no caller has to reap it.
_DETACH = '"$@" >&2 </dev/null & echo $!'


class EmbeddedServersError(RuntimeError):
    """An embedded server cannot be started or stopped; the message says what to do."""


@dataclass(frozen=True)
class Account:
    """The account that runs the servers; ``switch`` is False if it is the caller's own."""

    uid: int
    gid: int
    switch: bool

    def run(self, command: list[str], *, stdout: int, stderr: int) -> subprocess.CompletedProcess[str]:
        """Run a command to completion as this account, in a separate session, so that Ctrl-C does not reach it."""
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=_ENVIRONMENT,
            cwd="/",
            umask=0o077,
            start_new_session=True,
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
            text=True,
            check=False,
        )


@dataclass(frozen=True)
class Server:
    """One server: how to start, recognize, probe and stop it."""

    name: str
    program: str
    # The first arguments, unique to this server: its data directory or its socket.
    identity: tuple[str, ...]
    options: tuple[str, ...]
    pid_file: Path
    log: Path
    # Files of a dead server that would prevent a new one from starting.
    leftovers: tuple[Path, ...]
    stop_signal: signal.Signals
    # Returns why the server does not answer, or None if it does.
    health_error: Callable[[], str | None]
    # Text in the log after a start that failed for a temporary reason.
    transient_error: str | None = None

    def pid(self) -> int | None:
        """Return the server's process id while it is alive, else None.

        The file alone proves nothing, because the kernel reuses process ids.
        """
        try:
            pid = int(self.pid_file.read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return pid if self.is_process(pid) else None

    def is_process(self, pid: int) -> bool:
        """Return whether the process is alive and is this server."""
        return f"/{self.program} {' '.join(self.identity)} " in _command_line(pid)


def account_for_servers() -> Account:
    """Return the account for the servers: the caller's, or an unprivileged one for root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    entry = _passwd_entry() or _create_account()
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def user_name(uid: int) -> str:
    """Return the name of a user, or ``uid N`` if it has none on this machine."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def grant_traverse(account: Account, path: Path) -> None:
    """Grant the account the missing search permissions on a directory and its ancestors."""
    for directory in (path, *path.parents) if account.switch else ():
        facts = directory.stat()
        if facts.st_uid != account.uid and not facts.st_mode & stat.S_IXOTH:
            directory.chmod(stat.S_IMODE(facts.st_mode) | stat.S_IXOTH)
            logger.warning(
                "chmod o+x %s: %s, the servers' user, needs search permission", directory, user_name(account.uid)
            )


def grant_read(account: Account, tree: Path) -> None:
    """Grant the account read access to a tree, and execute access to what its owner may execute."""
    changed = 0
    for path in (tree, *tree.rglob("*")) if account.switch and tree.exists() else ():
        mode = stat.S_IMODE(path.stat().st_mode)
        readable = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if readable != mode:
            path.chmod(readable)
            changed += 1
    if changed:
        logger.warning("chmod -R o+rX %s: %s, the servers' user, needs read permission", tree, user_name(account.uid))


def bring_up(server: Server, *, binary: Path, account: Account) -> None:
    """Start the server unless it is alive, and return once it answers; remove the files of a dead one first.

    Raise EmbeddedServersError with the end of the log if it exits or does not answer in time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    launched: int | None = None
    log_start = _size(server.log)
    while (health_error := server.health_error()) is not None:
        if time.monotonic() > deadline:
            hung = f"{server.name} (process {server.pid() or launched}) is not responding ({health_error})"
            raise failure(server.log, f"{hung}; if it hangs, end it, and run the command again", since=log_start)
        if server.pid() is None and not (launched and _command_line(launched)):
            if launched and not (server.transient_error and server.transient_error in _tail(server.log, log_start)):
                raise failure(server.log, f"{server.name} exited during startup", since=log_start)
            log_start = _size(server.log)
            launched = _launch(server, binary, account)
        time.sleep(_POLL_SECONDS)


def shut_down(server: Server) -> None:
    """Stop the server and return once its process is gone; do nothing if it is not running."""
    pid = server.pid()
    if pid is None:
        return
    since = _size(server.log)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, server.stop_signal)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while server.is_process(pid):
        if time.monotonic() > deadline:
            raise failure(server.log, f"{server.name} (process {pid}) did not stop in time", since=since)
        time.sleep(_POLL_SECONDS)


def failure(log: Path, sentence: str, *, since: int) -> EmbeddedServersError:
    """Return an error with what failed, the log's path and the end of the log."""
    return EmbeddedServersError(f"{sentence}. Last lines of {log}:\n{_tail(log, since) or '(empty)'}")


def open_log(log: Path) -> int:
    """Return a descriptor that appends to a log readable by its owner only, because error messages may quote data."""
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _launch(server: Server, binary: Path, account: Account) -> int:
    for leftover in server.leftovers:
        leftover.unlink(missing_ok=True)
    log = open_log(server.log)
    try:
        shell = ["/bin/sh", "-c", _DETACH, "sh", str(binary), *server.identity, *server.options]
        return int(account.run(shell, stdout=subprocess.PIPE, stderr=log).stdout)
    finally:
        os.close(log)


def _command_line(pid: int) -> str:
    """Return the command line of a live process, joined by spaces, or "" if it is gone or a zombie."""
    if not Path("/proc/self/cmdline").exists():
        ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
        return subprocess.run(ps, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return os.fsdecode(words).replace("\0", " ")


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _tail(log: Path, since: int) -> str:
    with log.open("rb") as text:
        text.seek(max(since, _size(log) - 4096))
        return text.read().decode(errors="replace").strip()


def _passwd_entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(_ACCOUNT_NAME)
    except KeyError:
        return None


def _create_account() -> pwd.struct_passwd:
    advice = f"create the user {_ACCOUNT_NAME}, run as an unprivileged user, or set DATABASE_URL and REDIS_URL"
    useradd = shutil.which("useradd", path=f"{os.defpath}:/usr/sbin:/sbin")
    if useradd is None:
        raise EmbeddedServersError(f"PostgreSQL does not run as root, and useradd was not found: {advice}")
    command = [useradd, "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    # Two concurrent useradd calls both succeed, and the second replaces the first one's entry, with another uid.
    lock = os.open("/etc/.pwd.lock", os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (entry := _passwd_entry()) is not None:
            return entry
        result = subprocess.run([*command, _ACCOUNT_NAME], capture_output=True, text=True, check=False)
    finally:
        os.close(lock)
    entry = _passwd_entry()
    if entry is None:
        raise EmbeddedServersError(f"useradd {_ACCOUNT_NAME} failed ({result.stderr.strip()}): {advice}")
    return entry
