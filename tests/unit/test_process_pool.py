"""The pipe with which a worker wakes its own processes."""

import os
import threading
from collections.abc import Iterator

import pytest

from deliveries.worker import orphans, process_pool


@pytest.fixture
def reader() -> Iterator[int]:
    process_pool.open_pipe()
    assert process_pool._pipe is not None
    yield process_pool._pipe[0]
    process_pool.close_pipe()


def test_each_wake_up_is_taken_once_and_in_any_process(reader: int) -> None:
    process_pool.wake(1)

    pid = os.fork()
    if pid == 0:
        os._exit(process_pool.take(reader))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1

    assert not process_pool.take(reader)


@pytest.mark.parametrize("ticks", [1, 2, 1000])
def test_wake_ups_that_no_process_takes_do_not_pile_up(reader: int, ticks: int) -> None:
    for _ in range(ticks):
        process_pool.wake(2)

    assert [process_pool.take(reader) for _ in range(3)] == [True, True, False]


def test_a_process_that_runs_the_loop_leaves_a_wake_up_to_another(reader: int) -> None:
    drained = threading.Event()
    with orphans.drain_lock:
        process_pool.listen(drained.set)
        process_pool.wake(1)

        assert process_pool.take(reader)
        process_pool.wake(1)
        assert not drained.is_set()
    assert drained.wait(60)


def test_after_a_run_that_fails_the_next_wake_up_is_received(reader: int, caplog: pytest.LogCaptureFixture) -> None:
    failed, drained = threading.Event(), threading.Event()

    def drain() -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a bug")
        drained.set()

    process_pool.listen(drain)

    process_pool.wake(1)
    assert failed.wait(60)
    process_pool.wake(1)

    assert drained.wait(60)
    assert "A worker run without Redis failed" in caplog.text


def test_a_process_without_a_pipe_listens_to_nothing_and_wakes_none() -> None:
    threads = threading.active_count()

    process_pool.listen(print)

    assert threading.active_count() == threads
    with pytest.raises(RuntimeError, match="not open"):
        process_pool.wake(1)
