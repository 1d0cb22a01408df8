"""The sender and DNS: one lookup for all requests, without delaying others, and addresses are checked on connect."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pycurl
import pytest

from deliveries.policy.outcomes import NoResponse
from deliveries.sending import ssrf
from deliveries.sending.sender import Sender, make_sender
from tests.integration.test_sender import (
    LATE,
    LONG,
    SOON,
    a_request,
    exchange,
    exchange_all,
    kind_of,
    open_files,
    status_of,
)
from tests.receiver import Answer, Receiver


class Nameserver:
    """Replaces the system's resolver: resolves some names, does not answer for others, and fails for the rest."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.silent: set[str] = set()
        self.may_answer = threading.Event()
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, *_: object, **__: object) -> list[Any]:
        self.asked.append(host)
        if host in self.silent:
            self.may_answer.wait(60)
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
            for address in self.addresses[host]
        ]


@pytest.fixture
def nameserver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nameserver]:
    made = Nameserver()
    made.addresses["good.example"] = ["127.0.0.1"]
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.may_answer.set()


def at(host: str, receiver: Receiver) -> str:
    return f"http://{host}:{receiver.port}/"


def test_a_name_is_looked_up_and_its_receiver_sees_the_name(
    sender: Sender, receiver: Receiver, nameserver: Nameserver
) -> None:
    assert status_of(exchange(sender, a_request(at("Good.Example", receiver)))) == 200

    assert nameserver.asked == ["good.example"]
    assert receiver.received[0].headers["host"] == f"Good.Example:{receiver.port}"


def test_hundreds_of_names_whose_nameserver_is_silent_hold_up_no_other(
    receiver: Receiver, nameserver: Nameserver
) -> None:
    many = make_sender(slots=300)
    nameserver.silent = {f"{n}.dead.example" for n in range(250)}
    for host in sorted(nameserver.silent):
        many.start(a_request(at(host, receiver)), token=host)
    many.wait(timedelta(milliseconds=50))

    many.start(a_request(at("good.example", receiver)), token="good")
    started = time.monotonic()
    [(token, found)] = many.wait(LONG)

    assert (token, status_of(found)) == ("good", 200)
    assert time.monotonic() - started < LATE.total_seconds()
    assert many.in_flight == 250
    many.close()
    assert time.monotonic() - started < LATE.total_seconds()


def test_many_requests_to_one_silent_name_ask_once_and_go_on_together(
    sender: Sender, receiver: Receiver, nameserver: Nameserver
) -> None:
    nameserver.silent = {"slow.example"}
    nameserver.addresses["slow.example"] = ["127.0.0.1"]
    for n in range(30):
        sender.start(a_request(at("slow.example", receiver)), token=n)
    assert exchange_others(sender, receiver) == 200

    nameserver.may_answer.set()
    ended: list[Any] = []
    while sender.in_flight:
        ended += sender.wait(timedelta(seconds=1))

    assert sorted(token for token, _ in ended) == list(range(30))
    assert {status_of(found) for _, found in ended} == {200}
    assert nameserver.asked.count("slow.example") == 1


def exchange_others(sender: Sender, receiver: Receiver) -> int:
    """Send a request to a known name while others wait, and return its status."""
    sender.start(a_request(at("good.example", receiver)), token="good")
    [(token, found)] = sender.wait(LONG)
    assert token == "good"
    return status_of(found)


def test_the_deadline_covers_the_look_up(sender: Sender, receiver: Receiver, nameserver: Nameserver) -> None:
    nameserver.silent = {"slow.example"}
    nameserver.addresses["slow.example"] = ["127.0.0.1"]

    for _ in range(2):
        found = exchange(sender, a_request(at("slow.example", receiver), timeout=SOON))

        assert found.result == NoResponse("timeout", "Resolving the host name timed out after 300 ms", "name_timed_out")
        assert SOON <= found.duration < LATE
    assert nameserver.asked == ["slow.example"]

    # The canceled request is not sent later, and its curl handle is reused for others.
    nameserver.may_answer.set()
    assert status_of(exchange(sender, a_request(at("slow.example", receiver)))) == 200
    assert len(receiver.received) == 1
    assert (sender.in_flight, sender.free) == (0, 64)


def test_the_deadline_is_one_for_the_look_up_and_the_answer(
    sender: Sender, receiver: Receiver, nameserver: Nameserver
) -> None:
    receiver.script = lambda connection, request: receiver.closing.wait(60)  # type: ignore[assignment, return-value]
    nameserver.silent = {"slow.example"}
    nameserver.addresses["slow.example"] = ["127.0.0.1"]
    threading.Timer(3, nameserver.may_answer.set).start()

    found = exchange(sender, a_request(at("slow.example", receiver), timeout=timedelta(seconds=4)))

    assert found.result == NoResponse("timeout", "No response within 4 s", "response_timed_out")
    # Two deadlines, one after the other, would be 7 s.
    assert timedelta(seconds=4) <= found.duration < timedelta(seconds=6.9)


