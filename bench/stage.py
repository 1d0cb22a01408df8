"""Starts what every benchmark needs: a fresh HookHub as separate processes, and a receiver."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import requests
from cryptography.fernet import Fernet
from psycopg import conninfo, sql

from hookhub import procfile
from hookhub.client import Client
from hookhub.embedded import servers, service

STARTS_WITHIN_SECONDS = 60
STOPS_WITHIN_SECONDS = 30
ROOT = Path(__file__).resolve().parent.parent

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Memory:
    """Memory of several processes, in units of a million bytes.

    Shared memory, most of it from before the fork, counts fully for the largest process and once in the sum.
    """

    largest_process_mb: float
    sum_pss_mb: float


@dataclass
class Stage:
    """The servers of one benchmark, and how to start the rest; ``environment`` is the environment of its processes."""

    home: Path
    url: str
    database_url: str
    environment: dict[str, str]
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    key: str = ""
    _asking: "psycopg.Connection[Any] | None" = None

    @contextmanager
    def running(self, name: str, **environment: str) -> Iterator[psutil.Process]:
        """Run one of the Procfile's processes with its exact command, and stop it as a service manager does."""
        with self.started(name, procfile.commands()[name], **environment) as process:
            if name == "web":
                wait_for(lambda: service.is_ready(self.url), "the web server", seconds=STARTS_WITHIN_SECONDS)
            yield process

    @contextmanager
    def started(self, name: str, command: str, **environment: str) -> Iterator[psutil.Process]:
        """Run a command in the benchmark's environment, with its output in ``NAME.log``."""
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command], cwd=ROOT, env={**self.environment, **environment}, stdout=log, stderr=log
            )
        self.processes[name] = process
        try:
            yield psutil.Process(process.pid)
        finally:
            del self.processes[name]
            process.terminate()
            try:
                process.wait(STOPS_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                # Include its children, which would otherwise keep running.
                for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
                process.wait()

    @property
    def encryption_key(self) -> str:
        """Return the key that encrypts the webhooks' secrets."""
        return self.environment["HOOKHUB_ENCRYPTION_KEYS"]

    def client(self) -> Client:
        """Return a client with a key for the organization ``bench``, created on first use."""
        if not self.key:
            self.key = service.run(
                "create_api_key", "--organization", "bench", "--create-organization", "--scope", "master",
                environment=self.environment,
            ).strip()  # fmt: skip
        return Client(self.url, self.key)

    def ask(self, question: str, *parameters: object) -> Any:
        """Run one query, and return the first column of the first row, or None when there is no row."""
        # Reuse one connection: opening one for each query would cost more than what is measured.
        if self._asking is None or self._asking.closed:
            self._asking = psycopg.connect(self.database_url, autocommit=True)
        row = self._asking.execute(question.encode(), parameters or None).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Close the database connection."""
        if self._asking is not None:
            self._asking.close()

    def unsettled(self) -> bool:
        """Return whether any event is not fanned out, or any delivery is due or in flight."""
        # Ordered like the indexes: the planner expects to find such a row early anywhere in the table, and would scan
        # all of a large table that has none.
        return bool(
            self.ask(
                "SELECT EXISTS (SELECT FROM deliveries_arrival)"
                " OR EXISTS (SELECT FROM deliveries_delivery WHERE state = 'pending' AND line = 0 AND due_at <= now()"
                " ORDER BY due_at LIMIT 1)"
                " OR (SELECT id FROM deliveries_delivery WHERE state = 'sending'"
                " ORDER BY webhook_id, leased_until LIMIT 1) IS NOT NULL"
                " OR (SELECT id FROM deliveries_delivery WHERE state = 'pending' AND line > 0"
                " ORDER BY webhook_id, line, due_at, id LIMIT 1) IS NOT NULL"
            )
        )

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU seconds used so far by each process tree of the benchmark, and by PostgreSQL."""
        spent = {name: of_tree(psutil.Process(process.pid)) for name, process in self.processes.items()}
        pid_file = self.home / "postgres" / "postmaster.pid"
        if pid_file.exists():
            spent["postgres"] = of_tree(psutil.Process(int(pid_file.read_text().split()[0])))
        return spent

    def memory(self, name: str) -> Memory:
        """Return the memory of the processes started under a name."""
        return memory_of_tree(psutil.Process(self.processes[name].pid))


@contextmanager
def stage(**settings: str) -> Iterator[Stage]:
    """Provide servers with an empty, migrated database: embedded ones in a home that is removed at the end.

    If DATABASE_URL and REDIS_URL name servers, those are used, with a separate database.
    """
    # Not in the checkout: a benchmark must not find or leave anything there.
    with tempfile.TemporaryDirectory(prefix="hookhub-bench-") as folder, ExitStack() as stack:
        home = Path(folder)
        # Like the homes that embedded servers create: they may run as another user, which must be able to traverse it.
        home.chmod(0o711)
        given_database, given_redis = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
        stack.enter_context(servers.running(home, postgres=not given_database, redis=not given_redis))
        if given_database:
            given_database = stack.enter_context(scratch_database(given_database))
        port = free_port()
        environment = {
            **procfile.environment(),
            "HOOKHUB_HOME": str(home),
            "HOOKHUB_DEVELOPMENT": "1",
            "HOOKHUB_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "HOOKHUB_QUEUE": home.name,
            "DATABASE_URL": given_database,
            "REDIS_URL": given_redis,
            "PORT": str(port),
            **settings,
        }
        service.run("migrate", environment=environment)
        made = Stage(home, f"http://127.0.0.1:{port}", given_database or servers.database_url(home), environment)
        stack.callback(made.close)
        yield made


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


def of_tree(process: psutil.Process) -> float:
    """Return the CPU seconds of a process, its living descendants, and its reaped ones."""
    spent = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system
    times = process.cpu_times()
    return float(spent + times.children_user + times.children_system)


def memory_of_tree(process: psutil.Process) -> Memory:
    """Return the memory of a process and its descendants."""
    largest = shares = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            told = one.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        largest = max(largest, told.rss)
        # Only Linux reports proportional shares; elsewhere count the unique memory, which is a lower bound.
        shares += getattr(told, "pss", told.uss)
    return Memory(round(largest / 1e6, 1), round(shares / 1e6, 1))


def wait_for(is_so: Callable[[], object], what: str, *, seconds: float, pause: float = 0.02) -> None:
    """Poll until a condition holds; raise RuntimeError after ``seconds``."""
    give_up_at = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"timed out after {seconds:g} s waiting for {what}")
        time.sleep(pause)


