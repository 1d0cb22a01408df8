"""The supervisor of the worker without Celery replaces every process that dies, also of several at once."""

import os
from collections.abc import Callable
from datetime import timedelta

import pytest

from deliveries.worker import processes
from deliveries.worker.processes import Supervisor


class Watched(Supervisor):
    """A supervisor of imagined processes: ``dying`` are those that each look finds dead, in order."""

    def __init__(self, *, dying: list[set[int]]) -> None:
        self._mains = [lambda: None, *[lambda: None] * 2]
        self._running: dict[int, Callable[[], None]] = {}
        self._is_stopping = False
        self._woken, self._waker = os.pipe()
        self.dying = dying
        self.waits: list[timedelta] = []

    def _start(self, main: Callable[[], None]) -> None:
        self._running[max(self._running, default=0) + 1 + 10 * len(self.waits)] = main

    def _wait(self, longest: timedelta) -> None:
        self.waits.append(longest)
        # A wait for a day is only over because of a signal.
        if longest > timedelta(hours=1) and not self.dying:
            self._is_stopping = True

    def _finish(self) -> int:
        return 0


def test_processes_that_die_during_the_pause_before_a_restart_are_replaced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Watched(dying=[{1}, {2, 3}])
    dead: set[int] = set()

    def waitpid(pid: int, _: int) -> tuple[int, int]:
        return (pid, 9) if pid in dead else (0, 0)

    reap = supervisor._reap

    def look() -> int:
        if supervisor.dying:
            dead.update(supervisor.dying.pop(0))
        return reap()

    monkeypatch.setattr(processes.os, "waitpid", waitpid)
    monkeypatch.setattr(processes.signal, "signal", lambda *_: None)
    monkeypatch.setattr(processes.signal, "set_wakeup_fd", lambda _: -1)
    monkeypatch.setattr(supervisor, "_reap", look)

    assert supervisor.run() == 0

    assert len(supervisor._running) == 3
    assert not supervisor._running.keys() & {1, 2, 3}
    day, pause = timedelta(days=1), processes.RESTART_DELAY
    assert supervisor.waits == [day, pause, pause, day]
