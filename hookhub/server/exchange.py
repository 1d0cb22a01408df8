"""One request and its response over a connection: the ``receive`` and ``send`` of an ASGI application."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote

from hookhub.http.early_refusals import REFUSAL_HEADERS, EarlyRefusal, render_refusal

log = logging.getLogger("hookhub.http")

Message = MutableMapping[str, Any]
Scope = dict[str, Any]
Application = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
# A host and a port; None for a Unix socket.
Address = tuple[str, int] | None

ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}
WITHOUT_CONTENT = frozenset({204, 304})
# A body that comes faster than the application reads it waits in the kernel, beyond this many bytes.
READ_AHEAD = 64 * 1024
FAILED = EarlyRefusal(500, "internal", "Internal error. The server's log has the details.")


class Peer(Protocol):
    """The connection that a request came over."""

    is_full: bool

    def write(self, data: bytes) -> None:
        """Send bytes, in the background."""

    async def drained(self) -> None:
        """Return once the client has read enough of what was written, or is gone."""

    def read_on(self) -> None:
        """Read more of the request's body."""

    def abort(self) -> None:
        """Close the connection at once, so that the client sees that the response is cut."""

    def answered(self) -> None:
        """Note that the response is complete."""


class ClientGone(OSError):
    """The client is gone, and gets no more of the response."""


