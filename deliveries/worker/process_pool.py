"""Wake the worker's own processes without Redis, through a pipe that they inherit when forked.

A worker of Celery that cannot reach Redis waits in its connection loop and dispatches no task. Its processes are idle
but ready: one byte in the pipe makes one of them run the worker loop on a second thread.
"""

import fcntl
import logging
import os
import select
import struct
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from deliveries import shutdown
from deliveries.worker import orphans

log = logging.getLogger("hookhub.clock")

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


def wait(longest: timedelta) -> bool:
    """Wait for a wake-up, at most this long and not beyond a request for shutdown; return whether there was one."""
    if _pipe is None:
        raise RuntimeError("the pipe is not open")
    give_up_at = time.monotonic() + longest.total_seconds()
    while not shutdown.is_requested() and (rest := give_up_at - time.monotonic()) > 0:
        # In short steps, because a dead parent makes nothing readable.
        select.select([_pipe[0], shutdown.fileno()], [], [], min(rest, orphans.CHECK_INTERVAL.total_seconds()))
        if take(_pipe[0]):
            return True
    return False


def reader() -> int | None:
    """Return the read end of the pipe, or None if no pipe is open."""
    return _pipe and _pipe[0]


def listen(drain: Callable[[], object]) -> None:
    """Start a thread that calls ``drain`` at each wake-up received; do nothing if no pipe is open."""
    if _pipe is not None:
        reader = os.dup(_pipe[0])
        threading.Thread(target=_drain_when_woken, args=(reader, drain), name="wake-ups", daemon=True).start()


def _drain_when_woken(reader: int, drain: Callable[[], object]) -> None:
    is_taken: bool | None = False
    while is_taken is not None:
        select.select([reader], [], [])
        # While this process runs the worker loop already, it leaves the wake-up to an idle process.
        with orphans.drain_lock:
            is_taken = take(reader)
            if is_taken:
                _try(drain)
    os.close(reader)


def _try(drain: Callable[[], object]) -> None:
    try:
        drain()
    except Exception:  # Without Redis, nothing but this thread runs the worker loop in this process.
        log.exception("A worker run without Redis failed; retrying at the next wake-up")