def test_the_look_up_is_timed_apart(sender: Sender, receiver: Receiver, nameserver: Nameserver) -> None:
    nameserver.silent = {"good.example"}
    threading.Timer(0.2, nameserver.may_answer.set).start()

    timing = exchange(sender, a_request(at("good.example", receiver))).timing

    assert timing.dns is not None
    # The answer came after 200 ms of its own clock.
    assert timing.dns >= 100_000
    assert timing.connect is not None


def test_a_name_that_is_denied_is_unreachable_and_asked_for_again(
    sender: Sender, receiver: Receiver, nameserver: Nameserver
) -> None:
    requests = [a_request(at("nowhere.example", receiver))] * 3

    for times in (1, 2):
        found = exchange_all(sender, requests)
        assert {each.result for each in found} == {
            NoResponse("unreachable", "Could not resolve host: nowhere.example", "name_not_resolved")
        }
        assert times <= len(nameserver.asked) <= 3 * times

    nameserver.addresses["nowhere.example"] = ["127.0.0.1"]
    assert [status_of(each) for each in exchange_all(sender, requests)] == [200] * 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "a.localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"])
def test_for_an_address_nobody_is_asked(sender: Sender, receiver: Receiver, nameserver: Nameserver, host: str) -> None:
    exchange(sender, a_request(at(host, receiver), timeout=LATE))

    assert nameserver.asked == []


def test_addresses_are_kept_for_new_connections_but_not_for_ever(
    sender: Sender, receiver: Receiver, nameserver: Nameserver
) -> None:
    receiver.answers["/"] = Answer(200, {"Connection": "close"})
    for n in (1, 2, 3):
        assert status_of(exchange(sender, a_request(at("good.example", receiver)))) == 200
        assert (receiver.connections, nameserver.asked) == (n, ["good.example"])

    # libcurl's cache, whose entries expire after a minute by default.
    [transfer] = sender._idle
    transfer.curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 1)
    nameserver.addresses["good.example"] = []
    until = time.monotonic() + 60
    while time.monotonic() < until and len(nameserver.asked) == 1:
        found = exchange(sender, a_request(at("good.example", receiver), timeout=LATE))
        time.sleep(0.1)

    assert kind_of(found) == "unreachable"
    assert len(nameserver.asked) >= 2


def test_a_kept_connection_needs_no_look_up(sender: Sender, receiver: Receiver, nameserver: Nameserver) -> None:
    for _ in range(20):
        assert status_of(exchange(sender, a_request(at("good.example", receiver)))) == 200

    assert (receiver.connections, nameserver.asked) == (1, ["good.example"])


def test_of_several_addresses_another_is_dialled_when_one_fails(
    sender: Sender, receiver: Receiver, nameserver: Nameserver
) -> None:
    nameserver.addresses["two.example"] = ["::1", "127.0.0.2", "127.0.0.1"]

    assert status_of(exchange(sender, a_request(at("two.example", receiver)))) == 200


def test_what_a_name_leads_to_is_judged_at_the_dial(receiver: Receiver, nameserver: Nameserver) -> None:
    strict = Sender(slots=1, policy=ssrf.Policy(), certificates="")
    nameserver.addresses["rebind.example"] = ["127.0.0.1", "::1", "::ffff:127.0.0.1"]

    found = exchange(strict, a_request(at("rebind.example", receiver)))

    assert isinstance(found.result, NoResponse)
    assert found.result.kind == "forbidden"
    assert found.result.error.startswith("Connections to rebind.example are not allowed: it resolves to ")
    assert receiver.connections == 0
    strict.close()


def test_an_answer_that_comes_after_the_sender_was_closed_is_nobodys(
    receiver: Receiver, nameserver: Nameserver
) -> None:
    nameserver.silent = {"slow.example"}
    nameserver.addresses["slow.example"] = ["127.0.0.1"]
    before = open_files()
    sender = make_sender(slots=1)
    sender.start(a_request(at("slow.example", receiver)), token=1)
    sender.wait(timedelta(milliseconds=50))
    assert nameserver.asked == ["slow.example"]

    sender.close()
    nameserver.may_answer.set()

    other = make_sender(slots=1)
    assert status_of(exchange(other, a_request(at("slow.example", receiver)))) == 200
    other.close()
    assert receiver.connections == 1
    assert open_files() <= before + 2
