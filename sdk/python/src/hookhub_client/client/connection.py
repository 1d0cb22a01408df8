"""What the synchronous and the asynchronous client say about a connection: the address, the key and the headers."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import timedelta
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
    # An address read from a file ends in a line break.
    address = base_url.strip() if isinstance(base_url, str) else ""
    # The message does not quote the value: it may hold a password, or be the key if the arguments were swapped.
    if not _is_base_url(address):
        raise ValueError("base_url must look like https://hooks.example.org, without credentials, query or fragment")
    return f"{address.rstrip('/').removesuffix('/v1')}/v1"


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


def check_limits(*, timeout: object, retries: object, deadline: object) -> None:
    """Raise TypeError or ValueError for limits that are none, such as a number of seconds."""
    for name, span in (("timeout", timeout), ("deadline", deadline)):
        if not isinstance(span, timedelta):
            raise TypeError(f"{name} must be a timedelta, such as timedelta(seconds=10), not {type(span).__name__}")
        if span <= timedelta(0):
            raise ValueError(f"{name} must be longer than zero")
    if not isinstance(retries, int):
        raise TypeError(f"retries must be an int, not {type(retries).__name__}")
    if retries < 0:
        raise ValueError("retries must not be negative")


def with_organization(
    query: Sequence[tuple[str, str]], *, path: str, organization: str | None
) -> list[tuple[str, str]]:
    """Return a query for an organization, which it names unless the path does, or the query of a further page."""
    is_named = organization is None or path.startswith(("organizations", "meta")) or "organization" in dict(query)
    return [*query, *([] if is_named else [("organization", str(organization))])]


def may_use_proxy(base: str) -> bool:
    """Return whether a proxy from the environment may be used: it cannot reach this machine's loopback interface."""
    return urlsplit(base).hostname not in {"127.0.0.1", "localhost", "::1"}


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    # ``urlsplit`` drops line breaks, and finds no query after a "?" at the end.
    plain = not re.search(r"[?#\s]", url) and "@" not in parts.netloc and port != 0
    return bool(parts.scheme in {"http", "https"} and host and plain)
