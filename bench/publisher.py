"""An open-loop publisher that keeps to a fixed timetable: `python -m bench.publisher URL`, a separate process.

The time of each request is fixed beforehand, whether or not the service keeps up, and latencies count from that time;
so the delay of a stall is charged for every request due during it (no coordinated omission). With a rate of 0 there is
no timetable: each connection sends as soon as it has its response. Ends with one line of JSON with the results.
"""

import argparse
import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from bench.load import payload
from testbed.sampling import percentiles

# Seconds to wait for the last responses.
PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Shape:
    """The content of one request: ``events`` events of ``size`` bytes each, for ``repository`` if not empty.

    Their types are push.00, push.01 and so on, round-robin over ``kinds`` types.
    """

    events: int
    size: int
    repository: str = ""
    kinds: int = 1


class Events:
    """Prepared events, complete except for type, id and planned time."""

    def __init__(self, shape: Shape) -> None:
        rest = json.dumps(payload(shape.size), separators=(",", ":")).removeprefix('{"t":0,')
        about = f'"repository":"{shape.repository}",' if shape.repository else ""
        self._event = (
            f'{{"type":"push.%02d",{about}"id":"{time.time_ns():x}-%010d","data":{{"t":%17.6f,{rest}}}'.encode()
        )
        self._shape = shape
        self._made = 0
        self.size = len(self.make(0.0)[0])

    def make(self, planned_at: float) -> list[bytes]:
        """Return the events of the next request; all have the same size."""
        first, self._made = self._made, self._made + self._shape.events
        return [self._event % (number % self._shape.kinds, number, planned_at) for number in range(first, self._made)]


class Requests(Protocol):
    """A source of requests for a Publisher."""

    def write(self, planned_at: float) -> bytes:
        """Return the next request."""


class Posts:
    """Requests to the HTTP API: one JSON object, or NDJSON with a line for each event."""

    def __init__(self, url: str, key: str, shape: Shape) -> None:
        self._events = Events(shape)
        length = shape.events * (self._events.size + 1) - 1
        self._head = head_of(url, key, media_type="x-ndjson" if shape.events > 1 else "json", length=length)

    def write(self, planned_at: float) -> bytes:
        """Return the next request."""
        return self._head + b"\n".join(self._events.make(planned_at))


