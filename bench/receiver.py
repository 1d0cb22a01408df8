"""The receiver of all benchmarks: a separate process that answers according to the path and counts its requests.

`/ok…` is answered at once, `/fail…` with 500, `/slow…` after two seconds, `/hang…` never. `GET /report` returns the
counts, `GET /count` their sum, `GET /samples?path=…` the arrival times; `POST /reset` clears everything except the
requests still waiting for their response.
"""

import argparse
import heapq
import json
import select
import signal
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

SLOW_SECONDS = 2.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"


@dataclass(slots=True)
class Arrivals:
    """The requests of one path: delivery ids, planned publishing times, and arrival times."""

    ids: list[bytes] = field(default_factory=list)
    meant: list[float] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)

    def report(self) -> dict[str, object]:
        distinct = len(set(self.ids))
        return {
            "count": len(self.ids),
            "distinct": distinct,
            "duplicated": len(self.ids) - distinct,
            "first_at": self.arrived[0] if self.arrived else None,
            "last_at": self.arrived[-1] if self.arrived else None,
        }


class Receiver:
    """One epoll loop. A request costs it about ten microseconds, so it is not the bottleneck."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.epoll = select.epoll()
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        self.open: dict[int, socket.socket] = {}
        self.begun: dict[int, bytearray] = {}
        self.arrivals: dict[bytes, Arrivals] = {}
        # The paths of requests waiting for their response, by connection; their number by path, current and maximum.
        self.waiting: dict[int, bytes] = {}
        self.in_flight: Counter[bytes] = Counter()
        self.most_in_flight: Counter[bytes] = Counter()
        self.later: list[tuple[float, int, socket.socket]] = []

    def serve(self) -> None:
        listening = self.listener.fileno()
        while True:
            patience = max(0.0, self.later[0][0] - time.monotonic()) if self.later else -1
            for descriptor, _ in self.epoll.poll(patience):
                if descriptor == listening:
                    self.accept()
                else:
                    self.read(descriptor)
            while self.later and self.later[0][0] <= time.monotonic():
                _, descriptor, connection = heapq.heappop(self.later)
                if self.open.get(descriptor) is connection:
                    self.let_go(descriptor)
                    self.answer(connection, OK)

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.open[connection.fileno()] = connection
            self.epoll.register(connection.fileno(), select.EPOLLIN)

    def read(self, descriptor: int) -> None:
        connection = self.open[descriptor]
        try:
            chunk = connection.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.epoll.unregister(descriptor)
            del self.open[descriptor]
            self.begun.pop(descriptor, None)
            self.let_go(descriptor)
            connection.close()
            return
        waiting = self.begun.get(descriptor)
        if waiting is not None:
            waiting += chunk
            chunk = bytes(waiting)
        end = chunk.find(b"\r\n\r\n")
        if end < 0 or len(chunk) < end + 4 + length_of(chunk[:end]):
            if waiting is None:
                self.begun[descriptor] = bytearray(chunk)
            return
        self.begun.pop(descriptor, None)
        self.take(connection, chunk, end)

    def take(self, connection: socket.socket, request: bytes, end: int) -> None:
        """Record a request, and answer according to its path."""
        path = request[request.index(b" ") + 1 : request.index(b" HTTP/")]
        if request.startswith(b"GET ") or path == b"/reset":
            self.tell(connection, path)
            return
        found = self.arrivals.get(path)
        if found is None:
            found = self.arrivals[path] = Arrivals()
        delivery_id, meant = facts_of(request, end)
        found.ids.append(delivery_id)
        found.meant.append(meant)
        found.arrived.append(time.monotonic())
        if path.startswith(b"/ok"):
            self.answer(connection, OK)
        elif path.startswith(b"/fail"):
            self.answer(connection, FAILED)
        else:
            self.hold(connection.fileno(), path)
            if path.startswith(b"/slow"):
                heapq.heappush(self.later, (time.monotonic() + SLOW_SECONDS, connection.fileno(), connection))

    def hold(self, descriptor: int, path: bytes) -> None:
        """Count a request that is not answered at once."""
        self.waiting[descriptor] = path
        self.in_flight[path] += 1
        self.most_in_flight[path] = max(self.most_in_flight[path], self.in_flight[path])

    def let_go(self, descriptor: int) -> None:
        """Stop counting a request as waiting: it was answered, or its connection closed."""
        path = self.waiting.pop(descriptor, None)
        if path is not None:
            self.in_flight[path] -= 1

    def report(self, path: bytes) -> dict[str, object]:
        in_flight, most = self.in_flight[path], self.most_in_flight[path]
        return {**self.arrivals[path].report(), "in_flight": in_flight, "most_in_flight": most}

    def answer(self, connection: socket.socket, content: bytes) -> None:
        try:
            connection.send(content)
        except OSError:
            return

    def tell(self, connection: socket.socket, path: bytes) -> None:
        """Answer the benchmark's own requests: counts, reports and reset."""
        parts = urlsplit(path.decode())
        told: object = {}
        if parts.path == "/count":
            told = sum(len(arrivals.ids) for arrivals in self.arrivals.values())
        elif parts.path == "/report":
            told = {name.decode(): self.report(name) for name in self.arrivals}
        elif parts.path == "/samples":
            wanted = self.arrivals.get(parse_qs(parts.query)["path"][0].encode(), Arrivals())
            told = {"meant": wanted.meant, "arrived": wanted.arrived}
        elif parts.path == "/reset":
            self.arrivals.clear()
            self.most_in_flight = Counter(self.in_flight)
        body = json.dumps(told).encode()
        connection.setblocking(True)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        connection.sendall(body)
        connection.setblocking(False)


def facts_of(request: bytes, end: int) -> tuple[bytes, float]:
    """Return the delivery's id from the head, which ends at ``end``, and the planned publishing time from the body.

    The time is 0 in a body without "t" before its last member.
    """
    at = request.find(b"webhook-id: ", 0, end)
    delivery_id = request[at + 12 : request.index(b"\r", at)]
    at = request.find(b'"t":', end)
    return delivery_id, float(request[at + 4 : request.index(b",", at)]) if at >= 0 else 0.0


def length_of(head: bytes) -> int:
    """Return the Content-Length of a request's head; 0 when it has none."""
    at = head.find(b"Content-Length: ")
    if at < 0:
        return 0
    end = head.find(b"\r", at)
    return int(head[at + 16 : end if end >= 0 else None])


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    receiver = Receiver()
    print(receiver.port, flush=True)
    receiver.serve()


if __name__ == "__main__":
    main()
