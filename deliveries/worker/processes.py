"""A worker of its own, without Celery: a supervisor, a process with the scheduler, and processes that send.

The supervisor has no threads and no connections, so that forking copies neither.
"""

import gc
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Literal, NamedTuple, NoReturn, Protocol

from django.conf import settings

from deliveries import shutdown
from deliveries.db.sql import prefer_indexes
from deliveries.worker import draining, orphans, process_pool
from deliveries.worker.scheduler import Scheduler

log = logging.getLogger("hookhub.worker")

# The pause before a process that died is replaced: one that dies at its start must not keep a processor busy.
RESTART_DELAY = timedelta(seconds=1)
# How often a process that sends looks for work even if nothing wakes it.
MAX_IDLE = timedelta(seconds=30)


class Service(Protocol):
    """Threads that run beside the scheduler."""

    def start(self) -> None:
        """Start them."""

    def stop(self) -> None:
        """Stop them."""


class Extras(NamedTuple):
    """What the processes run besides delivering, each in its own.

    ``begin`` is called with a process's role before its work, and ``end`` after it. ``services`` makes what runs beside
    the scheduler.
    """

    begin: Callable[[Literal["scheduler", "worker"]], None] = lambda _: None
    end: Callable[[], None] = lambda: None
    services: Callable[[], Sequence[Service]] = tuple


class Supervisor:
    """Keeps the processes running until SIGTERM or SIGINT, and then lets them settle their requests in flight."""

    def __init__(self, *, processes: int, extras: Extras = Extras()) -> None:  # noqa: B008 - it never changes
        self._extras = extras
        # Opens what the processes share.
        self._scheduler = Scheduler(processes=processes, needs_pipe=True)
        self._mains: list[Callable[[], None]] = [self._tick, *[self._send] * processes]
        self._running: dict[int, Callable[[], None]] = {}
        self._is_stopping = False
        # A signal makes it readable, so that none is lost between a look at the flag and the wait.
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)

    def run(self) -> int:
        """Run until a signal; return the exit status, 1 if a process had to be killed."""
        previous = signal.set_wakeup_fd(self._waker)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while not self._is_stopping:
                for main in self._missing():
                    self._start(main)
                self._wait(timedelta(days=1))
                # Again after the pause, which also ends with the signal of another process that dies meanwhile.
                while self._reap() and not self._is_stopping:
                    self._wait(RESTART_DELAY)
            return self._finish()
        finally:
            signal.set_wakeup_fd(previous)

    def _stop(self, *_: object) -> None:
        self._is_stopping = True
        shutdown.request()

    def _missing(self) -> list[Callable[[], None]]:
        missing = list(self._mains)
        for main in self._running.values():
            missing.remove(main)
        return missing

    def _start(self, main: Callable[[], None]) -> None:
        # A child would otherwise print the parent's output once more.
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _become(main)
        self._running[pid] = main

    def _wait(self, longest: timedelta) -> None:
        """Wait until a signal comes."""
        select.select([self._woken], [], [], longest.total_seconds())
        with suppress(BlockingIOError):
            os.read(self._woken, 1024)

    def _reap(self) -> int:
        """Forget the processes that have ended, and log those that should not have; return how many."""
        ended = 0
        for pid in list(self._running):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del self._running[pid]
                ended += 1
                if not self._is_stopping:
                    log.error(
                        "Process %d ended with status %d; starting another", pid, os.waitstatus_to_exitcode(status)
                    )
        return ended

    def _finish(self) -> int:
        """Wait for the processes to settle what is in flight; kill those that take longer than their leases last."""
        give_up_at = time.monotonic() + settings.HOOKHUB_LEASE.total_seconds()
        while self._running and time.monotonic() < give_up_at:
            self._reap()
            if self._running:
                self._wait(timedelta(seconds=min(1.0, max(0.0, give_up_at - time.monotonic()))))
        for pid in self._running:
            log.error("Process %d did not stop in time; its deliveries will be repeated", pid)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return 1 if self._running else 0

    def _tick(self) -> None:
        """Run the scheduler, and what belongs beside it, until shutdown is requested."""
        self._extras.begin("scheduler")
        services = self._extras.services()
        self._scheduler.start()
        for service in services:
            service.start()
        while not shutdown.is_requested():
            select.select([shutdown.fileno()], [], [], orphans.CHECK_INTERVAL.total_seconds())
        for service in services:
            service.stop()
        self._scheduler.stop()
        self._extras.end()

    def _send(self) -> None:
        """Send until shutdown is requested."""
        self._extras.begin("worker")
        send()
        self._extras.end()


def _become(main: Callable[[], None]) -> NoReturn:
    """Run a forked process's work and end the process."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        # A service manager signals the whole process group; what counts is that the supervisor requests shutdown.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        shutdown.follow_parent()
        main()
        status = 0
    except Exception:
        log.exception("A process of the worker failed")
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        # Without the exit handlers of the supervisor, which belong to it.
        os._exit(status)


def send() -> None:
    """Run the worker loop whenever something wakes this process, until shutdown is requested."""
    prefer_indexes()
    # What was loaded before the fork lives forever, and a batch is thousands of objects without a reference cycle.
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)
    while not shutdown.is_requested():
        draining.drain(stay=draining.TIME_SLICE)
        process_pool.wait(MAX_IDLE)
