"""The ASGI application in front of Django: it reads each request completely, within limits, before taking a thread."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol

from hookhub.http.early_refusals import REFUSAL_HEADERS, EarlyRefusal, render_refusal
from hookhub.http.long_polls import POLL
from hookhub.server.body import Body, Budget, Disconnected, Message, Receive
from hookhub.server.environ import Scope, add_body, environ_of, head_of
from hookhub.server.health import Readiness, Report, as_json
from hookhub.server.limits import MAX_BODY, Head, Limits, refusal_of
from hookhub.server.polling import headers_of, poll_until_found
from hookhub.server.pool import Full, Pool, Turn

log = logging.getLogger("hookhub.http")

Send = Callable[[Message], Awaitable[None]]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Admit = Callable[[Mapping[str, Any]], EarlyRefusal | None]
# Called with the method, path, status and seconds of each response, except to health checks.
Responded = Callable[[str, str, int, float], None]
Headers = list[tuple[bytes, bytes]]

# Responses of up to this many bytes are sent whole. A thread produces a longer one piece by piece, so that no thread
# waits for a slow reader.
PIECE = 256 * 1024
# Seconds to wait, by status, where the same request may succeed a moment later.
RETRY_AFTER = {503: b"1"}
SLOW = 408
# Requests refused for want of threads are not in the access log. A warning states their number, at most this often.
OVERLOAD_LOGGED_EVERY = timedelta(seconds=10)
LIVE: Report = (200, {"status": "ok"})
OVERLOADED = EarlyRefusal(503, "overloaded", "Too many requests are waiting. Retry in a moment.")
BROKEN = EarlyRefusal(400, "malformed", "The body is incomplete, or its chunks are malformed.")
FAILED = EarlyRefusal(500, "internal", "Internal error. The server's log has the details.")


class Answer(NamedTuple):
    """A response, complete or begun; ``rest`` yields the remaining pieces, and ``close`` releases their source."""

    status: int
    headers: Headers
    content: bytes
    rest: Iterator[bytes] | None = None
    close: Callable[[], None] | None = None


class Intake(Protocol):
    """Answers requests without a thread of their own."""

    async def accept(self, environ: dict[str, Any], content: bytes) -> Answer | None:
        """Return the response to a request, or None if the application must handle it; raise Full if too many wait."""

    async def close(self) -> None:
        """Return once all that was taken in is stored."""


class Front:
    """Reads requests, answers health checks, and runs complete requests through a WSGI application in a thread pool."""

    def __init__(
        self,
        application: Wsgi,
        *,
        limits: Limits,
        pool: Pool,
        budget: Budget,
        readiness: Readiness,
        admit: Admit,
        turn_of: Callable[[Mapping[str, Any]], Turn] = lambda environ: Turn(str(environ["REMOTE_ADDR"])),
        prepare: Callable[[], None] = lambda: None,
        intake: Intake | None = None,
        responded: Responded | None = None,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the WSGI application, its limits, and callbacks.

        ``admit`` is called in a thread with a request's environment; it returns why the body must not be long, or None.
        ``turn_of`` returns the address and the caller that a waiting request is queued under. ``prepare`` is called
        once, when this process starts. ``intake`` answers published events without a thread, if it can. ``responded``
        is called after each response. ``finish`` is called once, when this process ends.
        """
        self._application = application
        self._limits = limits
        self._pool = pool
        self._budget = budget
        self._readiness = readiness
        self._admit = admit
        self._turn_of = turn_of
        self._prepare = prepare
        self._intake = intake
        self._responded = responded
        self._finish = finish
        self._overloaded = 0
        self._overload_logged_at: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the server's start and shutdown."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            raise ValueError(f"unsupported ASGI scope type: {scope['type']}")

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            self._prepare()
            await send({"type": "lifespan.startup.complete"})
        if self._intake is not None:
            await self._intake.close()
        self._pool.close()
        self._finish()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        environ = environ_of(scope)
        head = head_of(environ)
        if head.path == "/healthz":
            await _send_json(send, head, LIVE)
            return
        if head.path == "/readyz":
            await _send_json(send, head, await self._readiness.report())
            return
        if self._responded is not None:
            send = _reporting(self._responded, head, send)
        if not head.is_unmeasured and head.content_length in {"", "0"}:
            await self._hand_over(environ, head, b"", receive, send)
        else:
            body = Body(head, limits=self._limits, budget=self._budget, short=MAX_BODY)
            try:
                read = refusal_of(head, limits=self._limits) or await body.read(
                    receive, admit=partial(self._admitted, environ)
                )
                if isinstance(read, EarlyRefusal):
                    await self._refuse(environ, read, receive, send, body=body)
                elif not await self._take_in(environ, head, read, send):
                    await self._hand_over(environ, head, read, receive, send)
            except Disconnected:
                log.debug("Client disconnected: %s %s", head.method, head.path)
                # A client that closed only its sending side, or sent malformed chunks, can still read the response.
                await _send_refusal(send, environ, BROKEN)
            finally:
                body.close()

    async def _admitted(self, environ: dict[str, Any]) -> EarlyRefusal | None:
        try:
            found: EarlyRefusal | None = await self._pool.run(
                partial(self._admit, environ), turn=partial(self._turn_of, environ)
            )
        except Full:
            self._note_overload()
            return OVERLOADED
        return found

    def _note_overload(self) -> None:
        """Count a request refused because the queue is full; log the count at most every ``OVERLOAD_LOGGED_EVERY``."""
        self._overloaded += 1
        now = asyncio.get_running_loop().time()
        seconds = OVERLOAD_LOGGED_EVERY.total_seconds()
        if self._overload_logged_at is None or now - self._overload_logged_at >= seconds:
            log.warning("Too many requests are waiting; answered 503 since the last message: %d", self._overloaded)
            self._overloaded, self._overload_logged_at = 0, now

    async def _take_in(self, environ: dict[str, Any], head: Head, content: bytes, send: Send) -> bool:
        """Answer published events on the event loop, and return True; return False for any other request."""
        if self._intake is None or head.method != "POST" or head.path != "/v1/events":
            return False
        try:
            answer = await self._intake.accept(environ, content)
        except Full:
            self._note_overload()
            await _send_refusal(send, environ, OVERLOADED)
            return True
        except Exception:
            log.exception("The intake failed: %s %s", head.method, head.path)
            await _send_refusal(send, environ, FAILED)
            return True
        if answer is None:
            return False
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.content})
        return True

    async def _hand_over(
        self, environ: dict[str, Any], head: Head, content: bytes, receive: Receive, send: Send
    ) -> None:
        """Run the request in a thread and send its response."""
        add_body(environ, content)
        environ[POLL] = None
        turn = partial(self._turn_of, environ)
        try:
            answer: Answer = await self._pool.run(partial(_call, self._application, environ), turn=turn)
            if environ[POLL] is not None:
                found = await poll_until_found(
                    environ[POLL], run=partial(self._in_turn, turn=turn), disconnected=_disconnected(receive)
                )
                answer = Answer(found.status, headers_of(found, answer.headers), found.content)
        except Full:
            self._note_overload()
            await _send_refusal(send, environ, OVERLOADED)
            return
        except Exception:
            log.exception("The application failed: %s %s", head.method, head.path)
            await _send_refusal(send, environ, FAILED)
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        content = b"" if head.method == "HEAD" else answer.content
        if answer.rest is None:
            await send({"type": "http.response.body", "body": content})
        else:
            await self._send_pieces(content, answer.rest, answer.close, send, turn=turn)

    async def _send_pieces(
        self,
        piece: bytes,
        rest: Iterator[bytes],
        close: Callable[[], None] | None,
        send: Send,
        *,
        turn: Callable[[], Turn],
    ) -> None:
        """Send a long response piece by piece; an error closes the connection, so that the reader sees the cut."""
        try:
            while piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await self._in_turn(partial(_piece, rest), turn=turn)
        finally:
            if close is not None:
                await self._in_turn(close, turn=turn)
        await send({"type": "http.response.body", "body": b""})

    async def _in_turn(self, call: Callable[[], Any], *, turn: Callable[[], Turn]) -> Any:
        """Run a call in a thread, retrying while the queue is full: a response that has begun must not be abandoned."""
        while True:
            try:
                return await self._pool.run(call, turn=turn)
            except Full:
                await asyncio.sleep(0.05)

    async def _refuse(
        self, environ: dict[str, Any], refusal: EarlyRefusal, receive: Receive, send: Send, *, body: Body
    ) -> None:
        """Discard the rest of the body for a moment, then send the refusal: a client that is sending reads nothing."""
        body.close()
        # A slow body will not end soon, and a client that expects "100 Continue" sends no body after a refusal.
        if refusal.status != SLOW and "HTTP_EXPECT" not in environ:
            await body.discard(receive)
        await _send_refusal(send, environ, refusal)


