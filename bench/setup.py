"""Starts what every benchmark needs: a fresh HookHub as separate processes, and a receiver."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Self

import psutil
import requests
from cryptography.fernet import Fernet

from testbed import loopback
from testbed.instance import Instance
from testbed.processes import Module
from testbed.sampling import cpu_seconds_of
from testbed.servers import Servers, scratch_database, temporary_home

# A shorter benchmark only proves that it works.
SHORT_SECONDS = 5


def rows_asked_for(*, least: int) -> int | None:
    """Return how many rows BENCH_ROWS asks for, or None if it is not set."""
    given = os.environ.get("BENCH_ROWS", "")
    if given and not (given.isdecimal() and int(given) >= least):
        raise SystemExit(f"BENCH_ROWS must be an integer of at least {least}, not {given!r}")
    return int(given) if given else None


@contextmanager
def fresh_instance(**settings: str) -> Iterator[Instance]:
    """Provide a HookHub with production's settings and an empty, migrated database.

    Its servers are new ones on TCP, in a home that is removed at the end: a copy of BENCH_HOME, whose database has all
    tables, if that is set. If DATABASE_URL or REDIS_URL name servers, those are used, with a separate database.
    """
    database_url, redis_url = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    # Not in the checkout: a benchmark must not find or leave anything there.
    prepared = Path(os.environ["BENCH_HOME"]) if "BENCH_HOME" in os.environ and not database_url else None
    with temporary_home("hookhub-bench-", within=None, copied_from=prepared) as home, ExitStack() as stack:
        database_url = stack.enter_context(scratch_database(database_url) if database_url else loopback.postgres(home))
        redis_url = redis_url or stack.enter_context(loopback.valkey(home))
        servers = stack.enter_context(Servers(home, database_url=database_url, redis_url=redis_url))
        own = {
            "HOOKHUB_DEVELOPMENT": "0",
            "HOOKHUB_SECRET_KEY": token_urlsafe(50),
            "HOOKHUB_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "HOOKHUB_SERVED_HOSTS": "127.0.0.1",
            "HOOKHUB_ALLOWED_NETWORKS": "127.0.0.0/8",
            "HOOKHUB_QUEUE": home.name,
        }
        instance = Instance(servers, logs=home, **{**own, **settings})
        stack.callback(instance.close)
        yield instance


class ReceiverProcess:
    """The receiver's process (bench/receiver.py), and access to its counts."""

    def __init__(self) -> None:
        self._module = Module("bench.receiver")
        self.port = int(self._module.read())
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._module.close()

    def url(self, path: str = "/ok") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def cpu_seconds(self) -> float:
        """Return the CPU seconds that the receiver has used."""
        return cpu_seconds_of(psutil.Process(self._module.process.pid))

    def report(self) -> dict[str, dict[str, Any]]:
        """Return the counts by path, without a number at its end: see ``Arrivals.report``."""
        report: dict[str, dict[str, Any]] = self._session.get(self.url("/report"), timeout=30).json()
        return report

    def counts(self, path: str) -> Counter[str]:
        """Return the counts of one path, which are 0 before the first request."""
        return Counter(self.report().get(path))

    def count(self) -> int:
        """Return how many requests arrived on all paths; cheap enough for polling."""
        return int(self._session.get(self.url("/count"), timeout=30).json())

    def latencies(self, path: str = "/ok", *, since: float = 0) -> list[float]:
        """Return the latencies in seconds, in order of arrival, of requests planned at ``since`` or later.

        ``path`` has no number at its end.
        """
        found = self._session.get(self.url("/samples"), params={"path": path}, timeout=60).json()
        return [
            arrived - planned
            for planned, arrived in zip(found["planned"], found["arrived"], strict=True)
            if planned >= since
        ]

    def reset(self) -> None:
        """Clear what was received so far."""
        self._session.post(self.url("/reset"), timeout=30)
