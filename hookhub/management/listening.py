"""A receiver of webhooks on this machine that verifies and prints requests, and can fail on purpose."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.template.defaultfilters import pluralize

from hookhub.receiving import FORMATS, VerificationFailed, verify

MAX_BODY_BYTES = 25 << 20
SHOWN_LINES = 40
SHOWN_COLUMNS = 160
# The headers in which formats send the event type and the delivery id; the first one present counts.
_TYPES = (
    "X-CoreGit-Event", "X-Pierre-Event", "X-Sigmagit-Event", "X-SocialGateway-Event", "X-GitHub-Event",
    "X-Codmir-Event", "X-Gitlab-Event", "X-Gitea-Event",
)  # fmt: skip
_DELIVERIES = (
    "webhook-id", "X-SocialGateway-Delivery", "X-GitHub-Delivery", "X-Codmir-Delivery", "X-Gitea-Delivery",
    "X-CoreGit-Delivery",
)  # fmt: skip


@dataclass(frozen=True)
class Behaviour:
    """How the receiver responds to requests."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    # The webhook's wire format. None determines it from the request's headers, which the sender controls.
    format: str | None = None
    # The number of requests of each delivery to answer with 500 at first.
    fail: int = 0
    status: int = 200
    delay: timedelta = timedelta(0)
    hang: bool = False
    as_json: bool = False


@dataclass
class Receiver:
    """The state shared by all requests: how to respond, where to print, and what was received."""

    behaviour: Behaviour
    show: Callable[[str], None]
    closing: threading.Event = field(default_factory=threading.Event)
    seen: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def status_for(self, delivery: str) -> int:
        """Count a request of the delivery and return the status of its response."""
        with self._lock:
            self.seen[delivery] += 1
            return 500 if self.seen[delivery] <= self.behaviour.fail else self.behaviour.status

    def record(self, shown: str, *, verdict: str, answered: str) -> None:
        """Count and print one request; the output of concurrent requests is never interleaved."""
        with self._lock:
            self.verdicts[verdict] += 1
            self.answers[answered] += 1
            self.show(shown)

    def summary(self) -> str:
        """Return a summary in one line."""
        with self._lock:
            requests, deliveries = sum(self.answers.values()), len(self.seen)
            of_each = f"for {deliveries} deliver{pluralize(deliveries, 'y,ies')}"
            counts = [f"{requests} request{pluralize(requests)} {of_each}"]
            counts += [f"{count} × {what}" for what, count in (*self.verdicts.items(), *self.answers.items())]
            return ", ".join(counts)


