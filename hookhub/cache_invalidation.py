"""Evicts cached rows when another process changes them: a thread per web process listens for PostgreSQL's NOTIFY.

While the connection is down, cached entries still expire after ``row_cache.TTL``. Behind a pooler in transaction mode,
which forwards no notifications, there is none, unless HOOKHUB_DIRECT_DATABASE_URL leads past it.
"""

import logging
import select
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from django.conf import settings
from django.db import Error, connection

from hookhub.event_types import registry
from hookhub.http import authentication
from hookhub.publishing import fast_path

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("hookhub.changes")

CHANNEL = "hookhub_changes"
RETRY_DELAY = timedelta(seconds=2)
# How often the listener checks whether it must stop.
POLL_INTERVAL = timedelta(seconds=1)


def invalidate(notice: str) -> None:
    """Evict from this process's caches what a database notification is about."""
    kind, _, name = notice.partition(":")
    match kind:
        case "api_key":
            authentication.invalidate(name)
        case "event_types" if _is_number(name):
            registry.invalidate_organization(int(name))
        case "organization" if _is_number(name):
            authentication.invalidate_organization(int(name))
            registry.invalidate_organization(int(name))
            fast_path.invalidate_organization(int(name))
        case _:
            # From a newer version, or from another program that notifies this channel. Evicting too much costs a few
            # queries; evicting too little may let a revoked key in.
            invalidate_all()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def invalidate_all() -> None:
    """Empty this process's caches of database rows."""
    authentication.invalidate_all()
    registry.invalidate_all()
    fast_path.invalidate_all()


class Listener:
    """A thread that listens on its own database connection and reconnects until it is stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # Set while the thread receives notifications.
        self.is_listening = threading.Event()

    def ensure_started(self) -> None:
        """Start the thread unless it is running."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cache-invalidation", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait until it has closed its connection."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with a_session() as session:
                    if session is None:
                        log.info(WITHOUT_SESSION)
                        return
                    self._listen(session)
            except (Error, psycopg.Error) as error:
                log.warning("Cannot listen for changes, which now take effect some seconds late: %s", error)
            finally:
                self.is_listening.clear()
            self._stopping.wait(RETRY_DELAY.total_seconds())

    def _listen(self, session: "psycopg.Connection[Any]") -> None:
        session.execute(f"LISTEN {CHANNEL}", prepare=False)
        # Changes made before LISTEN took effect were not received.
        invalidate_all()
        self.is_listening.set()
        # psycopg itself would wait for a tenth of a second at a time.
        poll = select.poll()
        poll.register(session, select.POLLIN)
        while not self._stopping.is_set():
            poll.poll(POLL_INTERVAL / timedelta(milliseconds=1))
            for notice in session.notifies(timeout=0):
                invalidate(notice.payload)


WITHOUT_SESSION = (
    "Behind a pooler in transaction mode, changes made by other processes take effect up to some seconds late; "
    "HOOKHUB_DIRECT_DATABASE_URL, the URL of PostgreSQL itself, would avoid that"
)


@contextmanager
def a_session() -> "Iterator[psycopg.Connection[Any] | None]":
    """Connect to a session of PostgreSQL that stays the same, or to None if a pooler allows none."""
    url = settings.HOOKHUB_DIRECT_DATABASE_URL
    try:
        if url:
            options = settings.DATABASES["default"]["OPTIONS"]
            kept = {
                name: value for name, value in options.items() if name.startswith(("keepalives", "tcp_", "connect_"))
            }
            with psycopg.connect(url, autocommit=True, **kept) as session:
                yield session
        else:
            connection.ensure_connection()
            yield None if getattr(connection, "is_pooled", False) else connection.connection
    finally:
        connection.close()


_listener = Listener()


def listening(application: "WSGIApplication") -> "WSGIApplication":
    """Wrap a WSGI application so that its first request starts the process's listener."""

    def listen_and_answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        _listener.ensure_started()
        return application(environ, start_response)

    return listen_and_answer
