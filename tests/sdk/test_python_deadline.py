"""The Python clients against a server whose response drips: the deadline ends a call, and not only its repetitions."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hookhub_client import AsyncClient, Client, ConnectionFailed

from tests.certificates import Identity

RECEIPT = json.dumps({"events": [{"id": "e1", "type": "push", "accepted_at": "2026-03-04T05:06:07Z"}]}).encode()
HEAD = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % (len(RECEIPT) + 500)
# Each part comes long before the timeout, and the last one long after the deadline.
BETWEEN = 0.04
TIMEOUT = timedelta(seconds=20)
DEADLINES = {"nothing": timedelta(minutes=1), "the head": timedelta(seconds=2), "the body": timedelta(seconds=2)}


@contextmanager
def dripping(part: str, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve one response, of which a part comes byte by byte."""
    ended = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            accepted = listener.accept()[0]
            with accepted if context is None else context.wrap_socket(accepted, server_side=True) as connection:
                connection.recv(65536)
                whole, slow, rest = {
                    "nothing": (HEAD + b"\r\n" + b" " * 500 + RECEIPT, b"", b""),
                    "the body": (HEAD + b"\r\n", b" " * 500, RECEIPT),
                    "the head": (HEAD + b"X-Slow: ", b"x" * 500, b"\r\n\r\n" + b" " * 500 + RECEIPT),
                }[part]
                connection.sendall(whole)
                for byte in slow:
                    if ended.wait(BETWEEN):
                        return
                    connection.sendall(bytes([byte]))
                connection.sendall(rest)
                # A connection that is closed with a part of the request unread is reset.
                ended.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("part", ["the head", "the body", "nothing"])
def test_a_response_that_drips_is_given_up_at_the_deadline(tmp_path: Path, scheme: str, part: str) -> None:
    server = Identity.make(tmp_path / "server.pem", "server", address="127.0.0.1")
    with dripping(part, server.server_context() if scheme == "https" else None) as url, Client(
        url, "hh_1_secret", timeout=TIMEOUT, deadline=DEADLINES[part], retries=0
    ) as hookhub:  # fmt: skip
        hookhub._transport._session.verify = str(server.path)
        if part == "nothing":
            assert hookhub.publish("push", {}).id == "e1"
            return
        with pytest.raises(ConnectionFailed, match=r"ConnectionPool.* timed out"):
            hookhub.publish("push", {})


@pytest.mark.parametrize("part", ["the head", "the body", "nothing"])
def test_so_it_is_by_the_asynchronous_client(part: str) -> None:
    async def publish(url: str) -> str | None:
        async with AsyncClient(url, "hh_1_secret", timeout=TIMEOUT, deadline=DEADLINES[part], retries=0) as hookhub:
            return (await hookhub.publish("push", {})).id

    with dripping(part) as url:
        if part == "nothing":
            assert asyncio.run(publish(url)) == "e1"
            return
        with pytest.raises(ConnectionFailed, match="the deadline has passed"):
            asyncio.run(publish(url))
