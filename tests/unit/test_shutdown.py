"""The stop flag reaches forked processes, and a process whose parent has died sets it itself."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from deliveries import shutdown


@pytest.fixture(autouse=True)
def no_shutdown() -> Iterator[None]:
    yield
    shutdown.reset()


def in_a_child(check: Callable[[], object]) -> bool:
    """Return what a function returns in a forked process."""
    pid = os.fork()
    if pid == 0:
        os._exit(bool(check()))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_a_request_reaches_a_child_that_was_forked_before() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reader, 1)
        os._exit(shutdown.is_requested())
    shutdown.request()
    os.write(writer, b"!")

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_a_child_with_a_living_parent_continues() -> None:
    def check() -> bool:
        shutdown.follow_parent()
        return shutdown.is_requested()

    assert not in_a_child(check)


def test_the_death_of_the_parent_is_a_request() -> None:
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


def test_the_death_of_the_parent_before_the_child_followed_it_is_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> bool:
        shutdown.follow_parent()
        return shutdown.is_requested()

    # The process that created the flag is not the parent.
    monkeypatch.setattr(shutdown, "_creator", os.getppid())

    assert in_a_child(check)


def test_a_process_that_follows_no_parent_is_never_orphaned() -> None:
    assert not shutdown.is_orphaned()
