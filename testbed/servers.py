"""The embedded PostgreSQL and Valkey of a scenario, which can be stalled, stopped, killed and restarted."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
from psycopg import sql
from redis import Redis

from hookhub import procfile
from hookhub.embedded import servers, service

ORGANIZATION = "acme"
# The file of a prepared home that holds the key of its organization.
PREPARED = "prepared"


@contextmanager
def home_of_its_own(prefix: str = "hookhub-chaos-") -> Iterator[Path]:
    """Create a home for embedded servers, accessible to the account they run as; remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Servers:
    """The servers of one home; ``key`` is an API key of the organization that every new database contains."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.key = ""
        self.redis_url = servers.redis_url(home)
        self._stack = ExitStack()
        # Each restart of a server registers one more user of the servers here.
        self._revived = ExitStack()
        self._made = 0

    def __enter__(self) -> Self:
        """Start the servers and create the template database, unless the home was prepared."""
        with ExitStack() as stack:
            stack.enter_context(servers.running(self.home))
            prepared = self.home / PREPARED
            self.key = prepared.read_text() if prepared.exists() else self._fill()
            self._stack = stack.pop_all()
        return self

    def _fill(self) -> str:
        """Create the tables and the organization, and return its key."""
        environment = self.environment()
        service.run("migrate", environment=environment)
        return service.run(
            "create_api_key", "--organization", ORGANIZATION, "--create-organization", "--scope", "master",
            environment=environment,
        ).strip()  # fmt: skip

    def prepare(self) -> None:
        """Create the template database and stop the servers cleanly, so that a copy of this home starts with it."""
        with servers.running(self.home):
            key = self._fill()
        (self.home / PREPARED).write_text(key)

    def __exit__(self, *_: object) -> None:
        """Kill the servers; their data is discarded, so nothing has to be written to disk first."""
        for name in ("postgres", "valkey"):
            if server := self.running_process(name):
                kill_tree(server)
        self._revived.close()
        self._stack.close()

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment for a HookHub process that uses these servers."""
        return {
            **procfile.environment(),
            "HOOKHUB_HOME": str(self.home),
            "HOOKHUB_DEVELOPMENT": "1",
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "WEB_WORKERS": "1",
            **more,
        }

    def new_database(self) -> str:
        """Create a database with tables, organization and key, and flush Redis; return the database's URL."""
        self._made += 1
        name = f"chaos_{self._made}"
        with psycopg.connect(servers.database_url(self.home, name="postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier("hookhub"))
            )
        self.flush_redis()
        return servers.database_url(self.home, name=name)

    def running_process(self, name: str) -> psutil.Process | None:
        """Return the process of a server of this home, or None when it is not running."""
        for process in psutil.process_iter(["name", "cmdline", "status"]):
            words = process.info["cmdline"] or []
            is_here = any(str(self.home) in word for word in words)
            if is_here and process.info["name"].startswith(name) and process.info["status"] != psutil.STATUS_ZOMBIE:
                return process
        return None

    def server(self, name: str) -> psutil.Process:
        """Return the process of a server of this home; raise LookupError when it is not running."""
        found = self.running_process(name)
        if found is None:
            raise LookupError(f"{name} is not running in {self.home}")
        return found

    def revive(self) -> None:
        """Restart the servers that are down."""
        self._revived.enter_context(servers.running(self.home))

    def redis(self) -> "Redis":
        """Return a client for this Redis with 5 s timeouts."""
        timeouts: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0}
        return Redis.from_url(self.redis_url, **timeouts)

    def flush_redis(self) -> None:
        """Delete everything in Redis."""
        with self.redis() as redis:
            redis.flushall()


def kill_tree(process: psutil.Process) -> None:
    """SIGKILL a process and all its descendants, and wait until they are gone."""
    family = [process, *process.children(recursive=True)]
    for one in family:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=30)


def run_helper(module: str, *arguments: str, log: Path) -> "subprocess.Popen[str]":
    """Start one of the harness's helper processes, which ends when its standard input is closed."""
    with log.open("a") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=procfile.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
