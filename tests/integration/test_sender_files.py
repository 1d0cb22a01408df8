"""The sender and file descriptors: as many as allowed, one for each connection, and a clear error when they run out."""

import itertools
import os
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pycurl
import pytest

from deliveries.policy.outcomes import NoResponse
from deliveries.sending import ssrf
from deliveries.sending.sender import MAX_FILES, Sender, make_sender
from tests.integration.test_sender import SOON, a_request, exchange_all, open_files, status_of
from tests.receiver import Receiver


@pytest.fixture
def few_files() -> Iterator[int]:
    """Lower this process's limit to a few more open files, and yield how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = 40
    taken = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    free = (number for number in itertools.count() if number not in taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, room, None)), hard))
    yield room
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_sender_is_allowed_as_many_files_as_the_system_lets_it_have(few_files: int, receiver: Receiver) -> None:
    sender = make_sender(slots=4 * few_files)
    receiver.delay = 0.2

    found = exchange_all(sender, [a_request(receiver.url()) for _ in range(4 * few_files)])

    assert {status_of(each) for each in found} == {200}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == (MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES))
    sender.close()


def test_a_connection_takes_one_file(sender: Sender) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        before = open_files()
        for n in range(30):
            sender.start(a_request(f"http://127.0.0.1:{silent.getsockname()[1]}/"), token=n)
        sender.wait(timedelta(milliseconds=200))

        assert open_files() - before <= 30 + 5
        sender.close()


@pytest.mark.parametrize("what", [pycurl.POLL_REMOVE, pycurl.POLL_INOUT], ids=["let go", "watched"])
def test_a_descriptor_may_have_been_closed_and_be_another_threads_by_now(sender: Sender, what: int) -> None:
    (ours, peer), theirs = socket.socketpair(), socket.socket()
    with peer, theirs:
        number = ours.detach()
        sender._watch(pycurl.POLL_IN, number, None, None)
        os.dup2(theirs.fileno(), number)

        sender._watch(what, number, None, None)

        sender._watch(pycurl.POLL_REMOVE, number, None, None)
        os.close(number)


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_connection_that_has_the_number_of_what_could_interrupt_gets_its_response(
    sender: Sender, *, is_replaced: bool
) -> None:
    # A lower number is free as well, for the copy of libcurl's socket that is closed again.
    lower, (source, peer) = socket.socket(), socket.socketpair()
    number = source.fileno()
    sender.let_interrupt(source)
    with peer, socket.create_server(("127.0.0.1", 0), backlog=16) as silent, ThreadPoolExecutor() as threads:
        lower.close()
        source.close()
        for n in range(8):
            sender.start(a_request(f"http://127.0.0.1:{silent.getsockname()[1]}/"), token=n)
        sender.wait(timedelta(milliseconds=100))
        assert number in sender._watched

        if is_replaced:
            sender.let_interrupt(None)
        answering = [threads.submit(answer_one, silent) for _ in range(8)]
        found = [each for _ in range(99) if sender.in_flight for each in sender.wait(timedelta(milliseconds=50))]

        assert [status_of(exchange) for _, exchange in found] == [200] * 8
        assert [each.result() for each in answering] == [None] * 8


def answer_one(server: socket.socket) -> None:
    """Accept a connection and answer its request."""
    with server.accept()[0] as connection:
        connection.settimeout(5)
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_running_out_of_files_is_not_told_as_the_receivers_fault(
    few_files: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as silent:
        sender = Sender(slots=4 * few_files, policy=ssrf.Policy(allows_loopback=True), certificates="")
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"

        found = exchange_all(sender, [a_request(url, timeout=SOON) for _ in range(4 * few_files)])
        sender.close()

    told = {each.result for each in found}
    assert told == {
        NoResponse("timeout", "No response within 0.3 s", "response_timed_out"),
        NoResponse("unreachable", "HookHub could not open a connection: Too many open files", "out_of_resources"),
    }
    assert "Traceback" not in capfd.readouterr().err
