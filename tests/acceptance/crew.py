"""One HookHub as separate processes (servers, web server, worker) that can be killed one by one."""

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
from hookhub.client import Client
from hookhub.embedded import service
from testbed import processes, servers
from testbed.servers import Ground

PATIENCE_SECONDS = 90


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Poll until a condition holds; fail with ``what`` after PATIENCE_SECONDS."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up_at, f"timed out after {PATIENCE_SECONDS} s waiting for {what}"
        time.sleep(0.05)


@contextmanager
def home_of_its_own() -> Iterator[Path]:
    """Create a home for embedded servers outside pytest's own folder, which the servers' account could not access."""
    with servers.home_of_its_own("hookhub-test-") as folder:
        yield folder


@contextmanager
def prepared_home() -> Iterator[Path]:
    """Create a home with a prepared database; copying it saves starting three programs for each test."""
    with home_of_its_own() as folder:
        # Preserve ownership, because the servers may run under another account.
        subprocess.run(["cp", "-a", f"{_template()}/.", folder], check=True)
        yield folder


@cache
def _template() -> Path:
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(servers.home_of_its_own("hookhub-template-"))
    Ground(folder).prepare()
    return folder


class Crew(processes.Crew):
    """The processes of one HookHub on its own servers, and a client for it."""

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
        """Return an embedded server of this home."""
        return self.ground.server(name)

    def revive_servers(self) -> None:
        """Restart the servers that were killed."""
        self.ground.revive()

    def flush_redis(self) -> None:
        self.ground.flush_redis()

    def is_ready(self) -> bool:
        return service.is_ready(self.url)

    def states(self) -> dict[str, int]:
        """Return the number of deliveries by state."""
        found: dict[str, int] = {}
        for row in self.client.deliveries.list(page_size=200):
            found[row["state"]] = found.get(row["state"], 0) + 1
        return found

    def check_ledger(self) -> None:
        service.run("check_ledger", "--settling", "0", environment=self.environment)
