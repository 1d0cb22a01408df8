"""The clock that every worker carries: once a second it rings for due work and sees to the chores."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from celery import bootsteps
from django.conf import settings
from django.db import Error, close_old_connections, connection
from django.utils.module_loading import import_string

from deliveries import claiming, doorbell, leases, orphans, queue, stopping, warm_pool, workers

log = logging.getLogger("hookhub.clock")

TICK_SECONDS = 1.0
# So many ticks in a row with something due and nothing being sent: Redis takes the bell, and nobody hears it.
UNHEARD_TICKS = 5
# Any number will do, as long as every worker of a deployment uses the same.
CHORES_LOCK = 7_305_662


class Clock(bootsteps.StartStopStep):
    """Ticks in the worker's parent process, with or without Redis, until the worker stops.

    It has to start after the pool and so stop before it: the pool waits for its children, and they go on sending
    until they hear that it is time to stop. Ringing has a thread of its own, so that no chore can keep it waiting.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._unheard_ticks = 0
        self._heartbeat = workers.Heartbeat(leases.worker())
        # How many processes can be woken without Redis, and whether this process is the one that drains then.
        self._processes = 1
        self._drains_here = False
        # The pool's processes are forked later, and inherit it.
        warm_pool.open_pipe()

    def start(self, worker: Any) -> None:
        """Begin to tick."""
        self._take_charge_of(worker)
        for run in (self._ring, self._keep_house):
            thread = threading.Thread(target=run, name=run.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _take_charge_of(self, worker: Any) -> None:
        """Have the pool kept up and woken without Redis; where it has no forked processes, this one drains instead."""
        if not warm_pool.are_forked(worker.pool):
            self._drains_here = True
            warm_pool.listen()
            return
        self._processes = worker.pool.num_processes
        # A child that dies before Redis was ever reached is replaced like any other; Celery would end the worker.
        worker.pool.did_start_ok = lambda: True
        if worker.hub is not None:
            # Celery does it once Redis is reached; until then it would know of no way to replace a child.
            worker.pool.register_with_event_loop(worker.hub)

    def stop(self, worker: Any) -> None:
        """Tell every drain to begin nothing new, stop ticking, and wait for a drain of this process to settle.

        The pool waits for its children itself.
        """
        self.terminate(worker)
        # Longer than that, and what is in flight here no longer belongs to this process.
        if self._drains_here and orphans.at_work.acquire(timeout=settings.HOOKHUB_LEASE.total_seconds()):
            orphans.at_work.release()

    def terminate(self, worker: Any) -> None:
        """Do the same when the worker is told to stop at once, without waiting."""
        del worker
        stopping.set_stopping()
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _ring(self) -> None:
        """Ring for due work once a second; in the end note that this worker is gone."""
        self._repeat(self._ring_for_due_work)
        with suppress(Error):
            self._heartbeat.end()
        connection.close()

    def _keep_house(self) -> None:
        """Do the chores once a second."""
        self._repeat(self._do_chores)

    def _repeat(self, tick: Callable[[datetime], None]) -> None:
        """Do something once a second on a connection of this thread's own, whatever becomes of it."""
        while not self._stopped.wait(TICK_SECONDS):
            try:
                close_old_connections()
                tick(queue.database_now())
            except Error as error:
                # Without the database there is no work to find; the next tick tries again.
                log.warning("The clock cannot reach the database: %s", error)
                connection.close()
            except Exception:  # Without the clock no retry would ever be due, so nothing may stop it.
                log.exception("A tick of the clock failed; the next one tries again")
                connection.close()
        connection.close()

    def _ring_for_due_work(self, now: datetime) -> None:
        # Where nothing can be written down nobody who is woken could do the work; and what a standby tells may be old.
        queue.require_writable()
        self._heartbeat.beat(now=now)
        leases.reclaim_from_the_dead(now=now)
        is_wanted = claiming.is_anything_to_do(max_in_flight=settings.HOOKHUB_MAX_IN_FLIGHT, now=now)
        is_unheard = is_wanted and not queue.run(IS_ANYTHING_SENT, {})[0][0]
        self._unheard_ticks = self._unheard_ticks + 1 if is_unheard else 0
        if is_wanted and (not doorbell.ring_now() or self._unheard_ticks >= UNHEARD_TICKS):
            warm_pool.wake(self._processes)

    def _do_chores(self, now: datetime) -> None:
        """Do every chore, unless another worker has the lock and does them."""
        if not queue.run("SELECT pg_try_advisory_lock(%(key)s)", {"key": CHORES_LOCK})[0][0]:
            return
        try:
            for path in settings.HOOKHUB_CHORES:
                do(path, import_string(path), now=now)
        finally:
            queue.run("SELECT pg_advisory_unlock(%(key)s)", {"key": CHORES_LOCK})


# Ordered as the index is, or the planner would look for one in the whole of a large table.
IS_ANYTHING_SENT = """
SELECT (SELECT id FROM deliveries_delivery WHERE state = 'sending' ORDER BY webhook_id, leased_until LIMIT 1)
    IS NOT NULL
"""


def do(path: str, chore: Callable[..., object], *, now: datetime) -> None:
    """Do one chore; a chore that fails is reported and must not keep the others from being done."""
    try:
        chore(now=now)
    except Exception:
        # Without a connection none of the others could be done either.
        if not connection.is_usable():
            raise
        log.exception("The chore %s failed; it is tried again at the next tick", path)
