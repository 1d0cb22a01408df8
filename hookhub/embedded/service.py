"""Runs a complete HookHub as a child process until a clean stop, for the demo, the benchmarks and the tests."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import requests

from hookhub.procfile import PROGRAM

STARTS_WITHIN = timedelta(seconds=90)
STOPS_WITHIN = timedelta(seconds=60)


class ServiceError(RuntimeError):
    """HookHub did not start, did not stop cleanly, or a command failed; the message has the end of the output."""


@contextmanager
def running(*options: str, port: int, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run ``manage.py up`` on ``port`` with its output in ``log``, and yield its URL once it is ready.

    ``options`` are passed to the command, and ``environment`` is added to this process's. Raise ServiceError if HookHub
    does not start, or does not stop cleanly.
    """
    url = f"http://127.0.0.1:{port}"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*PROGRAM, "up", "--port", str(port), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            # In a separate session, so that Ctrl-C at the terminal does not reach it directly.
            start_new_session=True,
        )
    try:
        _wait_until_ready(url, process, log)
        yield url
    finally:
        code = _stop(process)
    if code:
        raise ServiceError(f"HookHub did not stop cleanly (exit code {code}); see {log}:\n{tail(log)}")


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run one management command and return its standard output; raise ServiceError if it fails."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise ServiceError(f"manage.py {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
    return done.stdout


def is_ready(url: str) -> bool:
    """Return whether the service answers and can accept events."""
    with requests.Session() as session:
        # The service is local, so a proxy configured in the environment must not be used.
        session.trust_env = False
        try:
            return session.get(f"{url}/readyz", timeout=1).ok
        except requests.RequestException:
            return False


def tail(log: Path) -> str:
    """Return the end of a log."""
    return log.read_text(errors="replace")[-3000:]


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + STARTS_WITHIN.total_seconds()
    while not is_ready(url):
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise ServiceError(f"HookHub did not start; see {log}:\n{tail(log)}")
        time.sleep(0.05)


def _stop(process: "subprocess.Popen[bytes]") -> int:
    """Stop the process as Ctrl-C would, or kill it if it takes too long; return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(STOPS_WITHIN.total_seconds())
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
