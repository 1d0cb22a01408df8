"""Answers that are looked for: by short calls in a thread, and none between them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from hookhub.server import polling


def looked_for(found: list[bytes | None]) -> tuple[bytes, int]:
    """Return the body, and how many calls it took."""
    calls = 0

    def look() -> bytes | None:
        nonlocal calls
        calls += 1
        return found.pop(0)

    async def run(call: Callable[[], Any]) -> Any:
        return call()

    body: Awaitable[bytes] = polling.body_of(look, run=run)
    return asyncio.run(_awaited(body)), calls


async def _awaited(body: Awaitable[bytes]) -> bytes:
    return await body


@pytest.mark.parametrize("before", [0, 1, 3])
def test_it_looks_until_there_is_a_body(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "INTERVAL", timedelta(0))

    assert looked_for([*[None] * before, b"found"]) == (b"found", before + 1)


def test_an_empty_body_is_one_too() -> None:
    assert looked_for([b""]) == (b"", 1)


def test_the_length_is_that_of_the_body() -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"0")]

    assert polling.with_length(headers, b"12345") == [(b"content-type", b"application/json"), (b"content-length", b"5")]
