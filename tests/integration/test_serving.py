"""One process of the web server, within the test's own: what it knows of a client, and what it keeps."""

import asyncio
import gc
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hookhub.server import serving
from hookhub.server.connection import Connection
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


@pytest.mark.parametrize(
    ("sent", "is_reset"),
    [
        pytest.param(GET, False, id="a request"),
        pytest.param(GET.replace(b"/x", b"/fail") + GET, False, id="behind a failure"),
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
        if scope["path"] == "/fail":
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

    gc.collect()
    gc.disable()
    try:
        asyncio.run(run())
        assert [each for each in gc.get_objects() if isinstance(each, Connection | Exchange)] == []
    finally:
        gc.enable()
        gc.collect()


class Transport(asyncio.Transport):
    """A connection's other side that counts responses, and delivers nothing while reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False
        self.responses = 0

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.responses += bytes(data).count(b"HTTP/1.1 200 OK")

    def is_closing(self) -> bool:
        return False


def test_requests_are_not_read_ahead_without_end() -> None:
    async def run() -> tuple[int, int]:
        transport = Transport()
        connection = Connection(answer, peer=None, all_open=set(), idle_seconds=30)
        connection.connection_made(transport)
        most = 0
        for _ in range(100):
            while transport.is_paused:
                await asyncio.sleep(0)
            connection.data_received(GET * 4)
            most = max(most, len(connection._exchanges))
        while connection._exchanges:
            await asyncio.sleep(0)
        return transport.responses, most

    assert asyncio.run(run()) == (400, 5)