def head_of(url: str, key: str, *, media_type: str, length: int) -> bytes:
    """Return the head of a request that publishes events."""
    return (
        f"POST /v1/events HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/{media_type}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def was_accepted(answer: bytes) -> bool | None:
    """Return whether an HTTP response is a 202, or None while it is incomplete."""
    head, found, rest = answer.partition(b"\r\n\r\n")
    _, _, length = head.lower().partition(b"\r\ncontent-length:")
    if not found or len(rest) < int(length.partition(b"\r")[0] or 0):
        return None
    return head.startswith(b"HTTP/1.1 202")


class Entries:
    """Commands that append to the stream in Redis, one entry for each event."""

    def __init__(self, stream: str, shape: Shape) -> None:
        self._events = Events(shape)
        name = stream.encode()
        self._head = b"*5\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*\r\n$5\r\nevent\r\n$%d\r\n" % (
            len(name), name, self._events.size,
        )  # fmt: skip

    def write(self, planned_at: float) -> bytes:
        """Return the next commands."""
        return b"".join([self._head + event + b"\r\n" for event in self._events.make(planned_at)])


def was_appended(answer: bytes, *, count: int) -> bool | None:
    """Return whether Redis returned an id for each entry, or None while the replies are incomplete."""
    ids, errors = answer.count(b"$"), answer.count(b"\r\n-") + answer.startswith(b"-")
    # The reply for an entry has two lines: the id's length and the id.
    if ids + errors < count or answer.count(b"\r\n") < 2 * ids + errors:
        return None
    return errors == 0


@dataclass(slots=True, eq=False)
class Connection:
    """A connection and its current request."""

    socket: socket.socket
    planned_at: float = 0
    unsent: bytes = b""
    answer: bytes = b""

    def fileno(self) -> int:
        return self.socket.fileno()


@dataclass
class Publisher:
    """Sends requests over a few connections and records the responses."""

    url: str
    requests: Requests
    connections: int
    accepts: Callable[[bytes], bool | None] = was_accepted
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    broken: int = 0
    # The longest delay of a request in seconds because no connection was free.
    behind: float = 0.0

    def __post_init__(self) -> None:
        self._idle = [self._connect() for _ in range(self.connections)]
        self._sending: set[Connection] = set()
        self._waiting: dict[int, Connection] = {}

    def publish(self, *, every: float, seconds: float, most: float = float("inf")) -> None:
        """Send a request every ``every`` seconds, or back to back if 0, and wait for the last responses.

        No more requests are sent after ``seconds``, or once ``most`` of them are answered.
        """
        begun_at = time.monotonic()
        end_at = begun_at + seconds
        due: deque[float] = deque()
        number = 0
        while True:
            now = time.monotonic()
            while every and (at := begun_at + number * every) <= min(now, end_at):
                due.append(at)
                number += 1
            if len(self.latencies) >= most:
                end_at = min(end_at, now)
            if not every and now < end_at:
                due.extend([now] * len(self._idle))
            self.behind = max(self.behind, now - due[0] if due else 0.0)
            while due and self._idle:
                self._send(self._idle.pop(), due.popleft())
            is_over = now >= end_at and not due
            if (is_over and not self._waiting) or now >= end_at + PATIENCE_SECONDS:
                return
            # While every connection waits for its response, nothing can be sent on time: do not wake up for it.
            next_at = begun_at + number * every if every and self._idle and not is_over else now + 0.1
            self._wait_for_sockets(min(0.1, max(0.0, next_at - now)))

    @property
    def unanswered(self) -> int:
        """Return the number of requests that were never answered."""
        return len(self._waiting)

    def _connect(self) -> Connection:
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            made = socket.socket(socket.AF_UNIX)
            made.connect(parts.path)
        else:
            made = socket.create_connection((parts.hostname, parts.port))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.password and parts.scheme == "redis":
            made.sendall(f"AUTH {parts.password}\r\n".encode())
            made.recv(64)
        made.setblocking(False)
        return Connection(made)

    def _send(self, connection: Connection, planned_at: float) -> None:
        connection.planned_at, connection.unsent, connection.answer = planned_at, self.requests.write(planned_at), b""
        self._waiting[connection.fileno()] = connection
        self._continue_sending(connection)

    def _continue_sending(self, connection: Connection) -> None:
        try:
            connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._reconnect(connection)
            return
        (self._sending.add if connection.unsent else self._sending.discard)(connection)

    def _wait_for_sockets(self, seconds: float) -> None:
        # select() has a resolution of microseconds, epoll only of milliseconds.
        readable, writable, _ = select.select(self._waiting.values(), self._sending, (), seconds)
        for connection in writable:
            self._continue_sending(connection)
        for connection in readable:
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            chunk = connection.socket.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._reconnect(connection)
            return
        connection.answer += chunk
        verdict = self.accepts(connection.answer)
        if verdict is None:
            return
        if verdict:
            self.latencies.append(time.monotonic() - connection.planned_at)
        else:
            self.refused += 1
            print(connection.answer[:500].decode(errors="replace"), file=sys.stderr)
        del self._waiting[connection.fileno()]
        self._idle.append(connection)

    def _reconnect(self, connection: Connection) -> None:
        self.broken += 1
        self._waiting.pop(connection.fileno(), None)
        self._sending.discard(connection)
        connection.socket.close()
        self._idle.append(self._connect())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="URL of the web server, or of Redis with --stream")
    parser.add_argument("--key", default="", help="an API key")
    parser.add_argument("--stream", default="", help="append to this stream instead of using the API")
    parser.add_argument("--events", type=int, default=1, help="events per request")
    parser.add_argument("--rate", type=float, default=0, help="events per second; 0: as fast as responses arrive")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--most", type=int, default=0, help="stop after this many events; 0: no limit")
    parser.add_argument("--size", type=int, default=1024, help="bytes of data per event")
    parser.add_argument("--repository", default="")
    parser.add_argument("--kinds", type=int, default=1, help="number of event types")
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    shape = Shape(options.events, options.size, options.repository, options.kinds)
    requests: Requests = Entries(options.stream, shape) if options.stream else Posts(options.url, options.key, shape)
    publisher = Publisher(options.url, requests, options.connections)
    if options.stream:
        publisher.accepts = lambda answer: was_appended(answer, count=options.events)
    begun_at, spent = time.monotonic(), time.process_time()
    publisher.publish(
        every=options.events / options.rate if options.rate else 0,
        seconds=options.seconds,
        most=options.most / options.events or float("inf"),
    )
    result = {
        "begun_at": begun_at,
        "ended_at": time.monotonic(),
        "accepted": len(publisher.latencies) * options.events,
        "refused": publisher.refused,
        "broken": publisher.broken,
        "unanswered": publisher.unanswered,
        "behind_s": round(publisher.behind, 3),
        **percentiles(publisher.latencies),
        "cpu_s": round(time.process_time() - spent, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
