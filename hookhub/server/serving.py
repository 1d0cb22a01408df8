"""One process of the web server: accepts connections on a socket and serves an ASGI application until it is stopped."""

import asyncio
import logging
import signal
import socket
from functools import partial
from typing import Any

from hookhub.server.connection import Connection
from hookhub.server.exchange import Application, Message

log = logging.getLogger("hookhub.http")

# Connections that a process holds; more wait in the kernel.
MAX_CONNECTIONS = 8192
SWEEP_SECONDS = 1.0
# Where the system accepts no connection, the next attempt is so much later.
REFUSED_SECONDS = 1.0
# Seconds that a process which is told to stop has for the requests under way.
STOP_SECONDS = 5.0
READ_SECONDS = 0.05


class StartupFailed(Exception):
    """The application cannot begin to serve."""


class Lifespan:
    """Tells an application of the start and the end of its process, by ASGI's ``lifespan`` messages."""

    def __init__(self, application: Application) -> None:
        self._to_application: asyncio.Queue[Message] = asyncio.Queue()
        self._from_application: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._run(application))

    async def _run(self, application: Application) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        await application(scope, self._to_application.get, self._from_application.put)

    async def tell(self, event: str) -> None:
        """Send the application an event and wait until it is ready; raise what it raises."""
        await self._to_application.put({"type": f"lifespan.{event}"})
        reply = asyncio.ensure_future(self._from_application.get())
        await asyncio.wait([reply, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not reply.done():
            reply.cancel()
            self._task.result()
            raise RuntimeError(f"the application ended before it answered lifespan.{event}")
        if reply.result()["type"].endswith(".failed"):
            raise RuntimeError(f"the application failed at {event}: {reply.result().get('message', '')}")


class Acceptor:
    """Accepts connections, one in each turn of the event loop, so that all processes get their share."""

    def __init__(self, listener: socket.socket, application: Application, *, idle_seconds: float) -> None:
        self._listener = listener
        self._application = application
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._beginning: set[asyncio.Task[object]] = set()
        self._is_accepting = False
        self._is_closed = False
        self._will_sweep = False

    def start(self) -> None:
        """Accept connections from now on."""
        if not self._is_accepting and not self._is_closed:
            self._is_accepting = True
            self._loop.add_reader(self._listener, self._accept)

    def _pause(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self._listener)

    def _accept(self) -> bool:
        """Accept a connection; return whether there was one."""
        try:
            accepted, peer = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            # Most often the limit of open files.
            log.warning("No connection can be accepted for %g s: %s", REFUSED_SECONDS, error.strerror)
            self._pause()
            self._loop.call_later(REFUSED_SECONDS, self.start)
            return False
        accepted.settimeout(0)
        if not self._will_sweep:
            self._will_sweep = True
            self._loop.call_later(SWEEP_SECONDS, self._sweep)
        task = self._loop.create_task(self._loop.connect_accepted_socket(partial(self._connection, peer), accepted))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        if len(self._connections) + len(self._beginning) >= MAX_CONNECTIONS:
            self._pause()
        return True

    def _connection(self, peer: Any) -> Connection:
        return Connection(self._application, peer=peer, all_open=self._connections, idle_seconds=self._idle_seconds)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._connections):
            connection.sweep(now)
        if len(self._connections) < MAX_CONNECTIONS:
            self.start()
        # Those that are beginning must not wait for the next one to be looked at.
        self._will_sweep = bool(self._connections or self._beginning)
        if self._will_sweep:
            self._loop.call_later(SWEEP_SECONDS, self._sweep)

    async def close(self) -> None:
        """Accept what has connected already, answer what has arrived, and close all connections."""
        for _ in range(MAX_CONNECTIONS):
            if not self._accept():
                break
        self._is_closed = True
        self._pause()
        self._listener.close()
        # What their clients have sent by now is read before it is decided which of them are idle.
        await asyncio.sleep(READ_SECONDS)
        until = self._loop.time() + STOP_SECONDS
        while self._connections or self._beginning:
            for connection in list(self._connections):
                connection.stop()
            if self._loop.time() > until:
                log.warning("Requests cut off when the web server stopped: %d", len(self._connections))
                for connection in list(self._connections):
                    connection.abort()
                break
            await asyncio.sleep(0.01)


async def serve(listener: socket.socket, application: Application, *, idle_seconds: float, parent: int) -> None:
    """Serve until SIGTERM, or the end of the process at the other end of the pipe ``parent``.

    ``idle_seconds`` is the time after which a connection without a request is closed.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_reader(parent, stopped.set)
    lifespan = Lifespan(application)
    try:
        await lifespan.tell("startup")
    except Exception as error:
        raise StartupFailed from error
    acceptor = Acceptor(listener, application, idle_seconds=idle_seconds)
    acceptor.start()
    await stopped.wait()
    loop.remove_reader(parent)
    await acceptor.close()
    await lifespan.tell("shutdown")
