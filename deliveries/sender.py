"""Many requests at once over libcurl: the only outgoing connections HookHub makes."""

import select
import socket
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import certifi
import pycurl
from django.conf import settings

from deliveries import guard
from deliveries.outcomes import LossKind, Lost

# What an answer may hold before we hang up; what the log keeps of its body is a setting and never more than this.
HEADERS_MOST = 64 * 1024
BODY_MOST = 64 * 1024
SYSTEM_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")

TLS_ERRORS = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR, pycurl.E_SSL_CERTPROBLEM, pycurl.E_SSL_CIPHER, pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_ENGINE_INITFAILED, pycurl.E_SSL_ISSUER_ERROR, pycurl.E_SSL_INVALIDCERTSTATUS,
    }
)  # fmt: skip
WATCHED_FOR = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}
UNREACHABLE = frozenset({pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT, pycurl.E_URL_MALFORMAT})


class Request(NamedTuple):
    """One request to make; ``timeout`` covers all of it, from the name look-up to the last byte of the answer."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout: timedelta
    verify_ssl: bool = True
    method: str = "POST"


class Reply(NamedTuple):
    """A complete answer; of a long body only the beginning."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Give the first header of that name, whatever its case, or None."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class Exchange(NamedTuple):
    """What became of one request: a complete answer, or the reason why there is none."""

    duration: timedelta
    result: Reply | Lost


class Sender:
    """Keeps up to ``slots`` requests in flight; belongs to the process and thread that made it."""

    def __init__(self, *, slots: int, policy: guard.Policy, certificates: str, body_kept: int = BODY_MOST) -> None:
        self.slots = slots
        self.policy = policy
        self.certificates = certificates
        self.body_kept = min(body_kept, BODY_MOST)
        self._idle: list[_Transfer] = []
        self._busy: dict[Any, tuple[_Transfer, Hashable]] = {}
        # libcurl's sockets of the connections that it keeps for a further request, by their local ports.
        self.kept: dict[int, int] = {}
        self._deadline: float | None = None
        # Bare, without the standard library's selectors around it: those cost more than half of a request here.
        self._poll = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._ticks_per_second = 1 if hasattr(select, "epoll") else 1000
        self._watched: set[int] = set()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * slots)

    @property
    def in_flight(self) -> int:
        """Requests begun and not yet given back by ``wait``."""
        return len(self._busy)

    @property
    def free(self) -> int:
        """Requests that may be begun now."""
        return self.slots - len(self._busy)

    def start(self, request: Request, *, token: Hashable) -> None:
        """Begin a request; ``wait`` gives it back under ``token``."""
        transfer = self._idle.pop() if self._idle else _Transfer(self)
        transfer.prepare(request)
        self._multi.add_handle(transfer.curl)
        self._busy[transfer.curl] = (transfer, token)

    def wait(self, timeout: timedelta) -> list[tuple[Hashable, Exchange]]:
        """Let requests go forward for at most ``timeout``, and give those that ended; at once when any has."""
        until = time.monotonic() + timeout.total_seconds()
        while True:
            self._turn(until)
            ended = self._collect()
            if ended or not self._busy or time.monotonic() >= until:
                return ended

    def close(self) -> None:
        """Drop every connection and every request in flight."""
        for transfer, _ in self._busy.values():
            self._multi.remove_handle(transfer.curl)
            transfer.let_go()
            transfer.curl.close()
        for transfer in self._idle:
            transfer.curl.close()
        self._busy.clear()
        self._idle.clear()
        self._multi.close()
        if isinstance(self._poll, select.epoll):
            self._poll.close()

    def _turn(self, until: float) -> None:
        """Wait for the sockets or libcurl's own timer, whichever is first, and let libcurl act on it."""
        patience = until - time.monotonic()
        if self._deadline is not None:
            patience = min(patience, self._deadline - time.monotonic())
        for descriptor, ready in self._poll.poll(max(patience, 0) * self._ticks_per_second):
            # A connection that is broken or closed is one that can be read from: libcurl finds out why.
            mask = pycurl.CSELECT_IN if ready & ~select.POLLOUT else 0
            self._multi.socket_action(descriptor, mask | (pycurl.CSELECT_OUT if ready & select.POLLOUT else 0))
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
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
                if transfer.is_to_be_repeated:
                    transfer.repeat()
                    self._multi.add_handle(curl)
                    continue
                del self._busy[curl]
                ended.append((token, transfer.conclude(code, error)))
                self._idle.append(transfer)
        return ended

    def _watch(self, what: int, descriptor: int, _multi: object, _data: object) -> None:
        wanted = WATCHED_FOR.get(what)
        if wanted is None:
            if descriptor in self._watched:
                self._watched.remove(descriptor)
                self._poll.unregister(descriptor)
        elif descriptor in self._watched:
            self._poll.modify(descriptor, wanted)
        else:
            self._watched.add(descriptor)
            self._poll.register(descriptor, wanted)

    def _set_timer(self, milliseconds: int) -> None:
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


