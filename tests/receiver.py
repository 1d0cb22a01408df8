"""A real HTTP receiver on loopback that handles requests as a test configures, and records them."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Self


@dataclass(frozen=True)
class Received:
    """One received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """One response; ``raw`` replaces all of its bytes."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    raw: bytes | None = None

    def encode(self) -> bytes:
        if self.raw is not None:
            return self.raw
        lines = [f"HTTP/1.1 {self.status} Whatever", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


# A script gets the open socket and the request, and may do anything with the connection.
Script = Callable[[socket.socket, Received], None]
# Called when a connection is accepted, before anything is read.
Greeting = Callable[[socket.socket], None]


class Receiver:
    """Answers 200 unless ``answers`` (by path), ``script`` or ``greeting`` say otherwise; TLS if given a context."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.greeting: Greeting | None = None
        self.received: list[Received] = []
        self.answers: dict[str, list[Answer] | Answer] = {}
        self.script: Script | None = None
        # Seconds before each response.
        self.delay = 0.0
        self.connections = 0
        # Set when the test ends, so that a script that hangs can end.
        self.closing = threading.Event()
        self._arrival = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def url(self, path: str = "/") -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self.closing.set()
        # shutdown() wakes the thread blocked in accept(); close() alone would not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def wait_for(self, count: int, *, seconds: float = 30) -> list[Received]:
        """Wait until ``count`` requests have arrived, and return them."""
        with self._arrival:
            assert self._arrival.wait_for(lambda: len(self.received) >= count, seconds), (
                f"{len(self.received)} of {count} requests arrived"
            )
            return list(self.received)

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.greeting is not None:
                with connection:
                    self.greeting(connection)
            else:
                self._answer_all(self.tls.wrap_socket(connection, server_side=True) if self.tls else connection)
        except OSError:
            connection.close()

    def _answer_all(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                for request in _requests(stream):
                    with self._arrival:
                        self.received.append(request)
                        answer = self._answer_to(request)
                        self._arrival.notify_all()
                    if self.script is not None:
                        self.script(connection, request)
                        return
                    self.closing.wait(self.delay)
                    connection.sendall(answer.encode())
            except OSError:
                return

    def _answer_to(self, request: Received) -> Answer:
        planned = self.answers.get(request.path, Answer())
        if isinstance(planned, list):
            return planned.pop(0) if len(planned) > 1 else planned[0]
        return planned

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _requests(stream: "socket.SocketIO") -> Iterator[Received]:
    while line := stream.readline():
        method, path, _ = line.decode("latin-1").split(" ", 2)
        block = b""
        while (header := stream.readline()) not in {b"\r\n", b""}:
            block += header
        headers = {name.lower(): value for name, value in BytesParser().parsebytes(block).items()}
        body = stream.read(int(headers.get("content-length", "0")))
        yield Received(method, path, headers, body)


@contextmanager
def refusing_port() -> Iterator[int]:
    """Yield a port where connections are refused, reserved for as long as it is used."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])
