"""A thread that reads the stream in the parent process of every worker."""

import logging
import os
import secrets
import socket
import threading
from datetime import timedelta

from django.conf import settings
from django.db import Error, close_old_connections, connection
from redis.exceptions import RedisError

from deliveries import timezone
from hookhub.publishing.redis_stream.consumer import Consumer, connect
from hookhub.publishing.redis_stream.reader import Reader

log = logging.getLogger("hookhub.stream")

# How long a read blocks in Redis when there is nothing new. It can delay the shutdown of a worker by as long.
BLOCK = timedelta(milliseconds=500)
# The pause between two attempts while Redis or the database is unavailable.
RETRY_DELAY = timedelta(seconds=1)
STOPS_WITHIN = timedelta(seconds=3)


class StreamThread:
    """Reads the stream in a process that has little else to do, from ``start`` to ``stop``.

    The thread is a daemon: a worker may exit in the middle of a batch, since another worker then claims the batch.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem = ""

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._read, name="stream", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the current batch and stop the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=STOPS_WITHIN.total_seconds())

    def _read(self) -> None:
        try:
            client = connect(settings.REDIS_URL)
        except ValueError as error:
            log.warning(
                "Cannot read the stream: REDIS_URL is invalid (%s). HOOKHUB_STREAM=off disables the stream", error
            )
            return
        consumer = Consumer(client, stream=settings.HOOKHUB_STREAM, name=name_of_this_process())
        reader = Reader(consumer, clock=timezone.now)
        while not self._stopped.is_set():
            self._take(reader)
        try:
            if not self._problem:
                consumer.deregister()
        except (RedisError, OSError) as error:
            log.info("Could not deregister the consumer of the stream (harmless): %s", error)
        consumer.close()
        connection.close()

    def _take(self, reader: Reader) -> None:
        """Process one batch; pause after any failure."""
        try:
            close_old_connections()
            reader.take(block=BLOCK)
        except (RedisError, OSError) as error:
            self._wait(f"Cannot read the stream from Redis ({type(error).__name__})", error)
        except Error as error:
            # The entries stay pending; the next attempt opens a new connection.
            connection.close()
            self._wait(f"Cannot store the stream's entries in the database ({type(error).__name__})", error)
        except Exception as error:  # noqa: BLE001 - logged below; without this thread the worker reads nothing more
            connection.close()
            self._wait(f"Reading the stream failed ({error!r})", error, is_bug=True)
        else:
            if self._problem:
                log.warning("Reading of the stream resumed")
                self._problem = ""

    def _wait(self, problem: str, error: Exception, *, is_bug: bool = False) -> None:
        """Log a problem once, however long it lasts, and pause."""
        if problem != self._problem:
            log.warning("%s: %s; nothing is lost, retrying", problem, error, exc_info=is_bug)
            self._problem = problem
        self._stopped.wait(RETRY_DELAY.total_seconds())


def name_of_this_process() -> str:
    """Return a consumer name that no worker, present or past, shares: pending entries belong to a name."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
