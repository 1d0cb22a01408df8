"""Connections that end a response that drips, and skip announcements of one.

``requests`` limits the wait for each part of a response, and not for all of them together.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from http.client import HTTPResponse
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import connectionpool
from urllib3.connection import HTTPConnection, HTTPSConnection

# When what is being read must have arrived, by the monotonic clock; None without an end.
_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def ending_in(seconds: float) -> Iterator[None]:
    """Let all reading from connections of the Adapter time out within so many seconds."""
    token = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


class _Reader(io.RawIOBase):
    """What arrives at a socket, until the end."""

    def __init__(self, sock: Any) -> None:
        super().__init__()
        self._socket = sock
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, into: Any) -> int | None:
        """Read what there is, or wait for it no longer than its timeout and until the end."""
        until, timeout = _until.get(), self._socket.gettimeout()
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise socket.timeout("the deadline has passed")
            self._socket.settimeout(left if timeout is None else min(timeout, left))
        try:
            found: int | None = self._file.readinto(into)
        finally:
            self._socket.settimeout(timeout)
        return found

    def close(self) -> None:
        """Close it; the socket closes with the last of its files."""
        self._file.close()
        super().close()


class _Socket:
    """A connected socket whose responses are read until the end."""

    def __init__(self, sock: Any) -> None:
        self._socket = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def makefile(self, mode: str = "rb", *args: Any, **options: Any) -> io.BufferedReader:
        """Return a file to read a response from, the only kind that is asked for."""
        del mode, args, options
        return io.BufferedReader(_Reader(self._socket))


class _Response(HTTPResponse):
    """A response, without those that only announce it, such as 103 Early Hints.

    ``http.client`` skips 100 Continue alone, and takes any other for the response.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in the standard library's stubs
        is_announcement = 100 < status < 200 and status != HTTPStatus.SWITCHING_PROTOCOLS
        return version, HTTPStatus.CONTINUE if is_announcement else status, reason


class _Connection(HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        """Connect."""
        super().connect()
        self.sock = _Socket(self.sock)


class _SecureConnection(HTTPSConnection):
    response_class = _Response

    def connect(self) -> None:
        """Connect."""
        super().connect()
        self.sock = _Socket(self.sock)


# Errors name the class of the pool.
class HTTPConnectionPool(connectionpool.HTTPConnectionPool):
    ConnectionCls = _Connection


class HTTPSConnectionPool(connectionpool.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}


class Adapter(HTTPAdapter):
    """The usual connections, from which nothing is read after the end."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the pools of connections through a proxy; those of SOCKS have a connection of their own."""
        found = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            found.pool_classes_by_scheme = POOLS
        return found