def _call(application: Wsgi, environ: dict[str, Any]) -> Answer:
    """Call the application and return its response, complete if it is short."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        del exc_info
        started[:] = [status, headers]
        return lambda _: None

    result = application(environ, start_response)
    close = getattr(result, "close", None)
    try:
        pieces = iter(result)
        content, is_whole = _begin(pieces)
    except BaseException:
        if close is not None:
            close()
        raise
    if is_whole and close is not None:
        close()
    status = int(started[0][:3])
    # Django's cookies begin with a space, which some servers refuse.
    headers = [(name.lower().encode("latin-1"), value.strip().encode("latin-1")) for name, value in started[1]]
    return Answer(status, headers, content) if is_whole else Answer(status, headers, content, pieces, close)


def _begin(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return the first pieces joined, up to the one that exceeds ``PIECE`` bytes, and whether they are all."""
    taken: list[bytes] = []
    size = 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size > PIECE:
            return b"".join(taken), False
    return b"".join(taken), True


def _piece(pieces: Iterator[bytes]) -> bytes:
    return _begin(pieces)[0]


async def _disconnected(receive: Receive) -> None:
    """Return once the client has disconnected, or wants the response now."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _reporting(responded: Responded, head: Head, send: Send) -> Send:
    """Return a ``send`` that also reports the response."""
    began_at = time.perf_counter()

    async def send_and_report(message: Message) -> None:
        await send(message)
        if message["type"] == "http.response.start":
            responded(head.method, head.path, message["status"], time.perf_counter() - began_at)

    return send_and_report


async def _send_json(send: Send, head: Head, report: Report) -> None:
    status, content = report[0], as_json(report[1])
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    headers.append((b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head.method == "HEAD" else content})


async def _send_refusal(send: Send, environ: dict[str, Any], refusal: EarlyRefusal) -> None:
    """Send a refusal as HTML to browsers, and as the API's JSON error to programs."""
    content_type, content = render_refusal(refusal, accept=environ.get("HTTP_ACCEPT", ""))
    headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(content))]
    headers += [(name.lower().encode(), value.encode()) for name, value in REFUSAL_HEADERS]
    if refusal.status in RETRY_AFTER:
        headers.append((b"retry-after", RETRY_AFTER[refusal.status]))
    content = b"" if environ["REQUEST_METHOD"] == "HEAD" else content
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
