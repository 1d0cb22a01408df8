"""Worker heartbeats: each worker writes one every few seconds, so that an operator sees when none is alive."""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from deliveries.db import sql

# How often a worker writes its heartbeat: a COMMIT of one small row, however much it delivers.
HEARTBEAT_INTERVAL = timedelta(seconds=5)
# A worker without a heartbeat for this long counts as dead. A busy machine or a slow database may delay a few of them.
ALIVE_FOR = timedelta(seconds=30)
# Workers delete the rows of others that are older than this. The most recent row stays if no worker is alive.
KEPT_FOR = timedelta(days=1)


@dataclass(frozen=True)
class Workers:
    """The number of workers alive, and the time of the latest heartbeat, or None if there has never been one."""

    alive: int
    seen_at: datetime | None


class Heartbeat:
    """One worker's heartbeat row; its scheduler calls ``beat`` at every tick."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._written_at: datetime | None = None

    def beat(self, *, now: datetime) -> bool:
        """Write a heartbeat if one is due; return whether it was written."""
        # If the database's clock was set, forwards or back, the row must follow at once.
        if self._written_at is not None and abs(now - self._written_at) < HEARTBEAT_INTERVAL:
            return False
        sql.run(
            WRITE_HEARTBEAT,
            {
                "id": self._worker,
                "host": socket.gethostname()[:255],
                "pid": os.getpid(),
                "now": now,
                "forgotten": now - KEPT_FOR,
            },
        )
        self._written_at = now
        return True

    def end(self) -> None:
        """Record that this worker has stopped, so that it does not count as alive until ALIVE_FOR has passed."""
        if self._written_at is not None:
            sql.change(STOP_WORKER, {"id": self._worker, "now": sql.database_now()})
            self._written_at = None


def seen(*, now: datetime) -> Workers:
    """Return the number of workers alive and the latest heartbeat; ``now`` is the database's time, as in heartbeats."""
    alive, seen_at = sql.run(COUNT_WORKERS, {"since": now - ALIVE_FOR})[0]
    return Workers(alive=alive, seen_at=seen_at)


# Rows to delete are locked in the order of their ids and locked ones skipped, so that two workers never wait.
WRITE_HEARTBEAT = """
WITH forgotten AS (
    DELETE FROM hookhub_worker WHERE id IN (
        SELECT id FROM hookhub_worker WHERE seen_at < %(forgotten)s AND id <> %(id)s
        ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1000
    )
)
INSERT INTO hookhub_worker (id, host, pid, started_at, seen_at) VALUES (%(id)s, %(host)s, %(pid)s, %(now)s, %(now)s)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, stopped_at = NULL
"""

STOP_WORKER = "UPDATE hookhub_worker SET stopped_at = %(now)s, seen_at = %(now)s WHERE id = %(id)s"

COUNT_WORKERS = """
SELECT count(*) FILTER (WHERE stopped_at IS NULL AND seen_at >= %(since)s), max(seen_at) FROM hookhub_worker
"""
