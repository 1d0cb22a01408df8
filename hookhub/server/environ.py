"""Translates an ASGI request with its body into a WSGI environment (PEP 3333)."""

import io
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from hookhub.server.limits import Head

Scope = MutableMapping[str, Any]

CONSTANT: dict[str, Any] = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SERVER_SOFTWARE": "HookHub",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}
# A chunked body is passed on with a Content-Length, so the headers that describe its chunks must be removed.
UNCHUNKED = frozenset({"HTTP_TRANSFER_ENCODING", "HTTP_TRAILER", "HTTP_TE"})
# The parameter that separates the parts of a multipart body; of the characters that RFC 2046 allows, without the space.
BOUNDARY = re.compile(
    r""";[ \t]*boundary="?(?P<boundary>[0-9A-Za-z'()+_,./:=?-]{1,70})"?[ \t]*(?:;|$)""", re.IGNORECASE
)


def head_of(environ: Mapping[str, Any]) -> Head:
    """Return the parts of a request that decide how its body is read."""
    get = environ.get
    content_length = get("CONTENT_LENGTH") or ""
    return Head(
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        get("CONTENT_TYPE") or "",
        content_length,
        not content_length and ("HTTP_TRANSFER_ENCODING" in environ or environ["SERVER_PROTOCOL"] == "HTTP/2"),
        "HTTP_AUTHORIZATION" in environ or "HTTP_X_API_KEY" in environ,
        "sessionid=" in get("HTTP_COOKIE", ""),
    )


def environ_of(scope: Scope) -> dict[str, Any]:
    """Return the WSGI environment of a request, without its body."""
    prefix, path = path_of(scope)
    client, server = scope.get("client"), scope.get("server") or ("", "")
    environ = {
        **CONSTANT,
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": prefix,
        "PATH_INFO": path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or ""),
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.errors": sys.stderr,
    }
    _add_headers(environ, scope["headers"])
    drop_charset(environ)
    return environ


def drop_charset(environ: dict[str, Any]) -> None:
    """Remove the parameters of the media type except a boundary: bodies and queries are UTF-8, whatever they say.

    Django would decode the query with any Python codec that a client names, before an error can be caught.
    """
    content_type = environ.get("CONTENT_TYPE")
    if content_type and ";" in content_type:
        media_type, _, parameters = content_type.partition(";")
        environ["CONTENT_TYPE"] = media_type.rstrip()
        found = BOUNDARY.search(f";{parameters}")
        if found and media_type.lower().startswith("multipart/"):
            environ["CONTENT_TYPE"] += f'; boundary="{found["boundary"]}"'


def add_body(environ: dict[str, Any], body: bytes) -> None:
    """Add a complete body to the environment of its request."""
    environ["wsgi.input"] = io.BytesIO(body)
    environ["wsgi.input_terminated"] = True
    # WSGI lets a server set an empty CONTENT_LENGTH where the request has none.
    if not environ.get("CONTENT_LENGTH") and body:
        for name in UNCHUNKED:
            environ.pop(name, None)
        environ["CONTENT_LENGTH"] = str(len(body))


def path_of(scope: Scope) -> tuple[str, str]:
    """Return the prefix that the deployment is served under and the path below it, as WSGI text (bytes in Latin-1)."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        path = scope["path"].encode().decode("latin-1")
    elif b"%" in raw:
        path = unquote_to_bytes(raw).decode("latin-1")
    else:
        path = raw.decode("latin-1")
    prefix = scope.get("root_path", "").rstrip("/").encode().decode("latin-1")
    if prefix and path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in {"", "/"}:
        return prefix, path[len(prefix) :] or "/"
    return prefix, path


def _add_headers(environ: dict[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> None:
    for name, value in headers:
        key = _key(name)
        if key is None:
            continue
        text = value.decode("latin-1")
        if key in environ:
            # Repeated fields are joined by commas (RFC 9110), cookies by semicolons (RFC 6265).
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text


# Clients repeat a few header names, but a hostile one can invent any number, so the cache is bounded.
@lru_cache(maxsize=512)
def _key(name: bytes) -> str | None:
    """Return the WSGI name of a header, or None for one that WSGI would confuse with another.

    WSGI writes hyphens as underscores, so ``X_Forwarded_Proto`` would pass for the proxy's ``X-Forwarded-Proto``.
    """
    text = name.decode("latin-1")
    if "_" in text:
        return None
    key = text.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
