"""One process of the web server, within the test's own: what it knows of a client, and what it keeps."""

import asyncio
import gc
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from hookhub.server import exchange, serving
from hookhub.server.connection import MAX_READ, Connection
from hookhub.server.exchange import Application, Exchange
from hookhub.server.serving import Acceptor
from tests.raw_http import WAIT

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
OK = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}


@asynccontextmanager
async def listening(application: Application, *, idle_seconds: float = 30) -> AsyncIterator[tuple[Acceptor, Any]]:
    """Yield what accepts connections, once it is started, and its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0)
        acceptor = Acceptor(listener, application, idle_seconds=idle_seconds)
        yield acceptor, listener.getsockname()
        async with asyncio.timeout(WAIT):
            await acceptor.close()


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send(OK)
    await send({"type": "http.response.body"})


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_client_that_has_reset_its_connection_before_it_is_accepted_has_an_address_all_the_same() -> None:
    # Without one it would pass for a proxy on this machine, which may name any client's address.
    clients = []
    asked = asyncio.Event()

    async def ask(scope: Any, receive: Any, send: Any) -> None:
        clients.append(scope["client"])
        asked.set()

    async def run() -> Any:
        async with listening(ask) as (acceptor, address), asyncio.timeout(WAIT):
            client = socket.create_connection(address)
            own = client.getsockname()
            client.sendall(GET)
            reset(client)
            acceptor.start()
            await asked.wait()
            return own

    own = asyncio.run(run())
    assert clients == [own]


def test_a_connection_that_begins_while_the_others_are_looked_at_is_looked_at_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.05)

    async def run() -> bytes:
        async with listening(answer, idle_seconds=0.01) as (acceptor, address), asyncio.timeout(WAIT):
            with socket.create_connection(address), socket.create_connection(address) as second:
                second.settimeout(0)
                acceptor._accept()
                while not acceptor._connections:
                    await asyncio.sleep(0)
                for connection in list(acceptor._connections):
                    connection.abort()
                while acceptor._connections:
                    await asyncio.sleep(0)
                # The next look is due in the turn in which the second connection begins.
                time.sleep(0.1)
                acceptor._accept()
                return await asyncio.get_running_loop().sock_recv(second, 1)

    assert asyncio.run(run()) == b""


def test_a_response_is_not_made_to_its_end_for_a_client_that_has_left(caplog: pytest.LogCaptureFixture) -> None:
    sent = 0
    ended = asyncio.Event()

    async def answer_at_length(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        try:
            await send({**OK, "headers": []})
            while sent < 1000:
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
                sent += 1
            await send({"type": "http.response.body"})
        finally:
            ended.set()

    async def run() -> None:
        async with listening(answer_at_length) as (acceptor, address), asyncio.timeout(WAIT):
            client = socket.create_connection(address)
            client.settimeout(0)
            client.sendall(GET)
            acceptor.start()
            await asyncio.get_running_loop().sock_recv(client, 1)
            reset(client)
            await ended.wait()

    asyncio.run(run())
    assert sent < 1000
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("sent", "is_reset"),
    [
        pytest.param(GET, False, id="a request"),
        pytest.param(GET.replace(b"/x", b"/fail") + GET, False, id="behind a failure"),
        pytest.param(GET.replace(b"/x", b"/begin-and-fail"), False, id="a response that is broken off"),
        pytest.param(GET + GET + GET, True, id="reset before the second response"),
        pytest.param(b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", False, id="half a body"),
        pytest.param(GET + b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", True, id="half a body behind"),
        pytest.param(GET.replace(b"Host: h", b"Connection: close") + GET, False, id="more than is answered"),
        pytest.param(b"hello\r\n\r\n", False, id="no request"),
    ],
)
def test_nothing_is_kept_of_a_connection_that_has_ended(
    sent: bytes, is_reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps what is logged, with the traceback.
    monkeypatch.setattr(logging.getLogger("hookhub.http"), "disabled", True)
    # A garbage collection would find it, but comes late: garbage is counted in objects, and a body may be long.
    release = asyncio.Event()

    async def answer_late(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        if scope["path"] == "/begin-and-fail":
            await send(OK)
            await send({"type": "http.response.body", "more_body": True})
        if scope["path"] != "/x":
            raise RuntimeError("as the test wants it")
        await answer(scope, receive, send)

    async def run() -> None:
        async with listening(answer_late) as (acceptor, address), asyncio.timeout(WAIT):
            with socket.create_connection(address) as client:
                client.sendall(sent)
                acceptor.start()
                while not acceptor._connections:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.01)
                if is_reset:
                    reset(client)
            release.set()
            while acceptor._connections:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)

    # All objects that are there before are left out of the list, which would be millions.
    gc.freeze()
    gc.disable()
    try:
        asyncio.run(run())
        assert [each for each in gc.get_objects() if type(each) in {Connection, Exchange}] == []
    finally:
        gc.enable()


def test_a_body_that_has_arrived_is_read_little_by_little() -> None:
    parts: list[int] = []

    async def read(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["more_body"]:
            parts.append(len(message["body"]))
        await answer(scope, receive, send)

    async def run() -> None:
        async with listening(read) as (acceptor, address), asyncio.timeout(WAIT):
            with socket.create_connection(address) as client:
                client.settimeout(0)
                rest = memoryview(b"POST /x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
                # Much of it waits in the kernel.
                with suppress(BlockingIOError):
                    while rest:
                        rest = rest[client.send(rest) :]
                acceptor.start()
                await asyncio.get_running_loop().sock_sendall(client, rest)
                await asyncio.get_running_loop().sock_recv(client, 1)

    asyncio.run(run())
    assert max(parts) <= MAX_READ


class Transport(asyncio.Transport):
    """A connection's other side, which keeps what is sent, and delivers nothing while reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False
        self.is_ended = False
        self.sent = b""

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_ended
        self.sent += data

    def write_eof(self) -> None:
        self.is_ended = True

    def is_closing(self) -> bool:
        return False


