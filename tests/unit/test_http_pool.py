"""Threads for requests: how many wait, and whose turn it is."""

import asyncio
import threading

import pytest

from hookhub.http.pool import Full, Pool


def test_clients_take_turns_however_many_requests_one_has_waiting() -> None:
    done: list[str] = []
    gate = threading.Event()

    async def scenario() -> None:
        pool = Pool(threads=1, max_waiting=10, max_waiting_per_client=5)
        # One is with the thread and one is handed out ahead.
        first = [pool.run(gate.wait, client="a"), pool.run(gate.wait, client="a")]
        later = [
            pool.run(lambda name=name: done.append(name), client=name[0]) for name in ("a1", "a2", "a3", "b1", "c1")
        ]
        gate.set()
        await asyncio.gather(*first, *later)
        pool.close()

    asyncio.run(scenario())

    assert done == ["a1", "b1", "c1", "a2", "a3"]


def test_one_client_cannot_fill_the_queue_and_all_of_them_can() -> None:
    gate = threading.Event()

    async def scenario() -> None:
        pool = Pool(threads=1, max_waiting=3, max_waiting_per_client=2)
        taken = [pool.run(gate.wait, client="a") for _ in range(4)]
        with pytest.raises(Full):
            pool.run(gate.wait, client="a")
        taken.append(pool.run(gate.wait, client="b"))
        with pytest.raises(Full):
            pool.run(gate.wait, client="b")
        gate.set()
        assert await asyncio.gather(*taken) == [True] * 5
        assert await pool.run(lambda: "room again", client="a") == "room again"
        pool.close()

    asyncio.run(scenario())


def test_a_call_that_fails_fails_its_own_request_and_no_other() -> None:
    async def scenario() -> None:
        pool = Pool(threads=1, max_waiting=3, max_waiting_per_client=3)
        failing = pool.run(lambda: 1 // 0, client="a")
        working = pool.run(lambda: 1, client="a")
        with pytest.raises(ZeroDivisionError):
            await failing
        assert await working == 1
        pool.close()

    asyncio.run(scenario())


def test_a_request_that_is_given_up_leaves_its_place() -> None:
    gate = threading.Event()

    async def scenario() -> None:
        pool = Pool(threads=1, max_waiting=1, max_waiting_per_client=1)
        taken = [pool.run(gate.wait, client="a") for _ in range(3)]
        taken[2].cancel()
        gate.set()
        assert await asyncio.gather(*taken[:2]) == [True, True]
        assert await pool.run(lambda: "done", client="a") == "done"
        pool.close()

    asyncio.run(scenario())
