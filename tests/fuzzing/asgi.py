"""The web server with DNS disabled: `python -m hookhub.server tests.fuzzing.asgi:application`.

Generated URLs have arbitrary hosts, none of which may be looked up.
"""

import re
import socket
from typing import Any

from hookhub.service.asgi import application

KNOWN = re.compile(r"localhost|.*\.localhost|[0-9.]+|.*:.*")

_ask = socket.getaddrinfo


def _ask_nobody(host: Any, *arguments: Any, **options: Any) -> Any:
    """Resolve addresses that need no DNS lookup, and fail for all others."""
    if isinstance(host, str) and not KNOWN.fullmatch(host):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _ask(host, *arguments, **options)


socket.getaddrinfo = _ask_nobody

__all__ = ["application"]
