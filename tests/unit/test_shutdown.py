"""The stop flag reaches forked processes, and a process whose parent has died sets it itself."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from deliveries import shutdown


@pytest.fixture(autouse=True)
def nobody_stops() -> Iterator[None]:
    yield
    shutdown.reset()


def in_a_child(tell: Callable[[], object]) -> bool:
    """Return what a function returns in a forked process."""
    pid = os.fork()
    if pid == 0:
        os._exit(bool(tell()))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_the_word_reaches_a_child_that_was_forked_before() -> None:
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(heard, 1)
        os._exit(shutdown.is_requested())
    shutdown.request()
    os.write(told, b"!")

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_a_child_whose_parent_lives_goes_on() -> None:
    def look() -> bool:
        shutdown.follow_parent()
        return shutdown.is_requested()

    assert not in_a_child(look)


def test_a_child_whose_parent_dies_is_to_stop() -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        shutdown._creator = os.getpid()
        if os.fork() == 0:
            shutdown.follow_parent()
            os.write(writing, b"no " if shutdown.is_requested() else b"yes")
            while os.getppid() == shutdown._creator:
                time.sleep(0.001)
            os.write(writing, b"yes" if shutdown.is_requested() else b"no ")
            os._exit(0)
        # The test, its parent, kills it.
        time.sleep(60)
        os._exit(0)

    assert os.read(reading, 3) == b"yes"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)

    assert os.read(reading, 3) == b"yes"


def test_a_child_whose_parent_died_before_it_asked_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> bool:
        shutdown.follow_parent()
        return shutdown.is_requested()

    # The process that created the flag is not the parent.
    monkeypatch.setattr(shutdown, "_creator", os.getppid())

    assert in_a_child(look)


def test_who_follows_nobody_never_stops_by_itself() -> None:
    assert not shutdown.is_orphaned()
