"""A TLS-terminating proxy before a HookHub, as nginx would be: it reports TLS in a header."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MAX_BYTES = 65536


@contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Yield a port that forwards to ``port``, with one request per connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port, context), daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            # Wakes the thread blocked in accept().
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_pass_on, args=(client, port, context), daemon=True).start()


def _pass_on(client: socket.socket, port: int, context: ssl.SSLContext) -> None:
    # A client that does not trust the certificate disconnects during the handshake.
    with (
        suppress(OSError),
        client,
        context.wrap_socket(client, server_side=True) as caller,
        socket.create_connection(("127.0.0.1", port)) as server,
    ):
        first = b""
        while b"\r\n" not in first and (part := caller.recv(MAX_BYTES)):
            first += part
        line, _, rest = first.partition(b"\r\n")
        server.sendall(line + b"\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n" + rest)
        upwards = threading.Thread(target=_copy, args=(caller, server), daemon=True)
        upwards.start()
        _copy(server, caller)
        # Both threads have ended before the descriptors are closed, whose numbers the next connections get.
        caller.shutdown(socket.SHUT_RDWR)
        upwards.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(MAX_BYTES):
            target.sendall(part)
