"""Notifier: sends a wake-up to a worker after a commit, without blocking the caller."""

import atexit
import logging
import os
import threading
import time
from datetime import timedelta
from typing import Any

from celery import current_app
from kombu import Connection
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = logging.getLogger("hookhub.doorbell")

TASK = "deliveries.drain"
# The minimum interval between wake-ups: one wakes a worker that takes all work there is, so more would change nothing.
MIN_INTERVAL = timedelta(milliseconds=50)
# The timeout of a command to Redis.
TIMEOUT = timedelta(milliseconds=200)
# How long no wake-up is sent after Redis failed. The workers' schedulers find the work in the meantime.
BREAKER_COOLDOWN = timedelta(seconds=1)
# Wake-ups in the queue that no worker has received yet; with this many, no further one is sent.
MAX_QUEUED = 8


class Notifier:
    """One process's notifier. A background thread sends the wake-ups, so that callers continue at once."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._requested = threading.Event()
        self._thread_lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        self._paused_until = 0.0

    @property
    def is_ours(self) -> bool:
        """Whether this process created it: its thread does not survive a fork."""
        return self._pid == os.getpid()

    def request(self) -> None:
        """Request that a wake-up be sent soon."""
        self._requested.set()
        if self._thread is None:
            with self._thread_lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._notify_when_requested, name="notifier", daemon=True)
                    self._thread.start()

    def _notify_when_requested(self) -> None:
        while True:
            self._requested.wait()
            # Cleared before sending: a request made from here on gets another wake-up.
            self._requested.clear()
            try:
                self.try_to_notify()
            except Exception:  # Without this thread no wake-up would ever be sent again.
                log.exception("Could not send a wake-up")
                self._close()
            time.sleep(MIN_INTERVAL.total_seconds())

    def try_to_notify(self) -> bool:
        """Send a wake-up and return whether Redis accepted it. For a while after a failure, return False at once."""
        with self._send_lock:
            if time.monotonic() < self._paused_until:
                return False
            try:
                self._send()
            except (OperationalError, RedisError, OSError) as error:
                self._close()
                self._paused_until = time.monotonic() + BREAKER_COOLDOWN.total_seconds()
                log.warning("Redis did not accept the wake-up (%s); the workers' schedulers will find the work", error)
                return False
            return True

    def _send(self) -> None:
        """Enqueue one message unless enough are waiting; raises OperationalError, RedisError or OSError."""
        if self._connection is None:
            seconds = TIMEOUT.total_seconds()
            options = {"socket_timeout": seconds, "socket_connect_timeout": seconds, "max_retries": 0}
            self._connection = current_app.connection_for_write(transport_options=options)
        channel: Any = self._connection.default_channel
        queued = channel.queue_declare(current_app.conf.task_default_queue).message_count
        if queued < MAX_QUEUED:
            current_app.send_task(TASK, connection=self._connection, retry=False, ignore_result=True)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def notify_before_exit(self) -> None:
        """Send a wake-up that is still pending: a command may exit right after it has accepted an event."""
        if self._requested.is_set():
            self.try_to_notify()


_notifier = Notifier()


def _own_notifier() -> Notifier:
    global _notifier  # noqa: PLW0603 - one notifier per process, created anew after a fork
    if not _notifier.is_ours:
        _notifier = Notifier()
    return _notifier


def notify() -> None:
    """Request a wake-up for a worker without blocking; a lost one costs a second of latency and nothing else."""
    _own_notifier().request()


def notify_now() -> bool:
    """Send a wake-up and return whether Redis accepted it; blocks for a few times TIMEOUT in the worst case."""
    return _own_notifier().try_to_notify()


def _notify_before_exit() -> None:
    if _notifier.is_ours:
        _notifier.notify_before_exit()


atexit.register(_notify_before_exit)
