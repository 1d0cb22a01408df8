"""A pytest plugin: one PostgreSQL and one Valkey for the whole run, configured before the settings are read."""

import atexit
import gc
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")

# Set before anything imports the settings: a run must not touch the data of a `make up` in the same checkout.
os.environ.setdefault("HOOKHUB_HOME", str(Path(__file__).resolve().parent.parent / ".hookhub" / "tests"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")

# All tests come from one address.
os.environ.setdefault("HOOKHUB_REQUESTS_PER_ADDRESS", "0")

from hookhub.embedded import servers
from testbed.memory import folder_in_memory

# xdist workers inherit the controller's REDIS_URL, which must be replaced by their own.
OWN_REDIS = not os.environ.get("REDIS_URL") or os.environ.get("HOOKHUB_TESTS_OWN_REDIS") == "1"
OWN_POSTGRES = not os.environ.get("DATABASE_URL")
if OWN_REDIS:
    os.environ["HOOKHUB_TESTS_OWN_REDIS"] = "1"
    # Each xdist worker uses its own Redis database, so that no wake-up reaches another worker.
    number = int(WORKER.removeprefix("gw")) % 16
    os.environ["REDIS_URL"] = servers.redis_url(servers.home()).replace("db=0", f"db={number}")

# What the collection of ten thousand tests creates lives until the end; searching it again and again takes 4 % of the
# time.
gc.disable()
# Python would search it once more when it exits, which takes each process of a run half a second.
atexit.register(gc.freeze)

_running = ExitStack()
_connect = socket.socket.connect
_resolve = socket.getaddrinfo


def pytest_configure(config: pytest.Config) -> None:
    """Keep the servers running from the first test to the last one of the last xdist worker.

    `make fast` sets HOOKHUB_TESTS_WITHOUT_SERVERS, because its tests need no servers.
    """
    if config.getoption("numprocesses", None):
        # What many tests leave is of no use to anybody who looks into a failure, for which one runs a single test.
        folder = _running.enter_context(
            TemporaryDirectory(prefix="pytest-", dir=folder_in_memory(), ignore_cleanup_errors=True)
        )
        os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
    if not config.option.collectonly and not os.environ.get("HOOKHUB_TESTS_WITHOUT_SERVERS"):
        _running.enter_context(servers.running(servers.home(), durable=False, postgres=OWN_POSTGRES, redis=OWN_REDIS))
    socket.socket.connect = _connect_nearby  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = _resolve_nearby


def pytest_collection_finish() -> None:
    """Search only what is created from now on for garbage."""
    gc.enable()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)


def pytest_unconfigure() -> None:
    """Release the servers; the last process to do so stops them."""
    socket.socket.connect = _connect  # type: ignore[method-assign]
    socket.getaddrinfo = _resolve
    _running.close()


def _connect_nearby(self: socket.socket, address: object) -> None:
    """Connect on this machine only, and fail otherwise: no test may depend on external hosts."""
    if isinstance(address, tuple) and self.family in {socket.AF_INET, socket.AF_INET6}:
        host = str(address[0])
        if not (host.startswith("127.") or host in {"localhost", "::1"}):
            raise AssertionError(f"a test wanted to connect to {address}")
    _connect(self, address)  # type: ignore[arg-type]


def _resolve_nearby(
    host: str | bytes | None, port: str | int | None, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> Any:
    """Resolve this machine's names only, and know no other: no test may depend on a name server, nor wait for it."""
    is_other = isinstance(host, str) and not host.rstrip(".").endswith("localhost") and host != socket.gethostname()
    return _resolve(host, port, family, type, proto, flags | socket.AI_NUMERICHOST if is_other else flags)
