"""A receiver that plays ChatGPT: it takes events of MCP over TLS, and proves its callbacks."""

import atexit
import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from standardwebhooks import Webhook as Verifier

from tests.certificates import Identity
from tests.receiver import Answer, Received, Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()


@dataclass
class ChatGPT:
    """What it received, each request with a signature that one of its secrets verifies, and how it answers."""

    receiver: Receiver
    authority: Path
    secrets: list[str] = field(default_factory=lambda: [SECRET])
    # How it answers verifications: "echo", or the text in place of the challenge, or an answer.
    proof: str | Answer = "echo"
    answer: Answer = field(default_factory=lambda: Answer(204, body=b""))
    verifications: list[dict[str, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    unsigned: int = 0
    # Requests arrive in several threads.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str = "/callback") -> str:
        return self.receiver.url(path)

    def delivery(self, path: str = "/callback", secret: str = SECRET) -> dict[str, str]:
        return {"mode": "webhook", "url": self.url(path), "secret": secret}

    def forget(self) -> None:
        for seen in (self.verifications, self.events, self.headers):
            seen.clear()

    def verified_by(self, received: Received) -> list[str]:
        """Return which of its secrets verify a request."""
        found = []
        for secret in self.secrets:
            try:
                Verifier(secret).verify(received.body, received.headers)
            except Exception:  # noqa: BLE001 - whatever the verifier raises, the signature is not this secret's
                continue
            found.append(secret)
        return found

    def _answer_to(self, received: Received) -> Answer:
        headers = {name.lower(): value for name, value in received.headers.items()}
        body = json.loads(received.body)
        if not self.verified_by(received):
            self.unsigned += 1
            return Answer(401)
        self.headers.append(headers)
        if body.get("type") != "verification":
            self.events.append(body)
            return self.answer
        self.verifications.append(headers)
        if isinstance(self.proof, Answer):
            return self.proof
        echoed = body["challenge"] if self.proof == "echo" else self.proof
        return Answer(headers={"Content-Type": "application/json"}, body=json.dumps({"challenge": echoed}).encode())

    def serve(self, connection: socket.socket, received: Received) -> None:
        """Answer one request and close the connection."""
        with self.lock:
            answer = self._answer_to(received)
        self.receiver.closing.wait(self.receiver.delay)
        answer = Answer(answer.status, {**answer.headers, "Connection": "close"}, answer.body, answer.raw)
        connection.sendall(answer.encode())


@cache
def identities() -> tuple[Path, Identity]:
    """Return the file of an authority's certificate, and a server's identity.

    One for all tests of a process: libcurl keeps the authorities that it has read.
    """
    folder = Path(mkdtemp())
    atexit.register(rmtree, folder)
    authority = Identity.make(folder / "authority.pem", f"Authority of {folder.name}")
    return authority.path, Identity.make(
        folder / "server.pem", "127.0.0.1", issuer=authority, address="127.0.0.1"
    )  # fmt: skip


@contextmanager
def playing_chatgpt() -> Iterator[ChatGPT]:
    """Run one."""
    authority, server = identities()
    with Receiver(tls=server.server_context()) as receiver:
        made = ChatGPT(receiver, authority)
        receiver.script = made.serve
        yield made
