"""``python -m hookhub.server hookhub.service.asgi:application``: the web server, which serves any ASGI application."""

import argparse
import importlib
import signal
import socket
import sys
from typing import NoReturn

from hookhub.server import processes
from hookhub.server.exchange import Application

MAX_PORT = 65535


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    options = _parser().parse_args()
    # While the application is loaded. The system spares the first process of a container a signal without a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # Before the application is loaded, which takes longer.
    listener = _bound(options.host, options.port)
    application = _loaded(options.application)
    try:
        listener.listen(processes.BACKLOG)
    except OSError as error:
        # Several servers can be bound to one port, until the first of them listens.
        _give_up(options.host, options.port, error)
    return processes.run(listener, application, processes=options.workers, idle_seconds=options.idle_timeout)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hookhub.server", description="Serves an ASGI application.")
    parser.add_argument("application", help="its module and name: hookhub.service.asgi:application")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="the port to listen at (default: %(default)s)")
    parser.add_argument("--workers", type=_positive, default=1, help="the number of processes (default: %(default)s)")
    parser.add_argument(
        "--idle-timeout",
        type=_positive,
        default=30,
        help="seconds after which a connection without a request is closed (default: %(default)s)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to {MAX_PORT}")
    return int(text)


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; end the program with a message if that is impossible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        listener.bind(address)
    except OSError as error:
        _give_up(host, port, error)
    return listener


def _give_up(host: str, port: int, error: OSError) -> NoReturn:
    sys.exit(f"The web server cannot listen at {host}, port {port}: {error}. Choose others by HOST and PORT.")


def _loaded(name: str) -> Application:
    module, _, attribute = name.partition(":")
    if not attribute:
        sys.exit(f"{name!r} must be a module and a name in it: hookhub.service.asgi:application")
    loaded = importlib.import_module(module)
    if not hasattr(loaded, attribute):
        sys.exit(f"{module} has no {attribute!r}")
    found: Application = getattr(loaded, attribute)
    return found


if __name__ == "__main__":
    sys.exit(main())
