"""The clock that every worker carries: once a second it rings for due work and sees to the chores."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from celery import bootsteps
from django.conf import settings
from django.db import Error, close_old_connections, connection
from django.utils.module_loading import import_string

from deliveries import doorbell, queue, stopping

log = logging.getLogger("hookhub.clock")

TICK_SECONDS = 1.0
# Any number will do, as long as every worker of a deployment uses the same.
CHORES_LOCK = 7_305_662


class Clock(bootsteps.StartStopStep):
    """Ticks in the worker's parent process, with or without Redis, until the worker stops.

    It has to start after the pool and so stop before it: the pool waits for its children, and they go on sending
    until they hear that it is time to stop.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._poller: subprocess.Popen[bytes] | None = None

    def start(self, worker: Any) -> None:
        """Begin to tick."""
        del worker
        self._thread = threading.Thread(target=self._tick_until_stopped, name="clock", daemon=True)
        self._thread.start()

    def stop(self, worker: Any) -> None:
        """Tell every drain to begin nothing new, and stop ticking."""
        del worker
        stopping.set_stopping()
        self._stopped.set()
        if self._poller is not None and self._poller.poll() is None:
            self._poller.terminate()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def terminate(self, worker: Any) -> None:
        """Do the same when the worker is told to stop at once."""
        self.stop(worker)

    def _tick_until_stopped(self) -> None:
        chores = [(path, import_string(path)) for path in settings.HOOKHUB_CHORES]
        while not self._stopped.wait(TICK_SECONDS):
            try:
                close_old_connections()
                self._tick(chores)
            except Error as error:
                # Without the database there is no work to find; the next tick tries again.
                log.warning("The clock cannot reach the database: %s", error)
                connection.close()
            except Exception:  # Without the clock no retry would ever be due, so nothing may stop it.
                log.exception("A tick of the clock failed; the next one tries again")
                connection.close()
        connection.close()

    def _tick(self, chores: list[tuple[str, Callable[..., object]]]) -> None:
        now = queue.database_now()
        if queue.is_anything_due(now=now) and not doorbell.ring_now():
            self._poll()
        if not queue.run("SELECT pg_try_advisory_lock(%(key)s)", {"key": CHORES_LOCK})[0][0]:
            return
        try:
            for path, chore in chores:
                do(path, chore, now=now)
        finally:
            queue.run("SELECT pg_advisory_unlock(%(key)s)", {"key": CHORES_LOCK})

    def _poll(self) -> None:
        """Do the work without Redis, in a process of its own: this one has to be ready to fork children."""
        if self._poller is None or self._poller.poll() is not None:
            self._poller = subprocess.Popen([sys.executable, "-m", "django", "drain", "--quiet"])


def do(path: str, chore: Callable[..., object], *, now: datetime) -> None:
    """Do one chore; a chore that fails is reported and must not keep the others from being done."""
    try:
        chore(now=now)
    except Error:
        raise
    except Exception:
        log.exception("The chore %s failed; it is tried again at the next tick", path)
