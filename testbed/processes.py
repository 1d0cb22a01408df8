"""One HookHub as separate processes, web server and workers, that can be killed and restarted one by one."""

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
    """A process that ended without having been stopped: its name, its process id, and its exit code."""

    name: str
    pid: int
    code: int


class Processes:
    """The processes of one HookHub, started with the exact commands of the Procfile.

    The part after a hyphen distinguishes processes of the same kind: ``worker-2`` is a second worker. ``rewrite`` may
    change a command, to start the process with a mutation.
    """

    def __init__(
        self, *, logs: Path, environment: Mapping[str, str], rewrite: Callable[[str], str] = lambda command: command
    ) -> None:
        self.logs = logs
        self.environment = dict(environment)
        self.rewrite = rewrite
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        # Environment variables in which a process differs from others of its kind; kept across restarts.
        self.extra_environment: dict[str, dict[str, str]] = {}

    def start(self, name: str, **environment: str) -> None:
        """Start a process of the Procfile; its environment keeps earlier differences and adds those given."""
        self.extra_environment[name] = {**self.extra_environment.get(name, {}), **environment}
        command = self.rewrite(procfile.commands()[name.partition("-")[0]])
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=procfile.ROOT,
                env={**self.environment, **self.extra_environment[name]},
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """SIGKILL a process and all its children."""
        process = self.running.pop(name)
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()
        wait_until_dead(children, seconds=10)

    def kill_parent(self, name: str) -> list[psutil.Process]:
        """SIGKILL a process but none of its children; return the children."""
        process = self.running.pop(name)
        children: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        return children

    def terminate(self, name: str) -> "subprocess.Popen[bytes]":
        """SIGTERM a process and its children, as a service manager does; return the process without waiting for it."""
        family = self.family_of(name)
        process = self.running.pop(name)
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.terminate()
        return process

    def stop(self, name: str) -> int:
        """SIGTERM a process and its children, wait for it, and return its exit code."""
        return self.terminate(name).wait(STOPS_WITHIN_SECONDS)

    def family_of(self, name: str) -> list[psutil.Process]:
        """Return a process followed by all its descendants; empty when it has ended."""
        try:
            main = psutil.Process(self.running[name].pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def children_of(self, name: str) -> list[psutil.Process]:
        """Return the living children of a process, oldest first."""
        process = self.running.get(name)
        try:
            children = psutil.Process(process.pid).children() if process else []
        except psutil.NoSuchProcess:
            return []
        return [child for child in children if is_alive(child)]

    def restart_ended(self) -> list[Ended]:
        """Restart the processes that ended without having been stopped, as a service manager does; return those."""
        ended = [
            Ended(name, process.pid, code)
            for name, process in self.running.items()
            if (code := process.poll()) is not None
        ]
        for one in ended:
            self.start(one.name)
        return ended

    def close(self) -> None:
        """Kill the processes that are left."""
        for name in list(self.running):
            self.kill(name)


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process is alive; a zombie is not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until_dead(processes: Iterable[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Wait until processes are dead, reaped or not; return those still alive after ``seconds``."""
    give_up_at = time.monotonic() + seconds
    alive = [process for process in processes if is_alive(process)]
    while alive and time.monotonic() < give_up_at:
        time.sleep(0.02)
        alive = [process for process in alive if is_alive(process)]
    return alive
