"""A HookHub in pieces: its web server and workers as separate processes, to be killed and started again one by one."""

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from hookhub import procfile

STOPS_WITHIN_SECONDS = 90


class Ended(NamedTuple):
    """A process of the crew that nobody told to stop: its name, its number, and its exit code."""

    name: str
    pid: int
    code: int


class Crew:
    """The processes of one HookHub, started with the very commands of the Procfile.

    What follows a hyphen in a name tells several of a kind apart: ``worker-2`` is another worker. ``rewrite`` may
    change a command, to start the same with a fault built in.
    """

    def __init__(
        self, *, logs: Path, environment: Mapping[str, str], rewrite: Callable[[str], str] = lambda command: command
    ) -> None:
        self.logs = logs
        self.environment = dict(environment)
        self.rewrite = rewrite
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        # What sets a process apart from others of its kind, also when it is started again.
        self.differences: dict[str, dict[str, str]] = {}

    def start(self, name: str, **environment: str) -> None:
        """Start a process of the Procfile, in an environment that differs as it did the last time, and by more."""
        self.differences[name] = {**self.differences.get(name, {}), **environment}
        command = self.rewrite(procfile.commands()[name.partition("-")[0]])
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=procfile.ROOT,
                env={**self.environment, **self.differences[name]},
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """SIGKILL a process with all its children."""
        process = self.processes.pop(name)
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()
        wait_until_dead(children, seconds=10)

    def kill_parent(self, name: str) -> list[psutil.Process]:
        """SIGKILL a process and none of its children; give those."""
        process = self.processes.pop(name)
        children: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        return children

    def tell_to_stop(self, name: str) -> "subprocess.Popen[bytes]":
        """SIGTERM a process and its children, as a service manager does, and give it to be waited for."""
        family = self.family_of(name)
        process = self.processes.pop(name)
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.terminate()
        return process

    def stop(self, name: str) -> int:
        """SIGTERM a process and its children, and give its exit code."""
        return self.tell_to_stop(name).wait(STOPS_WITHIN_SECONDS)

    def family_of(self, name: str) -> list[psutil.Process]:
        """Give a process with all its descendants, itself first; none when it has ended."""
        try:
            main = psutil.Process(self.processes[name].pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def children_of(self, name: str) -> list[psutil.Process]:
        """Give the living children of a process, oldest first."""
        process = self.processes.get(name)
        try:
            children = psutil.Process(process.pid).children() if process else []
        except psutil.NoSuchProcess:
            return []
        return [child for child in children if is_alive(child)]

    def tend(self) -> list[Ended]:
        """Start again what has ended without being told to, as a service manager does, and give it."""
        ended = [
            Ended(name, process.pid, code)
            for name, process in self.processes.items()
            if (code := process.poll()) is not None
        ]
        for one in ended:
            self.start(one.name)
        return ended

    def close(self) -> None:
        """Kill whatever is left."""
        for name in list(self.processes):
            self.kill(name)


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process lives; one that is dead and not yet reaped does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until_dead(processes: Iterable[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Wait until processes are dead, whoever may have to reap them, and give those that live on."""
    give_up_at = time.monotonic() + seconds
    alive = [process for process in processes if is_alive(process)]
    while alive and time.monotonic() < give_up_at:
        time.sleep(0.02)
        alive = [process for process in alive if is_alive(process)]
    return alive
