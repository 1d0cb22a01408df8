"""Answers that are not there yet: the event loop looks for them again and again, and no thread waits.

An application that wants this puts a Poll into the environment, under POLL, and returns a response without a body. Its
``look`` returns the rest of the response, or None to be called again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from hookhub.http.long_polls import INTERVAL, Found, Look, Poll

Headers = list[tuple[bytes, bytes]]


async def poll_until_found(
    poll: Poll, *, run: Callable[[Look], Awaitable[Any]], disconnected: Coroutine[Any, Any, None]
) -> Found:
    """Return what a poll finds; ``run`` makes a call in a thread.

    The poll hurries once ``disconnected`` returns: the client leaves, or this process stops.
    """
    leaving = asyncio.ensure_future(disconnected)
    hurry = poll.hurry
    try:
        while True:
            found: Found | None = await run(poll.look)
            if found is not None:
                return found
            if hurry is None:
                await asyncio.sleep(INTERVAL.total_seconds())
            elif (await asyncio.wait([leaving], timeout=INTERVAL.total_seconds()))[0]:
                hurry()
                hurry = None
    finally:
        leaving.cancel()


def headers_of(found: Found, begun: Headers) -> Headers:
    """Return the headers that a response was begun with, those of what was found, and the length of its body."""
    more = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in found.headers]
    replaced = {b"content-length", *(name for name, _ in more)}
    others = [(name, value) for name, value in begun if name not in replaced]
    length = (b"content-length", b"%d" % len(found.content))
    return [*others, *((name, value) for name, value in more if name != length[0]), length]
