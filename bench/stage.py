"""What every bench stands on: a HookHub of its own, started from nothing, and a receiver that is never in the way."""

import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hookhub import service
from hookhub.client import Client

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Stage:
    """A running HookHub with one organization and a key to it."""

    url: str
    key: str
    client: Client


@contextmanager
def hookhub(environment: dict[str, str] | None = None) -> Iterator[Stage]:
    """Run a HookHub in a home of its own, which goes when the bench ends."""
    # Not in the checkout: a bench must not find, or leave, anything there.
    with tempfile.TemporaryDirectory(prefix="hookhub-bench-") as folder:
        own = {"HOOKHUB_HOME": folder, "DATABASE_URL": "", "REDIS_URL": "", **(environment or {})}
        log = Path(folder) / "up.log"
        with service.running(port=free_port(), log=log, environment=own) as url:
            key = first_key(log)
            with Client(url, key) as client:
                yield Stage(url, key, client)


def first_key(log: Path) -> str:
    """Read the API key that a first `up` shows."""
    give_up_at = time.monotonic() + 10
    while time.monotonic() < give_up_at:
        if found := re.search(r"API key\s+(hh_\S+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise service.ServiceError(f"`up` showed no API key:\n{service.tail(log)}")


def free_port() -> int:
    """Give a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sink:
    """A receiver that answers 200 at once and notes when each request began to arrive."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.arrived = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for(self, count: int, *, seconds: float) -> bool:
        """Wait until so many requests have arrived; tell whether they have."""
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.arrivals) >= count, seconds)

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """Answer one request after another, reading no more of each than where it ends."""
        waiting = b""
        with connection:
            while True:
                head, found, rest = waiting.partition(b"\r\n\r\n")
                length = _length(head) if found else None
                if length is not None and len(rest) >= length:
                    waiting = rest[length:]
                    connection.sendall(ANSWER)
                    continue
                chunk = connection.recv(65536)
                if not chunk:
                    return
                if not waiting:
                    with self.arrived:
                        self.arrivals.append(time.perf_counter())
                        self.arrived.notify_all()
                waiting += chunk


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0
