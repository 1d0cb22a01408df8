"""The least that a durable webhook service does, without its logic: `granian bench.yardstick:application`.

It stores the body of each request as one row, commits, responds with 202, and sends the body to RECEIVER_URL.
"""

import os
import uuid
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import psycopg
import pycurl

ACCEPTED = b"{}"
TABLE = "CREATE TABLE bench_yardstick (id bigint GENERATED ALWAYS AS IDENTITY, body bytea NOT NULL)"
INSERT = "INSERT INTO bench_yardstick (body) VALUES (%s)"

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Store, acknowledge and forward one event; block meanwhile, because only one comes at a time."""
    if scope["type"] == "lifespan":
        await respond_to_lifespan(receive, send)
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if body:
        connection().execute(INSERT, [body], binary=True)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ACCEPTED))]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": ACCEPTED})
    if body:
        forward(body)


async def respond_to_lifespan(receive: Receive, send: Send) -> None:
    """Confirm startup and shutdown."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


@cache
def connection() -> psycopg.Connection[Any]:
    """Return this process's connection, on which every statement is a transaction."""
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=1)


@cache
def sender() -> pycurl.Curl:
    """Return this process's libcurl handle, which keeps its connection."""
    made = pycurl.Curl()
    made.setopt(pycurl.URL, os.environ["RECEIVER_URL"])
    made.setopt(pycurl.NOSIGNAL, 1)
    made.setopt(pycurl.WRITEFUNCTION, lambda _: None)
    return made


def forward(body: bytes) -> None:
    """Send a body to the receiver, and wait for the response."""
    curl = sender()
    curl.setopt(pycurl.HTTPHEADER, ["Content-Type: application/json", "Expect:", f"webhook-id: {uuid.uuid4()}"])
    curl.setopt(pycurl.POSTFIELDS, body)
    curl.perform()
