"""HTTP/1.1 over one connection: reads requests, which httptools parses, and lets the application answer in order."""

import asyncio
import logging
from collections import deque
from collections.abc import MutableSet
from typing import Any, cast

import httptools

from hookhub.http.early_refusals import EarlyRefusal
from hookhub.server import heads
from hookhub.server.exchange import Application, Exchange, refusal_of, scope_of
from hookhub.server.heads import MAX_HEAD, MAX_LINES
from hookhub.server.reading import Reading

log = logging.getLogger("hookhub.http")

# Bytes read at a time. Many small chunks in asyncio's 256 KiB keep the event loop for 15 ms.
MAX_READ = 64 * 1024
# Requests that a client may send before it reads the first response. What is beyond them is not answered.
MAX_PIPELINED = 64
# Seconds that a client has to close its side after the last response, so that it gets to read it.
LINGER_SECONDS = 2.0


class Connection(asyncio.Protocol):
    """A client's connection; ``all_open`` has it for as long as it is open."""

    def __init__(
        self, application: Application, *, peer: Any, all_open: MutableSet["Connection"], idle_seconds: float
    ) -> None:
        """``idle_seconds`` is how long a request's head may take, or the next request may be away.

        ``peer`` is the client's address as it was accepted: a socket that was reset meanwhile does not tell it.
        """
        self.is_full = False
        self._application = application
        self._client = _address(peer)
        self._all_open = all_open
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        # Tasks are kept alive by nothing else.
        self._task: asyncio.Task[None] | None = None
        # Those not yet completely answered; the application runs for the first one.
        self._exchanges: deque[Exchange] = deque()
        # The one whose body is arriving.
        self._receiving: Exchange | None = None
        self._head_begun = False
        # All that was received since the beginning of a head, until it is complete, and whether that is the first.
        self._received: list[bytes] = []
        self._is_first_head = True
        self._expects_continue = self._is_coded = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._url = b""
        self._head_size = 0
        # Bytes received since something became of them: a head, or a part of a body.
        self._fruitless = 0
        # Set once nothing more is read as a request; the last response may follow.
        self._is_deaf = False
        self._refusal: EarlyRefusal | None = None
        self._is_lingering = False
        # Whether the client has closed its side.
        self._has_ended = False
        self._is_stopping = False
        self._drain: asyncio.Future[None] | None = None
        # What `sweep` looks at: since when there is no request.
        self._waits_since = self._loop.time()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        transport.max_size = MAX_READ  # type: ignore[attr-defined]
        self._server = _address(transport.get_extra_info("sockname"))
        self._reading = Reading(transport.get_extra_info("socket"))
        self._all_open.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        if self._is_deaf:
            return
        self._fruitless += len(data)
        if not self._head_begun:
            self._is_first_head = self._receiving is None
        self._received.append(data)
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError:
            log.exception("A request could not be taken in")
            self._transport.abort()
        except httptools.HttpParserError:
            self._refuse(heads.MALFORMED)
        if not self._head_begun:
            self._received.clear()
        if self._fruitless > MAX_HEAD:
            self._refuse(heads.TOO_LARGE)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An upgrade is an offer, which a server may decline: it goes on in HTTP/1.1, also after the body.
            rest = data[upgrade.args[0] :]
            if self._receiving is not None:
                rest = self._head_of_body() + rest
            if rest and not self._is_deaf:
                self._feed(rest)

    def _head_of_body(self) -> bytes:
        """Return the head after which a new parser reads the body that the parser has skipped."""
        self._parser = httptools.HttpRequestParser(self)
        lines = [
            name + b": " + value for name, value in self._headers if name in {b"content-length", b"transfer-encoding"}
        ]
        return b"\r\n".join([b"POST / HTTP/1.1", *lines, b"", b""])

    def eof_received(self) -> bool:
        """Note that the client sends no more; it may still read responses."""
        if self._receiving is not None:
            self._receiving.cut()
        for exchange in self._exchanges:
            exchange.hurry()
        self._is_deaf = self._has_ended = True
        # True keeps the connection open.
        return bool(self._exchanges)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        # It refers to this connection, and would keep it in memory until the next garbage collection.
        del exc, self._parser
        self._all_open.discard(self)
        self._is_deaf = True
        for exchange in self._exchanges:
            exchange.lose()
        self.resume_writing()

    def pause_writing(self) -> None:
        """Let responses wait, because the client does not read."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Let responses go on."""
        self.is_full = False
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    # The parser's side

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._receiving is None:
            self._head_begun = True
            self._waits_since = self._loop.time()
            self._expects_continue = self._is_coded = False
            self._headers = []
            self._url = b""
            self._head_size = 0

    def on_url(self, url: bytes) -> None:
        """Add a part of the target."""
        if self._receiving is None:
            self._url += url
            self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Add a header; those behind a chunked body mean nothing here."""
        if self._receiving is None:
            # httptools leaves blanks behind a value, which are no part of it.
            name, value = name.lower(), (value or b"").rstrip(b" \t")
            self._headers.append((name, value))
            self._head_size += len(name) + len(value)
            if name == b"expect" and value.lower() == b"100-continue":
                self._expects_continue = True
            elif name == b"transfer-encoding":
                self._is_coded = True

    def on_headers_complete(self) -> None:
        """Let the application begin, unless a request before this one has no response yet."""
        if self._receiving is not None or self._is_deaf:
            return
        self._head_begun = False
        is_first, self._is_first_head = self._is_first_head, False
        self._fruitless = 0
        version, method = self._parser.get_http_version(), self._parser.get_method()
        if self._head_size > MAX_HEAD or len(self._headers) > MAX_LINES:
            self._refuse(heads.TOO_LARGE)
        elif heads.is_of_another_protocol(method, self._url, b"".join(self._received), is_first=is_first):
            self._refuse(heads.MALFORMED)
        elif version not in heads.VERSIONS:
            self._refuse(heads.UNKNOWN_VERSION)
        elif self._is_coded and not heads.is_only_chunked(version, self._headers):
            self._refuse(heads.MALFORMED)
        elif method == b"CONNECT":
            self._refuse(heads.NO_TUNNEL)
        elif len(self._exchanges) == MAX_PIPELINED:
            self._is_deaf = True
        else:
            exchange = Exchange(
                self,
                scope_of(version, method, self._url, self._headers, (self._client, self._server)),
                keeps_alive=self._parser.should_keep_alive() and not self._is_stopping,
                expects_continue=self._expects_continue and version == "1.1",
            )
            self._receiving = exchange
            self._exchanges.append(exchange)
            if len(self._exchanges) == 1:
                self._run(exchange)
            else:
                self._transport.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        self._fruitless = 0
        if self._receiving is not None and not self._receiving.add(body):
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Note that the request is complete, unless the parser has skipped its body for an upgrade."""
        self._fruitless = 0
        exchange = self._receiving
        if exchange is None or (self._parser.should_upgrade() and heads.has_body(self._headers)):
            return
        self._receiving = None
        exchange.complete()
        if not exchange.keeps_alive:
            self._is_deaf = True

    # The exchange's side

    def write(self, data: bytes) -> None:
        """Send bytes, in the background."""
        if not self._transport.is_closing():
            self._reading.written += len(data)
            self._transport.write(data)

    async def drained(self) -> None:
        """Return once the client has read enough of what was written, or is gone."""
        while self.is_full:
            self._drain = self._loop.create_future()
            await self._drain

    def read_on(self) -> None:
        """Read more of the request's body."""
        self._transport.resume_reading()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def answered(self) -> None:
        """Go on to the next request, or end after the last one."""
        exchange = self._exchanges.popleft()
        if not exchange.keeps_alive or not exchange.is_received or self._is_stopping:
            self._end()
        elif self._exchanges:
            self._run(self._exchanges[0])
            # While complete requests wait here, further ones wait in the kernel.
            if len(self._exchanges) == 1:
                self._transport.resume_reading()
        elif self._refusal is not None:
            self.write(refusal_of(self._refusal))
            self._end()
        elif self._is_deaf:
            self._end()
        else:
            self._waits_since = self._loop.time()
            self._transport.resume_reading()

    # This connection's own

    def _run(self, exchange: Exchange) -> None:
        self._task = self._loop.create_task(exchange.run(self._application))

    def _refuse(self, refusal: EarlyRefusal) -> None:
        """Read no more requests: refuse this one after all responses to those before it."""
        if self._is_deaf:
            return
        self._is_deaf = True
        if self._receiving is not None:
            # The application says what is wrong.
            self._receiving.cut()
        elif self._exchanges:
            self._refusal = refusal
        else:
            self.write(refusal_of(refusal))
            self._end()

    def _end(self) -> None:
        """Send what is left, and close once the client has closed its side, which reads everything first."""
        self._is_deaf = True
        self._is_lingering = True
        self._waits_since = self._loop.time()
        # What is left of them is not answered, and would keep this connection in memory, which they refer to.
        self._exchanges.clear()
        self._receiving = None
        if self._has_ended:
            self._transport.close()
        elif not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except OSError:
                # The client has reset the connection.
                self._transport.abort()
            self._transport.resume_reading()

    def stop(self) -> None:
        """Close the connection, after the responses to what has arrived."""
        self._is_stopping = True
        for exchange in self._exchanges:
            exchange.keeps_alive = False
            exchange.hurry()
        if not self._exchanges and not self._is_lingering:
            self._transport.close()

    def sweep(self, now: float) -> None:
        """Close the connection if its client is silent for too long, or reads too slowly; called once a second."""
        unsent = self._transport.get_write_buffer_size()
        if self._reading.is_too_slow(unsent, now=now):
            self._transport.abort()
        if unsent:
            self._waits_since = now
        silent_for = now - self._waits_since
        if self._is_lingering:
            if silent_for > LINGER_SECONDS:
                self._transport.abort()
        elif not self._exchanges and silent_for > self._idle_seconds:
            if self._head_begun:
                self._refuse(heads.TOO_SLOW)
            else:
                self._transport.close()


def _address(name: Any) -> tuple[str, int] | None:
    """Return the host and port of an end of a connection; None for a Unix socket's."""
    return (name[0], name[1]) if isinstance(name, tuple) else None
