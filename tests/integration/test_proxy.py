"""The fault harness's proxy: each mode affects connections as documented."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from testbed.proxy import MODES, Proxy


@pytest.fixture
def echo() -> Iterator[int]:
    """Run a server that echoes its input and closes a connection when its peer does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while chunk := connection.recv(65536):
                    connection.sendall(chunk)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", echo)) as running:
        yield running


@pytest.fixture
def line(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.settimeout(60)
        assert say(connection, b"first") == b"first"
        yield connection


def say(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    return connection.recv(65536)


def test_open_passes_everything(line: socket.socket) -> None:
    assert say(line, b"x" * 1000) == b"x" * 1000


def test_latency_delays_both_ways(proxy: Proxy, line: socket.socket) -> None:
    proxy.set("latency", seconds=0.1)
    asked_at = time.monotonic()

    assert say(line, b"slow") == b"slow"

    assert time.monotonic() - asked_at >= 0.2


def test_a_black_hole_swallows_and_gives_back_when_it_is_over(proxy: Proxy, line: socket.socket) -> None:
    proxy.set("black-hole")
    line.settimeout(0.2)
    with pytest.raises(TimeoutError):
        say(line, b"nobody hears")

    proxy.set("open")
    line.settimeout(60)

    assert line.recv(100) == b"nobody hears"


@pytest.mark.parametrize("mode", ["reset", "refuse"])
def test_a_reset_ends_what_there_is_and_what_comes(proxy: Proxy, line: socket.socket, mode: str) -> None:
    proxy.set(mode)

    with pytest.raises(ConnectionResetError):
        line.recv(100)
    with socket.create_connection(("127.0.0.1", proxy.port)) as another:
        another.settimeout(60)
        with pytest.raises(ConnectionError):
            another.recv(100)


def test_a_half_close_is_an_end_that_either_side_reads(proxy: Proxy, line: socket.socket) -> None:
    proxy.set("half-close")

    assert line.recv(100) == b""

    proxy.set("open")
    with socket.create_connection(("127.0.0.1", proxy.port)) as another:
        another.settimeout(60)
        assert say(another, b"again") == b"again"


def test_a_cut_lets_so_many_bytes_pass_and_breaks(proxy: Proxy) -> None:
    proxy.set("cut", bytes_most=3)
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.settimeout(60)
        connection.sendall(b"more than three")
        got = b""
        try:
            while chunk := connection.recv(100):
                got += chunk
        except ConnectionResetError:
            pass

    assert len(got) <= 3


def test_a_mode_that_does_not_exist_is_an_error(proxy: Proxy) -> None:
    assert len(set(MODES)) == len(MODES)
    with pytest.raises(ValueError, match="unknown mode 'storm'; use one of: open, latency"):
        proxy.set("storm")
