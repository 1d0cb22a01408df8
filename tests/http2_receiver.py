"""An HTTP/2 receiver for granian to serve, which answers with what it received."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer 202 with the protocol, the length of the body and the webhook-id, or as the path says."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        part = await receive()
        size += len(part.get("body", b""))
        more = bool(part.get("more_body"))
    headers = dict(scope["headers"])
    said = f"HTTP/{scope['http_version']} {size} {headers.get(b'webhook-id', b'').decode()}".encode()
    status = int(scope["path"].rpartition("/")[2] or 202)
    await send({"type": "http.response.start", "status": status, "headers": [(b"retry-after", b"7")]})
    await send({"type": "http.response.body", "body": said})
