"""A whole HookHub as a child process, from its start to a clean stop: what the demo, the benches and the tests run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import requests

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
STARTS_WITHIN = timedelta(seconds=90)
STOPS_WITHIN = timedelta(seconds=60)


class ServiceError(RuntimeError):
    """It did not start, or did not stop cleanly; the message has the end of its log."""


@contextmanager
def running(*options: str, port: int, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run ``manage.py up`` on ``port`` with its output in ``log``, and give its address once it answers.

    ``options`` are of the command, ``environment`` is added to this process's own. Raises ServiceError.
    """
    url = f"http://127.0.0.1:{port}"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(MANAGE), "up", "--port", str(port), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            # In a session of its own, so that a Ctrl-C at the terminal is ours to pass on.
            start_new_session=True,
        )
    try:
        _wait_until_ready(url, process, log)
        yield url
    finally:
        code = _stop(process)
    if code:
        raise ServiceError(f"HookHub did not stop cleanly (code {code}); see {log}:\n{tail(log)}")


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run one management command and give what it printed; raises ServiceError when it fails."""
    done = subprocess.run(
        [sys.executable, str(MANAGE), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise ServiceError(f"manage.py {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
    return done.stdout


def is_ready(url: str) -> bool:
    """Tell whether the service answers and can accept events."""
    with requests.Session() as session:
        # It is this machine, to which no proxy of the environment leads.
        session.trust_env = False
        try:
            return session.get(f"{url}/readyz", timeout=1).ok
        except requests.RequestException:
            return False


def tail(log: Path) -> str:
    """Give the end of a log."""
    return log.read_text(errors="replace")[-3000:]


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + STARTS_WITHIN.total_seconds()
    while not is_ready(url):
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise ServiceError(f"HookHub did not start; see {log}:\n{tail(log)}")
        time.sleep(0.05)


def _stop(process: "subprocess.Popen[bytes]") -> int:
    """Stop it as Ctrl-C would; kill what does not stop in time."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(STOPS_WITHIN.total_seconds())
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
