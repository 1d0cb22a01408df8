"""Elects, for each kind of periodic work, one worker of all that does it."""

import threading
from datetime import datetime, timedelta

from deliveries.db import sql

# How long the others wait for a leader that has died. Each renewal writes one small row.
TERM = timedelta(seconds=10)


class Leadership:
    """One worker's candidacy for one kind of work. Threads may share it.

    The leader is a row with an end, not a lock of a session: a pooler would give the session to others.
    """

    def __init__(self, work: str, *, worker: str) -> None:
        self._work = work
        self._worker = worker
        self._ends_at: datetime | None = None
        # While it is held: a renewal by another thread must not fall between the end of the work and a resignation.
        self._lock = threading.Lock()
        self._is_working = False

    def begin(self, *, now: datetime) -> bool:
        """Return whether this worker leads and may begin a round of the work, for which ``end`` must be called."""
        with self._lock:
            self._is_working = self._lead(now=now)
        return self._is_working

    def end(self) -> None:
        """End the round."""
        with self._lock:
            self._is_working = False

    def renew(self, *, now: datetime) -> None:
        """Remain the leader during a long round; called about once a second by another thread.

        It does not wait for a thread that elects or resigns at the moment, which may take as long as the database does.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._is_working and self._is_ending(now):
                self._elect(now=now)
        finally:
            self._lock.release()

    def resign(self) -> None:
        """Let another worker lead at once."""
        with self._lock:
            self._is_working, self._ends_at = False, None
            sql.change(RESIGN, {"work": self._work, "worker": self._worker})

    def _lead(self, *, now: datetime) -> bool:
        found = sql.run(READ_LEADER, {"work": self._work})
        # The database's clock may have been set back.
        if found and now < found[0][1] <= now + TERM:
            leads = bool(found[0][0] == self._worker)
            self._ends_at = found[0][1] if leads else None
            if not leads or not self._is_ending(now):
                return leads
        return self._elect(now=now)

    def _is_ending(self, now: datetime) -> bool:
        return self._ends_at is None or not now < self._ends_at - TERM / 2 <= now + TERM

    def _elect(self, *, now: datetime) -> bool:
        parameters = {"work": self._work, "worker": self._worker, "now": now, "term": TERM}
        is_elected = bool(sql.change(ELECT, parameters))
        self._ends_at = now + TERM if is_elected else None
        return is_elected


READ_LEADER = "SELECT worker_id, ends_at FROM hookhub_leader WHERE work = %(work)s"

# Of candidates that come at the same time, the second waits for the first, and then finds it elected.
ELECT = """
INSERT INTO hookhub_leader (work, worker_id, ends_at)
VALUES (%(work)s, %(worker)s, %(now)s::timestamptz + %(term)s::interval)
ON CONFLICT (work) DO UPDATE SET worker_id = excluded.worker_id, ends_at = excluded.ends_at
WHERE hookhub_leader.worker_id = excluded.worker_id
   OR hookhub_leader.ends_at <= %(now)s OR hookhub_leader.ends_at > excluded.ends_at
"""

RESIGN = "DELETE FROM hookhub_leader WHERE work = %(work)s AND worker_id = %(worker)s"
