"""Reading bodies: which waiting time counts toward a client's deadline, and what keeps the event loop."""

import asyncio
from datetime import timedelta
from unittest import mock

import pytest

from hookhub.http.early_refusals import EarlyRefusal
from hookhub.server.body import MAX_JOINED_HERE, Body, Budget, Message
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


@pytest.mark.parametrize(("surplus", "threads"), [(0, 0), (1, 1)])
def test_a_long_body_is_joined_in_a_thread(surplus: int, threads: int) -> None:
    size = MAX_JOINED_HERE + surplus
    limits = Limits(publish=2 * size, deadline=timedelta(seconds=30))
    head = Head("POST", "/v1/events", content_length=str(size), has_key=True)

    async def read() -> bytes | EarlyRefusal:
        parts: list[Message] = [
            {"type": "http.request", "body": b"x" * (size - 1), "more_body": True},
            {"type": "http.request", "body": b"y", "more_body": False},
        ]

        async def receive() -> Message:
            return parts.pop(0)

        async def admit() -> None:
            return None

        return await Body(head, limits=limits, budget=Budget(size), short=65_536).read(receive, admit=admit)

    with mock.patch.object(asyncio, "to_thread", wraps=asyncio.to_thread) as to_thread:
        assert asyncio.run(read()) == b"x" * (size - 1) + b"y"
    assert to_thread.call_count == threads
