"""A front of HookHub that answers the first request for each story's event with 429, as HookHub does under load."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

REFUSAL = {"error": {"code": "throttled", "message": "Rate limit exceeded. Retry after 1 s.", "fields": []}}


@dataclass
class Front:
    """The address of the front, and the bodies of the events to throttle, by story."""

    behind: str
    url: str = ""
    bodies: dict[str, list[bytes]] = field(default_factory=dict)

    def must_wait(self, body: bytes) -> bool:
        """Return whether an event is refused; it is when it comes for the first time."""
        if b'"throttle"' not in body:
            return False
        seen = self.bodies.setdefault(json.loads(body)["data"]["throttle"], [])
        seen.append(body)
        return len(seen) == 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, front: Front, *connection: Any) -> None:
        self.front = front
        super().__init__(*connection)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.front.must_wait(body):
            self.answer(429, json.dumps(REFUSAL).encode(), [("Retry-After", "1"), ("Content-Type", "application/json")])
            return
        behind = http.client.HTTPConnection(urlsplit(self.front.behind).netloc, timeout=60)
        try:
            behind.request(self.command, self.path, body=body or None, headers=dict(self.headers.items()))
            response = behind.getresponse()
            content = response.read()
        finally:
            behind.close()
        own = {"content-length", "connection", "transfer-encoding", "date", "server"}
        self.answer(response.status, content, [pair for pair in response.getheaders() if pair[0].lower() not in own])

    def answer(self, status: int, content: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 - the names that http.server calls


@contextmanager
def throttling(behind: str) -> Iterator[Front]:
    """Run a front of the HookHub at this address."""
    front = Front(behind)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, front))
    server.daemon_threads = True
    front.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
