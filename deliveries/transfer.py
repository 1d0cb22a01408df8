"""One HTTP exchange over a libcurl handle: how it is set up, what arrives, and what that comes to."""

import errno
import logging
import os
import select
import socket
import time
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pycurl

from deliveries import guard
from deliveries.lookups import Name, name_in
from deliveries.outcomes import LossKind, Lost

log = logging.getLogger("hookhub.guard")

HTTPS_REQUIRED = "The URL must begin with https://: HOOKHUB_HTTPS_ONLY is set on this HookHub."
# What an answer may hold before we hang up; what the log keeps of its body is a setting and never more than this.
HEADERS_MOST = 64 * 1024
BODY_MOST = 64 * 1024
TLS_ERRORS = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR, pycurl.E_SSL_CERTPROBLEM, pycurl.E_SSL_CIPHER, pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_ENGINE_INITFAILED, pycurl.E_SSL_ISSUER_ERROR, pycurl.E_SSL_INVALIDCERTSTATUS,
    }
)  # fmt: skip
UNREACHABLE = frozenset({pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT, pycurl.E_URL_MALFORMAT})
# Reasons for not opening a socket that have to do with this machine alone.
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


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


class Transfer:
    """One libcurl handle, used again and again, and what it is receiving."""

    def __init__(self, *, policy: guard.Policy, certificates: str, body_kept: int, kept: dict[int, int]) -> None:
        self.policy = policy
        self.body_kept = body_kept
        # libcurl's sockets of the connections that it keeps for a further request, by their local ports.
        self.kept = kept
        # What the handle is set to, so that setting it again can be spared.
        self.url = self.host = self.method = ""
        self.timeout = timedelta(0)
        self.verifies: bool | None = None
        self.is_fresh = self.is_plain = False
        self._opened: socket.socket | None = None
        self._look = select.poll()
        self._expect_nothing()
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
        curl.setopt(pycurl.CAINFO, certificates)
        curl.setopt(pycurl.RESOLVER_START_FUNCTION, self._keep_from_looking_up)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        curl.setopt(pycurl.SOCKOPTFUNCTION, self._leave_socket)
        curl.setopt(pycurl.PREREQFUNCTION, self._look_before_sending)
        curl.setopt(pycurl.HEADERFUNCTION, self._take_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_body)

    def _expect_nothing(self) -> None:
        """Forget what has arrived."""
        # The name whose addresses are to be found out first, in which case libcurl has let go of the request.
        self.wanted: Name | None = None
        self.is_resolved = False
        self.is_to_be_repeated = self.is_too_long = False
        self.forbidden = self.shortage = ""
        self.lines: list[bytes] = []
        self.header_bytes = 0
        self.body = bytearray()
        self.body_bytes = 0

    def prepare(self, request: Request) -> None:
        """Set the handle to a request; raises UnicodeEncodeError for what cannot be sent, and UnicodeError."""
        self._expect_nothing()
        curl = self.curl
        if request.url != self.url:
            parts = urlsplit(request.url)
            self.url, self.host, self.is_plain = request.url, parts.hostname or "", parts.scheme != "https"
            curl.setopt(pycurl.URL, request.url)
        if self.is_fresh:
            self.is_fresh = False
            curl.setopt(pycurl.FRESH_CONNECT, 0)
        self._set_method(request.method, request.body)
        # "Expect:" with nothing after it keeps libcurl from asking leave to send a long body.
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
        curl.setopt(pycurl.HTTPHEADER, [line.encode() for line in (*lines, "Expect:")])
        if request.timeout != self.timeout:
            # The deadline over all is the sender's. Of this one libcurl gives each address of a name its part.
            self.timeout = request.timeout
            curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(request.timeout / timedelta(milliseconds=1))))
        verifies = request.verify_ssl or self.policy.requires_tls_verification
        if verifies is not self.verifies:
            self.verifies = verifies
            curl.setopt(pycurl.SSL_VERIFYPEER, int(verifies))
            curl.setopt(pycurl.SSL_VERIFYHOST, 2 if verifies else 0)
        self.started_at = time.monotonic()

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
        if code == pycurl.E_OK and self.lines and self.lines[0].startswith(b"HTTP/1"):
            self.kept[self.curl.getinfo(pycurl.LOCAL_PORT)] = self.curl.getinfo(pycurl.ACTIVESOCKET)

    def repeat(self) -> None:
        """Get ready to go again, on a connection of its own."""
        self._expect_nothing()
        self.is_fresh = True
        self.curl.setopt(pycurl.FRESH_CONNECT, 1)

    def resume(self, addresses: list[str]) -> None:
        """Get ready to go on with the addresses of the name that was wanted."""
        if self.wanted is None:
            raise RuntimeError("No name was wanted.")
        (host, port), self.wanted, self.is_resolved = self.wanted, None, True
        # An address with a scope (%eth0) cannot be told to libcurl; where there is no other, it asks for itself.
        told = [f"[{address}]" if ":" in address else address for address in addresses if "%" not in address]
        if told:
            # libcurl shares them with the requests to come, and with the plus forgets them as it does its own.
            self.curl.setopt(pycurl.RESOLVE, [f"+{host}:{port}:{','.join(told)}"])

    def lose_name(self, error: BaseException) -> Exchange:
        """Say that the name that was wanted has no address."""
        if isinstance(error, TimeoutError):
            return self._end(Lost("timeout", str(error)))
        host = self.wanted.host if self.wanted else self.host
        return self._end(Lost("unreachable", f"Could not resolve host: {host}"))

    def conclude(self, code: int, error: str) -> Exchange:
        """Say what libcurl's result comes to."""
        if code == pycurl.E_OK or self.is_too_long:
            result: Reply | Lost = self._read() or Lost(
                # libcurl is content with whatever came before the connection was closed.
                "protocol", "The connection was closed in the middle of the answer's headers."
            )  # fmt: skip
        else:
            result = self._loss(code, error)
        return self._end(result)

    def give_up(self) -> Exchange:
        """Say what there is to say when the deadline is over."""
        if self.wanted is not None:
            milliseconds = self.timeout // timedelta(milliseconds=1)
            return self._end(Lost("timeout", f"Resolving timed out after {milliseconds} milliseconds"))
        seconds = f"{self.timeout.total_seconds():g} s"
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        if self.forbidden:
            return self._end(Lost("forbidden", self.forbidden))
        if status:
            return self._end(Lost("timeout", f"The answer was not complete after {seconds} (status {status})"))
        is_connected = self.curl.getinfo(pycurl.PRETRANSFER_TIME) > 0
        what = "No answer" if is_connected else "No connection"
        return self._end(Lost("timeout", f"{what} within {seconds}"))

    def _end(self, result: Reply | Lost) -> Exchange:
        self.let_go()
        return Exchange(timedelta(seconds=time.monotonic() - self.started_at), result)

    def let_go(self) -> None:
        """Close our copy of a socket of which libcurl could not make its own."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _read(self) -> Reply | None:
        """Read the lines of the final answer, or give None where its headers are not complete."""
        headers: list[tuple[str, str]] = []
        reason, is_complete = "", False
        for line in self.lines:
            text = line.decode("latin-1")
            if text in {"\r\n", "\n"}:
                is_complete = True
            elif text.startswith("HTTP/"):
                # An interim answer's headers give way to the final one's.
                reason, headers, is_complete = text.rstrip().partition(" ")[2].partition(" ")[2], [], False
            else:
                name, colon, value = text.partition(":")
                if colon:
                    headers.append((name.strip(), value.strip()))
        if not is_complete:
            return None
        return Reply(self.curl.getinfo(pycurl.RESPONSE_CODE), reason, tuple(headers), bytes(self.body))

    def _loss(self, code: int, error: str) -> Lost:
        """Say in the owner's words why no complete answer came."""
        if self.forbidden and code in UNREACHABLE:
            return Lost("forbidden", self.forbidden)
        if self.shortage and code in UNREACHABLE:
            return Lost("unreachable", f"HookHub could not open a connection: {self.shortage}")
        kind: LossKind = "protocol"
        if code == pycurl.E_OPERATION_TIMEDOUT:
            kind = "timeout"
        elif code in UNREACHABLE:
            kind = "unreachable"
        elif code in TLS_ERRORS:
            kind = "tls"
        elif self.header_bytes > HEADERS_MOST:
            error = f"The answer's headers are longer than {HEADERS_MOST} bytes."
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        begun = f" (after status {status})" if status else ""
        return Lost(kind, f"{error or f'libcurl error {code}'}{begun}")

    def _keep_from_looking_up(self) -> int:
        """Take the request back when libcurl is about to look up a name; it asks this before, unless it still knows it.

        It has twenty threads for that and needs two for each request: ten to a silent nameserver would stop all others.
        """
        if not self.is_resolved:
            self.wanted = name_in(self.url)
        return int(self.wanted is not None)

    def _open_socket(self, purpose: int, address: Any) -> socket.socket | int:
        """Look at the very address libcurl is about to dial: nothing can change between this look and the dialling."""
        del purpose
        family, kind, protocol, target = address
        refusal = guard.public_refusal(target[0], target[1], policy=self.policy, host=self.host)
        if refusal is not None:
            reason = guard.refusal(target[0], target[1], policy=self.policy, host=self.host)
            log.warning("A request is not sent: %s", reason)
            self.forbidden = refusal
            return int(pycurl.SOCKET_BAD)
        if self.policy.https_only and self.is_plain:
            self.forbidden = HTTPS_REQUIRED
            return int(pycurl.SOCKET_BAD)
        self.let_go()
        try:
            self._opened = socket.socket(family, kind, protocol)
        except OSError as error:
            # What is short here is no fault of the receiver's, whose owner shall read so.
            self.shortage = os.strerror(error.errno) if error.errno in SHORTAGES else ""
            return int(pycurl.SOCKET_BAD)
        # libcurl goes on with a copy of this socket, for which there may be no descriptor left.
        self.shortage = os.strerror(errno.EMFILE)
        return self._opened

    def _leave_socket(self, _descriptor: int, _purpose: int) -> int:
        """Close our copy as soon as libcurl has made its own, or every connection would take two descriptors."""
        self.let_go()
        self.shortage = ""
        return int(pycurl.SOCKOPT_OK)

    def _look_before_sending(self, _address: str, _local: str, _port: int, local_port: int) -> int:
        """Leave a kept connection alone on which something came unasked: it would pass for this request's answer.

        libcurl looks for itself, but at most once a second.
        """
        kept = self.kept.pop(local_port, -1)
        if kept >= 0:
            self._look.register(kept, select.POLLIN)
            self.is_to_be_repeated = bool(self._look.poll(0))
            self._look.unregister(kept)
        return int(pycurl.PREREQFUNC_ABORT if self.is_to_be_repeated else pycurl.PREREQFUNC_OK)

    def _take_header(self, line: bytes) -> int | None:
        self.lines.append(line)
        self.header_bytes += len(line)
        return 0 if self.header_bytes > HEADERS_MOST else None

    def _take_body(self, chunk: bytes) -> int | None:
        self.body += chunk[: max(0, self.body_kept - len(self.body))]
        self.body_bytes += len(chunk)
        if self.body_bytes > BODY_MOST:
            self.is_too_long = True
            return 0
        return None
