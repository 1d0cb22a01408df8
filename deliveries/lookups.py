"""Host names looked up in threads of our own: each once at a time, however many ask for it."""

import os
import re
import socket
from collections import deque
from concurrent.futures import Future
from functools import partial
from threading import Lock, Thread
from typing import NamedTuple

import pycurl

# A look-up cannot be interrupted: with its nameserver silent it keeps its thread for as long as the C library tries,
# perhaps half a minute. All that a worker has in flight may be for names of one dead zone, and then some more.
THREADS_MOST = 512
# Names that wait for a thread.
WAITING_MOST = 4096

# libcurl gives every spelling of an IPv4 address in this one.
_ADDRESS = re.compile(r"\[.*\]|[0-9]+(?:\.[0-9]+){3}")

Addresses = list[str]


class Name(NamedTuple):
    """A host by its name, and the port it is to be dialled on, as libcurl reads them off a URL."""

    host: str
    port: str


def name_in(url: str) -> Name | None:
    """Give the name that somebody has to be asked for in order to dial ``url``, or None where libcurl asks nobody."""
    try:
        parts = pycurl.CurlUrl(url)
    except (UnicodeEncodeError, pycurl.error):
        # In a URL that has not been normalised. What libcurl makes of such a one it does not tell.
        return None
    host = (parts.host or "").lower()
    is_known = _ADDRESS.fullmatch(host) or f".{host}".removesuffix(".").endswith(".localhost")
    return None if is_known else Name(host, parts.port or ("443" if parts.scheme == "https" else "80"))


class Resolver:
    """The look-ups that are under way in one process."""

    def __init__(self, *, threads_most: int = THREADS_MOST, waiting_most: int = WAITING_MOST) -> None:
        self._threads_most = threads_most
        self._waiting_most = waiting_most
        self._lock = Lock()
        self._open: dict[str, Future[Addresses]] = {}
        self._waiting: deque[str] = deque()
        self._threads = 0

    def look_up(self, host: str) -> Future[Addresses]:
        """Give the addresses to come of ``host``, each once, in the system's order; shared, so never to be cancelled.

        It fails with what the system's resolver raises, OSError or UnicodeError, and with TimeoutError when too many
        names have been asked for since.
        """
        with self._lock:
            answer = self._open.get(host)
            if answer is None:
                answer = self._open[host] = Future()
                self._waiting.append(host)
            dropped = self._open.pop(self._waiting.popleft()) if len(self._waiting) > self._waiting_most else None
            needs_thread = bool(self._waiting) and self._threads < self._threads_most
            self._threads += needs_thread
        if dropped:
            dropped.set_exception(TimeoutError("Too many host names are being looked up at once."))
        if needs_thread:
            self._start()
        return answer

    def _start(self) -> None:
        # A daemon, because a process must be able to end while a nameserver is silent.
        thread = Thread(target=self._work, name="look-up", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system has no more threads. One of those at work takes the name over, or the next asker tries again.
            with self._lock:
                self._threads -= 1

    def _work(self) -> None:
        """Look up what waits, until nothing does."""
        while (host := self._next()) is not None:
            try:
                addresses = _addresses_of(host)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who asked get it.
                self._end(host).set_exception(error)
            else:
                self._end(host).set_result(addresses)

    def _next(self) -> str | None:
        with self._lock:
            if not self._waiting:
                self._threads -= 1
                return None
            # The newest: whoever asked for the oldest has probably given up by now.
            return self._waiting.pop()

    def _end(self, host: str) -> Future[Addresses]:
        with self._lock:
            return self._open.pop(host)


_resolvers: dict[int, Resolver] = {}


def resolver_of_this_process() -> Resolver:
    """Give the resolver that everybody in this process shares."""
    pid = os.getpid()
    # A fork leaves the child a copy of its parent's, with none of its threads and perhaps with its lock held.
    if pid not in _resolvers:
        _resolvers.setdefault(pid, Resolver())
    return _resolvers[pid]


def _addresses_of(host: str) -> Addresses:
    """Ask the system's resolver."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class Inbox:
    """Where look-ups leave their answers for a thread that waits on descriptors, of which this is one to read from."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_open = True
        self._answers: list[tuple[str, Future[Addresses]]] = []
        self._near, self._far = socket.socketpair()

    def fileno(self) -> int:
        """Give the descriptor to wait on."""
        return self._near.fileno()

    def ask(self, host: str) -> None:
        """Have the answer put here when it is there."""
        resolver_of_this_process().look_up(host).add_done_callback(partial(self._put, host))

    def take(self) -> list[tuple[str, Future[Addresses]]]:
        """Give the answers that have come, each under its host."""
        with self._lock:
            taken, self._answers = self._answers, []
            if taken:
                self._near.recv(1)
        return taken

    def close(self) -> None:
        """Take no more answers."""
        # Held, because a look-up that ends late must not write into whatever gets the descriptor next.
        with self._lock:
            self._is_open = False
            self._near.close()
            self._far.close()

    def _put(self, host: str, answer: Future[Addresses]) -> None:
        with self._lock:
            if self._is_open:
                # One byte says that there are any: whoever reads it takes them all.
                if not self._answers:
                    self._far.send(b"\0")
                self._answers.append((host, answer))
