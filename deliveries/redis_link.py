"""One connection to Redis on which commands are sent without waiting for their replies."""

import logging
import select
import ssl
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, cast
from uuid import uuid4

from redis import ConnectionPool, Redis, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as Overdue
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from deliveries.redis_address import EXPECTED, SCHEMES, Sentinels, sentinels_of

log = logging.getLogger("hookhub.doorbell")

# What a link raises; ValueError if the URL is invalid.
LINK_ERRORS = (RedisError, OSError, ValueError)
READ_SIZE = 16 * 1024
SENTINEL_SCHEMES = tuple(f"{scheme}://" for scheme in SCHEMES)
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Reply = int | str | bytes | list[Any] | ResponseError | None


def pool_for(url: str, *, timeout: timedelta) -> ConnectionPool:
    """Return a pool of connections with this timeout and without retries; raises ValueError for an invalid URL."""
    if url.startswith(SENTINEL_SCHEMES):
        return _pool_of_sentinels(url, timeout)
    # On TCP connections redis-py would subscribe to maintenance notifications, which requires RESP3.
    pool = ConnectionPool.from_url(url, maint_notifications_config=MaintNotificationsConfig(enabled=False))
    pool.connection_kwargs |= _options(timeout)
    return pool


@lru_cache(maxsize=8)
def _pool_of_sentinels(url: str, timeout: timedelta) -> ConnectionPool:
    """Return the same pool for the same URL, so that a new connection uses the existing ones to the Sentinels."""
    sentinels = sentinels_of(url)
    if sentinels is None:
        raise ValueError(f"expected {EXPECTED}")
    return sentinel_pool(sentinels, **sentinels.options | _options(timeout))


def _options(timeout: timedelta) -> dict[str, Any]:
    """Return the options that replace those of the URL, which may have them for its other users."""
    seconds = timeout.total_seconds()
    retry = Retry(NoBackoff(), 0)
    limits = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    return {"protocol": 2, **limits, "retry": retry, "decode_responses": False}


def sentinel_pool(sentinels: Sentinels, **options: Any) -> SentinelConnectionPool:
    """Return a pool of connections to the master, which each new connection asks the Sentinels for."""
    limits = {name: options.get(name) for name in ("socket_timeout", "socket_connect_timeout")}
    asked = Sentinel(  # type: ignore[no-untyped-call] # redis-py has types for most of it
        sentinels.nodes, sentinel_kwargs={**sentinels.own_options, **limits, "protocol": 2}
    )
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        sentinels.service, asked, ssl=sentinels.is_tls, **options
    )


class RedisLink:
    """A connection whose owner sends packed commands, and reads the replies when they have arrived.

    Connecting may take ``timeout`` for each of its steps; sending never blocks. It is not thread-safe.
    """

    def __init__(self, url: str, *, timeout: timedelta) -> None:
        self._timeout = timeout.total_seconds()
        # redis-py connects: it knows the URL's user, password, database and TLS options.
        self._connection = cast("Any", pool_for(url, timeout=timeout).make_connection())
        self._connection.connect()
        self._socket = self._connection._sock  # noqa: SLF001 - its own reader costs ten times as much and may block
        self._socket.settimeout(0)
        self._descriptor = int(self._socket.fileno())
        self._unread = b""
        # When each command without a reply was sent.
        self._sent_at: list[float] = []

    def fileno(self) -> int:
        """Return the descriptor of the socket: it is readable when a reply has come or the connection is lost."""
        return self._descriptor

    @property
    def unanswered(self) -> int:
        """Return the number of commands without a reply."""
        return len(self._sent_at)

    def is_overdue(self, *, now: float) -> bool:
        """Return whether a reply has been missing for longer than the timeout."""
        return bool(self._sent_at) and now - self._sent_at[0] > self._timeout

    def send(self, *commands: bytes) -> None:
        """Send packed commands; raises Overdue if the connection takes no more of them."""
        data = b"".join(commands)
        try:
            sent = self._socket.send(data)
        except _NOT_NOW:
            sent = 0
        if sent < len(data):
            raise Overdue("Redis does not read what it is sent")
        self._sent_at += [time.monotonic()] * len(commands)

    def replies(self) -> list[Reply]:
        """Return the replies that have arrived, errors among them; raises Lost if the connection was closed."""
        try:
            while True:
                data = self._socket.recv(READ_SIZE)
                if not data:
                    raise Lost("Redis closed the connection")
                self._unread += data
                if len(data) < READ_SIZE and not isinstance(self._socket, ssl.SSLSocket):
                    break
        except _NOT_NOW:
            pass
        found, start = [], 0
        while (parsed := parse_reply(self._unread, start)) is not None:
            reply, start = parsed
            found.append(reply)
        self._unread = self._unread[start:]
        del self._sent_at[: len(found)]
        return found

    def wait_for_replies(self) -> list[Reply]:
        """Wait for the replies to all commands and return them; raises Overdue after the timeout."""
        until, found = time.monotonic() + self._timeout, self.replies()
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while self.unanswered:
            rest = until - time.monotonic()
            if rest <= 0 or not poll.poll(rest * 1000):
                raise Overdue("Redis did not answer in time")
            found += self.replies()
        return found

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()


def pack(*words: str | int) -> bytes:
    """Return a command as the bytes to send."""
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def parse_reply(data: bytes, start: int = 0) -> tuple[Reply, int] | None:
    """Return the reply that begins at ``start`` and where it ends; None if it is incomplete."""
    line_end = data.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, line, end = data[start : start + 1], data[start + 1 : line_end], line_end + 2
    match kind:
        case b":":
            return int(line), end
        case b"+":
            return line.decode(), end
        case b"-":
            return ResponseError(line.decode(errors="replace")), end
        case b"$" | b"*" if line == b"-1":
            return None, end
        case b"$":
            stop = end + int(line)
            return (data[end:stop], stop + 2) if len(data) >= stop + 2 else None
        case b"*":
            items: list[Reply] = []
            for _ in range(int(line)):
                if (parsed := parse_reply(data, end)) is None:
                    return None
                item, end = parsed
                items.append(item)
            return items, end
    raise Lost(f"Redis sent an unknown reply: {data[start : start + 20]!r}")


def is_wrong_type(error: object) -> bool:
    """Return whether Redis rejected a command because a key holds a value of another type."""
    # In a pipeline or a script, the message does not begin with the error code.
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def rename_mistyped(client: Redis, keys: Sequence[str]) -> None:
    """Rename keys of the wrong type instead of deleting them, since their data may belong to another program."""
    for key in keys:
        # kombu's bindings are sets; all other keys are lists.
        expected = b"set" if key.startswith("_kombu.") else b"list"
        if client.type(key) not in {b"none", expected}:
            aside = f"{key}:wrong-type:{uuid4().hex[:8]}"
            client.rename(key, aside)
            log.warning("Key %r had the wrong type; renamed it to %r", key, aside)
