"""A fake of HookHub's API: a real HTTP server on loopback that accepts events, or answers as a test configures."""

import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCEPTED_AT = "2026-03-04T05:06:07Z"


@dataclass(frozen=True)
class Asked:
    """One received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]


@dataclass(frozen=True)
class Answer:
    """One response: a JSON value or raw bytes.

    ``hang`` sends no response, ``hang_up`` closes the connection.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    hang_up: bool = False


def refusal(status: int, code: str, message: str, *fields: tuple[str, str], **headers: str) -> Answer:
    named = [{"field": name, "message": text} for name, text in fields]
    error = {"error": {"code": code, "message": message, "fields": named}}
    return Answer(status, error, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass
class FakeHookHub:
    """The requests received, the events accepted, and the next responses: ``answers`` first, then ``otherwise``."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    answers: list[Answer] = field(default_factory=list)
    otherwise: Callable[[Asked], Answer] | None = None
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, asked: Asked) -> Answer:
        with self.arrived:
            self.asked.append(asked)
            answer = self._choose(asked)
            self.arrived.notify_all()
            return answer

    def wait_for(self, condition: Callable[["FakeHookHub"], bool]) -> None:
        """Wait until a condition on the requests received holds."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: condition(self), timeout=60), self.asked

    def _choose(self, asked: Asked) -> Answer:
        if self.answers:
            return self.answers.pop(0)
        return self.otherwise(asked) if self.otherwise else self.accept(asked)

    def accept(self, asked: Asked) -> Answer:
        """Accept events as HookHub does: a repeated id is the same event, or a conflict if its content differs."""
        if asked.path == "/v1/events/validate":
            return Answer(200, {"events": []})
        stored = []
        repeated = False
        for event in asked.events:
            key = event.get("id") or uuid.uuid4().hex
            known = self.accepted.get(key)
            if known is not None and known != event:
                return refusal(409, "conflict", f"The id {key} was used for another event.")
            repeated = known is not None
            self.accepted[key] = event
            stored.append(
                {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, key)), "type": event["type"], "accepted_at": ACCEPTED_AT}
            )
        return Answer(202, {"events": stored}, {"Idempotent-Replayed": "true"} if repeated else {})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, fake: FakeHookHub, *connection: Any) -> None:
        self.fake = fake
        fake.connections += 1
        super().__init__(*connection)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, dict(self.headers.items()), body)
        answer = self.fake.answer(asked)
        if answer.hang:
            self.fake.released.wait()
        if answer.hang or answer.hang_up:
            self.close_connection = True
            return
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0" if answer.status == 204 else str(len(content)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(content)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 - the names that http.server calls


@contextmanager
def fake_hookhub() -> Iterator[FakeHookHub]:
    """Run a fake HookHub on a free port of this machine."""
    fake = FakeHookHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, fake))
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def without_tls(greeting: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that answers a TLS handshake with these bytes and closes; yield its URL, and what clients sent."""
    heard: list[bytes] = []

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                received = connection.recv(65_536)
                if not received:
                    return
                heard.append(received)
                connection.sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}", heard
        finally:
            # A connection without a byte is the end.
            socket.create_connection(listening.getsockname()).close()
            thread.join()
