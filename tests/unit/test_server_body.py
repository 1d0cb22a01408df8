"""Reading bodies: which waiting time counts toward a client's deadline."""

import asyncio
from datetime import timedelta

from hookhub.http.early_refusals import EarlyRefusal
from hookhub.server.body import Body, Budget, Message
from hookhub.server.limits import Head, Limits

LIMITS = Limits(publish=1_000_000, deadline=timedelta(seconds=0.05))
HEAD = Head("POST", "/v1/events", content_length="200000", has_key=True)


def test_the_wait_for_our_own_threads_does_not_make_a_client_slow() -> None:
    async def read() -> bytes | EarlyRefusal:
        parts: list[Message] = [
            {"type": "http.request", "body": b"x" * 100_000, "more_body": more} for more in (True, False)
        ]

        async def receive() -> Message:
            return parts.pop(0)

        async def admit_late() -> None:
            await asyncio.sleep(2 * LIMITS.deadline.total_seconds())

        return await Body(HEAD, limits=LIMITS, budget=Budget(1_000_000), short=65_536).read(receive, admit=admit_late)

    assert asyncio.run(read()) == b"x" * 200_000
