"""One HookHub on its own servers: its processes, a client, and questions to its database."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import psycopg

from hookhub.client import Client
from hookhub.embedded import service
from testbed import pgbouncer
from testbed.processes import Processes, free_port, wait_for
from testbed.sampling import Memory, cpu_seconds_of, memory_of
from testbed.servers import Servers

# Ordered like the indexes: the planner expects to find such a row early anywhere in the table, and would scan all of a
# large table that has none.
UNSETTLED = (
    "SELECT EXISTS (SELECT FROM hookhub_outbox)"
    " OR EXISTS (SELECT FROM hookhub_delivery WHERE state = 'pending' AND readiness = 0 AND due_at <= now()"
    " ORDER BY due_at LIMIT 1)"
    " OR (SELECT id FROM hookhub_delivery WHERE state = 'sending'"
    " ORDER BY webhook_id, leased_until LIMIT 1) IS NOT NULL"
    " OR (SELECT id FROM hookhub_delivery WHERE state = 'pending' AND readiness > 0"
    " ORDER BY webhook_id, readiness, due_at, id LIMIT 1) IS NOT NULL"
)

COUNT_BY_STATE = (
    "SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) AS n FROM hookhub_delivery GROUP BY state)"
)

# Settings under which one client may send as much as it likes.
WITHOUT_LIMITS = {
    "HOOKHUB_REQUESTS_PER_ADDRESS": "0",
    "HOOKHUB_REQUESTS_PER_KEY": "0",
    "HOOKHUB_REQUESTS_PER_ORGANIZATION": "0",
    "HOOKHUB_WEBHOOK_CHANGES": "0",
    "HOOKHUB_WEBHOOKS_PER_ORGANIZATION": "0",
    "HOOKHUB_WEBHOOKS_PER_HOST": "0",
}


class Instance(Processes):
    """The processes of one HookHub, and what its users and administrators see; close it at the end.

    ``settings`` are environment variables, and replace those of the servers.
    """

    def __init__(self, servers: Servers, *, logs: Path, database_url: str = "", **settings: str) -> None:
        self.servers = servers
        self.port = int(settings.get("PORT") or free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = servers.key
        # Where this database is without a proxy.
        self.database_url = database_url or servers.database_url
        environment = {"DATABASE_URL": pgbouncer.pooled(self.database_url), "PORT": str(self.port), **settings}
        super().__init__(logs=logs, environment=servers.environment(**environment))
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def started(self, name: str, **environment: str) -> Iterator[psutil.Process]:
        """Run a process for the duration of the block; of the web server, wait until it answers."""
        with super().started(name, **environment) as process:
            if name == "web":
                self.wait_until_ready()
            yield process

    def is_ready(self) -> bool:
        """Return whether the web server answers."""
        return service.is_ready(self.url)

    def wait_until_ready(self) -> None:
        """Wait until the web server answers."""
        wait_for(self.is_ready, "the web server")

    @cached_property
    def client(self) -> Client:
        """A client with the organization's key."""
        return Client(self.url, self.key)

    def states(self) -> dict[str, int]:
        """Return the number of deliveries by state."""
        # Asked in a loop, so one query, and no list of all deliveries from the web server, which would take its time.
        counts: dict[str, int] = self.ask(COUNT_BY_STATE) or {}
        return counts

    def check_ledger(self, *options: str) -> None:
        """Run ``check_ledger`` when everything has settled; raise ServiceError when it finds a violation."""
        environment = {**self.environment, "DATABASE_URL": self.database_url, "HOOKHUB_FAILPOINTS": ""}
        service.run("check_ledger", "--settling", "0", *options, environment=environment)

    def ask(self, question: str, *parameters: object) -> Any:
        """Run one query, and return the first column of the first row, or None when there is no row."""
        # Reuse one connection: opening one for each query would cost more than what is measured.
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.database_url, autocommit=True)
        row = self._connection.execute(question.encode(), parameters or None).fetchone()
        return row[0] if row else None

    def disconnect(self) -> None:
        """Close the connection of ``ask``, which opens another."""
        if self._connection is not None:
            self._connection.close()

    def unsettled(self) -> bool:
        """Return whether any event is not fanned out, or any delivery is due or in flight."""
        return bool(self.ask(UNSETTLED))

    def wait_until_settled(self, *, seconds: float = 90) -> None:
        """Wait until every event is fanned out and no delivery is due or in flight."""
        wait_for(lambda: not self.unsettled(), "all deliveries to settle", seconds=seconds, pause=0.05)

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU seconds used so far by each process with its descendants, and by the servers of this home."""
        spent = {name: cpu_seconds_of(psutil.Process(process.pid)) for name, process in self.running.items()}
        for name in ("postgres", "valkey"):
            if server := self.servers.find(name):
                spent[name] = cpu_seconds_of(server)
        return spent

    def memory(self, name: str) -> Memory:
        """Return the memory of a process with its descendants."""
        return memory_of(psutil.Process(self.running[name].pid))

    def close(self) -> None:
        """Kill the processes that are left, and close the connections."""
        self.client.close()
        self.disconnect()
        super().close()
