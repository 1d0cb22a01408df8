"""The receiver of all benchmarks: answers according to the path, and counts its requests.

`/ok…` is answered at once, `/fail…` with 500, `/slow…` after two seconds, `/hang…` never. Paths that differ only in a
number at their end, as in `/ok/17`, are counted together. `GET /report` returns the counts, `GET /count` their sum,
`GET /samples?path=…` the arrival times; `POST /reset` clears everything except the requests still waiting for their
response.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, urlsplit

from testbed.receiver import Connection, Receiver, response

SLOW_SECONDS = 2.0
# With the headers that web servers send, each of which the sender has to read and to store.
OK = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"
)
FAILED = response("500 Internal Server Error", b"no")


@dataclass(slots=True)
class Arrivals:
    """The requests of one path, whatever number it ends with: delivery ids, planned publishing times, arrival times."""

    ids: list[bytes] = field(default_factory=list)
    planned: list[float] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)

    def report(self) -> dict[str, object]:
        """Return count, distinct, duplicated, first_at and last_at (monotonic seconds)."""
        distinct = len(set(self.ids))
        return {
            "count": len(self.ids),
            "distinct": distinct,
            "duplicated": len(self.ids) - distinct,
            "first_at": self.arrived[0] if self.arrived else None,
            "last_at": self.arrived[-1] if self.arrived else None,
        }


class CountingReceiver(Receiver):
    """Counts requests by path, and those that wait for their response."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: dict[bytes, Arrivals] = {}
        # The paths of requests waiting for their response, by connection; their number by path, current and maximum.
        self.waiting: dict[Connection, bytes] = {}
        self.in_flight: Counter[bytes] = Counter()
        self.most_in_flight: Counter[bytes] = Counter()

    def handle(self, connection: Connection, head: bytes, body: bytes) -> None:
        """Record a request, and answer according to its path."""
        target = head[head.index(b" ") + 1 : head.index(b" HTTP/")]
        if head.startswith(b"GET ") or target == b"/reset":
            self.send(connection, response("200 OK", json.dumps(self.answer_to(target)).encode()))
            return
        path = without_number(target)
        found = self.arrivals.get(path)
        if found is None:
            found = self.arrivals[path] = Arrivals()
        found.ids.append(delivery_id_of(head))
        found.planned.append(planned_at_of(body))
        found.arrived.append(time.monotonic())
        if path.startswith(b"/ok"):
            self.send(connection, OK)
        elif path.startswith(b"/fail"):
            self.send(connection, FAILED)
        else:
            self.waiting[connection] = path
            self.in_flight[path] += 1
            self.most_in_flight[path] = max(self.most_in_flight[path], self.in_flight[path])
            if path.startswith(b"/slow"):
                self.later(SLOW_SECONDS, connection, partial(self.answer_late, connection))

    def answer_late(self, connection: Connection) -> None:
        """Answer a request that was waiting."""
        self.stop_waiting(connection)
        self.send(connection, OK)

    def stop_waiting(self, connection: Connection) -> None:
        """Stop counting a request as waiting: it was answered, or its connection closed."""
        path = self.waiting.pop(connection, None)
        if path is not None:
            self.in_flight[path] -= 1

    def close(self, connection: Connection, *, with_reset: bool = False) -> None:
        self.stop_waiting(connection)
        super().close(connection, with_reset=with_reset)

    def answer_to(self, target: bytes) -> object:
        """Return the answer to one of the benchmark's own requests: counts, reports and reset."""
        parts = urlsplit(target.decode())
        if parts.path == "/count":
            return sum(len(arrivals.ids) for arrivals in self.arrivals.values())
        if parts.path == "/report":
            return {path.decode(): self.report(path) for path in self.arrivals}
        if parts.path == "/samples":
            found = self.arrivals.get(parse_qs(parts.query)["path"][0].encode(), Arrivals())
            return {"planned": found.planned, "arrived": found.arrived}
        if parts.path == "/reset":
            self.arrivals.clear()
            self.most_in_flight = Counter(self.in_flight)
        return {}

    def report(self, path: bytes) -> dict[str, object]:
        in_flight, most = self.in_flight[path], self.most_in_flight[path]
        return {**self.arrivals[path].report(), "in_flight": in_flight, "most_in_flight": most}


def without_number(path: bytes) -> bytes:
    """Return a path without a number at its end."""
    return path.rstrip(b"/0123456789")


def delivery_id_of(head: bytes) -> bytes:
    """Return the delivery's id from the head of a request, empty when it has none."""
    return head.partition(b"webhook-id: ")[2].partition(b"\r")[0]


def planned_at_of(body: bytes) -> float:
    """Return the planned publishing time from a request's body, 0 in one without "t" before its last member."""
    at = body.find(b'"t":')
    return float(body[at + 4 : body.index(b",", at)]) if at >= 0 else 0.0


if __name__ == "__main__":
    CountingReceiver().serve()
