"""The thread pool for requests: how many may wait, and in which order they run."""

import asyncio
import threading
from functools import partial

import pytest

from hookhub.server.pool import Full, Pool, Turn

A = partial(Turn, "a")


def test_clients_take_turns_however_many_requests_one_has_waiting() -> None:
    done: list[str] = []
    gate = threading.Event()

    async def scenario() -> None:
        pool = Pool(threads=1, max_waiting=10)
        # The thread has one, and one is handed out ahead.
        first = [pool.run(gate.wait, turn=A), pool.run(gate.wait, turn=A)]
        later = [
            pool.run(lambda name=name: done.append(name), turn=partial(Turn, name[0]))
            for name in ("a1", "a2", "a3", "b1", "c1")
        ]
        gate.set()
        await asyncio.gather(*first, *later)
        pool.close()

    asyncio.run(scenario())

    assert done == ["a1", "b1", "c1", "a2", "a3"]


def test_the_callers_at_one_address_take_turns_and_have_no_more_of_them_for_being_many() -> None:
    done: list[str] = []
    gate = threading.Event()
    wanted = [("proxy", "a"), ("proxy", "a"), ("proxy", "a"), ("proxy", "b"), ("other", "c"), ("other", "c")]

    async def scenario() -> None:
        pool = Pool(threads=1, max_waiting=10)
        first = [pool.run(gate.wait, turn=A), pool.run(gate.wait, turn=A)]
        later = [
            pool.run(partial(done.append, f"{caller}{number}"), turn=partial(Turn, address, caller))
            for number, (address, caller) in enumerate(wanted)
        ]
        gate.set()
        await asyncio.gather(*first, *later)
        pool.close()

    asyncio.run(scenario())

    assert done == ["a0", "c4", "b3", "c5", "a1", "a2"]


def outcomes(turns: list[Turn], *, max_waiting: int) -> list[bool]:
    """Return, for each request that arrives while the only thread is busy, whether it was executed in the end."""
    gate = threading.Event()

    async def scenario() -> list[bool]:
        pool = Pool(threads=1, max_waiting=max_waiting)
        first = [pool.run(gate.wait, turn=A), pool.run(gate.wait, turn=A)]
        later = [pool.run(lambda: True, turn=lambda turn=turn: turn) for turn in turns]
        gate.set()
        results = await asyncio.gather(*later, return_exceptions=True)
        assert await asyncio.gather(*first) == [True, True]
        assert await pool.run(lambda: "room again", turn=A) == "room again"
        pool.close()
        assert all(result is True or isinstance(result, Full) for result in results)
        return [result is True for result in results]

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        pytest.param([Turn("a")] * 4, [True, True, True, False], id="one client fills the queue"),
        pytest.param([*[Turn("a")] * 3, Turn("b")], [True, True, False, True], id="and gives way to another"),
        pytest.param(
            [*[Turn("a")] * 3, Turn("b"), Turn("b"), Turn("c")],
            [True, False, False, True, False, True],
            id="until each has its share",
        ),
        pytest.param(
            [*[Turn("p", "x")] * 3, Turn("p", "y")], [True, True, False, True], id="so do callers at one address"
        ),
        pytest.param(
            [*[Turn("p", str(number)) for number in range(3)], Turn("b")],
            [True, True, False, True],
            id="many credentials at one address give way to another address",
        ),
        pytest.param(
            [Turn("a"), Turn("b"), Turn("c"), Turn("d")], [True, True, True, False], id="equals do not push each other"
        ),
    ],
)
def test_a_full_queue_refuses_the_newest_of_those_who_have_the_most_in_it(
    turns: list[Turn], expected: list[bool]
) -> None:
    assert outcomes(turns, max_waiting=3) == expected


def test_a_call_that_fails_fails_its_own_request_and_no_other() -> None:
    async def scenario() -> None:
        pool = Pool(threads=1, max_waiting=3)
        failing = pool.run(lambda: 1 // 0, turn=A)
        working = pool.run(lambda: 1, turn=A)
        with pytest.raises(ZeroDivisionError):
            await failing
        assert await working == 1
        pool.close()

    asyncio.run(scenario())


def test_a_request_that_is_given_up_leaves_its_place() -> None:
    gate = threading.Event()

    async def scenario() -> None:
        pool = Pool(threads=1, max_waiting=1)
        taken = [pool.run(gate.wait, turn=A) for _ in range(3)]
        taken[2].cancel()
        gate.set()
        assert await asyncio.gather(*taken[:2]) == [True, True]
        assert await pool.run(lambda: "done", turn=A) == "done"
        pool.close()

    asyncio.run(scenario())
