"""DNS lookups: one for all requests for a name, on a fixed number of threads that do not keep a process alive."""

import select
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from deliveries.sending import dns
from deliveries.sending.dns import Mailbox, Name, Resolver, host_to_resolve


class Nameserver:
    """Replaces the system's resolver: resolves every name, but only when allowed to answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self._asked = threading.Condition()

    def getaddrinfo(self, host: str, *_: object, **__: object) -> list[Any]:
        with self._asked:
            self.asked.append(host)
            self._asked.notify_all()
        self.may_answer.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    def wait_until_asked(self, count: int) -> None:
        with self._asked:
            assert self._asked.wait_for(lambda: len(self.asked) >= count, 10)


@pytest.fixture
def nameserver(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Nameserver()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.may_answer.set()


def test_all_who_ask_for_a_name_at_once_share_one_look_up(nameserver: Nameserver) -> None:
    resolver = Resolver()

    answers = [resolver.look_up("one.example") for _ in range(50)]
    nameserver.wait_until_asked(1)
    nameserver.may_answer.set()

    assert [answer.result(60) for answer in answers] == [["192.0.2.1"]] * 50
    assert nameserver.asked == ["one.example"]


def test_an_answer_is_not_kept(nameserver: Nameserver) -> None:
    nameserver.may_answer.set()
    resolver = Resolver()

    for _ in range(3):
        resolver.look_up("one.example").result(60)

    assert nameserver.asked == ["one.example"] * 3


def test_silent_names_take_a_thread_each_and_no_more_than_there_may_be(nameserver: Nameserver) -> None:
    resolver = Resolver(max_threads=3)

    answers = [resolver.look_up(f"{n}.example") for n in range(6)]
    nameserver.wait_until_asked(3)
    assert len(nameserver.asked) == 3
    nameserver.may_answer.set()

    assert [answer.result(60) for answer in answers] == [["192.0.2.1"]] * 6
    assert sorted(nameserver.asked) == [f"{n}.example" for n in range(6)]


def test_of_the_names_that_wait_the_newest_is_next_and_the_oldest_is_dropped(nameserver: Nameserver) -> None:
    resolver = Resolver(max_threads=1, max_waiting=2)
    resolver.look_up("silent.example")
    nameserver.wait_until_asked(1)

    oldest, *others = [resolver.look_up(f"{n}.example") for n in range(3)]

    with pytest.raises(TimeoutError, match="Too many DNS lookups are in progress"):
        oldest.result(60)
    nameserver.may_answer.set()
    assert [answer.result(60) for answer in others] == [["192.0.2.1"]] * 2
    assert nameserver.asked == ["silent.example", "2.example", "1.example"]


def test_without_a_thread_to_be_had_a_name_waits_for_the_next_asker(
    nameserver: Nameserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    nameserver.may_answer.set()
    resolver = Resolver()
    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, "start", start)
        answer = resolver.look_up("one.example")
    assert not answer.done()

    assert resolver.look_up("other.example").result(60) == ["192.0.2.1"]
    assert answer.result(60) == ["192.0.2.1"]


def test_an_inbox_can_be_read_from_until_its_answers_are_taken(nameserver: Nameserver) -> None:
    inbox = Mailbox()
    poll = select.poll()
    poll.register(inbox.fileno(), select.POLLIN)
    for host in ("a.example", "b.example"):
        inbox.submit(host)
    nameserver.wait_until_asked(2)
    assert poll.poll(0) == []
    assert inbox.completed() == []

    nameserver.may_answer.set()
    taken = []
    while len(taken) < 2:
        assert poll.poll(10_000)
        taken += inbox.completed()

    assert sorted((host, answer.result()) for host, answer in taken) == [
        ("a.example", ["192.0.2.1"]), ("b.example", ["192.0.2.1"]),
    ]  # fmt: skip
    assert poll.poll(0) == []
    inbox.close()


def test_an_answer_for_a_closed_inbox_is_nobodys(nameserver: Nameserver) -> None:
    inbox = Mailbox()
    inbox.submit("late.example")
    nameserver.wait_until_asked(1)
    inbox.close()
    answer = dns.resolver_of_this_process().look_up("late.example")

    nameserver.may_answer.set()

    assert answer.result(60) == ["192.0.2.1"]
    assert inbox.completed() == []


PROGRAM = """
import os, socket, time
asked = []
def getaddrinfo(host, *_, **__):
    asked.append(host)
    if host == "silent.example" and os.getpid() == parent:
        time.sleep(60)
    return [(2, 1, 6, "", ("192.0.2.1", 0))]
socket.getaddrinfo = getaddrinfo
parent = os.getpid()
from deliveries.sending.dns import resolver_of_this_process
resolver_of_this_process().look_up("silent.example")
while not asked:
    time.sleep(0.01)
child = os.fork()
found = resolver_of_this_process().look_up("silent.example" if not child else "other.example").result(60)
assert found == ["192.0.2.1"]
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("done")
"""


def test_a_silent_name_keeps_neither_a_process_from_ending_nor_its_child_from_asking() -> None:
    started = time.monotonic()

    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert time.monotonic() - started < 30


NAMES = {
    "http://a.example/x": Name("a.example", "80"),
    "https://A.Example/": Name("a.example", "443"),
    "https://a_b.example:8443/?q#f": Name("a_b.example", "8443"),
    "http://xn--bcher-kva.example/": Name("xn--bcher-kva.example", "80"),
    "http://a.example./": Name("a.example.", "80"),
    "http://localhost.example/": Name("localhost.example", "80"),
    "http://127.0.0.1.example/": Name("127.0.0.1.example", "80"),
    "http://intranet/": Name("intranet", "80"),
    "http://127.0.0.1:8000/": None,
    "http://127.1/": None,
    "http://0x7f.1/": None,
    "http://2130706433/": None,
    "https://[2001:db8::1]:8443/": None,
    "http://[::ffff:127.0.0.1]/": None,
    "http://localhost/": None,
    "http://LOCALHOST.:8000/": None,
    "http://a.localhost/": None,
    "http://b\u00fccher.example/": None,
    "http://": None,
}


@pytest.mark.parametrize(("url", "name"), NAMES.items(), ids=NAMES)
def test_only_what_is_a_name_is_looked_up(url: str, name: Name | None) -> None:
    assert host_to_resolve(url) == name
