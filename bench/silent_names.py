"""The web server's way in with names that no nameserver answers for: `granian bench.silent_names:application`."""

import socket
import time
from typing import Any

from bench.attackers import SUFFIX
from config.asgi import application

# For as long as the C library tries when its nameservers are silent.
SILENT_SECONDS = 30.0

_ask = socket.getaddrinfo


def _ask_or_wait(host: Any, *arguments: Any, **options: Any) -> Any:
    """Look a name up, or wait in vain for one that has no answer."""
    if isinstance(host, str) and host.endswith(SUFFIX):
        time.sleep(SILENT_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _ask(host, *arguments, **options)


socket.getaddrinfo = _ask_or_wait

__all__ = ["application"]
