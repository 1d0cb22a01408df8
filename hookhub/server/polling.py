"""Answers that are not there yet: the event loop looks for them again and again, and no thread waits.

An application that wants this puts a call into the environment, under POLL, and returns a response without a body. The
call returns the body, or None to be made again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

POLL = "hookhub.poll"
INTERVAL = timedelta(milliseconds=200)

Headers = list[tuple[bytes, bytes]]
Look = Callable[[], bytes | None]


async def body_of(look: Look, *, run: Callable[[Look], Awaitable[Any]]) -> bytes:
    """Return the body that ``look`` finds; ``run`` makes a call in a thread."""
    while (found := await run(look)) is None:
        await asyncio.sleep(INTERVAL.total_seconds())
    return bytes(found)


def with_length(headers: Headers, content: bytes) -> Headers:
    """Return a response's headers with the length of its body."""
    others = [(name, value) for name, value in headers if name != b"content-length"]
    return [*others, (b"content-length", b"%d" % len(content))]
