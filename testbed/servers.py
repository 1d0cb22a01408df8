"""PostgreSQL and Valkey of a testbed, which can be stalled, stopped, killed and restarted."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
from psycopg import conninfo, sql
from redis import Redis

from hookhub import procfile
from hookhub.embedded import servers as embedded
from hookhub.embedded import service
from testbed import pgbouncer
from testbed.processes import kill_all, with_descendants

ORGANIZATION = "acme"
# The file of a prepared home that holds the key of its organization.
PREPARED = "prepared"


@contextmanager
def temporary_home(prefix: str, *, within: str | None = "/tmp", copied_from: Path | None = None) -> Iterator[Path]:
    """Create a home for embedded servers, accessible to the account they run as; remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    folder.chmod(0o711)
    try:
        if copied_from is not None:
            # The servers may run under another account, which must remain the owner of its files.
            subprocess.run(["cp", "-a", f"{copied_from}/.", folder], check=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Servers:
    """The servers of one home; ``key`` is an API key of the organization that every new database contains.

    A server whose URL is given is used instead of an embedded one.
    """

    def __init__(self, home: Path, *, database_url: str = "", redis_url: str = "") -> None:
        self.home = home
        self.key = ""
        self.database_url = database_url or embedded.database_url(home)
        self.redis_url = redis_url or embedded.redis_url(home)
        self._running = partial(embedded.running, home, postgres=not database_url, redis=not redis_url)
        self._stack = ExitStack()
        # Each restart of a server registers one more user of the servers here.
        self._revived = ExitStack()
        self._made = 0

    def __enter__(self) -> Self:
        """Start the servers and create the template database, unless the home was prepared."""
        with ExitStack() as stack:
            stack.enter_context(self._running())
            prepared = self.home / PREPARED
            self.key = prepared.read_text() if prepared.exists() else self._fill()
            self._stack = stack.pop_all()
        return self

    def _fill(self) -> str:
        """Create the tables and the organization, and return its key."""
        self._migrate()
        return create_key(ORGANIZATION, environment=self.environment())

    def _migrate(self) -> None:
        service.run("migrate", "--skip-checks", environment=self.environment())

    def prepare(self, *, with_key: bool = True) -> None:
        """Create the template database and stop the servers cleanly, so that a copy of this home starts with it.

        Without a key it has only the tables, for programs that find no organization in it.
        """
        with self._running():
            if with_key:
                (self.home / PREPARED).write_text(self._fill())
            else:
                self._migrate()

    def __exit__(self, *_: object) -> None:
        """Kill the servers; their data is discarded, so nothing has to be written to disk first."""
        pgbouncer.stop(self.database_url)
        for name in ("postgres", "valkey"):
            if server := self.find(name):
                kill_all(with_descendants(server))
        self._revived.close()
        self._stack.close()

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment for a HookHub process that uses these servers."""
        return {
            **procfile.environment(),
            "HOOKHUB_HOME": str(self.home),
            "HOOKHUB_DEVELOPMENT": "1",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            **more,
        }

    def new_database(self) -> str:
        """Create a database with tables, organization and key, and flush Redis; return the database's URL."""
        self._made += 1
        name = f"chaos_{self._made}"
        with psycopg.connect(embedded.database_url(self.home, name="postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier("hookhub"))
            )
        self.flush_redis()
        return embedded.database_url(self.home, name=name)

    def find(self, name: str) -> psutil.Process | None:
        """Return the process of a server of this home, or None when it is not running."""
        for process in psutil.process_iter(["name", "cmdline", "status"]):
            words = process.info["cmdline"] or []
            is_here = any(str(self.home) in word for word in words)
            if is_here and process.info["name"].startswith(name) and process.info["status"] != psutil.STATUS_ZOMBIE:
                return process
        return None

    def process(self, name: str) -> psutil.Process:
        """Return the process of a server of this home; raise LookupError when it is not running."""
        found = self.find(name)
        if found is None:
            raise LookupError(f"{name} is not running in {self.home}")
        return found

    def revive(self) -> None:
        """Restart the servers that are down."""
        self._revived.enter_context(self._running())

    def redis(self) -> "Redis":
        """Return a client for this Redis with 5 s timeouts."""
        timeouts: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0}
        return Redis.from_url(self.redis_url, **timeouts)

    def flush_redis(self) -> None:
        """Delete everything in Redis."""
        with self.redis() as redis:
            redis.flushall()


def create_key(organization: str, *, environment: dict[str, str]) -> str:
    """Create an organization, and return a key for it that may do everything."""
    options = ("--organization", organization, "--create-organization", "--scope", "master")
    return service.run("create_api_key", *options, environment=environment).strip()


@contextmanager
def scratch_database(url: str) -> Iterator[str]:
    """Create a database on a given server, and drop it at the end."""
    name = f"hookhub_bench_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield conninfo.make_conninfo(url, dbname=name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
