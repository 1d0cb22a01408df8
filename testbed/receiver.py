"""An HTTP receiver in a process of its own: one loop that reads requests, and answers them as a subclass decides.

The process prints its port, passes each line of JSON on its standard input to ``configure``, confirms it with a line,
and ends when the input is closed, which happens at the latest when its parent ends.
"""

import heapq
import itertools
import json
import selectors
import socket
import struct
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar


class Connection:
    """A client's connection, and what was read of a request that is not complete yet."""

    __slots__ = ("socket", "unread")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.unread = b""

    @property
    def is_open(self) -> bool:
        """Return whether neither side has closed it."""
        return self.socket.fileno() >= 0


class Receiver(ABC):
    """One event loop. A request costs it some ten microseconds, so it is not the bottleneck of a benchmark."""

    # Addresses of this machine, all with the same port.
    hosts: ClassVar[tuple[str, ...]] = ("127.0.0.1",)

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._is_over = False
        # What happens later: when, a number that orders what happens at the same time, on which connection, and what.
        self._later: list[tuple[float, int, Connection, Callable[[], None]]] = []
        self._numbers = itertools.count()

    @abstractmethod
    def handle(self, connection: Connection, head: bytes, body: bytes) -> None:
        """Take a request; ``head`` has no blank line at its end."""

    def configure(self, message: dict[str, Any]) -> None:
        """Take a message of the parent process."""
        raise NotImplementedError

    def serve(self) -> None:
        """Print the port, and serve until standard input is closed."""
        port = 0
        for host in self.hosts:
            listener = socket.create_server((host, port), backlog=4096)
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))
            port = listener.getsockname()[1]
        self._selector.register(sys.stdin, selectors.EVENT_READ, self._take_message)
        print(port, flush=True)
        while not self._is_over:
            wait = max(0.0, self._later[0][0] - time.monotonic()) if self._later else None
            for key, _ in self._selector.select(wait):
                key.data()
            while self._later and self._later[0][0] <= time.monotonic():
                _, _, connection, action = heapq.heappop(self._later)
                if connection.is_open:
                    action()

    def send(self, connection: Connection, content: bytes) -> None:
        """Send a response or a part of one; close the connection when the client has."""
        try:
            sent = connection.socket.send(content)
            if sent < len(content):
                connection.socket.setblocking(True)
                connection.socket.sendall(content[sent:])
                connection.socket.setblocking(False)
        except OSError:
            self.close(connection)

    def later(self, seconds: float, connection: Connection, action: Callable[[], None]) -> None:
        """Do something after ``seconds``, unless the connection is closed by then."""
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), connection, action))

    def close(self, connection: Connection, *, with_reset: bool = False) -> None:
        """Close a connection that is open: with RST, as when a machine crashes, or with FIN."""
        if connection.is_open:
            self._selector.unregister(connection.socket)
            if with_reset:
                reset_on_close(connection.socket)
            connection.socket.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except BlockingIOError:
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(accepted, selectors.EVENT_READ, partial(self._read, Connection(accepted)))

    def _take_message(self) -> None:
        line = sys.stdin.readline()
        if line:
            self.configure(json.loads(line))
            print("ok", flush=True)
        self._is_over = not line

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close(connection)
            return
        if connection.unread:
            data = connection.unread + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end]
            length = end + 4 + content_length(head)
            if len(data) < length:
                break
            body, data = data[end + 4 : length], data[length:]
            self.handle(connection, head, body)
            if not connection.is_open:
                return
        connection.unread = data


def content_length(head: bytes) -> int:
    """Return the Content-Length of a request's head; 0 when it is missing or not a number."""
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    digits = rest.partition(b"\r")[0].strip()
    return int(digits) if digits.isdigit() else 0


def response(status: str, body: bytes) -> bytes:
    """Return a response; ``status`` is the code and the reason."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def reset_on_close(connection: socket.socket) -> None:
    """Make the end of a TCP connection a RST, which SO_LINGER with a timeout of 0 does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
