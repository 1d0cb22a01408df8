"""The scheduler in every worker: once a second it looks for due work, runs maintenance, and verifies webhooks."""

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime

from django.conf import settings
from django.db import Error, close_old_connections, connection
from django.utils.module_loading import import_string

from deliveries import shutdown, wakeup, workers
from deliveries.db import sql
from deliveries.pipeline import claiming, rescue
from deliveries.worker import orphans, process_pool, residency
from deliveries.worker.leadership import Leadership
from deliveries.worker.verifier import Verifier

log = logging.getLogger("hookhub.clock")

TICK_SECONDS = 1.0
# After this many ticks in a row with work due and nothing being sent, assume that no worker receives the wake-ups that
# Redis accepts.
MAX_UNHEARD_TICKS = 5


class Scheduler:
    """A scheduler that ticks until the worker stops, with or without Redis.

    Wake-ups have a separate thread, so that no maintenance task can delay them. Verifications and notices have others,
    because they wait for receivers and mail servers.
    """

    def __init__(self, *, processes: int = 1, needs_pipe: bool = False) -> None:
        """Open what the worker's processes share; they are forked later and inherit it.

        ``processes`` is how many can be woken through the pipe, and ``needs_pipe`` says that nothing else wakes them.
        """
        self.processes = processes
        # Whether this process itself runs the worker loop when it is woken through the pipe.
        self.runs_loop_here = False
        self._needs_pipe = needs_pipe
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._unheard_ticks = 0
        self._heartbeat = workers.Heartbeat(rescue.worker_id())
        self._maintenance = Leadership("maintenance", worker=rescue.worker_id())
        self._notices = Leadership("notices", worker=rescue.worker_id())
        process_pool.open_pipe()
        residency.open_seat()

    def start(self) -> None:
        """Start the threads that tick."""
        threads = (
            ("due-work", self._send_wakeups),
            ("maintenance", self._maintain),
            ("verification", self._verify),
            ("notices", self._notify),
        )
        for name, run in threads:
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Request shutdown, stop ticking, and wait until a worker loop of this process has settled its results.

        A pool waits for its processes itself.
        """
        self.terminate()
        # After that time the leases of the deliveries in flight here have expired.
        if self.runs_loop_here and orphans.drain_lock.acquire(timeout=settings.HOOKHUB_LEASE.total_seconds()):
            orphans.drain_lock.release()

    def terminate(self) -> None:
        """Request shutdown and stop ticking, without waiting for requests in flight."""
        shutdown.request()
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _send_wakeups(self) -> None:
        """Send wake-ups for due work once a second; finally record that this worker has stopped."""
        self._repeat(self._notify_of_due_work, finally_=self._heartbeat.end)

    def _maintain(self) -> None:
        """Run the maintenance tasks once a second, if this worker leads."""
        self._repeat(self._run_tasks, finally_=self._maintenance.resign)

    def _verify(self) -> None:
        """Send the requests of due verifications once a second."""
        self._repeat(Verifier(self._stopped).run)

    def _notify(self) -> None:
        """Send what is due to people once a second."""
        self._repeat(
            lambda now: run_tasks(settings.HOOKHUB_NOTICES, leadership=self._notices, now=now),
            finally_=self._notices.resign,
        )

    def _repeat(self, tick: Callable[[datetime], object], *, finally_: Callable[[], object] = lambda: None) -> None:
        """Call ``tick`` once a second on this thread's own database connection, even after errors.

        Once the worker stops, call ``finally_``.
        """
        while not self._stopped.wait(TICK_SECONDS):
            try:
                close_old_connections()
                tick(sql.database_now())
            except Error as error:
                # Without the database no work can be found; the next tick tries again.
                log.warning("Scheduler tick skipped; the database is unavailable: %s", error)
                connection.close()
            except Exception:  # Without the scheduler no retry would ever be sent, so no error must end this thread.
                log.exception("Scheduler tick failed; retrying at the next tick")
                connection.close()
        with suppress(Error):
            finally_()
        connection.close()

    def _notify_of_due_work(self, now: datetime) -> None:
        # Against a read-only database no worker could do the work, and a standby's data may be stale.
        sql.require_writable()
        self._heartbeat.beat(now=now)
        self._maintenance.renew(now=now)
        self._notices.renew(now=now)
        rescue.rescue_dead_processes(now=now)
        is_work_due = claiming.is_anything_to_do(now=now)
        is_unheard = is_work_due and not sql.run(IS_ANYTHING_SENDING, {})[0][0]
        self._unheard_ticks = self._unheard_ticks + 1 if is_unheard else 0
        if not is_work_due:
            return
        is_heard = wakeup.notify_now() and self._unheard_ticks < MAX_UNHEARD_TICKS
        if self._needs_pipe or not is_heard:
            process_pool.wake(self.processes)

    def _run_tasks(self, now: datetime) -> None:
        """Run every maintenance task, unless another worker runs them."""
        run_tasks(settings.HOOKHUB_CHORES, leadership=self._maintenance, now=now)


# Ordered like the index; otherwise the planner would scan a large table for one row.
IS_ANYTHING_SENDING = """
SELECT (SELECT id FROM hookhub_delivery WHERE state = 'sending' ORDER BY webhook_id, leased_until LIMIT 1)
    IS NOT NULL
"""


def run_tasks(paths: Iterable[str], *, leadership: Leadership, now: datetime) -> None:
    """Run tasks one after the other, unless another worker leads and runs them."""
    if not leadership.begin(now=now):
        return
    try:
        for path in paths:
            run_task(path, import_string(path), now=now)
    finally:
        leadership.end()


def run_task(path: str, task: Callable[..., object], *, now: datetime) -> None:
    """Run one task; log its failure so that the others still run.

    Raises the failure if it has broken the database connection.
    """
    try:
        task(now=now)
    except Exception:
        # Without a connection the other tasks would fail too.
        if not connection.is_usable():
            raise
        log.exception("Maintenance task %s failed; retrying at the next tick", path)
