"""The processes of the web server: forks them, replaces one that dies, and stops all.

The parent has loaded the application and only waits. What stops its children is that a pipe from it closes, which
happens too when it is killed.
"""

import asyncio
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, NoReturn

from hookhub.server.exchange import Application
from hookhub.server.serving import StartupFailed, serve

log = logging.getLogger("hookhub.http")

# Connections that wait in the kernel to be accepted.
BACKLOG = 2048
# A process that has died is replaced, but not within so many seconds of its own start.
REPLACED_AFTER_SECONDS = 1.0
# Seconds after which a process that was told to stop is killed.
KILLED_AFTER_SECONDS = 8.0
STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
# The exit status of a process that could not begin to serve.
COULD_NOT_START = 3


class Ended(NamedTuple):
    """A process that has ended: its id, its exit status (minus the signal that killed it), and when it was started."""

    pid: int
    code: int
    started_at: float


class Children:
    """The running processes."""

    def __init__(self, listener: socket.socket, application: Application, *, idle_seconds: float) -> None:
        self._listener = listener
        self._application = application
        self._idle_seconds = idle_seconds
        self._started_at: dict[int, float] = {}
        # Nothing is written to it. The children see its end when the parent closes it, or ends.
        self._child_end, self._parent_end = os.pipe()

    def __len__(self) -> int:
        """Return how many are running."""
        return len(self._started_at)

    def start(self) -> None:
        """Fork one more."""
        _flush()
        # Until it has handlers of its own, a signal to it would be lost, or taken by the parent for one of its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            pid = os.fork()
            if not pid:
                os.close(self._parent_end)
                self._serve()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        self._started_at[pid] = time.monotonic()

    def _serve(self) -> NoReturn:
        """Serve in this process, which has just been forked, and end it."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A terminal sends these to all its processes; it is the parent that stops its children.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            asyncio.run(
                serve(self._listener, self._application, idle_seconds=self._idle_seconds, parent=self._child_end)
            )
            code = 0
        except StartupFailed:
            log.critical("The web server could not start", exc_info=True)
            code = COULD_NOT_START
        except BaseException:
            log.critical("A web process failed", exc_info=True)
        finally:
            _flush()
            # What the parent has registered for its own exit must not run here.
            os._exit(code)

    def ended(self) -> list[Ended]:
        """Return those that have ended since the last call."""
        found = []
        for pid, started_at in list(self._started_at.items()):
            is_over, status = os.waitpid(pid, os.WNOHANG)
            if is_over:
                del self._started_at[pid]
                found.append(Ended(pid, os.waitstatus_to_exitcode(status), started_at))
        return found

    def stop(self) -> None:
        """Make all stop, and accept no further connection."""
        self._listener.close()
        os.close(self._parent_end)

    def kill(self) -> None:
        """Kill those that are still running."""
        for pid in self._started_at:
            os.kill(pid, signal.SIGKILL)


class Signals:
    """The signals that this process has received, and a wait for the next one."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def wait(self, seconds: float | None) -> bool:
        """Wait for a signal, so many seconds at most; return whether one of them was to stop this process."""
        ready, _, _ = select.select([self._pipe], [], [], seconds)
        return bool(ready) and not STOPPING.isdisjoint(os.read(self._pipe, 4096))


@contextmanager
def signals() -> Iterator[Signals]:
    """Receive the signals that stop this process, and those of its children, by waiting for them."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # Before the handlers, without which a signal ends this process: none may be lost in between.
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (*STOPPING, signal.SIGCHLD):
        # `nohup` has SIGHUP ignored.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    yield Signals(reading)
    signal.set_wakeup_fd(-1)


def run(listener: socket.socket, application: Application, *, processes: int, idle_seconds: float) -> int:
    """Serve in so many processes until this one is told to stop; return its exit status."""
    # Memory that no garbage collection writes to stays common to all processes.
    gc.freeze()
    listener.settimeout(0)
    children = Children(listener, application, idle_seconds=idle_seconds)
    with signals() as received:
        for _ in range(processes):
            children.start()
        could_start = _replace_until_stopped(children, received)
        children.stop()
        _wait_for_end(children, received)
    return 0 if could_start else 1


def _replace_until_stopped(children: Children, received: Signals) -> bool:
    """Replace processes that die, until this one is told to stop; return False if the first of them cannot start."""
    due: list[float] = []
    was_replaced = False
    while True:
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        if received.wait(wait):
            return True
        for child in children.ended():
            if child.code == COULD_NOT_START and not was_replaced:
                return False
            how = f"was killed by signal {-child.code}" if child.code < 0 else f"ended with status {child.code}"
            log.error("The web process %d %s; another one starts", child.pid, how)
            due.append(child.started_at + REPLACED_AFTER_SECONDS)
        now = time.monotonic()
        overdue, due = [at for at in due if at <= now], [at for at in due if at > now]
        for _ in overdue:
            was_replaced = True
            try:
                children.start()
            except OSError as error:
                # Too little memory, or too many processes, for now.
                log.error("No web process can be started for %g s: %s", REPLACED_AFTER_SECONDS, error.strerror)  # noqa: TRY400
                due.append(now + REPLACED_AFTER_SECONDS)


def _wait_for_end(children: Children, received: Signals) -> None:
    """Wait until all processes have ended; kill them after a while, or when told to stop once more."""
    until = time.monotonic() + KILLED_AFTER_SECONDS
    # The signal to stop may have been read together with those of processes that had ended.
    children.ended()
    while children:
        left = until - time.monotonic()
        if left <= 0 or received.wait(left):
            log.warning("Web processes killed, because they did not stop in time: %d", len(children))
            children.kill()
            until = time.monotonic() + KILLED_AFTER_SECONDS
        children.ended()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # It may have been closed before this program began, or have no reader any more.
        if stream is not None:
            with suppress(OSError):
                stream.flush()
