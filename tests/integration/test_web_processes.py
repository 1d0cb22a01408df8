"""The web server's processes: one that dies is replaced, and all stop, whatever becomes of their parent."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from hookhub.procfile import ROOT
from hookhub.server import processes
from hookhub.server.processes import Children, Ended, Signals
from testbed.processes import free_port, wait_for
from tests.raw_http import CLOSE, WAIT, answer_to, connect, parsed, post, rest_of, served, told

GET = b"GET /x HTTP/1.1\r\n" + CLOSE + b"\r\n"
HOLD = b"GET /hold HTTP/1.1\r\n" + CLOSE + b"\r\n"


def children_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def refuses(port: int) -> bool:
    with socket.socket() as late:
        return late.connect_ex(("127.0.0.1", port)) != 0


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_the_application_is_loaded_once_for_all_processes(tmp_path: Path) -> None:
    with served(WEB_WORKERS="3", log=tmp_path / "log", LOADED="say so") as (port, process):
        wait_for(lambda: len(children_of(process)) == 3, "all processes")
        assert told(port, GET)["PATH_INFO"] == "/x"
        assert (tmp_path / "log").read_text().count("loaded") == 1


def test_a_process_that_dies_is_replaced_and_the_others_serve_meanwhile(tmp_path: Path) -> None:
    with served(WEB_WORKERS="2", log=tmp_path / "log") as (port, process):
        wait_for(lambda: len(children_of(process)) == 2, "both processes")
        dying = children_of(process)[0]
        dying.kill()
        wait_for(lambda: dying not in children_of(process), "the end of a process")
        assert told(port, GET)["PATH_INFO"] == "/x"
        wait_for(lambda: len(running(children_of(process))) == 2, "another process")
        assert told(port, GET)["PATH_INFO"] == "/x"

        assert (
            f"The web process {dying.pid} was killed by signal 9; another one starts" in (tmp_path / "log").read_text()
        )


def test_a_process_that_is_stopped_alone_answers_and_is_replaced(tmp_path: Path) -> None:
    release = tmp_path / "release"
    with served(release=release) as (port, process), connect(port) as held:
        told(port, GET)
        (first,) = children_of(process)
        held.sendall(HOLD)
        wait_for(lambda: len(first.net_connections()) == 2, "the request")
        first.terminate()
        release.touch()

        assert parsed(rest_of(held))[0] == 200
        wait_for(lambda: first.pid not in [each.pid for each in children_of(process)], "its end")
        assert told(port, GET)["PATH_INFO"] == "/x"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_signal_that_stops_it_lets_requests_finish_and_connects_nobody(tmp_path: Path, number: int) -> None:
    release = tmp_path / "release"
    with served(release=release, WEB_WORKERS="2") as (port, process), connect(port) as held, connect(port) as idle:
        held.sendall(HOLD)
        idle.sendall(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 200"
        process.send_signal(number)
        rest_of(idle)
        # The other process may close its end of the port a little later.
        wait_for(lambda: refuses(port), "the port to be closed")
        release.touch()

        assert parsed(rest_of(held))[0] == 200
        assert process.wait(WAIT) == 0


def test_nohup_lets_it_outlive_its_terminal() -> None:
    with served(hangup=signal.SIG_IGN) as (port, process):
        told(port, GET)
        process.send_signal(signal.SIGHUP)
        assert told(port, GET)["PATH_INFO"] == "/x"
        assert process.poll() is None


def test_requests_that_do_not_end_are_cut_off_when_it_stops(tmp_path: Path) -> None:
    with served(release=tmp_path / "never", log=tmp_path / "log") as (port, process), connect(port) as held:
        held.sendall(HOLD)
        told(port, GET)
        process.terminate()

        assert rest_of(held) == b""
        assert process.wait(WAIT) == 0
    assert "Requests cut off when the web server stopped: 1" in (tmp_path / "log").read_text()


def test_a_second_signal_kills(tmp_path: Path) -> None:
    with served(release=tmp_path / "never", log=tmp_path / "log") as (port, process), connect(port) as held:
        held.sendall(HOLD)
        told(port, GET)
        process.terminate()
        wait_for(lambda: refuses(port), "it to stop accepting")
        process.terminate()
        assert process.wait(WAIT) == 0
    assert "Web processes killed, because they did not stop in time: 1" in (tmp_path / "log").read_text()


def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    release = tmp_path / "release"
    with served(release=release, WEB_WORKERS="2") as (port, process), connect(port) as held:
        held.sendall(HOLD)
        wait_for(lambda: len(children_of(process)) == 2, "both processes")
        children = children_of(process)
        process.kill()
        release.touch()

        assert parsed(rest_of(held))[0] == 200
        wait_for(lambda: not running(children), "the end of all processes")


class Forked(Children):
    """A process that has ended; for another one, memory is missing at first."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.started = 0
        self.dead = [Ended(1, -9, 0.0)]

    def __len__(self) -> int:
        return len(self.dead) + self.started

    def start(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self.started += 1

    def ended(self) -> list[Ended]:
        return [self.dead.pop()] if self.dead else []


class Waits(Signals):
    """Signals of which the last one is to stop."""

    def __init__(self, children: Forked) -> None:
        self._children = children

    def wait(self, seconds: float | None) -> bool:
        return bool(self._children.started)


def test_a_signal_is_not_lost_that_comes_once_it_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {number: signal.getsignal(number) for number in (*processes.STOPPING, signal.SIGCHLD)}
    install = signal.signal

    def install_and_send(number: signal.Signals, handler: Any) -> None:
        install(number, handler)
        if number == signal.SIGTERM:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(signal, "signal", install_and_send)
    try:
        with processes.signals() as received:
            assert received.wait(0)
    finally:
        for number, handler in own.items():
            install(number, handler)


@contextmanager
def loading(folder: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    """Start the web server with an application that is loaded once a file ``go`` is there."""
    (folder / "slow.py").write_text(
        "import time; from pathlib import Path; here = Path(__file__).parent; (here / 'loading').touch()\n"
        "while not (here / 'go').exists(): time.sleep(0.01)\n"
        "application = None\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "hookhub.server", "--port", str(port), "slow:application"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(folder)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for((folder / "loading").exists, "it to load")
    with process:
        yield process


def test_it_can_be_stopped_while_the_application_is_loaded(tmp_path: Path) -> None:
    # With a handler of its own, also as the first process of a container.
    with loading(tmp_path, 0) as process:
        process.terminate()

        assert process.wait(WAIT) == 0


def test_an_address_that_another_server_takes_meanwhile_is_said(tmp_path: Path) -> None:
    port = free_port()
    with loading(tmp_path, port) as process, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        (tmp_path / "go").touch()

        assert process.communicate(timeout=WAIT)[1].startswith(
            f"The web server cannot listen at 127.0.0.1, port {port}"
        )
        assert process.returncode == 1


# A process that is told to stop before it serves.
EARLY = """
import asyncio, os, signal, socket
from hookhub.server import processes

async def serve(*arguments, **options):
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)

processes.serve = serve
with processes.signals() as received:
    children = processes.Children(socket.socket(), None, idle_seconds=1)
    children.start()
    received.wait(60)
    print([child.code for child in children.ended()])
"""


def test_a_process_that_is_stopped_before_it_serves_ends() -> None:
    found = subprocess.run(
        [sys.executable, "-c", EARLY], cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=True
    )

    assert found.stdout == "[-15]\n"


class Silent(Signals):
    """Signals that have all been read."""

    def __init__(self) -> None:
        pass

    def wait(self, seconds: float | None) -> bool:
        raise AssertionError(f"it waits for {seconds} s")


def test_a_process_that_cannot_be_replaced_for_now_is_replaced_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "REPLACED_AFTER_SECONDS", 0)
    children = Forked(failures=2)

    assert processes._replace_until_stopped(children, Waits(children))

    assert children.started == 1
    assert [line for line in caplog.messages if "another one" not in line] == [
        "No web process can be started for 0 s: Cannot allocate memory"
    ] * 2


def test_the_end_of_a_process_is_not_waited_for_where_its_signal_has_come_with_the_one_to_stop() -> None:
    children = Forked()

    processes._wait_for_end(children, Silent())

    assert len(children) == 0


def started(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hookhub.server", *arguments], cwd=ROOT, env={**os.environ, **settings},
        capture_output=True, text=True, timeout=WAIT, check=False,
    )  # fmt: skip


def test_an_address_that_cannot_be_had_is_said_before_anything_is_loaded() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = started("--port", str(port), "tests.front_app:application", LOADED="say so")

    assert found.returncode == 1
    assert found.stderr == (
        f"The web server cannot listen at 127.0.0.1, port {port}: [Errno 98] Address already in use. "
        "Choose others by HOST and PORT.\n"
    )


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1", "127.0.0.1:80"])
def test_a_host_that_is_not_this_one_is_said(host: str) -> None:
    found = started("--host", host, "tests.front_app:application")

    assert found.returncode == 1
    assert found.stderr.startswith(f"The web server cannot listen at {host}, port 8000: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0", "a:b"], "argument --workers: '0' is not a whole number above 0"),
        (["--idle-timeout", "never", "a:b"], "argument --idle-timeout: 'never' is not a whole number above 0"),
        (["--port", "http", "a:b"], "argument --port: 'http' is not a port, 0 to 65535"),
        (["--port", "70000", "a:b"], "argument --port: '70000' is not a port, 0 to 65535"),
        (["--port", "0", "application"], "'application' must be a module and a name in it"),
        (["--port", "0", "tests.front_app:nothing"], "tests.front_app has no 'nothing'"),
        (["--port", "0", "tests.nothing:application"], "No module named 'tests.nothing'"),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], message: str) -> None:
    found = started(*arguments)

    assert found.returncode != 0
    assert message in found.stderr


def test_an_application_that_cannot_start_ends_the_server() -> None:
    found = started("--port", str(free_port()), "--workers", "2", "tests.front_app:application", FAILS="at its start")

    assert found.returncode == 1
    assert "The web server could not start" in found.stderr
    assert "at its start" in found.stderr
    assert "another one starts" not in found.stderr


def test_it_serves_without_an_output() -> None:
    with served(before="exec <&- >&- 2>&-; ") as (port, process):
        assert told(port, GET)["PATH_INFO"] == "/x"
    assert process.wait(WAIT) == 0


def test_it_listens_at_ipv6_too() -> None:
    port = free_port()
    with served(HOST="::", PORT=str(port)) as (_, _), socket.create_connection(("::1", port), WAIT) as connection:
        connection.sendall(GET)
        assert json.loads(parsed(rest_of(connection))[2])["REMOTE_ADDR"] == "::1"
        assert answer_to(port, post(0))[0] == 200
