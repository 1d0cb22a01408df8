"""Wake the worker's own processes without Redis, through a pipe that they inherit when forked.

A worker that cannot reach Redis waits in Celery's connection loop and dispatches no task. Its processes are idle but
ready: one byte in the pipe makes one of them run `deliveries.drain` on a second thread.
"""

import fcntl
import logging
import os
import select
import struct
import termios
import threading
from contextlib import suppress
from functools import partial
from typing import Any

from billiard import get_start_method
from celery import current_app
from celery.concurrency import prefork
from celery.worker.consumer import Consumer

from deliveries.wakeup import TASK
from deliveries.worker import orphans

log = logging.getLogger("hookhub.clock")

# Celery's own retry interval grows to half a minute; that long a worker would not notice that Redis is back.
RETRY_SECONDS = {"interval_start": 1, "interval_step": 1, "interval_max": 2}

# The read and write ends of the pipe, shared by the worker and every process forked from it.
_pipe: tuple[int, int] | None = None


def open_pipe() -> None:
    """Open the pipe for this process and those forked from it, and close a pipe opened before."""
    global _pipe  # noqa: PLW0603 - one pipe for each worker
    close_pipe()
    _pipe = os.pipe()
    for end in _pipe:
        os.set_blocking(end, False)


def close_pipe() -> None:
    """Close the pipe in this process, if it is open."""
    global _pipe  # noqa: PLW0603 - as above
    if _pipe is not None:
        for end in _pipe:
            os.close(end)
    _pipe = None


def wake(processes: int) -> None:
    """Wake up to ``processes`` idle processes, counting wake-ups not yet received, so that these do not pile up."""
    if _pipe is None:
        raise RuntimeError("the pipe is not open")
    reader, writer = _pipe
    with suppress(BlockingIOError):
        os.write(writer, bytes(max(0, processes - _unread(reader))))


def _unread(reader: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, bytes(4)))[0])


def take(reader: int) -> bool | None:
    """Take one wake-up from the pipe; return False if another process was faster, None if the pipe is closed."""
    try:
        return bool(os.read(reader, 1)) or None
    except BlockingIOError:
        return False


def reader() -> int | None:
    """Return the read end of the pipe, or None if no pipe is open."""
    return _pipe and _pipe[0]


def listen() -> None:
    """Start a thread that runs `deliveries.drain` at each wake-up received; do nothing if no pipe is open."""
    if _pipe is not None:
        reader = os.dup(_pipe[0])
        threading.Thread(target=_drain_when_woken, args=(reader,), name="wake-ups", daemon=True).start()


def _drain_when_woken(reader: int) -> None:
    is_taken: bool | None = False
    while is_taken is not None:
        select.select([reader], [], [])
        # While this process runs the worker loop already, it leaves the wake-up to an idle process.
        with orphans.drain_lock:
            is_taken = take(reader)
            if is_taken:
                _drain()
    os.close(reader)


def _drain() -> None:
    try:
        current_app.tasks[TASK]()
    except Exception:  # Without Redis, nothing but this thread runs the worker loop in this process.
        log.exception("A worker run without Redis failed; retrying at the next wake-up")


def are_forked(pool: Any) -> bool:
    """Return whether a worker's tasks run in processes forked from it, which inherit the pipe."""
    return isinstance(pool, prefork.TaskPool) and get_start_method() == "fork"


class PoolKeepingConsumer(Consumer):
    """Celery's consumer, except that it replaces dead pool processes also while it waits for Redis.

    Celery does so in its event loop, which does not run until Redis is connected.
    """

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, retrying forever; meanwhile, dead pool processes are replaced once a second."""
        conn.ensure_connection = partial(self._connect, conn.ensure_connection)
        return super().ensure_connected(conn)

    def _connect(self, ensure_connection: Any, errback: Any, max_retries: Any, *, callback: Any) -> Any:
        def wait() -> None:
            callback()
            if hasattr(self.pool, "maintain_pool"):
                self.pool.maintain_pool()

        return ensure_connection(errback, max_retries, callback=wait, **RETRY_SECONDS)
