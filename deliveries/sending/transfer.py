"""One HTTP exchange over a reusable libcurl handle: set up the request, collect the response, classify failures."""

import errno
import logging
import os
import select
import socket
import time
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import pycurl

from deliveries.policy.outcomes import Cause, NoResponse
from deliveries.sending import ssrf
from deliveries.sending.dns import Name, host_to_resolve
from deliveries.sending.exchange import Exchange, Request, Response, Timing
from deliveries.sending.failures import EXPIRED, UNREACHABLE, classify_failure, expiry_date
from deliveries.sending.response_head import parse_head

log = logging.getLogger("hookhub.guard")

HTTPS_REQUIRED = "The URL must begin with https://: HOOKHUB_HTTPS_ONLY is enabled."
HEADERS_INCOMPLETE = "The connection was closed before the response headers were complete."
# No response may exceed these sizes. How much of the body the log keeps is a setting, at most MAX_BODY.
MAX_HEADERS = 64 * 1024
MAX_BODY = 64 * 1024
HEADERS_TOO_LONG = f"The response headers are longer than {MAX_HEADERS} bytes."
# Errors of socket() that mean this machine lacks resources; they say nothing about the receiver.
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


# Cached, because the URLs of busy webhooks are sent to thousands of times a second.
@lru_cache(maxsize=4096)
def host_and_plainness(url: str) -> tuple[str, bool]:
    """Return a URL's host name, and whether it goes without TLS."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.scheme != "https"


class Transfer:
    """A libcurl easy handle that is reused for one request after another, and the response it is receiving."""

    def __init__(self, *, policy: ssrf.Policy, certificates: str, body_kept: int, idle_sockets: dict[int, int]) -> None:
        self.policy = policy
        self.body_kept = body_kept
        # The sockets of libcurl's idle connections, by local port; shared by all transfers of a sender.
        self.idle_sockets = idle_sockets
        # The options that are set on the handle, so that they are set again only if they differ.
        self.url = self.host = self.method = ""
        self.timeout = timedelta(0)
        self.verifies: bool | None = None
        self.is_fresh = self.is_plain = self.reads_certificate = False
        self._opened: socket.socket | None = None
        self._stale_check = select.poll()
        # One list for all responses, because libcurl appends the header lines to it without a Python frame for each.
        self.lines: list[bytes] = []
        self._expect_nothing()
        self.curl = curl = pycurl.Curl()
        # Nothing of this machine's configuration may reach a receiver, and no receiver may redirect us.
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
        curl.setopt(pycurl.RESOLVER_START_FUNCTION, self._defer_resolution)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        curl.setopt(pycurl.SOCKOPTFUNCTION, self._leave_socket)
        curl.setopt(pycurl.PREREQFUNCTION, self._check_stale_connection)
        curl.setopt(pycurl.HEADERFUNCTION, self.lines.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_body)

    def _expect_nothing(self) -> None:
        """Reset the state of the previous response."""
        # Set while the transfer is out of the multi handle, waiting for this name to be resolved.
        self.unresolved: Name | None = None
        self.is_resolved = False
        self.lookup_us: int | None = None
        self.must_retry_on_fresh_connection = self.is_too_long = False
        self.forbidden = self.shortage = ""
        self.lines.clear()
        self.body = bytearray()
        self.body_bytes = 0

    def prepare(self, request: Request) -> None:
        """Configure the handle for a request. Raise UnicodeError if the URL or a header cannot be encoded."""
        self._expect_nothing()
        curl = self.curl
        if request.url != self.url:
            self.url = request.url
            self.host, self.is_plain = host_and_plainness(request.url)
            curl.setopt(pycurl.URL, request.url)
        if self.is_fresh:
            self.is_fresh = self.reads_certificate = False
            curl.setopt(pycurl.FRESH_CONNECT, 0)
            curl.setopt(pycurl.OPT_CERTINFO, 0)
        self._set_method(request.method, request.body)
        # An empty "Expect:" keeps libcurl from sending "Expect: 100-continue" and waiting before a long body.
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
        curl.setopt(pycurl.HTTPHEADER, [line.encode() for line in (*lines, "Expect:")])
        if request.timeout != self.timeout:
            # The sender enforces the total deadline. libcurl divides this one among the addresses of the host.
            self.timeout = request.timeout
            curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(request.timeout / timedelta(milliseconds=1))))
        verifies = request.verify_ssl or self.policy.requires_tls_verification
        if verifies is not self.verifies:
            self.verifies = verifies
            curl.setopt(pycurl.SSL_VERIFYPEER, int(verifies))
            curl.setopt(pycurl.SSL_VERIFYHOST, 2 if verifies else 0)
        self.started_at = time.monotonic()

    def _set_method(self, method: str, body: bytes) -> None:
        """Set the method and the body, and clear both of the previous request."""
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
        """Remember the idle connection that an HTTP/1 exchange leaves, for ``_check_stale_connection``.

        HTTP/2 needs no such check, because its responses name the request's stream.
        """
        if code == pycurl.E_OK and self.lines and self.lines[0].startswith(b"HTTP/1"):
            self.idle_sockets[self.curl.getinfo(pycurl.LOCAL_PORT)] = self.curl.getinfo(pycurl.ACTIVESOCKET)

    def repeat(self) -> None:
        """Prepare to send the request again, on a new connection."""
        self._expect_nothing()
        self.is_fresh = True
        self.curl.setopt(pycurl.FRESH_CONNECT, 1)

    def must_read_certificate(self, code: int) -> bool:
        """Return whether to repeat a handshake that failed because the certificate has expired, to learn its date."""
        if code != pycurl.E_PEER_FAILED_VERIFICATION or self.reads_certificate:
            return False
        self.reads_certificate = self.curl.getinfo(pycurl.SSL_VERIFYRESULT) == EXPIRED
        if self.reads_certificate:
            self.curl.setopt(pycurl.OPT_CERTINFO, 1)
        return self.reads_certificate

    def resume(self, addresses: list[str]) -> None:
        """Prepare to continue with the addresses of the host name that had to be resolved."""
        if self.unresolved is None:
            raise RuntimeError("This transfer is not waiting for a lookup.")
        (host, port), self.unresolved, self.is_resolved = self.unresolved, None, True
        self.lookup_us = int((time.monotonic() - self.lookup_began_at) * 1e6)
        # CURLOPT_RESOLVE accepts no address with a scope (%eth0). If all have one, libcurl resolves the name itself.
        resolved = [f"[{address}]" if ":" in address else address for address in addresses if "%" not in address]
        if resolved:
            # They enter libcurl's DNS cache, also for later requests; the plus makes them expire like other entries.
            self.curl.setopt(pycurl.RESOLVE, [f"+{host}:{port}:{','.join(resolved)}"])

    def lose_name(self, error: BaseException) -> Exchange:
        """Return the result for a failed look-up: a timeout, or an unreachable host."""
        if isinstance(error, TimeoutError):
            return self._end(NoResponse("timeout", str(error), "name_timed_out"))
        host = self.unresolved.host if self.unresolved else self.host
        return self._end(NoResponse("unreachable", f"Could not resolve host: {host}", "name_not_resolved"))

    def conclude(self, code: int, error: str) -> Exchange:
        """Return the exchange for libcurl's result code and error message."""
        if self._has_long_headers():
            result: Response | NoResponse = replace(
                self._loss(code, HEADERS_TOO_LONG), cause="response_headers_too_long"
            )
        elif code == pycurl.E_OK or self.is_too_long:
            # libcurl reports success even if the connection was closed in the middle of the headers.
            result = self._read() or NoResponse("protocol", HEADERS_INCOMPLETE, "connection_closed")
        else:
            result = self._loss(code, error)
        return self._end(result)

    def _has_long_headers(self) -> bool:
        """Return whether the header lines exceed MAX_HEADERS; libcurl itself stops at 300 KB."""
        return sum(map(len, self.lines)) > MAX_HEADERS

    def give_up(self) -> Exchange:
        """Return the exchange for a request whose deadline has passed."""
        if self.unresolved is not None:
            milliseconds = self.timeout // timedelta(milliseconds=1)
            error = f"Resolving the host name timed out after {milliseconds} ms"
            return self._end(NoResponse("timeout", error, "name_timed_out"))
        seconds = f"{self.timeout.total_seconds():g} s"
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        if self.forbidden:
            return self._end(NoResponse("forbidden", self.forbidden, self._cause_of_refusal()))
        if status:
            came = f"status {status}, {self.body_bytes} bytes of the body"
            error = f"The response was incomplete after {seconds} ({came})"
            return self._end(NoResponse("timeout", error, "response_incomplete"))
        if self.curl.getinfo(pycurl.PRETRANSFER_TIME) > 0:
            return self._end(NoResponse("timeout", f"No response within {seconds}", "response_timed_out"))
        return self._end(NoResponse("timeout", f"No connection within {seconds}", "connection_timed_out"))

    def _end(self, result: Response | NoResponse) -> Exchange:
        self.close_socket()
        return Exchange(timedelta(seconds=time.monotonic() - self.started_at), result, self._timing())

    def _timing(self) -> Timing:
        """Return how long each phase took; libcurl counts each from the start of the transfer."""
        get = self.curl.getinfo
        if self.unresolved is not None:
            return Timing()
        connected_at = get(pycurl.CONNECT_TIME_T)
        first_byte = get(pycurl.STARTTRANSFER_TIME_T) - get(pycurl.PRETRANSFER_TIME_T) if self.lines else None
        if not connected_at:
            return Timing(dns=self.lookup_us, first_byte=first_byte)
        secured_at, looked_up_at = get(pycurl.APPCONNECT_TIME_T), get(pycurl.NAMELOOKUP_TIME_T)
        dns = looked_up_at if self.lookup_us is None else self.lookup_us
        tls = secured_at - connected_at if secured_at else None
        return Timing(dns, connected_at - looked_up_at, tls, first_byte)

    def close_socket(self) -> None:
        """Close our copy of the socket, if it is still open."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _read(self) -> Response | None:
        """Return the final response, or None if its headers are incomplete."""
        head = parse_head(self.lines)
        if head is None:
            return None
        return Response(self.curl.getinfo(pycurl.RESPONSE_CODE), head.reason, head.headers, bytes(self.body))

    def _loss(self, code: int, error: str) -> NoResponse:
        """Return why no complete response came, with an error message for the webhook's owner."""
        if self.forbidden and code in UNREACHABLE:
            return NoResponse("forbidden", self.forbidden, self._cause_of_refusal())
        if self.shortage and code in UNREACHABLE:
            error = f"HookHub could not open a connection: {self.shortage}"
            return NoResponse("unreachable", error, "out_of_resources")
        get = self.curl.getinfo
        return classify_failure(
            code,
            error,
            status=get(pycurl.RESPONSE_CODE),
            os_errno=get(pycurl.OS_ERRNO),
            verify_result=get(pycurl.SSL_VERIFYRESULT),
            expired_on=self._expiry_of_certificate() if self.reads_certificate else "",
        )

    def _cause_of_refusal(self) -> Cause:
        return "https_required" if self.forbidden == HTTPS_REQUIRED else "address_blocked"

    def _expiry_of_certificate(self) -> str:
        """Return the date on which the receiver's certificate expired; empty if it is not known."""
        chain = self.curl.getinfo(pycurl.INFO_CERTINFO)
        return expiry_date(dict(chain[0]).get("Expire date", "")) if chain else ""

    def _defer_resolution(self) -> int:
        """Abort the request if libcurl is about to resolve a name; libcurl does not call this if its cache has it.

        libcurl has twenty resolver threads and uses two per request, so ten requests to hosts with an unresponsive name
        server would block all others. The sender resolves the name itself (``dns.py``) and resumes the request.
        """
        if not self.is_resolved:
            self.unresolved = host_to_resolve(self.url)
            self.lookup_began_at = time.monotonic()
        return int(self.unresolved is not None)

    def _open_socket(self, purpose: int, address: Any) -> socket.socket | int:
        """Open a socket for libcurl, unless the guard refuses the address.

        This is the very address that libcurl connects to, so DNS rebinding cannot change it after the check.
        """
        family, kind, protocol, target = address
        refusal = ssrf.public_refusal(target[0], target[1], policy=self.policy, host=self.host)
        if refusal is not None:
            reason = ssrf.refusal(target[0], target[1], policy=self.policy, host=self.host)
            log.warning("Blocked a request: %s", reason)
            self.forbidden = refusal
            return int(pycurl.SOCKET_BAD)
        if self.policy.https_only and self.is_plain:
            self.forbidden = HTTPS_REQUIRED
            return int(pycurl.SOCKET_BAD)
        self.close_socket()
        try:
            self._opened = socket.socket(family, kind, protocol)
        except OSError as error:
            # A shortage on this machine is not the receiver's fault, and the error message must say so.
            self.shortage = os.strerror(error.errno) if error.errno in SHORTAGES else ""
            return int(pycurl.SOCKET_BAD)
        # libcurl duplicates this socket. If that fails, no descriptor was left; _leave_socket resets this.
        self.shortage = os.strerror(errno.EMFILE)
        return self._opened

    def _leave_socket(self, _descriptor: int, _purpose: int) -> int:
        """Close our copy of the socket once libcurl has its own: each connection must use only one descriptor."""
        self.close_socket()
        self.shortage = ""
        return int(pycurl.SOCKOPT_OK)

    def _check_stale_connection(self, _address: str, _local: str, _port: int, local_port: int) -> int:
        """Abort on a reused connection that has unread data: it would be taken for this request's response.

        libcurl checks for this itself, but at most once a second.
        """
        idle = self.idle_sockets.pop(local_port, -1)
        if idle >= 0:
            self._stale_check.register(idle, select.POLLIN)
            self.must_retry_on_fresh_connection = bool(self._stale_check.poll(0))
            self._stale_check.unregister(idle)
        return int(pycurl.PREREQFUNC_ABORT if self.must_retry_on_fresh_connection else pycurl.PREREQFUNC_OK)

    def _take_body(self, chunk: bytes) -> int | None:
        self.body += chunk[: max(0, self.body_kept - len(self.body))]
        self.body_bytes += len(chunk)
        if self.body_bytes > MAX_BODY:
            self.is_too_long = True
            return 0
        return None
