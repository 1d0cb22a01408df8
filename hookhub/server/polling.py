"""Answers that are not there yet: the event loop looks for them again and again, and no thread waits.

An application that wants this puts a call into the environment, under POLL, and returns a response without a body. The
call returns the rest of the response, or None to be made again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, Protocol

POLL = "hookhub.poll"
INTERVAL = timedelta(milliseconds=200)

Headers = list[tuple[bytes, bytes]]


class Found(Protocol):
    """What a call returns: the body of the response, its status, and headers that it has besides those begun with."""

    @property
    def content(self) -> bytes:
        """The body."""

    @property
    def status(self) -> int:
        """The status."""

    @property
    def headers(self) -> Iterable[tuple[str, str]]:
        """More headers."""


Look = Callable[[], Found | None]


async def found_by(look: Look, *, run: Callable[[Look], Awaitable[Any]]) -> Found:
    """Return what ``look`` finds; ``run`` makes a call in a thread."""
    while True:
        found: Found | None = await run(look)
        if found is not None:
            return found
        await asyncio.sleep(INTERVAL.total_seconds())


def headers_of(found: Found, begun: Headers) -> Headers:
    """Return the headers that a response was begun with, those of what was found, and the length of its body."""
    more = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in found.headers]
    replaced = {b"content-length", *(name for name, _ in more)}
    others = [(name, value) for name, value in begun if name not in replaced]
    length = (b"content-length", b"%d" % len(found.content))
    return [*others, *((name, value) for name, value in more if name != length[0]), length]
