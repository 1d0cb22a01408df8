"""DNS look-ups in daemon threads, so that a name server that does not answer blocks nothing else.

Concurrent requests for the same host name share one look-up.
"""

import os
import re
import socket
from collections import deque
from concurrent.futures import Future
from functools import partial
from threading import Lock, Thread
from typing import NamedTuple

import pycurl

# A look-up cannot be interrupted: if the name server does not answer, it occupies its thread until the C library gives
# up, perhaps for half a minute. All requests of a worker may be to names in one dead zone; a few more must still fit.
MAX_THREADS = 512
# Host names that may be queued for a thread.
MAX_WAITING = 4096

# libcurl normalizes every spelling of an IPv4 address to four decimal numbers.
_ADDRESS = re.compile(r"\[.*\]|[0-9]+(?:\.[0-9]+){3}")

Addresses = list[str]


class Name(NamedTuple):
    """The host name and the port that libcurl would connect to for a URL."""

    host: str
    port: str


def host_to_resolve(url: str) -> Name | None:
    """Return the host name that must be resolved to connect to ``url``, or None if libcurl needs no resolver."""
    try:
        parts = pycurl.CurlUrl(url)
    except (UnicodeEncodeError, pycurl.error):
        # The URL was not normalized, so we cannot know which host libcurl would resolve. Leave that to libcurl.
        return None
    host = (parts.host or "").lower()
    is_known = _ADDRESS.fullmatch(host) or f".{host}".removesuffix(".").endswith(".localhost")
    return None if is_known else Name(host, parts.port or ("443" if parts.scheme == "https" else "80"))


class Resolver:
    """Resolves host names in up to ``max_threads`` daemon threads. One instance serves a whole process."""

    def __init__(self, *, max_threads: int = MAX_THREADS, max_waiting: int = MAX_WAITING) -> None:
        self._max_threads = max_threads
        self._max_waiting = max_waiting
        self._lock = Lock()
        self._open: dict[str, Future[Addresses]] = {}
        self._waiting: deque[str] = deque()
        self._threads = 0

    def look_up(self, host: str) -> Future[Addresses]:
        """Return a future for the addresses of ``host``, without duplicates, in the order of the system's resolver.

        The future fails with OSError or UnicodeError from the system's resolver, or with TimeoutError if the queue
        overflows before a thread takes the name. Callers share the future and must not cancel it.
        """
        with self._lock:
            answer = self._open.get(host)
            if answer is None:
                answer = self._open[host] = Future()
                self._waiting.append(host)
            dropped = self._open.pop(self._waiting.popleft()) if len(self._waiting) > self._max_waiting else None
            needs_thread = bool(self._waiting) and self._threads < self._max_threads
            self._threads += needs_thread
        if dropped:
            dropped.set_exception(TimeoutError("Too many DNS lookups are in progress."))
        if needs_thread:
            self._start()
        return answer

    def _start(self) -> None:
        # A daemon thread, so that the process can exit while a name server does not answer.
        thread = Thread(target=self._work, name="look-up", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system allows no more threads. A running one will take the name, or the next look-up starts a thread.
            with self._lock:
                self._threads -= 1

    def _work(self) -> None:
        """Resolve queued host names until the queue is empty."""
        while (host := self._next()) is not None:
            try:
                addresses = _addresses_of(host)
            except Exception as error:  # noqa: BLE001 - the future passes any error on to the callers.
                self._end(host).set_exception(error)
            else:
                self._end(host).set_result(addresses)

    def _next(self) -> str | None:
        with self._lock:
            if not self._waiting:
                self._threads -= 1
                return None
            # Take the newest first: the requests for the oldest have probably timed out.
            return self._waiting.pop()

    def _end(self, host: str) -> Future[Addresses]:
        with self._lock:
            return self._open.pop(host)


_resolvers: dict[int, Resolver] = {}


def resolver_of_this_process() -> Resolver:
    """Return the process-wide resolver."""
    pid = os.getpid()
    # After a fork, the child has a copy of its parent's resolver without the threads, and perhaps with the lock held.
    if pid not in _resolvers:
        _resolvers.setdefault(pid, Resolver())
    return _resolvers[pid]


def _addresses_of(host: str) -> Addresses:
    """Return the addresses that the system's resolver finds for ``host``."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class Mailbox:
    """A mailbox for completed look-ups; its descriptor becomes readable when there are any, for use with poll."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_open = True
        self._answers: list[tuple[str, Future[Addresses]]] = []
        self._near, self._far = socket.socketpair()

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._near.fileno()

    def submit(self, host: str) -> None:
        """Start a look-up whose result will arrive in this mailbox."""
        resolver_of_this_process().look_up(host).add_done_callback(partial(self._put, host))

    def completed(self) -> list[tuple[str, Future[Addresses]]]:
        """Return and remove the completed look-ups as (host, future)."""
        with self._lock:
            taken, self._answers = self._answers, []
            if taken:
                self._near.recv(1)
        return taken

    def close(self) -> None:
        """Close the descriptor and ignore look-ups that complete later."""
        # The lock keeps a late look-up from writing to a descriptor that was closed and possibly reused.
        with self._lock:
            self._is_open = False
            self._near.close()
            self._far.close()

    def _put(self, host: str, answer: Future[Addresses]) -> None:
        with self._lock:
            if self._is_open:
                # A single byte signals that the mailbox is not empty; completed() empties it and reads the byte.
                if not self._answers:
                    self._far.send(b"\0")
                self._answers.append((host, answer))
