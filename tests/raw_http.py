"""The web server over raw sockets: starts it for tests/front_app.py, and sends what no HTTP client would."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hookhub import procfile
from testbed.processes import STARTS_WITHIN_SECONDS, free_port, hangups

WAIT = 20
CLOSE = b"Host: h\r\nConnection: close\r\n"


@contextmanager
def served(
    deadline: str = "30",
    *,
    release: Path = Path("/"),
    log: Path = Path(os.devnull),
    before: str = "",
    hangup: signal.Handlers = signal.SIG_DFL,
    **settings: str,
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Serve tests/front_app.py with the Procfile's own command, in one process by default; yield its port.

    ``before`` is a shell command that comes first. ``settings`` are variables of its environment.
    """
    port = int(settings.get("PORT", free_port()))
    command = procfile.commands()["web"].replace("hookhub.service.asgi:application", "tests.front_app:application")
    environment = {
        **procfile.environment(),
        "DEADLINE": deadline,
        "RELEASE": str(release),
        "WEB_WORKERS": "1",
        "PORT": str(port),
        **settings,
    }
    with log.open("ab") as output, hangups(hangup):
        process = subprocess.Popen(
            ["/bin/sh", "-c", before + command], cwd=procfile.ROOT, env=environment, stderr=output
        )
    try:
        until = time.monotonic() + STARTS_WITHIN_SECONDS
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        yield port, process
    finally:
        process.terminate()
        process.wait(WAIT)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), WAIT)


def rest_of(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def answer_to(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    with connect(port) as connection:
        for part in parts:
            connection.sendall(part)
        return parsed(rest_of(connection))


def parsed(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, content = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), content


def post(length: int, path: str = "/x", more: bytes = b"") -> bytes:
    return f"POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n".encode() + more + CLOSE + b"\r\n"


def told(port: int, *parts: bytes) -> dict[str, Any]:
    status, _, content = answer_to(port, *parts)
    assert status == 200
    return dict(json.loads(content))
