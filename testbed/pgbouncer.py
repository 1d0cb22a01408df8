"""PgBouncer in transaction mode, with few connections, between HookHub and the PostgreSQL of a testbed."""

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from testbed.processes import free_port, wait_for

# With 1, everything that a testbed starts uses a PgBouncer; with "prepared", one that keeps prepared statements.
ASKED_FOR = "HOOKHUB_TESTS_THROUGH_PGBOUNCER"
# Fewer than there are clients.
POOL_SIZE = 4
CONFIGURATION = """
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 1000
# A database cannot be dropped or copied while there is a connection to it.
server_idle_timeout = 2
server_login_retry = 1
logfile = {folder}/log
pidfile = {folder}/pid
log_connections = 0
log_disconnections = 0
"""


def find() -> str:
    """Return the path of PgBouncer; raise LookupError if none is installed."""
    found = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if not found:
        raise LookupError("no pgbouncer is installed: apt-get install pgbouncer")
    return found


class PgBouncer:
    """A PgBouncer in front of the PostgreSQL of a URL.

    ``prepared`` is how many prepared statements it keeps; versions before 1.21 know only None.
    """

    def __init__(self, url: str, *, program: str, prepared: int | None, settings: str = "") -> None:
        self.port = free_port()
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
        server = " ".join(f"{name}={parts[name]}" for name in ("host", "port", "user", "password") if name in parts)
        self._database = parts["dbname"]
        self._folder = Path(tempfile.mkdtemp(prefix="hookhub-pgbouncer-"))
        text = CONFIGURATION.format(server=server, port=self.port, pool_size=POOL_SIZE, folder=self._folder)
        text += settings + ("" if prepared is None else f"max_prepared_statements = {prepared}\n")
        (self._folder / "ini").write_text(text)
        self._process = start(program, self._folder / "ini", socket=Path(parts["host"], f".s.PGSQL.{parts['port']}"))
        try:
            wait_for(self._answers, "PgBouncer")
        except BaseException:
            self.close()
            raise

    def url(self, name: str = "") -> str:
        """Return the URL through it of the same database, or of another one of the server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name or self._database}"

    def log(self) -> str:
        """Return what it has logged."""
        return (self._folder / "log").read_text()

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"PgBouncer ended: {self.log()}")
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def start(program: str, configuration: Path, *, socket: Path) -> subprocess.Popen[bytes]:
    """Start a PgBouncer for the PostgreSQL of a socket; as root, as its owner, who also gets the configuration."""
    command = [program, "--quiet", str(configuration)]
    if os.geteuid() == 0:
        # PgBouncer refuses to run as root, and only the owner of the socket may connect.
        owner = pwd.getpwuid(socket.stat().st_uid).pw_name if socket.exists() else "nobody"
        shutil.chown(configuration.parent, owner)
        command += ["--user", owner]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


_running: dict[str, PgBouncer] = {}


def pooled(url: str) -> str:
    """Return the URL of a database through a PgBouncer, if that is asked for; otherwise the same URL."""
    asked = os.environ.get(ASKED_FOR, "0")
    host = str(conninfo_to_dict(url).get("host"))
    # A test may give the URL of a server that does not run, because nothing will connect.
    if asked == "0" or (host.startswith("/") and not Path(host).exists()):
        return url
    server = server_of(url)
    if server not in _running:
        _running[server] = PgBouncer(url, program=find(), prepared=100 if asked == "prepared" else None)
    return _running[server].url(str(conninfo_to_dict(url)["dbname"]))


def server_of(url: str) -> str:
    """Return the address of the PostgreSQL of a URL."""
    parts = conninfo_to_dict(url)
    return f"{parts.get('host')}:{parts.get('port')}"


def stop(url: str) -> None:
    """End the PgBouncer of a PostgreSQL, if there is one."""
    if bouncer := _running.pop(server_of(url), None):
        bouncer.close()


def port_of(url: str) -> int | None:
    """Return the port of the PgBouncer of a PostgreSQL, or None if it has none."""
    bouncer = _running.get(server_of(url))
    return bouncer.port if bouncer else None


@contextmanager
def running(url: str, *, program: str, prepared: int | None, settings: str = "") -> Iterator[str]:
    """Run a PgBouncer for the database of a URL, and yield the URL through it."""
    bouncer = PgBouncer(url, program=program, prepared=prepared, settings=settings)
    try:
        yield bouncer.url()
    finally:
        bouncer.close()


@atexit.register
def _stop_all() -> None:
    for bouncer in _running.values():
        bouncer.close()