class _IPv6Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def open_server(receiver: Receiver, *, host: str, port: int) -> ThreadingHTTPServer:
    """Return a bound server that passes every request to ``receiver``; the caller runs and closes it. Raise OSError."""
    kind = _IPv6Server if ":" in host else ThreadingHTTPServer
    server = kind((host, port), partial(_Handler, receiver))
    server.daemon_threads = True
    # Requests that hang on purpose must not delay Ctrl-C.
    server.block_on_close = False
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "HookHub-listen"
    # In seconds; frees the thread of a sender that announces a body and does not send it.
    timeout = 30

    def __init__(self, receiver: Receiver, *connection: Any) -> None:
        # Before super().__init__, in which http.server serves the whole connection.
        self.receiver = receiver
        super().__init__(*connection)

    def do_POST(self) -> None:
        """Receive a webhook request."""
        self._receive()

    do_PUT = do_PATCH = do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_POST  # noqa: N815 - http.server's names.

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing; requests are printed by ``_show``."""

    def _receive(self) -> None:
        behaviour = self.receiver.behaviour
        body = self._read_body()
        if body is None:
            self.close_connection = True
            self._answer(413)
            self._show(b"", verdict="not read", answered="413 (body too large or of unknown length)")
            return
        headers = dict(self.headers.items())
        verdict = _verdict(body, headers, secrets=behaviour.secrets, wire_format=behaviour.format)
        if behaviour.hang:
            self._show(body, verdict=verdict, answered="no response (--hang)")
            self.close_connection = True
            self.receiver.closing.wait()
            return
        self.receiver.closing.wait(behaviour.delay.total_seconds())
        status = self.receiver.status_for(_first(self.headers, _DELIVERIES) or "(no delivery id)")
        try:
            self._answer(status, challenge_in(body))
            answered = str(status)
        except OSError:
            self.close_connection = True
            answered = f"{status} (too late: the sender had closed the connection)"
        self._show(body, verdict=verdict, answered=answered)

    def _read_body(self) -> bytes | None:
        """Return the body, or None if its length is unknown or above ``MAX_BODY_BYTES``."""
        if "Transfer-Encoding" in self.headers:
            return None
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 20) or int(length) > MAX_BODY_BYTES:
            return None
        return self.rfile.read(int(length))

    def _answer(self, status: int, text: str | None = None) -> None:
        content = b"" if status in (204, 304) else f"{status if text is None else text}\n".encode()
        self.send_response(status)
        if self.command == "OPTIONS" and (origin := self.headers.get("WebHook-Request-Origin")):
            self.send_header("Allow", "POST")
            # A folded header has line breaks.
            self.send_header("WebHook-Allowed-Origin", " ".join(origin.split()))
            self.send_header("WebHook-Allowed-Rate", "*")
        self.send_header("Content-Type", "text/plain")
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _show(self, body: bytes, *, verdict: str, answered: str) -> None:
        facts = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": self.command,
            "path": self.path,
            "type": _first(self.headers, _TYPES) or _type_in(body),
            "delivery": _first(self.headers, _DELIVERIES),
            "format": self.receiver.behaviour.format or shown_format(dict(self.headers.items())),
            "verdict": verdict,
            "answered": answered,
        }
        if self.receiver.behaviour.as_json:
            whole = {**facts, "headers": dict(self.headers.items()), "body": body.decode("utf-8", errors="replace")}
            shown = json.dumps(whole, ensure_ascii=False)
        else:
            line = "  ".join(_printable(str(value)) for value in facts.values() if value is not None)
            shown = f"{line}\n{pretty(body)}"
        self.receiver.record(shown, verdict=verdict, answered=answered)


def challenge_in(body: bytes) -> str | None:
    """Return the challenge of a verification, which the receiver echoes, or None for any other request."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    is_challenge = isinstance(value, dict) and value.get("type") == "webhook.verification"
    return str(value.get("challenge")) if is_challenge else None


def pretty(body: bytes) -> str:
    """Return a body for display, JSON indented, limited to ``SHOWN_LINES`` lines of ``SHOWN_COLUMNS`` columns."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", errors="replace")
    lines = [_printable(line) for line in text.splitlines()]
    shown = [line if len(line) <= SHOWN_COLUMNS else f"{line[: SHOWN_COLUMNS - 1]}…" for line in lines[:SHOWN_LINES]]
    if len(lines) > SHOWN_LINES:
        shown.append(f"… {len(lines) - SHOWN_LINES} more lines, {len(body)} bytes in total")
    return "\n".join(f"    {line}" for line in shown)


def _printable(text: str) -> str:
    """Escape control characters: a request may contain escape sequences for the terminal."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def _verdict(body: bytes, headers: dict[str, str], *, secrets: tuple[str, ...], wire_format: str | None) -> str:
    if not secrets:
        return "no secret given"
    try:
        verify(body, headers, secrets=secrets, format=wire_format)
    except (VerificationFailed, ValueError) as failed:
        return str(failed)
    return "signature ok"


def shown_format(headers: dict[str, str]) -> str | None:
    """Return the format that a request's headers indicate, or None if they indicate none, or several."""
    names = {name.lower() for name in headers}
    found = [slug for slug, one in FORMATS.items() if one.told_by in names]
    return found[0] if len(found) == 1 else None


def _first(headers: Any, names: tuple[str, ...]) -> str | None:
    return next((headers[name] for name in names if name in headers), None)


def _type_in(body: bytes) -> str | None:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = parsed.get("type") if isinstance(parsed, dict) else None
    return found if isinstance(found, str) else None
