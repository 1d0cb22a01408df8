"""Answers that are looked for: by short calls in a thread, and none between them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hookhub.http.long_polls import Found, Poll
from hookhub.server import polling


def looked_for(found: list[bytes | None]) -> tuple[bytes, int]:
    """Return the body that was found, and how many calls it took."""
    calls = 0

    def look() -> Found | None:
        nonlocal calls
        calls += 1
        content = found.pop(0)
        return None if content is None else Found(content)

    async def run(call: Callable[[], Any]) -> Any:
        return call()

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    return asyncio.run(polling.poll_until_found(Poll(look), run=run, disconnected=never())).content, calls


@pytest.mark.parametrize("before", [0, 1, 3])
def test_it_looks_until_there_is_a_body(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "INTERVAL", timedelta(0))

    assert looked_for([*[None] * before, b"found"]) == (b"found", before + 1)


def test_it_hurries_once_when_the_client_leaves_and_looks_again() -> None:
    hurried = 0

    def hurry() -> None:
        nonlocal hurried
        hurried += 1

    async def run(call: Callable[[], Any]) -> Any:
        return call()

    async def at_once() -> None: ...

    def look() -> Found | None:
        return Found(b"nothing") if hurried else None

    assert (
        asyncio.run(polling.poll_until_found(Poll(look, hurry), run=run, disconnected=at_once())).content == b"nothing"
    )
    assert hurried == 1


def test_an_empty_body_is_one_too() -> None:
    assert looked_for([b""]) == (b"", 1)


def test_the_length_is_that_of_the_body_and_what_was_found_may_have_headers_of_its_own() -> None:
    begun = [(b"content-type", b"application/json"), (b"vary", b"Accept"), (b"content-length", b"0")]
    found = Found(b"12345", 503, [("Retry-After", "1"), ("Vary", "Cookie"), ("Content-Length", "7")])

    assert polling.headers_of(Found(b"12345"), begun) == [*begun[:2], (b"content-length", b"5")]
    assert polling.headers_of(found, begun) == [
        begun[0], (b"retry-after", b"1"), (b"vary", b"Cookie"), (b"content-length", b"5"),
    ]  # fmt: skip
