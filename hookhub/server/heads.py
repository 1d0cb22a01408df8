"""Which requests are refused for their head alone, before the application hears of them."""

from hookhub.http.early_refusals import EarlyRefusal

# A request's head has at most so many bytes and lines; so has what a chunked body contains beside its content.
MAX_HEAD = 64 * 1024
MAX_LINES = 128

MALFORMED = EarlyRefusal(400, "malformed", "This is not a request of HTTP/1.1.")
TOO_LARGE = EarlyRefusal(
    431, "too_large", f"The request's head exceeds {MAX_HEAD:,} bytes or {MAX_LINES} header lines."
)
TOO_SLOW = EarlyRefusal(408, "request_timeout", "The request's head arrived too slowly.")
NO_TUNNEL = EarlyRefusal(405, "method_not_allowed", "CONNECT is for proxies, and this is none.")
UNKNOWN_VERSION = EarlyRefusal(505, "malformed", "Send the request as HTTP/1.1.")

VERSIONS = frozenset({"1.1", "1.0"})

Headers = list[tuple[bytes, bytes]]

# Protocols that the parser reads as well, and does not tell from HTTP.
OTHER_PROTOCOLS = (b" RTSP/", b" ICE/")


def is_only_chunked(version: str, headers: Headers) -> bool:
    """Return whether nothing but chunks has been made of a body: what is compressed would be taken for its content.

    HTTP/1.0 has no chunks, and something in between may have left them for the next request.
    """
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    return version != "1.0" and codings == [b"chunked"]


def is_of_another_protocol(method: bytes, target: bytes, received: bytes, *, is_first: bool) -> bool:
    """Return whether a request of this method and target is none of HTTP.

    ``received`` has its head, and begins with it if it is the first one there.
    """
    lines = tuple(method + b" " + target + protocol for protocol in OTHER_PROTOCOLS)
    if is_first:
        return received.lstrip(b"\r\n").startswith(lines)
    return any(line in received for line in lines)


def has_body(headers: Headers) -> bool:
    """Return whether a request has a body."""
    lengths = (b"transfer-encoding", b"content-length")
    return any(name in lengths and value.strip(b"0") for name, value in headers)
