"""The bell: wakes a worker after a commit, and never keeps anyone waiting."""

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

from deliveries import listening

log = logging.getLogger("hookhub.doorbell")

TASK = listening.TASK
# One ring wakes a worker that takes all there is, so more than this many a second change nothing.
APART = timedelta(milliseconds=50)
# What Redis may take to answer before it counts as away.
BUDGET = timedelta(milliseconds=200)
# How long Redis is left alone after it did not answer. The worker's clock finds the work meanwhile.
SILENCE = timedelta(seconds=1)
# Rings that nobody has heard yet; more of them would only pile up.
UNHEARD_MOST = 8


class Bell:
    """One process's bell. A thread of its own does the ringing, so that whoever asks for it goes on at once."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._wanted = threading.Event()
        self._starting = threading.Lock()
        self._ringing = threading.Lock()
        self._link: Connection | None = None
        self._thread: threading.Thread | None = None
        self._silent_until = 0.0

    @property
    def is_ours(self) -> bool:
        """Whether this process made it: a thread does not survive a fork."""
        return self._pid == os.getpid()

    def want(self) -> None:
        """Ask for a ring soon."""
        self._wanted.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._ring_when_wanted, name="doorbell", daemon=True)
                    self._thread.start()

    def _ring_when_wanted(self) -> None:
        while True:
            self._wanted.wait()
            # Taken down before ringing: what is wanted from here on is a ring of its own.
            self._wanted.clear()
            try:
                self.try_to_ring()
            except Exception:  # The thread must live on: without it nothing would be rung for again.
                log.exception("The bell could not be rung")
                self._hang_up()
            time.sleep(APART.total_seconds())

    def try_to_ring(self) -> bool:
        """Ring now; tell whether Redis took it. After a failure it is not tried again for a while."""
        with self._ringing:
            if time.monotonic() < self._silent_until:
                return False
            try:
                self._send()
            except (OperationalError, RedisError, OSError) as error:
                self._hang_up()
                self._silent_until = time.monotonic() + SILENCE.total_seconds()
                log.warning("Redis does not take the bell (%s); the workers' clock finds the work instead", error)
                return False
            return True

    def _send(self) -> None:
        """Put one message on the queue unless enough wait there; raises OperationalError, RedisError or OSError."""
        if self._link is None:
            seconds = BUDGET.total_seconds()
            options = {"socket_timeout": seconds, "socket_connect_timeout": seconds, "max_retries": 0}
            self._link = current_app.connection_for_write(transport_options=options)
        channel: Any = self._link.default_channel
        unheard = channel.queue_declare(current_app.conf.task_default_queue).message_count
        if unheard < UNHEARD_MOST:
            current_app.send_task(TASK, connection=self._link, retry=False, ignore_result=True)

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.release()

    def ring_before_exit(self) -> None:
        """Ring if that is still wanted: a command that accepted something may end at once."""
        if self._wanted.is_set():
            self.try_to_ring()


_bell = Bell()


def _our_bell() -> Bell:
    global _bell  # noqa: PLW0603 - one bell for each process, made anew after a fork
    if not _bell.is_ours:
        _bell = Bell()
    return _bell


def ring() -> None:
    """Have a worker woken soon, without waiting for it; a lost ring costs a second of latency and nothing else."""
    _our_bell().want()


def ring_now() -> bool:
    """Wake a worker and tell whether Redis took the message; takes a few times BUDGET at the worst."""
    return _our_bell().try_to_ring()


def _ring_before_exit() -> None:
    if _bell.is_ours:
        _bell.ring_before_exit()


atexit.register(_ring_before_exit)
