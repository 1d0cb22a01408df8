"""What the synchronous and the asynchronous client say about a connection: the address, the key and the headers."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

VERSION = "0.1.0"

# Visible ASCII. Only the server can tell whether it is a valid key.
KEY = re.compile(r"[\x21-\x7e]{1,1000}")

HEADERS: Mapping[str, str] = {
    "User-Agent": f"HookHub-Python/{VERSION}",
    "Accept": "application/json",
    # Some organizations get another vendor's JSON at the same URLs; this client understands only the native one.
    "HookHub-Dialect": "native",
}

# How Python says that the server ended the connection in the middle of the handshake: by the second in 3.11.2.
BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


def base_of(base_url: str) -> str:
    """Return the address of the API; raise ValueError if the base URL is none."""
    # The message does not quote the value: it may hold a password, or be the key if the arguments were swapped.
    if not _is_base_url(base_url):
        raise ValueError("base_url must look like https://hooks.example.org, without credentials, query or fragment")
    return f"{base_url.rstrip('/').removesuffix('/v1')}/v1"


def clean_key(api_key: str) -> str:
    """Return an API key without surrounding white space.

    Raise ValueError if it cannot be a key (empty, longer than 1,000 characters, or not visible ASCII); the message does
    not contain it.
    """
    # A key read from a file ends in a line break.
    key = api_key.strip() if isinstance(api_key, str) else ""
    if not KEY.fullmatch(key):
        raise ValueError("api_key is empty, too long or contains invalid characters; copy it again")
    return key


def with_organization(
    query: Sequence[tuple[str, str]], *, path: str, organization: str | None
) -> list[tuple[str, str]]:
    """Return a query for an organization, which it names unless the path does, or the query of a further page."""
    is_named = organization is None or path.startswith(("organizations", "meta")) or "organization" in dict(query)
    return [*query, *([] if is_named else [("organization", str(organization))])]


def may_use_proxy(base: str) -> bool:
    """Return whether a proxy from the environment may be used: it cannot reach this machine's loopback interface."""
    return urlsplit(base).hostname not in {"127.0.0.1", "localhost", "::1"}


def _is_base_url(url: object) -> bool:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc) and port != 0
    return bool(parts.scheme in {"http", "https"} and host and plain)
