"""A sender for many concurrent HTTP requests over libcurl's multi interface.

All connections to receivers are made here, so that none bypasses the SSRF guard.
"""

import resource
import select
import time
from collections import defaultdict
from collections.abc import Hashable
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache, partial
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

import certifi
import pycurl
from django.conf import settings

from deliveries.sending import ssrf
from deliveries.sending.dns import Mailbox
from deliveries.sending.exchange import Exchange, Request
from deliveries.sending.transfer import MAX_BODY, Transfer

SYSTEM_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
# With many slots, requests, pooled connections and look-ups need several thousand descriptors. The limit is not raised
# further, because the system may allow a billion and some libraries loop over every possible descriptor.
MAX_FILES = 65_536
WATCHED_FOR = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}


class HasFileno(Protocol):
    """Anything with a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Sender:
    """Keeps up to ``slots`` requests in flight. Use it only in the process and thread that created it."""

    def __init__(self, *, slots: int, policy: ssrf.Policy, certificates: str, body_kept: int = MAX_BODY) -> None:
        self.slots = slots
        # The sockets of libcurl's idle connections, by local port.
        idle_sockets: dict[int, int] = {}
        self._make_transfer = partial(
            Transfer,
            policy=policy,
            certificates=certificates,
            body_kept=min(body_kept, MAX_BODY),
            idle_sockets=idle_sockets,
        )
        self._idle: list[Transfer] = []
        self._busy: dict[Any, tuple[Transfer, Hashable]] = {}
        # The deadline of each request in flight, grouped by timeout; each group is in ascending order.
        self._deadlines: defaultdict[timedelta, dict[Any, float]] = defaultdict(dict)
        # When libcurl's timer expires, in time.monotonic() seconds, or None if it set none.
        self._call_at: float | None = None
        # epoll is used directly: the standard library's selectors would add more than half of the cost of a request.
        self._poll = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._ticks_per_second = 1 if hasattr(select, "epoll") else 1000
        self._watched: set[int] = set()
        # Transfers that were taken out of the multi handle until their host is resolved, by host name.
        self._unresolved: dict[str, dict[Any, Transfer]] = {}
        # What may interrupt ``wait``, and its descriptor.
        self._interrupting: HasFileno | None = None
        self._interrupt_at = -1
        self._is_interrupted = False
        self._inbox = Mailbox()
        self._poll.register(self._inbox.fileno(), select.POLLIN)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * slots)

    @property
    def in_flight(self) -> int:
        """Return the number of requests that were started and not yet returned by ``wait``."""
        return len(self._busy)

    @property
    def free(self) -> int:
        """Return the number of free slots."""
        return self.slots - len(self._busy)

    def start(self, request: Request, *, token: Hashable) -> None:
        """Start a request; ``wait`` returns its result together with ``token``."""
        transfer = self._idle.pop() if self._idle else self._make_transfer()
        transfer.prepare(request)
        self._multi.add_handle(transfer.curl)
        self._busy[transfer.curl] = (transfer, token)
        self._deadlines[request.timeout][transfer.curl] = transfer.started_at + request.timeout.total_seconds()

    def wait(self, timeout: timedelta) -> list[tuple[Hashable, Exchange]]:
        """Drive the requests in flight and return (token, Exchange) for those that ended.

        Return as soon as any has ended, or with an empty list after ``timeout`` or an interruption.
        """
        until = time.monotonic() + timeout.total_seconds()
        self._is_interrupted = False
        while True:
            began_at = time.monotonic()
            self._turn(until)
            ended = self._collect() + self._resume() + self._give_up(overdue_at=began_at)
            if ended or self._is_interrupted or not self._busy or time.monotonic() >= until:
                return ended

    def let_interrupt(self, source: HasFileno | None) -> None:
        """Make ``wait`` return also when the descriptor of ``source``, if any, is readable; it replaces the last one.

        An object stands for one descriptor: pass another object after opening another descriptor.
        """
        if source is self._interrupting:
            return
        if self._interrupting is not None:
            # It may have been closed.
            with suppress(OSError, KeyError):
                self._poll.unregister(self._interrupt_at)
        self._interrupting, self._interrupt_at = source, -1 if source is None else source.fileno()
        if source is not None:
            self._poll.register(self._interrupt_at, select.POLLIN)

    def close(self) -> None:
        """Abort all requests in flight and close all connections."""
        for transfer, _ in self._busy.values():
            if transfer.unresolved is None:
                self._multi.remove_handle(transfer.curl)
            transfer.close_socket()
            transfer.curl.close()
        for transfer in self._idle:
            transfer.curl.close()
        self._busy.clear()
        self._idle.clear()
        self._deadlines.clear()
        self._unresolved.clear()
        self._multi.close()
        self._inbox.close()
        if isinstance(self._poll, select.epoll):
            self._poll.close()

    def _turn(self, until: float) -> None:
        """Wait for a socket, libcurl's timer or the earliest deadline, but not past ``until``; then call libcurl."""
        until = min([until, *(next(iter(those.values())) for those in self._deadlines.values())])
        if self._call_at is not None:
            until = min(until, self._call_at)
        patience = max(until - time.monotonic(), 0)
        for descriptor, ready in self._poll.poll(patience * self._ticks_per_second):
            if descriptor == self._interrupt_at:
                self._is_interrupted = True
                continue
            if descriptor not in self._watched:
                # The inbox, or a connection that libcurl closed while handling an earlier descriptor.
                continue
            # Report errors and hang-ups as readable: libcurl then finds the reason by reading.
            mask = pycurl.CSELECT_IN if ready & ~select.POLLOUT else 0
            self._multi.socket_action(descriptor, mask | (pycurl.CSELECT_OUT if ready & select.POLLOUT else 0))
        if self._call_at is not None and time.monotonic() >= self._call_at:
            self._call_at = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _collect(self) -> list[tuple[Hashable, Exchange]]:
        ended: list[tuple[Hashable, Exchange]] = []
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            for curl, code, error in [(curl, pycurl.E_OK, "") for curl in good] + bad:
                transfer, token = self._busy[curl]
                transfer.note_connection(code)
                self._multi.remove_handle(curl)
                if transfer.must_retry_on_fresh_connection or transfer.must_read_certificate(code):
                    transfer.repeat()
                    self._multi.add_handle(curl)
                    continue
                if transfer.unresolved is not None:
                    self._look_up(transfer.unresolved.host, transfer)
                    continue
                ended.append((token, transfer.conclude(code, error)))
                self._release(transfer)
        return ended

    def _look_up(self, host: str, transfer: Transfer) -> None:
        """Defer the transfer until its host is resolved; one look-up serves all transfers to the same host."""
        if host not in self._unresolved:
            self._unresolved[host] = {}
            self._inbox.submit(host)
        self._unresolved[host][transfer.curl] = transfer

    def _resume(self) -> list[tuple[Hashable, Exchange]]:
        """Resume the requests whose host has been resolved. Return those whose look-up failed."""
        ended: list[tuple[Hashable, Exchange]] = []
        if not self._unresolved:
            return ended
        for host, answer in self._inbox.completed():
            for curl, transfer in self._unresolved.pop(host).items():
                error = answer.exception()
                if error is None:
                    transfer.resume(answer.result())
                    self._multi.add_handle(curl)
                else:
                    ended.append((self._busy[curl][1], transfer.lose_name(error)))
                    self._release(transfer)
        return ended

    def _give_up(self, *, overdue_at: float) -> list[tuple[Hashable, Exchange]]:
        """Time out the requests whose deadline had passed when the last ``_turn`` began, and return them.

        Data that had arrived by then was read in that turn. libcurl's own timeout checks the clock before it reads, so
        after a pause of this process longer than the deadline it would discard responses that had come in time.
        """
        overdue = [
            curl
            for those in self._deadlines.values()
            for curl, _ in takewhile(lambda item: item[1] <= overdue_at, those.items())
        ]
        ended: list[tuple[Hashable, Exchange]] = []
        for curl in overdue:
            transfer, token = self._busy[curl]
            if transfer.unresolved is None:
                self._multi.remove_handle(curl)
            else:
                del self._unresolved[transfer.unresolved.host][curl]
            ended.append((token, transfer.give_up()))
            self._release(transfer)
        return ended

    def _release(self, transfer: Transfer) -> None:
        """Return the transfer to the pool for another request."""
        del self._busy[transfer.curl]
        those = self._deadlines[transfer.timeout]
        del those[transfer.curl]
        if not those:
            del self._deadlines[transfer.timeout]
        self._idle.append(transfer)

    def _watch(self, what: int, descriptor: int, _multi: object, _data: object) -> None:
        wanted = WATCHED_FOR.get(what)
        if descriptor == self._interrupt_at:
            # What could interrupt ``wait`` was closed: a connection has its number, whose response would not be heard.
            self._interrupting, self._interrupt_at = None, -1
        # A descriptor that was closed is watched no more, and another thread may have got its number since. An error
        # here would make libcurl give up all transfers, which would then wait for their deadlines.
        if wanted is None:
            if descriptor in self._watched:
                self._watched.remove(descriptor)
                with suppress(OSError):
                    self._poll.unregister(descriptor)
            return
        if descriptor in self._watched:
            with suppress(FileNotFoundError):
                self._poll.modify(descriptor, wanted)
                return
        self._watched.add(descriptor)
        self._poll.register(descriptor, wanted)

    def _set_timer(self, milliseconds: int) -> None:
        self._call_at = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def policy_from_settings() -> ssrf.Policy:
    """Return the settings' exceptions to the SSRF guard and their TLS rules."""
    return ssrf.Policy(
        networks=settings.HOOKHUB_ALLOWED_NETWORKS,
        hosts=settings.HOOKHUB_ALLOWED_HOSTS,
        allows_loopback=settings.HOOKHUB_DEVELOPMENT,
        https_only=settings.HOOKHUB_HTTPS_ONLY,
        requires_tls_verification=settings.HOOKHUB_REQUIRE_TLS_VERIFICATION,
    )


@lru_cache(maxsize=1)
def certificates_from_settings() -> str:
    """Return the path of the CA bundle that receivers' certificates are verified against."""
    if settings.HOOKHUB_CA_BUNDLE:
        return str(settings.HOOKHUB_CA_BUNDLE)
    return next((path for path in SYSTEM_CERTIFICATES if Path(path).exists()), certifi.where())


def allow_many_files() -> None:
    """Raise this process's soft limit of open files, often 1,024, to at most MAX_FILES and the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems enforce a lower limit than the hard limit that they report.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def make_sender(*, slots: int) -> Sender:
    """Return a Sender configured from the settings. Call it after forking, in the process that sends."""
    allow_many_files()
    return Sender(
        slots=slots,
        policy=policy_from_settings(),
        certificates=certificates_from_settings(),
        body_kept=settings.HOOKHUB_RESPONSE_KEPT,
    )