def free_port() -> int:
    """Return a port that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sink:
    """The receiver's process (bench/receiver.py), and access to its counts."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.receiver"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def url(self, path: str = "/ok") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def report(self) -> dict[str, dict[str, Any]]:
        """Return the counts by path: count, distinct, duplicated, first_at and last_at (monotonic seconds)."""
        report: dict[str, dict[str, Any]] = self._session.get(self.url("/report"), timeout=30).json()
        return report

    def count(self) -> int:
        """Return how many requests arrived on all paths; cheap enough for polling."""
        return int(self._session.get(self.url("/count"), timeout=30).json())

    def total(self, what: str = "count") -> int:
        """Return one of the counts, summed over all paths."""
        return sum(row[what] for row in self.report().values())

    def latencies(self, path: str = "/ok", *, since: float = 0, until: float = float("inf")) -> list[float]:
        """Return the latencies in seconds, in order of arrival, of requests planned between ``since`` and ``until``."""
        found = self._session.get(self.url("/samples"), params={"path": path}, timeout=60).json()
        return [
            arrived - meant
            for meant, arrived in zip(found["meant"], found["arrived"], strict=True)
            if since <= meant < until
        ]

    def reset(self) -> None:
        """Clear what was received so far."""
        self._session.post(self.url("/reset"), timeout=30)
