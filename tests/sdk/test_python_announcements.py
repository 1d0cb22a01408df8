"""The Python clients against a server that announces its responses, as with 103 Early Hints."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from hookhub_client import AsyncClient, Client

ANNOUNCED = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 103 Early Hints\r\nLink: </v1>; rel=preload\r\n\r\n"
    b"HTTP/1.1 102 Processing\r\n\r\n"
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"id": "w"}'
)


@pytest.fixture
def url() -> Iterator[str]:
    """Serve the announced response to two requests, each on a connection of its own."""

    def serve() -> None:
        for _ in range(2):
            with listener.accept()[0] as connection:
                while connection.recv(65536):
                    connection.sendall(ANNOUNCED)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_announcements_are_not_taken_for_the_response(url: str) -> None:
    with Client(url, "hh_1_secret", retries=0) as hookhub:
        found = [hookhub.webhooks.get("w") for _ in range(2)]

    async def get() -> object:
        async with AsyncClient(url, "hh_1_secret", retries=0) as client:
            return await client.webhooks.get("w")

    assert [*found, asyncio.run(get())] == [{"id": "w"}] * 3