async def delivered(parts: Iterable[bytes], application: Application) -> tuple[Transport, int]:
    """Deliver some bytes; return the other side, and the most requests that were known at a time."""
    transport = Transport()
    connection = Connection(application, peer=None, all_open=set(), idle_seconds=30)
    connection.connection_made(transport)
    most = 0
    for part in parts:
        while transport.is_paused:
            await asyncio.sleep(0)
        connection.data_received(part)
        most = max(most, len(connection._exchanges))
    while connection._exchanges:
        await asyncio.sleep(0)
    return transport, most


def test_requests_are_not_read_ahead_without_end() -> None:
    transport, most = asyncio.run(delivered([GET * 4] * 100, answer))

    assert (transport.sent.count(b"HTTP/1.1 200 OK"), most) == (400, 5)


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Answer in two parts with the request."""
    body, message = b"", {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    told = repr([scope["method"], scope["path"], scope["query_string"], scope["headers"], message["type"], body])
    length = [] if scope["path"] == "/unmeasured" else [(b"content-length", b"%d" % len(told))]
    await send({**OK, "headers": length})
    await send({"type": "http.response.body", "body": told[:9].encode(), "more_body": True})
    await send({"type": "http.response.body", "body": told[9:].encode()})


UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
STREAM = [
    b"GET /1?a=b HTTP/1.1\r\nX-A:  b \r\n\r\n",
    b"POST /2 HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /",
    b"\r\nPOST /unmeasured HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n",
    b"POST /4 HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 5\r\n\r\nGET /",
    b"GET /5 HTTP/1.1\r\n" + UPGRADE + b"\r\n",
    b"PUT /6 HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nContent-Length: 2\r\n\r\nabHEAD /7 HTTP/1.1\r\n\r\n",
    b"GET /8 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /last HTTP/1.1\r\nConnection: close\r\n\r\n" + GET,
]


def test_requests_are_answered_alike_wherever_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_date", lambda: b"now")
    stream = b"".join(STREAM)

    async def answers(*parts: bytes) -> tuple[bytes, bool]:
        transport, _ = await delivered(parts, tell)
        return transport.sent, transport.is_ended

    async def run() -> None:
        whole = await answers(stream)
        assert (whole[0].count(b"HTTP/1.1 200 OK"), whole[1]) == (10, True)
        assert b"/last" in whole[0]
        assert b"http.disconnect" not in whole[0]
        assert await answers(*[stream[at : at + 1] for at in range(len(stream))]) == whole
        for at in range(1, len(stream)):
            assert await answers(stream[:at], stream[at:]) == whole

    asyncio.run(run())


BODY = b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"GET /x RTSP/1.0", 400), (b"SOURCE /x ICE/1.0", 400), (b"GET /x HTTP/1.0", 200), (b"GET /y HTTP/1.1", 200)],
)
def test_another_protocol_is_no_http_wherever_its_request_line_is_cut(request_line: bytes, status: int) -> None:
    request = request_line + b"\r\nUser-Agent: player RTSP/1.0\r\nContent-Length: 20\r\n\r\nGET /z RTSP/1.0\r\n\r\n\r"

    async def statuses(*parts: bytes) -> list[bytes]:
        transport, _ = await delivered([GET, *parts], tell)
        return [part[:3] for part in transport.sent.split(b"HTTP/1.1 ")[1:]]

    async def run() -> None:
        expected = [b"200", b"%d" % status]
        assert await statuses(GET[:9], GET[9:] + request) == [b"200", *expected]
        assert await statuses(BODY[:-3], BODY[-3:] + request[:9], request[9:]) == [b"200", *expected]
        assert await statuses(*[request[at : at + 1] for at in range(len(request))]) == expected
        for at in range(len(request)):
            assert await statuses(request[:at], request[at:]) == expected

    asyncio.run(run())


@pytest.mark.parametrize(("status", "has_length"), [(200, True), (204, False), (304, False)])
def test_a_response_that_has_no_content_has_no_length_either(status: int, has_length: bool) -> None:
    async def answer_so(scope: Any, receive: Any, send: Any) -> None:
        await send({**OK, "status": status})
        await send({"type": "http.response.body"})

    transport, _ = asyncio.run(delivered([GET], answer_so))

    assert (b"content-length" in transport.sent) == has_length
    assert b"chunked" not in transport.sent
