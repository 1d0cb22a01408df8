"""A HookHub in pieces: its servers, web server and worker as separate processes, to be killed one by one."""

import atexit
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Self

import psutil

from bench.stage import free_port
from chaos import crew, ground
from chaos.ground import Ground
from hookhub import service
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
    with ground.home_of_its_own("hookhub-test-") as folder:
        yield folder


@contextmanager
def prepared_home() -> Iterator[Path]:
    """The same with a database in place, which costs three programs' starts only once in each process of a run."""
    with home_of_its_own() as folder:
        # With its owners, for the servers may have an account of their own.
        subprocess.run(["cp", "-a", f"{_template()}/.", folder], check=True)
        yield folder


@cache
def _template() -> Path:
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(ground.home_of_its_own("hookhub-template-"))
    Ground(folder).prepare()
    return folder


class Crew(crew.Crew):
    """The processes of one HookHub on servers of its own, and a client of it."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.ground = Ground(home)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(logs=home, environment=self.ground.environment(PORT=str(self.port), **settings))

    def __enter__(self) -> Self:
        self.ground.__enter__()
        self.key = self.ground.key
        self.start("web")
        wait_until(self.is_ready, "the web server")
        self.start("worker")
        self.client = Client(self.url, self.key)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.client.close()
        self.ground.__exit__()

    def server(self, name: str) -> psutil.Process:
        """The embedded server of that name in this home."""
        return self.ground.server(name)

    def revive_servers(self) -> None:
        """Start again whichever server has been killed."""
        self.ground.revive()

    def flush_redis(self) -> None:
        self.ground.flush_redis()

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
