"""Clients that read a response slowly: those that read on get all of it, and those that hold it up are cut off."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hookhub.server import serving
from hookhub.server.connection import Connection
from hookhub.server.reading import SLOW_SECONDS, STALLED_SECONDS
from tests.integration.test_serving import GET, listening
from tests.raw_http import WAIT

MIB = 1024 * 1024
# What the client's kernel takes; it tells the server's of room for more once a part of this was read.
WINDOW = 8 * 1024


@pytest.fixture(autouse=True)
def _no_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests look at the connections, with times of their own."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 3600)


async def answer_at_length(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(64):
        await send({"type": "http.response.body", "body": b"x" * MIB, "more_body": True})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def reader() -> AsyncIterator[tuple[Connection, "Reader"]]:
    """Yield a connection whose response waits for its client to read, and the client."""
    async with listening(answer_at_length) as (acceptor, address), asyncio.timeout(WAIT):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
            client.connect(address)
            client.settimeout(0)
            client.sendall(GET)
            acceptor.start()
            while not acceptor._connections:
                await asyncio.sleep(0)
            [connection] = acceptor._connections
            made = Reader(client, connection)
            await made.settle()
            yield connection, made
            connection.abort()


class Reader:
    def __init__(self, client: socket.socket, connection: Connection) -> None:
        self._client = client
        self._connection = connection

    def progress(self) -> int:
        """Return how many bytes the server's kernel knows to be read."""
        reading = self._connection._reading
        return reading.written - self._connection._transport.get_write_buffer_size() - reading._in_kernel()

    async def settle(self) -> None:
        """Wait until the kernels take no more."""
        before = None
        while (now := self._connection._transport.get_write_buffer_size()) != before or not now:
            before = now
            await asyncio.sleep(0.1)

    async def read(self, least: int) -> None:
        """Read until the server's kernel knows of so many bytes more."""
        until = self.progress() + least
        while self.progress() < until:
            await asyncio.get_running_loop().sock_recv(self._client, 4096)


def test_a_client_that_reads_on_is_not_cut_off_though_its_kernel_takes_nothing_more_for_minutes() -> None:
    async def run() -> tuple[bool, int]:
        async with reader() as (connection, client):
            buffered = connection._transport.get_write_buffer_size()
            now = 1000.0
            for _ in range(16):
                connection.sweep(now)
                await client.read(WINDOW)
                now += STALLED_SECONDS - 1
            connection.sweep(now)
            return connection._transport.is_closing(), connection._transport.get_write_buffer_size() - buffered

    # The kernel's buffer of megabytes has hidden from the server that anything was read.
    assert asyncio.run(run()) == (False, 0)


@pytest.mark.parametrize(("seconds", "is_cut"), [(STALLED_SECONDS - 1, False), (STALLED_SECONDS + 1, True)])
def test_a_client_that_reads_nothing_is_cut_off(seconds: float, is_cut: bool) -> None:
    async def run() -> bool:
        async with reader() as (connection, _):
            connection.sweep(1000.0)
            connection.sweep(1000.0 + seconds)
            return connection._transport.is_closing()

    assert asyncio.run(run()) is is_cut


def test_a_client_that_reads_little_at_a_time_does_not_hold_a_response_for_ever() -> None:
    async def run() -> float:
        async with reader() as (connection, client):
            now = 1000.0
            while not connection._transport.is_closing():
                connection.sweep(now)
                # It reads something within the time, and too little in all.
                if now < 1000.0 + SLOW_SECONDS:
                    await client.read(1)
                now += STALLED_SECONDS - 1
            return now - 1000.0

    assert asyncio.run(run()) <= SLOW_SECONDS + 2 * STALLED_SECONDS
