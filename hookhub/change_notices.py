"""Changes that other processes make, heard of at once: PostgreSQL announces them, and a thread of each web process
forgets what they concern.

Without the connection, what is in memory still expires after ``remembering.SPAN``.
"""

import logging
import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
from django.db import Error, connection

from hookhub import event_types
from hookhub.api import authentication, publishing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("hookhub.changes")

CHANNEL = "hookhub_changes"
RETRY_DELAY = timedelta(seconds=2)
# How soon a listener that is to stop looks up.
POLL_INTERVAL = timedelta(seconds=1)


def forget(notice: str) -> None:
    """Forget, in this process, what a notice of the database is about."""
    kind, _, name = notice.partition(":")
    match kind:
        case "api_key":
            authentication.forget(name)
        case "event_types" if _is_number(name):
            event_types.forget_organization(int(name))
        case "organization" if _is_number(name):
            authentication.forget_organization(int(name))
            event_types.forget_organization(int(name))
            publishing.forget_organization(int(name))
        case _:
            # Of a newer version perhaps, or of whatever else may say NOTIFY here: too much forgotten costs a few
            # queries, too little a stranger's access.
            forget_everything()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def forget_everything() -> None:
    """Forget all that this process keeps in memory of the database's answers."""
    authentication.forget_all()
    event_types.forget_all()
    publishing.forget_all()


class Listener:
    """A thread that listens on a connection of its own, and connects again for as long as it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # Set while notices arrive.
        self.is_listening = threading.Event()

    def ensure_started(self) -> None:
        """Start the thread unless it runs already."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="change-notices", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Close the connection and wait until the thread has ended."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (Error, psycopg.Error) as error:
                log.warning("Changes by other processes take effect after seconds: cannot listen for them: %s", error)
            finally:
                self.is_listening.clear()
                connection.close()
            self._stopping.wait(RETRY_DELAY.total_seconds())

    def _listen(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        # What changed before this moment was announced to nobody here.
        forget_everything()
        self.is_listening.set()
        while not self._stopping.is_set():
            for notice in connection.connection.notifies(timeout=POLL_INTERVAL.total_seconds()):
                forget(notice.payload)


_listener = Listener()


def listening(application: "WSGIApplication") -> "WSGIApplication":
    """Return a WSGI application whose first request has its process listen for other processes' changes."""

    def listen_and_answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        _listener.ensure_started()
        return application(environ, start_response)

    return listen_and_answer
