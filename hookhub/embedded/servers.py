"""The embedded PostgreSQL and Valkey of a checkout: the first caller starts them, the last one stops them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hookhub.embedded.home import home, socket_directory, take_directory, take_home
from hookhub.embedded.postgres import database_url, postgres_server, start_postgres
from hookhub.embedded.processes import EmbeddedServersError, account_for_servers, shut_down
from hookhub.embedded.valkey import redis_url, start_valkey, valkey_server

__all__ = [
    "EmbeddedServersError", "database_url", "home", "redis_url", "restart_dead", "running", "socket_directory",
]  # fmt: skip


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
    take_home(home)
    entered_by = os.getpid()
    # Blocks only while the last of the previous callers is stopping the servers.
    with _locked(home / "servers.lock", fcntl.LOCK_SH) as place:
        try:
            with _locked(home / "start.lock", fcntl.LOCK_EX):
                account = account_for_servers()
                take_directory(account, socket_directory(home))
                if postgres:
                    start_postgres(home, account, durable=durable)
                if redis:
                    start_valkey(home, account)
            yield
        finally:
            if os.getpid() == entered_by and _is_last(place):
                shut_down(valkey_server(home))
                shut_down(postgres_server(home, durable=durable))


def restart_dead(home: Path, *, postgres: bool, redis: bool) -> list[str]:
    """Start those of a home's servers that have died, and return their names; the caller is inside ``running``.

    Raise EmbeddedServersError, with the end of the server's log, if one cannot be started.
    """
    home = home.resolve()
    needed = {"postgres": postgres, "redis": redis}
    of_home = {"postgres": postgres_server(home, durable=True), "redis": valkey_server(home)}
    dead = {kind: server.name for kind, server in of_home.items() if needed[kind] and server.pid() is None}
    if dead:
        with _locked(home / "start.lock", fcntl.LOCK_EX):
            account = account_for_servers()
            if "postgres" in dead:
                start_postgres(home, account, durable=True)
            if "redis" in dead:
                start_valkey(home, account)
    return list(dead.values())


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
