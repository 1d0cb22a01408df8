"""The web server with host names that no nameserver answers, for `python -m hookhub.server`."""

import socket
import time
from typing import Any

from bench.attackers import SUFFIX
from hookhub.service.asgi import application

# The time after which the C library gives up when its nameservers do not answer.
SILENT_SECONDS = 30.0

_ask = socket.getaddrinfo


def _ask_or_wait(host: Any, *arguments: Any, **options: Any) -> Any:
    """Resolve a host name; for a silent one, wait and fail as the C library does."""
    if isinstance(host, str) and host.endswith(SUFFIX):
        time.sleep(SILENT_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _ask(host, *arguments, **options)


socket.getaddrinfo = _ask_or_wait

__all__ = ["application"]