class Exchange:
    """A request that may still be arriving, and its response."""

    def __init__(self, peer: Peer, scope: Scope, *, keeps_alive: bool, expects_continue: bool) -> None:
        self.scope = scope
        # Whether another request may follow on the connection.
        self.keeps_alive = keeps_alive
        # Whether all of the request has arrived; or that its rest never will.
        self.is_received = False
        self.is_cut = False
        self.is_answered = False
        self._is_lost = False
        self._is_hurried = False
        self._peer = peer
        self._expects_continue = expects_continue
        self._body: list[bytes] = []
        self._size = 0
        self._is_read = False
        self._arrival: asyncio.Future[None] | None = None
        self._start: Message | None = None
        self._is_begun = False
        self._has_content = True
        self._is_chunked = False
        # The bytes that the response's Content-Length leaves; None if it has none, or no content.
        self._left: int | None = None

    async def run(self, application: Application) -> None:
        """Let the application answer; where it does not, respond with an error, or cut the response short."""
        try:
            await application(self.scope, self.receive, self.send)
        except ClientGone:
            log.debug("The client left in the midst of a response: %s %s", self.scope["method"], self.scope["path"])
        except Exception:
            log.exception("The application failed: %s %s", self.scope["method"], self.scope["path"])
        if not self.is_answered:
            if self._is_begun:
                self._break_off()
            else:
                self._peer.write(refusal_of(FAILED))
                self.keeps_alive = False
                self._end()

    # What arrives

    def add(self, part: bytes) -> bool:
        """Add a part of the body; return whether the connection may read on."""
        if not self.is_answered:
            self._body.append(part)
            self._size += len(part)
            self._wake_receiver()
        return self._size <= READ_AHEAD

    def complete(self) -> None:
        """Note that all of the request has arrived."""
        self.is_received = True
        self._wake_receiver()

    def cut(self) -> None:
        """Note that the rest of the request will not arrive: it is malformed, or the client sends no more."""
        self.is_cut = True
        self.keeps_alive = False
        self._wake_receiver()

    def hurry(self) -> None:
        """Note that the response is wanted now: the client sends no more, or this process is about to stop."""
        self._is_hurried = True
        self._wake_receiver()

    def lose(self) -> None:
        """Note that the client is gone: it gets no response either."""
        self._is_lost = True
        self.cut()

    def _wake_receiver(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def receive(self) -> Message:
        """Return the next part of the body, or that there is none: ASGI's ``receive``."""
        if self._expects_continue:
            self._expects_continue = False
            if not self._size and not self.is_received and not self._is_begun:
                self._peer.write(CONTINUE)
        while True:
            if self.is_cut or self.is_answered or (self._is_hurried and self._is_read):
                return {"type": "http.disconnect"}
            if self._body or (self.is_received and not self._is_read):
                return self._next_part()
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival

    def _next_part(self) -> Message:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self._size = 0
        self._is_read = self.is_received
        if not self.is_received:
            self._peer.read_on()
        return {"type": "http.request", "body": body, "more_body": not self.is_received}

    # What is sent

    async def send(self, message: Message) -> None:
        """Send the start of the response, or a part of its body: ASGI's ``send``.

        Raise ClientGone if more is to come for a client that is gone, so that nothing goes on making it.
        """
        if message["type"] == "http.response.start":
            # It is written together with the beginning of the body.
            self._start = message
            return
        if self.is_answered:
            raise RuntimeError("the response is complete already")
        if self._peer.is_full:
            await self._peer.drained()
        body, is_last = message.get("body", b""), not message.get("more_body", False)
        if self._is_lost and not is_last:
            raise ClientGone
        head = b""
        if self._start is not None:
            head = self._head(self._start["status"], self._start["headers"])
            self._start, self._is_begun = None, True
        self._peer.write(head + self._framed(body, is_last=is_last))
        if is_last:
            if self._left:
                log.error("A response is %d bytes shorter than its Content-Length: %s", self._left, self.scope["path"])
                self._break_off()
            else:
                self._end()

    def _break_off(self) -> None:
        self.keeps_alive = False
        self._peer.abort()
        self._end()

    def _end(self) -> None:
        self.is_answered = True
        self._body.clear()
        self._wake_receiver()
        self._peer.answered()

    def _head(self, status: int, headers: Headers) -> bytes:
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
        self._has_content = status not in WITHOUT_CONTENT and self.scope["method"] != "HEAD"
        has_length = False
        for name, value in headers:
            if name == b"content-length":
                if status in WITHOUT_CONTENT:
                    continue
                has_length = True
                self._left = int(value) if self._has_content else None
            lines.append(name + b": " + value)
        lines.append(b"date: " + _date())
        is_old = self.scope["http_version"] == "1.0"
        if self._has_content and not has_length:
            self._is_chunked = not is_old
            self.keeps_alive = self.keeps_alive and not is_old
            if self._is_chunked:
                lines.append(b"transfer-encoding: chunked")
        if not self.is_received or not self.keeps_alive:
            self.keeps_alive = False
            lines.append(b"connection: close")
        elif is_old:
            lines.append(b"connection: keep-alive")
        head = b"\r\n".join(lines)
        if head.count(b"\r") != len(lines) - 1 or head.count(b"\n") != len(lines) - 1:
            raise ValueError("a response header contains a line break")
        return head + b"\r\n\r\n"

    def _framed(self, body: bytes, *, is_last: bool) -> bytes:
        """Return a part of the content as it is sent."""
        if not self._has_content:
            return b""
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk + b"0\r\n\r\n" if is_last else chunk
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0:
                raise ValueError("a response is longer than its Content-Length")
        return body


def scope_of(
    version: str, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], ends: tuple[Address, Address]
) -> Scope:
    """Return ASGI's scope of a request; ``ends`` are the addresses of the client and of this server."""
    if not target.startswith(b"/") and (found := ABSOLUTE.match(target)):
        target = target[found.end() :]
        target = target if target.startswith(b"/") else b"/" + target
    raw_path, _, query = target.partition(b"#")[0].partition(b"?")
    path = raw_path.decode("latin-1")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "method": method.decode(),
        "scheme": "http",
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ends[0],
        "server": ends[1],
    }


def refusal_of(refusal: EarlyRefusal) -> bytes:
    """Return the whole response to a request that the application does not get, after which the connection closes."""
    content_type, content = render_refusal(refusal, accept="")
    lines = [STATUS_LINES[refusal.status], b"content-type: " + content_type.encode()]
    lines += [f"{name.lower()}: {value}".encode() for name, value in REFUSAL_HEADERS]
    lines += [b"content-length: %d" % len(content), b"date: " + _date(), b"connection: close", b"", content]
    return b"\r\n".join(lines)


class _Clock:
    """The last second in which a response was sent, and how HTTP writes it."""

    second = 0
    text = b""


def _date() -> bytes:
    now = int(time.time())
    if now != _Clock.second:
        _Clock.second, _Clock.text = now, formatdate(now, usegmt=True).encode()
    return _Clock.text
