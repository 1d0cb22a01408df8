"""Reads the body of a request on the event loop, within a maximum size, a deadline and a minimum rate."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from hookhub.http.early_refusals import EarlyRefusal
from hookhub.server.limits import Head, Limits, max_body, seconds_allowed, too_large

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

# A client that is refused while it is sending must get to read the response, but closing a connection with unread bytes
# resets it and loses the response. So the rest of the body is discarded first, up to these bounds.
MAX_DISCARDED = 64 * 1024 * 1024
DISCARDED_WITHIN_SECONDS = 5.0
# The parts of a longer body are joined in a thread: 33 MB take 20 ms, in which nothing else would happen on the event
# loop. Beyond 1 MiB, Python lets other threads run meanwhile.
MAX_JOINED_HERE = 1024 * 1024


class Disconnected(Exception):
    """The client disconnected, or closed its sending side, before its body was complete."""


class Budget:
    """The bytes of memory that all long bodies together may take in one process."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes; return False if fewer are left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Release ``size`` bytes."""
        self._left += size


class Body:
    """A body being read; ``close`` releases the memory that it reserved from the budget."""

    def __init__(self, head: Head, *, limits: Limits, budget: Budget, short: int) -> None:
        self._head = head
        self._limits = limits
        self._budget = budget
        self._short = short
        self._taken = 0
        # Set once the server has delivered the last part of the body.
        self.is_complete = False

    async def read(
        self, receive: Receive, *, admit: Callable[[], Awaitable[EarlyRefusal | None]]
    ) -> bytes | EarlyRefusal:
        """Return the complete body, or the refusal of it; raise Disconnected if the client disconnects.

        Up to ``short`` bytes are read from any caller. Before more is read, ``admit`` is awaited once, and may refuse.
        """
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        try:
            async with asyncio.timeout_at(began_at + seconds_allowed(0, limits=self._limits)) as timeout:
                return await self._read(receive, admit, timeout, began_at)
        except TimeoutError:
            limits = self._limits
            message = (
                f"The request body arrived too slowly: it must be complete within {limits.deadline.total_seconds():g} "
                f"seconds, at {limits.min_rate:,} bytes per second or more."
            )
            return EarlyRefusal(408, "request_timeout", message)

    async def _read(
        self,
        receive: Receive,
        admit: Callable[[], Awaitable[EarlyRefusal | None]],
        timeout: asyncio.Timeout,
        began_at: float,
    ) -> bytes | EarlyRefusal:
        most = max_body(self._head, limits=self._limits)
        parts: list[bytes] = []
        size = 0
        while not self.is_complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part: bytes = message.get("body", b"")
            self.is_complete = not message.get("more_body", False)
            size += len(part)
            if size > most:
                return too_large(self._head, most)
            if size > self._short:
                if not self._taken:
                    # The client is waiting for us, so this check does not count against its time.
                    timeout.reschedule(None)
                    asked_at = asyncio.get_running_loop().time()
                    if refusal := await admit():
                        return refusal
                    began_at += asyncio.get_running_loop().time() - asked_at
                if not self._budget.take(size - self._taken):
                    return EarlyRefusal(503, "overloaded", "Too many large requests at the same time. Retry later.")
                self._taken = size
            parts.append(part)
            if not self.is_complete:
                timeout.reschedule(began_at + seconds_allowed(size, limits=self._limits))
        if self._head.content_length and size < int(self._head.content_length):
            return EarlyRefusal(
                400, "malformed", f"The body ended after {size:,} of {self._head.content_length} bytes."
            )
        timeout.reschedule(None)
        return await _joined(parts, size=size)

    async def discard(self, receive: Receive) -> None:
        """Read and discard the rest of a refused body for a moment, so that its sender gets to read the response."""
        left = MAX_DISCARDED
        if len(self._head.content_length) > len(str(left)):
            return
        try:
            async with asyncio.timeout(DISCARDED_WITHIN_SECONDS):
                while not self.is_complete and left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    self.is_complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
        except TimeoutError:
            return

    def close(self) -> None:
        """Release the reserved memory."""
        self._budget.give_back(self._taken)
        self._taken = 0


async def _joined(parts: Sequence[bytes], *, size: int) -> bytes:
    if len(parts) == 1:
        return parts[0]
    return await asyncio.to_thread(b"".join, parts) if size > MAX_JOINED_HERE else b"".join(parts)
