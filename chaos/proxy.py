"""A TCP proxy that stands between two parts of HookHub and does to their conversation what a network can."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self

# What can be done to connections: let pass; pass later; take everything and pass nothing; break with a RST; say one
# side has nothing more to say; pass so many bytes of each connection and then break it; take no new ones.
MODES = ("open", "latency", "black-hole", "reset", "half-close", "cut", "refuse")
CHUNK = 65536


class Proxy:
    """Listens on a port of its own and leads to a TCP address or a Unix socket; lives in a thread of this process."""

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
        """Begin to listen."""
        self._thread.start()
        self._is_listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """End every connection."""
        self._call(self._break_all(with_reset=True))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, mode: str, *, seconds: float = 0.0, bytes_most: int = 0) -> None:
        """Change what happens from now on, to the connections there are and to new ones."""
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
            raise ValueError(f"{mode} is none of {', '.join(MODES)}")
        self.mode, self.seconds, self.bytes_most = mode, seconds, bytes_most
        # Those that wait in a black hole look again.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if mode in {"reset", "refuse"}:
            await self._break_all(with_reset=True)
        elif mode == "half-close":
            for writer in list(self._open):
                with suppress(OSError, NotImplementedError):
                    writer.write_eof()

    async def _break_all(self, *, with_reset: bool) -> None:
        for writer in list(self._open):
            break_off(writer, with_reset=with_reset)
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
        """Pass on what comes, as the mode of the moment wants it; ``passed`` counts both ways of one connection."""
        # A write after the end that a half-close has put to it is a RuntimeError to asyncio.
        with suppress(OSError, RuntimeError):
            while chunk := await reader.read(CHUNK):
                while self.mode == "black-hole":
                    await self._changed.wait()
                if self.mode == "latency":
                    await asyncio.sleep(self.seconds)
                if self.mode == "cut" and passed[0] + len(chunk) >= self.bytes_most:
                    writer.write(chunk[: max(0, self.bytes_most - passed[0])])
                    # Sent before the end of the connection, or the end would throw it away.
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
    """End a connection, as a crashed machine's network does or as a polite one."""
    opened: socket.socket | None = writer.get_extra_info("socket")
    if with_reset and opened is not None and opened.family != socket.AF_UNIX and opened.fileno() >= 0:
        # Lingering for no time makes the end a RST.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort() if with_reset else writer.close()