@dataclass(slots=True)
class _Answer:
    """What has arrived so far."""

    status_line: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    header_bytes: int = 0
    has_all_headers: bool = False
    body: bytearray = field(default_factory=bytearray)
    body_bytes: int = 0
    is_too_long: bool = False
    forbidden: str = ""


class _Transfer:
    """One libcurl handle, used again and again, and what it is receiving."""

    def __init__(self, sender: Sender) -> None:
        self.policy = sender.policy
        self.body_kept = sender.body_kept
        self.kept = sender.kept
        self.is_to_be_repeated = False
        # What the handle is set to, so that setting it again can be spared.
        self.url = self.host = self.method = ""
        self.terms: tuple[timedelta, bool] | None = None
        self.is_fresh = False
        self.answer = _Answer()
        self._opened: list[socket.socket] = []
        self.curl = curl = pycurl.Curl()
        # Nothing of this machine's may reach a receiver, nor a receiver send us elsewhere.
        curl.setopt(pycurl.USERAGENT, "")
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        curl.setopt(pycurl.HTTP09_ALLOWED, 0)
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TCP_NODELAY, 1)
        curl.setopt(pycurl.CAINFO, sender.certificates)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        curl.setopt(pycurl.PREREQFUNCTION, self._look_before_sending)
        curl.setopt(pycurl.HEADERFUNCTION, self._take_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_body)

    def prepare(self, request: Request) -> None:
        curl, self.answer, self.is_to_be_repeated = self.curl, _Answer(), False
        if request.url != self.url:
            self.url, self.host = request.url, urlsplit(request.url).hostname or ""
            curl.setopt(pycurl.URL, request.url)
        if self.is_fresh:
            self.is_fresh = False
            curl.setopt(pycurl.FRESH_CONNECT, 0)
        self._set_method(request.method, request.body)
        # "Expect:" with nothing after it keeps libcurl from asking leave to send a long body.
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
        curl.setopt(pycurl.HTTPHEADER, [line.encode() for line in (*lines, "Expect:")])
        if (request.timeout, request.verify_ssl) != self.terms:
            self.terms = (request.timeout, request.verify_ssl)
            milliseconds = max(1, int(request.timeout / timedelta(milliseconds=1)))
            curl.setopt(pycurl.TIMEOUT_MS, milliseconds)
            curl.setopt(pycurl.CONNECTTIMEOUT_MS, milliseconds)
            curl.setopt(pycurl.SSL_VERIFYPEER, int(request.verify_ssl))
            curl.setopt(pycurl.SSL_VERIFYHOST, 2 if request.verify_ssl else 0)

    def _set_method(self, method: str, body: bytes) -> None:
        """Set the method and the body, and let nothing of the last request stay in the handle."""
        curl = self.curl
        if method == self.method == "POST":
            curl.setopt(pycurl.POSTFIELDS, body)
            return
        self.method = method
        curl.setopt(pycurl.HTTPGET, 1)
        curl.unsetopt(pycurl.CUSTOMREQUEST)
        if method == "POST":
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDS, body)
        else:
            curl.setopt(pycurl.CUSTOMREQUEST, method)
            if method == "HEAD":
                curl.setopt(pycurl.NOBODY, 1)
            elif body:
                curl.setopt(pycurl.POSTFIELDS, body)

    def note_connection(self, code: int) -> None:
        """Note the connection that an exchange leaves behind; only HTTP/2 tells whose an answer is."""
        if code == pycurl.E_OK and self.answer.status_line.startswith("HTTP/1"):
            self.kept[self.curl.getinfo(pycurl.LOCAL_PORT)] = self.curl.getinfo(pycurl.ACTIVESOCKET)

    def repeat(self) -> None:
        """Get ready to go again, on a connection of its own."""
        self.answer, self.is_to_be_repeated, self.is_fresh = _Answer(), False, True
        self.curl.setopt(pycurl.FRESH_CONNECT, 1)

    def conclude(self, code: int, error: str) -> Exchange:
        self.let_go()
        duration = timedelta(seconds=self.curl.getinfo(pycurl.TOTAL_TIME))
        answer = self.answer
        if code == pycurl.E_OK and not answer.has_all_headers:
            # libcurl is content with whatever came before the connection was closed.
            return Exchange(
                duration, Lost("protocol", "The connection was closed in the middle of the answer's headers.")
            )
        if code == pycurl.E_OK or answer.is_too_long:
            status = self.curl.getinfo(pycurl.RESPONSE_CODE)
            reason = answer.status_line.partition(" ")[2].partition(" ")[2]
            return Exchange(duration, Reply(status, reason, tuple(answer.headers), bytes(answer.body)))
        return Exchange(duration, self._loss(code, error))

    def let_go(self) -> None:
        """Close our copies of the sockets that were opened."""
        while self._opened:
            self._opened.pop().close()

    def _loss(self, code: int, error: str) -> Lost:
        """Say in the owner's words why no complete answer came."""
        if self.answer.forbidden and code in UNREACHABLE:
            return Lost("forbidden", self.answer.forbidden)
        kind: LossKind = "protocol"
        if code == pycurl.E_OPERATION_TIMEDOUT:
            kind = "timeout"
        elif code in UNREACHABLE:
            kind = "unreachable"
        elif code in TLS_ERRORS:
            kind = "tls"
        elif self.answer.header_bytes > HEADERS_MOST:
            error = f"The answer's headers are longer than {HEADERS_MOST} bytes."
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        begun = f" (after status {status})" if status else ""
        return Lost(kind, f"{error or f'libcurl error {code}'}{begun}")

    def _open_socket(self, purpose: int, address: Any) -> socket.socket | int:
        """Look at the very address libcurl is about to dial: nothing can change between this look and the dialling."""
        del purpose
        family, kind, protocol, target = address
        refusal = guard.refusal(target[0], target[1], policy=self.policy, host=self.host)
        if refusal is not None:
            self.answer.forbidden = refusal
            return int(pycurl.SOCKET_BAD)
        # libcurl goes on with a copy of this socket, so ours is let go as soon as the exchange is over.
        opened = socket.socket(family, kind, protocol)
        self._opened.append(opened)
        return opened

    def _look_before_sending(self, _address: str, _local: str, _port: int, local_port: int) -> int:
        """Leave a kept connection alone on which something came unasked: it would pass for this request's answer.

        libcurl looks for itself, but at most once a second.
        """
        kept = self.kept.pop(local_port, -1)
        if kept >= 0:
            poll = select.poll()
            poll.register(kept, select.POLLIN)
            self.is_to_be_repeated = bool(poll.poll(0))
        return int(pycurl.PREREQFUNC_ABORT if self.is_to_be_repeated else pycurl.PREREQFUNC_OK)

    def _take_header(self, line: bytes) -> int | None:
        answer = self.answer
        answer.header_bytes += len(line)
        if answer.header_bytes > HEADERS_MOST:
            return 0
        if line in {b"\r\n", b"\n"}:
            answer.has_all_headers = True
        elif line.startswith(b"HTTP/"):
            # An interim answer's headers give way to the final one's.
            answer.status_line, answer.headers, answer.has_all_headers = line.decode("latin-1").rstrip(), [], False
        else:
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                answer.headers.append((name.strip(), value.strip()))
        return None

    def _take_body(self, chunk: bytes) -> int | None:
        answer = self.answer
        answer.body += chunk[: max(0, self.body_kept - len(answer.body))]
        answer.body_bytes += len(chunk)
        if answer.body_bytes > BODY_MOST:
            answer.is_too_long = True
            return 0
        return None


def policy_from_settings() -> guard.Policy:
    """Give the operator's exceptions to the guard."""
    return guard.Policy(
        networks=settings.HOOKHUB_ALLOWED_NETWORKS,
        hosts=settings.HOOKHUB_ALLOWED_HOSTS,
        allows_loopback=settings.HOOKHUB_DEVELOPMENT,
    )


@lru_cache(maxsize=1)
def certificates_from_settings() -> str:
    """Give the path of the certificates that receivers are checked against."""
    if settings.HOOKHUB_CA_BUNDLE:
        return str(settings.HOOKHUB_CA_BUNDLE)
    return next((path for path in SYSTEM_CERTIFICATES if Path(path).exists()), certifi.where())


def make_sender(*, slots: int) -> Sender:
    """Make a sender as the settings want it; call it after the fork, in the process that sends."""
    return Sender(
        slots=slots,
        policy=policy_from_settings(),
        certificates=certificates_from_settings(),
        body_kept=settings.HOOKHUB_RESPONSE_KEPT,
    )
