"""The receivers of the benchmarks and of the fault harness answer whatever pieces a request arrives in."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chaos.workload.behaviour import ReceiverBehaviour, as_json
from testbed.processes import Module

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = ("200", "500", "reset", "drip")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "arrivals"


@pytest.fixture
def connection(log: Path) -> Iterator[socket.socket]:
    with closing(Module("chaos.workload.receiver", str(log))) as receiver:
        port = int(receiver.read())
        script = {f"/{answer}": (ReceiverBehaviour({answer: 1}),) for answer in ANSWERS}
        receiver.send(json.dumps({"script": as_json(script), "seed": 1, "begun_at": time.time()}))
        assert receiver.read() == "ok"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as opened:
            yield opened
    assert receiver.process.returncode == 0


def request(path: str, body: bytes = b"") -> bytes:
    return f"POST {path} HTTP/1.1\r\nwebhook-id: a\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def receive(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length and (chunk := connection.recv(length - len(received))):
        received += chunk
    return received


def test_requests_in_pieces_and_several_at_once_are_each_answered(connection: socket.socket, log: Path) -> None:
    first = request("/200", b"x" * 100_000)
    connection.sendall(first[:20])
    time.sleep(0.05)
    connection.sendall(first[20:] + request("/200", b"second") + request("/500")[:-1])

    assert receive(connection, 2 * len(OK)) == 2 * OK
    connection.sendall(b"\n")
    assert receive(connection, 12) == b"HTTP/1.1 500"
    assert [json.loads(line)["path"] for line in log.read_text().splitlines()] == ["/200", "/200", "/500"]


def test_a_connection_is_reset_or_drips(connection: socket.socket) -> None:
    connection.sendall(request("/drip"))
    assert receive(connection, 43).endswith(b"\r\n\r\n..")

    connection.sendall(request("/reset"))
    with pytest.raises(ConnectionResetError):
        receive(connection, 1000)
