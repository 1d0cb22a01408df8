"""A TCP proxy between two components that injects network faults."""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self

from testbed.receiver import reset_on_close

# What the proxy does to connections, in this order: forward; forward after a delay; read without forwarding; reset;
# half-close; forward a number of bytes of each connection and then reset it; accept no new ones.
MODES = ("open", "latency", "black-hole", "reset", "half-close", "cut", "refuse")
CHUNK = 65536


class Proxy:
    """A proxy on a free port before a TCP address or a Unix socket; runs in a thread of this process."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self.target = target
        self.mode = "open"
        self.seconds = 0.0
        self.bytes_most = 0
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        self._is_listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Reset every connection and stop."""
        self._call(self._reset_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, mode: str, *, seconds: float = 0.0, bytes_most: int = 0) -> None:
        """Set the mode of existing and new connections.

        ``seconds`` is the delay of "latency", ``bytes_most`` the limit of "cut".
        """
        self._call(self._set(mode, seconds=seconds, bytes_most=bytes_most))

    def _call(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout=10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512))
        self.port = server.sockets[0].getsockname()[1]
        self._is_listening.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _set(self, mode: str, *, seconds: float, bytes_most: int) -> None:
        if mode not in MODES:
            raise ValueError(f"unknown mode {mode!r}; use one of: {', '.join(MODES)}")
        self.mode, self.seconds, self.bytes_most = mode, seconds, bytes_most
        # Wake the connections that wait in a black hole.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if mode in {"reset", "refuse"}:
            await self._reset_all()
        elif mode == "half-close":
            for writer in list(self._open):
                with suppress(OSError, NotImplementedError):
                    writer.write_eof()

    async def _reset_all(self) -> None:
        for writer in list(self._open):
            break_off(writer, with_reset=True)
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode in {"reset", "refuse"}:
            break_off(writer, with_reset=True)
            return
        try:
            if isinstance(self.target, str):
                far_reader, far_writer = await asyncio.open_unix_connection(self.target)
            else:
                far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            break_off(writer, with_reset=True)
            return
        self._open |= {writer, far_writer}
        passed = [0]
        await asyncio.gather(self._pass(reader, far_writer, passed), self._pass(far_reader, writer, passed))
        for one in (writer, far_writer):
            self._open.discard(one)
            break_off(one, with_reset=False)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: list[int]) -> None:
        """Forward data as the current mode says; ``passed`` counts the bytes of both directions of one connection."""
        # asyncio raises RuntimeError on a write after a half-close.
        with suppress(OSError, RuntimeError):
            while chunk := await reader.read(CHUNK):
                while self.mode == "black-hole":
                    await self._changed.wait()
                if self.mode == "latency":
                    await asyncio.sleep(self.seconds)
                if self.mode == "cut" and passed[0] + len(chunk) >= self.bytes_most:
                    writer.write(chunk[: max(0, self.bytes_most - passed[0])])
                    # Flush before the reset, which would discard the data.
                    await writer.drain()
                    raise ConnectionResetError
                passed[0] += len(chunk)
                writer.write(chunk)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            return
        break_off(writer, with_reset=True)


def break_off(writer: asyncio.StreamWriter, *, with_reset: bool) -> None:
    """End a connection: with RST, as when a machine crashes, or with FIN."""
    opened: socket.socket | None = writer.get_extra_info("socket")
    if with_reset and opened is not None and opened.family != socket.AF_UNIX and opened.fileno() >= 0:
        reset_on_close(opened)
    writer.transport.abort() if with_reset else writer.close()
