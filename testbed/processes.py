"""Processes that can be started, killed and stopped one by one: those of the Procfile, and modules of the testbed."""

import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from hookhub import procfile
from hookhub.procfile import ROOT

STARTS_WITHIN_SECONDS = 90
STOPS_WITHIN_SECONDS = 90
# Below those that the system chooses for outgoing connections, of which tests have hundreds.
PORTS = range(10_000, 32_000)

# Prints progress.
Log = Callable[[str], None]


class Ended(NamedTuple):
    """A process that ended without having been stopped: its name, its process id, and its exit code."""

    name: str
    pid: int
    code: int


class Processes:
    """The processes of one HookHub, started with the exact commands of the Procfile.

    The part after a hyphen distinguishes processes of the same kind: ``worker-2`` is a second worker. ``commands`` may
    be changed, to start a process with a mutation.
    """

    def __init__(self, *, logs: Path, environment: Mapping[str, str]) -> None:
        self.logs = logs
        self.environment = dict(environment)
        self.commands = procfile.commands()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        # Environment variables in which a process differs from others of its kind; kept across restarts.
        self.extra_environment: dict[str, dict[str, str]] = {}

    def start(self, name: str, **environment: str) -> psutil.Process:
        """Start a process; its environment keeps earlier differences and adds those given."""
        self.extra_environment[name] = {**self.extra_environment.get(name, {}), **environment}
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                ["/bin/sh", "-c", self.commands[name.partition("-")[0]]],
                cwd=ROOT,
                env={**self.environment, **self.extra_environment[name]},
                stdout=log,
                stderr=log,
            )
        return psutil.Process(self.running[name].pid)

    @contextmanager
    def started(self, name: str, **environment: str) -> Iterator[psutil.Process]:
        """Run a process for the duration of the block."""
        process = self.start(name, **environment)
        try:
            yield process
        finally:
            self.stop(name)

    def kill(self, name: str) -> None:
        """SIGKILL a process and all its children."""
        family = self.family_of(name)
        process = self.running.pop(name)
        kill_all(family)
        process.wait()

    def kill_parent(self, name: str) -> list[psutil.Process]:
        """SIGKILL a process but none of its children; return the children."""
        _, *children = self.family_of(name)
        process = self.running.pop(name)
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
        """SIGTERM a process and its children, wait for it, and return its exit code; kill them if that takes long."""
        family = self.family_of(name)
        process = self.terminate(name)
        try:
            return process.wait(STOPS_WITHIN_SECONDS)
        finally:
            if process.poll() is None:
                kill_all(family)
                process.wait()

    def family_of(self, name: str) -> list[psutil.Process]:
        """Return a process followed by all its descendants; empty when it has ended."""
        try:
            return with_descendants(psutil.Process(self.running[name].pid))
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


class Module:
    """A module of this checkout that runs as a process until its standard input is closed; its errors go to ``log``."""

    def __init__(self, name: str, *arguments: str, log: Path | None = None) -> None:
        with log.open("a") if log else nullcontext() as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", name, *arguments],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def read(self) -> str:
        """Return the next line that it prints, empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def send(self, line: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def close(self) -> bool:
        """Close its standard input and wait for it; kill it if it does not end, and return whether it did."""
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            return False
        return True


def run_module(
    module: str, *arguments: str, stdin: str | None = None, environment: Mapping[str, str] | None = None
) -> Any:
    """Run a module of this checkout and return the JSON that it prints, or None when it prints nothing.

    Raise CalledProcessError when it fails.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, input=stdin, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout) if done.stdout else None


def with_descendants(process: psutil.Process) -> list[psutil.Process]:
    """Return a process followed by all its descendants."""
    return [process, *process.children(recursive=True)]


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL processes, and wait until they are gone."""
    victims = list(processes)
    for process in victims:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until_dead(victims, seconds=30)


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


def wait_for(
    is_so: Callable[[], object], what: str, *, seconds: float = STARTS_WITHIN_SECONDS, pause: float | None = None
) -> None:
    """Poll until a condition holds; raise RuntimeError after ``seconds``.

    Without a ``pause``, it polls often at first, and the less often the longer it takes.
    """
    began_at = time.monotonic()
    while not is_so():
        waited = time.monotonic() - began_at
        if waited > seconds:
            raise RuntimeError(f"timed out after {seconds:g} s waiting for {what}")
        # Some conditions cost milliseconds, which the processes that are waited for need themselves.
        time.sleep(min(max(waited / 8, 0.005), 0.1) if pause is None else pause)


@contextmanager
def hangups(action: signal.Handlers) -> Iterator[None]:
    """Start processes here with another default for SIGHUP than this one has, which ``nohup`` may have started."""
    before = signal.signal(signal.SIGHUP, action)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def free_port() -> int:
    """Return a free port that no outgoing connection takes before its server listens."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
