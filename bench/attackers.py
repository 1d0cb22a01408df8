"""Attackers of a web server, in a separate process: `python -m bench.attackers PORT SECONDS KIND …`.

Reads an API key from standard input. Prints a line when all attackers of these kinds are running, and ends with a line
of JSON that counts what they did.
"""

import http.client
import json
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

SUFFIX = ".silent.test"
# The kinds of attackers; "long" sends bodies back to back in three loops, "long-at-times" in one loop, with pauses.
KINDS = ("silent", "slow", "long", "long-at-times", "create")
SILENT = 1024
SLOW = 16
CREATORS = 64
# Each kind of attacker has its own address, so that no limit by address lets one hide another.
CREATOR, IDLER, FLOODER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
SLOW_PATHS = ("/admin/login/", "/v1/events", "/admin/", "/v1/webhooks")
# For each body: prefix, repeated piece, repetitions, suffix, and media type. Each body has 33 MB.
LONG_BODIES = (
    (b"[", b"{},", 11_000_000, b"{}]", "application/json"),
    (b"", b"{}\n", 11_000_000, b"", "application/x-ndjson"),
    (b"", b"\n", 33_000_000, b"", "application/x-ndjson"),
)
PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 30


def request(
    port: int, method: str, path: str, content: bytes | None, headers: dict[str, str], *, source: str
) -> tuple[int | None, str]:
    """Send one request on a new connection; return the status and the body, or None and the error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS, source_address=(source, 0))
    try:
        connection.request(method, path, content, headers)
        with connection.getresponse() as response:
            return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return None, repr(error)
    finally:
        connection.close()


class Attack:
    """The shared state of all attackers, and the counts of what they did."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key
        self.stop = threading.Event()
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def post(self, path: str, content: bytes, content_type: str, *, source: str) -> int | None:
        """Send one request; return the status of the response, or None when there was none."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": content_type}
        return request(self.port, "POST", path, content, headers, source=source)[0]

    def send_slowly(self, path: str) -> None:
        """Send a body of 1,000 bytes at two bytes a second, and start over when it is rejected."""
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
        while not self.stop.is_set():
            with socket.create_connection(("127.0.0.1", self.port), source_address=(IDLER, 0)) as connection:
                try:
                    connection.sendall(head.encode())
                    self.count("slow bodies")
                    while not self.stop.wait(0.5):
                        connection.sendall(b"x")
                except OSError:
                    continue

    def send_long(
        self, before: bytes, piece: bytes, times: int, behind: bytes, content_type: str, pause: float
    ) -> None:
        """Publish the same body of 33 MB repeatedly, with ``pause`` seconds between two requests."""
        content = before + piece * times + behind
        while not self.stop.wait(pause):
            self.count(f"long bodies {self.post('/v1/events', content, content_type, source=FLOODER)}")

    def create_webhooks(self) -> None:
        """Create webhooks with host names that no nameserver answers, whatever the responses are."""
        while not self.stop.is_set():
            webhook = {"url": f"https://{uuid.uuid4().hex}{SUFFIX}/", "events": ["other"]}
            status = self.post("/v1/webhooks", json.dumps(webhook).encode(), "application/json", source=CREATOR)
            self.count(f"webhooks {status}")


Job = tuple[Callable[..., None], tuple[object, ...]]


def jobs_of(made: Attack, kind: str) -> Iterator[Job]:
    """Yield the loops of one kind of attackers; silent connections need none."""
    match kind:
        case "slow":
            yield from ((made.send_slowly, (SLOW_PATHS[number % len(SLOW_PATHS)],)) for number in range(SLOW))
        case "long":
            yield from ((made.send_long, (*body, 0.0)) for body in LONG_BODIES)
        case "long-at-times":
            yield made.send_long, (*LONG_BODIES[0], PAUSE_SECONDS)
        case "create":
            yield from [(made.create_webhooks, ())] * CREATORS


def attack(port: int, key: str, *, seconds: float, kinds: Sequence[str]) -> Counter[str]:
    """Run attacks of these kinds at once for ``seconds``, and return the counts."""
    made = Attack(port, key)
    with ExitStack() as stack:
        for _ in range(SILENT if "silent" in kinds else 0):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=(IDLER, 0)))
            made.count("silent connections")
        jobs = [job for kind in kinds for job in jobs_of(made, kind)]
        threads = [threading.Thread(target=job, args=arguments) for job, arguments in jobs]
        for thread in threads:
            thread.start()
        print("ready", flush=True)
        time.sleep(seconds)
        made.stop.set()
        for thread in threads:
            thread.join()
    return made.counts


def main() -> None:
    _, port, seconds, *kinds = sys.argv
    if unknown := set(kinds) - set(KINDS):
        sys.exit(f"unknown kinds of attackers: {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    key = sys.stdin.readline().strip()
    print(json.dumps(attack(int(port), key, seconds=float(seconds), kinds=kinds)))


if __name__ == "__main__":
    main()
