"""Wakes the worker's own processes without Redis, by a pipe that they inherit when they are forked.

A worker that cannot reach Redis waits in Celery's connection loop and hands out no task. Its processes are there and
warm all the same: one byte in the pipe has one of them run `deliveries.drain` on a second thread.
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

from deliveries import orphans
from deliveries.doorbell import TASK

log = logging.getLogger("hookhub.clock")

# Celery's own waits grow to half a minute, and for as long a worker would not hear a Redis that is back.
RETRY_SECONDS = {"interval_start": 1, "interval_step": 1, "interval_max": 2}

# The pipe's two ends, the same in the worker and in every process forked from it.
_pipe: tuple[int, int] | None = None


def open_pipe() -> None:
    """Open the pipe of this process and of those forked from it; a pipe that was open before is closed."""
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
    """Wake up to so many idle processes; wake-ups that none has taken yet count, so that they cannot pile up."""
    if _pipe is None:
        raise RuntimeError("the pipe is not open")
    reader, writer = _pipe
    with suppress(BlockingIOError):
        os.write(writer, bytes(max(0, processes - _unread(reader))))


def _unread(reader: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, bytes(4)))[0])


def take(reader: int) -> bool | None:
    """Take one wake-up from the pipe; return False if another process was faster, None if the pipe was closed."""
    try:
        return bool(os.read(reader, 1)) or None
    except BlockingIOError:
        return False


def listen() -> None:
    """Run `deliveries.drain` on a thread of this process at each wake-up that it takes; nothing if no pipe is open."""
    if _pipe is not None:
        reader = os.dup(_pipe[0])
        threading.Thread(target=_drain_when_woken, args=(reader,), name="wake-ups", daemon=True).start()


def _drain_when_woken(reader: int) -> None:
    is_taken: bool | None = False
    while is_taken is not None:
        select.select([reader], [], [])
        # A process that is draining already leaves the wake-up to an idle one.
        with orphans.at_work:
            is_taken = take(reader)
            if is_taken:
                _drain()
    os.close(reader)


def _drain() -> None:
    try:
        current_app.tasks[TASK]()
    except Exception:  # The thread must live on: without Redis nothing else runs a drain here.
        log.exception("A drain without Redis failed; the next wake-up starts another")


def are_forked(pool: Any) -> bool:
    """Tell whether a worker's tasks run in processes forked from it, which inherit the pipe."""
    return isinstance(pool, prefork.TaskPool) and get_start_method() == "fork"


class PoolKeepingConsumer(Consumer):
    """Celery's consumer, which replaces dead processes of the pool also while it waits for Redis.

    Celery does so in its event loop, and the loop does not run until Redis is reached.
    """

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, trying again for ever; once a second the pool is mended meanwhile."""
        conn.ensure_connection = partial(self._connect, conn.ensure_connection)
        return super().ensure_connected(conn)

    def _connect(self, ensure_connection: Any, errback: Any, max_retries: Any, *, callback: Any) -> Any:
        def wait() -> None:
            callback()
            if hasattr(self.pool, "maintain_pool"):
                self.pool.maintain_pool()

        return ensure_connection(errback, max_retries, callback=wait, **RETRY_SECONDS)
