"""Group commit: which batches are stored together, and what each request gets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from deliveries.events import Batch, NewEvent, Receipt
from hookhub.server import group_commit
from hookhub.server.group_commit import GroupCommit, NotStored
from hookhub.server.pool import Full, Turn

NOW = datetime(2026, 3, 4, tzinfo=UTC)
A = Turn("a")

Answers = Sequence[list[Receipt] | Exception | None]


def batch(name: str, *, events: int = 1, size: int = 1) -> Batch:
    one = NewEvent(1, None, name, (name,), b"x" * size, NOW)
    return Batch([one] * events)


def receipts_of(some: Batch) -> list[Receipt]:
    return [Receipt(UUID(int=1), event.type, NOW, is_repeat=False) for event in some.events]


class Store:
    """Remembers the groups, and answers each batch by its name."""

    def __init__(self, answers: dict[str, Exception | None] | None = None) -> None:
        self.groups: list[list[str]] = []
        self.answers = answers or {}

    async def __call__(self, batches: Sequence[Batch]) -> Answers:
        names = [some.events[0].type for some in batches]
        self.groups.append(names)
        await asyncio.sleep(0)
        return [
            self.answers[name] if name in self.answers else receipts_of(some)
            for name, some in zip(names, batches, strict=True)
        ]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def begin() -> None:
        await scenario()

    asyncio.run(begin())


def test_a_lone_batch_is_a_group_and_those_that_come_meanwhile_are_the_next() -> None:
    store = Store()

    async def scenario() -> None:
        commit = GroupCommit(store, max_waiting=10)
        first = commit.add(batch("one"), turn=A)
        while not store.groups:
            await asyncio.sleep(0)
        later = [commit.add(batch(name), turn=A) for name in ("two", "three")]
        assert (commit.waiting, [each.done() for each in later]) == (2, [False, False])
        found = await asyncio.gather(first, *later)
        assert [[receipt.type for receipt in each] for each in found] == [["one"], ["two"], ["three"]]

    run(scenario)

    assert store.groups == [["one"], ["two", "three"]]


@pytest.mark.parametrize(
    "sizes", [{"events": group_commit.MAX_EVENTS}, {"size": group_commit.MAX_BYTES}], ids=["events", "bytes"]
)
def test_a_full_group_takes_no_further_batch(sizes: dict[str, int]) -> None:
    store = Store()

    async def scenario() -> None:
        commit = GroupCommit(store, max_waiting=10)
        await asyncio.gather(*(commit.add(batch(name, **sizes), turn=A) for name in ("one", "two")))

    run(scenario)

    assert store.groups == [["one"], ["two"]]


def test_each_request_gets_its_own_answer() -> None:
    away = OSError("away")
    store = Store({"unknown": None, "bad": away})

    async def scenario() -> None:
        commit = GroupCommit(store, max_waiting=10)
        adding = [commit.add(batch(name), turn=A) for name in ("good", "unknown", "bad")]
        good, unknown, bad = await asyncio.gather(*adding, return_exceptions=True)
        assert isinstance(good, list)
        assert isinstance(unknown, NotStored)
        assert bad is away

    run(scenario)


def test_an_error_of_the_store_is_everybodys_and_does_not_end_the_storing() -> None:
    async def scenario() -> None:
        calls = []

        async def fail_once(batches: Sequence[Batch]) -> Answers:
            calls.append(len(batches))
            if len(calls) == 1:
                raise ValueError("as the test wants it")
            return [receipts_of(some) for some in batches]

        commit = GroupCommit(fail_once, max_waiting=10)
        failed = await asyncio.gather(*(commit.add(batch("x"), turn=A) for _ in range(2)), return_exceptions=True)
        assert [str(each) for each in failed] == ["as the test wants it"] * 2
        assert len(await commit.add(batch("y"), turn=A)) == 1

    run(scenario)


def test_the_busiest_client_gives_way_when_too_many_wait() -> None:
    store = Store()

    async def scenario() -> None:
        commit = GroupCommit(store, max_waiting=3)
        busy = [commit.add(batch(f"busy{n}"), turn=Turn("busy")) for n in range(3)]
        other = commit.add(batch("other"), turn=Turn("other"))
        found = await asyncio.gather(*busy, other, return_exceptions=True)
        assert [isinstance(each, Full) for each in found] == [False, False, True, False]

    run(scenario)

    assert store.groups == [["busy0", "other", "busy1"]]


def test_a_client_that_has_gone_is_stored_and_disturbs_nobody() -> None:
    store = Store()

    async def scenario() -> None:
        commit = GroupCommit(store, max_waiting=10)
        gone, here = commit.add(batch("gone"), turn=A), commit.add(batch("here"), turn=A)
        gone.cancel()
        assert len(await here) == 1
        await commit.drained()

    run(scenario)

    assert store.groups == [["gone", "here"]]
