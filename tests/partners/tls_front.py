"""What stands before a HookHub that clients call over TLS, as nginx would: it ends TLS and says so in a header."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MOST = 65536


@contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Pass on what arrives at the port that is returned, one request for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port, context), daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            # Wakes the thread that sits in accept().
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_pass_on, args=(client, port, context), daemon=True).start()


def _pass_on(client: socket.socket, port: int, context: ssl.SSLContext) -> None:
    # A client that does not trust the certificate goes away in the middle.
    with (
        suppress(OSError),
        client,
        context.wrap_socket(client, server_side=True) as caller,
        socket.create_connection(("127.0.0.1", port)) as server,
    ):
        first = b""
        while b"\r\n" not in first and (part := caller.recv(MOST)):
            first += part
        line, _, rest = first.partition(b"\r\n")
        server.sendall(line + b"\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n" + rest)
        threading.Thread(target=_copy, args=(caller, server), daemon=True).start()
        _copy(server, caller)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(MOST):
            target.sendall(part)
