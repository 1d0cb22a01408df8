"""The web server's way in with no nameserver at all: `granian tests.fuzzing.asgi:application`.

Made-up URLs have made-up hosts, and none of them is to be asked for.
"""

import re
import socket
from typing import Any

from config.asgi import application

KNOWN = re.compile(r"localhost|.*\.localhost|[0-9.]+|.*:.*")

_ask = socket.getaddrinfo


def _ask_nobody(host: Any, *arguments: Any, **options: Any) -> Any:
    """Look up what is known without asking, and know nothing else."""
    if isinstance(host, str) and not KNOWN.fullmatch(host):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _ask(host, *arguments, **options)


socket.getaddrinfo = _ask_nobody

__all__ = ["application"]
