"""Starts what every benchmark needs: a fresh HookHub as separate processes, and a receiver."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import requests
from cryptography.fernet import Fernet

from testbed.instance import Instance
from testbed.processes import Module
from testbed.servers import Servers, scratch_database, temporary_home


@contextmanager
def fresh_instance(**settings: str) -> Iterator[Instance]:
    """Provide servers with an empty, migrated database: embedded ones in a home that is removed at the end.

    If DATABASE_URL and REDIS_URL name servers, those are used, with a separate database.
    """
    database_url, redis_url = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    # Not in the checkout: a benchmark must not find or leave anything there.
    with temporary_home("hookhub-bench-", within=None) as home, ExitStack() as stack:
        if database_url:
            database_url = stack.enter_context(scratch_database(database_url))
        servers = stack.enter_context(Servers(home, database_url=database_url, redis_url=redis_url))
        own = {
            "HOOKHUB_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "HOOKHUB_QUEUE": home.name,
            # All webhooks have the receiver's few URLs.
            "HOOKHUB_WEBHOOKS_PER_URL": "0",
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

    def report(self) -> dict[str, dict[str, Any]]:
        """Return the counts by path: count, distinct, duplicated, first_at and last_at (monotonic seconds)."""
        report: dict[str, dict[str, Any]] = self._session.get(self.url("/report"), timeout=30).json()
        return report

    def counts(self, path: str) -> Counter[str]:
        """Return the counts of one path, which are 0 before the first request."""
        return Counter(self.report().get(path))

    def count(self) -> int:
        """Return how many requests arrived on all paths; cheap enough for polling."""
        return int(self._session.get(self.url("/count"), timeout=30).json())

    def latencies(self, path: str = "/ok", *, since: float = 0) -> list[float]:
        """Return the latencies in seconds, in order of arrival, of requests planned at ``since`` or later."""
        found = self._session.get(self.url("/samples"), params={"path": path}, timeout=60).json()
        return [
            arrived - planned
            for planned, arrived in zip(found["planned"], found["arrived"], strict=True)
            if planned >= since
        ]

    def reset(self) -> None:
        """Clear what was received so far."""
        self._session.post(self.url("/reset"), timeout=30)
