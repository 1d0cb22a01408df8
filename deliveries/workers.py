"""The workers of a deployment: each notes every few seconds that it lives, so that an operator sees when none does."""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from deliveries import queue

# A worker writes its row once in so long: a COMMIT of one small row, whatever it delivers.
HEARTBEAT_INTERVAL = timedelta(seconds=5)
# A worker not heard of for so long counts as gone. A busy machine, or a slow database, may cost it a few heartbeats.
ALIVE_FOR = timedelta(seconds=30)
# The rows of workers long gone are removed by those that live. The last one ever heard of stays when none lives.
KEPT_FOR = timedelta(days=1)


@dataclass(frozen=True)
class Workers:
    """How many workers live, and when any was heard of last; None when there has never been one."""

    alive: int
    seen_at: datetime | None


class Heartbeat:
    """One worker's row; its clock calls ``beat`` at every tick."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._written_at: datetime | None = None

    def beat(self, *, now: datetime) -> bool:
        """Note that this worker lives, if that was not noted just now, and return whether it was written."""
        # The database's clock may be set, forwards or back; either way the row has to follow at once.
        if self._written_at is not None and abs(now - self._written_at) < HEARTBEAT_INTERVAL:
            return False
        queue.run(
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
        """Note that this worker has been stopped, so that it does not pass for alive for another half a minute."""
        if self._written_at is not None:
            queue.change(STOP_WORKER, {"id": self._worker, "now": queue.database_now()})
            self._written_at = None


def seen(*, now: datetime) -> Workers:
    """Return which workers have been heard of; ``now`` is the database's time, as the workers go by it."""
    alive, seen_at = queue.run(COUNT_WORKERS, {"since": now - ALIVE_FOR})[0]
    return Workers(alive=alive, seen_at=seen_at)


# The rows of two workers' deletions are locked in one order, and none waits for the other.
WRITE_HEARTBEAT = """
WITH forgotten AS (
    DELETE FROM deliveries_worker WHERE id IN (
        SELECT id FROM deliveries_worker WHERE seen_at < %(forgotten)s AND id <> %(id)s
        ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1000
    )
)
INSERT INTO deliveries_worker (id, host, pid, started_at, seen_at) VALUES (%(id)s, %(host)s, %(pid)s, %(now)s, %(now)s)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, stopped_at = NULL
"""

STOP_WORKER = "UPDATE deliveries_worker SET stopped_at = %(now)s, seen_at = %(now)s WHERE id = %(id)s"

COUNT_WORKERS = """
SELECT count(*) FILTER (WHERE stopped_at IS NULL AND seen_at >= %(since)s), max(seen_at) FROM deliveries_worker
"""
