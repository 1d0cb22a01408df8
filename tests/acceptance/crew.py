"""A HookHub in pieces: its servers, web server and worker as separate processes, to be killed one by one."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import psutil
from redis import Redis

from bench.stage import free_port
from hookhub import embedded, procfile, service
from hookhub.client import Client

PATIENCE_SECONDS = 90


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Wait for the thing itself, and say what it was when it does not come."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up_at, f"waited {PATIENCE_SECONDS} s for {what} in vain"
        time.sleep(0.05)


@contextmanager
def home_of_its_own() -> Iterator[Path]:
    """A home for embedded servers; not in pytest's own folder, whose mode shuts the servers' account out."""
    folder = Path(tempfile.mkdtemp(prefix="hookhub-test-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Crew:
    """The processes of one HookHub, started with the very commands of the Procfile."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **procfile.environment(),
            "HOOKHUB_HOME": str(home),
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "PORT": str(self.port),
            "WEB_WORKERS": "1",
            **settings,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()
        # A second place among the servers' users, to be entered again when one of them has been killed.
        self._revived = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(embedded.running(self.home))
        service.run("migrate", environment=self.environment)
        self.key = service.run(
            "create_api_key", "--organization", "acme", "--create-organization", "--scope", "master",
            environment=self.environment,
        ).strip()  # fmt: skip
        self.start("web")
        wait_until(lambda: service.is_ready(self.url), "the web server")
        self.start("worker")
        self.client = Client(self.url, self.key)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name, patience=0)
        self.client.close()
        self._revived.close()
        self._stack.close()

    def start(self, name: str) -> None:
        command = procfile.commands()[name]
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                ["/bin/sh", "-c", command], cwd=procfile.ROOT, env=self.environment, stdout=log, stderr=log
            )

    def kill(self, name: str, *, patience: float = 10) -> None:
        """SIGKILL a process; its children notice by themselves, or are killed when they do not."""
        process = self.processes.pop(name)
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=patience)
        for child in alive:
            child.kill()

    def stop(self, name: str) -> int:
        """SIGTERM a process and its children, as a service manager does, and give its exit code."""
        process = self.processes.pop(name)
        for one in [process, *psutil.Process(process.pid).children(recursive=True)]:
            os.kill(one.pid, signal.SIGTERM)
        return process.wait(PATIENCE_SECONDS)

    def children_of(self, name: str) -> list[psutil.Process]:
        return psutil.Process(self.processes[name].pid).children()

    def server(self, name: str) -> psutil.Process:
        """The embedded server of that name in this home."""
        for process in psutil.process_iter(["name", "cmdline"]):
            words = process.info["cmdline"] or []
            if process.info["name"].startswith(name) and any(str(self.home) in word for word in words):
                return process
        raise AssertionError(f"no {name} runs in {self.home}")

    def revive_servers(self) -> None:
        """Start again whichever server has been killed."""
        self._revived.enter_context(embedded.running(self.home))

    def flush_redis(self) -> None:
        Redis.from_url(embedded.redis_url(self.home)).flushall()

    def is_ready(self) -> bool:
        return service.is_ready(self.url)

    def states(self) -> dict[str, int]:
        """How many deliveries are in which state."""
        found: dict[str, int] = {}
        for row in self.client.deliveries.list(page_size=200):
            found[row["state"]] = found.get(row["state"], 0) + 1
        return found

    def check_ledger(self) -> None:
        service.run("check_ledger", "--settling", "0", environment=self.environment)
