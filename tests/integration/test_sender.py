"""The sender against real sockets: many requests at once, one deadline for each, and all kinds of bad receivers."""

import gzip
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from deliveries.policy.outcomes import NoResponse
from deliveries.sending import ssrf
from deliveries.sending.exchange import Exchange, Request, Response
from deliveries.sending.sender import Sender, make_sender
from deliveries.sending.transfer import MAX_BODY, MAX_HEADERS
from tests.receiver import Answer, Received, Receiver, refusing_port

SOON = timedelta(seconds=0.3)
# Much longer than SOON, and much shorter than a receiver would take that is not cut off.
LATE = timedelta(seconds=30)
LONG = timedelta(seconds=10)


def a_request(url: str, *, body: bytes = b"{}", timeout: timedelta = LONG, **more: object) -> Request:
    return Request(url, (("Content-Type", "application/json"),), body, timeout, **more)  # type: ignore[arg-type]


def exchange_all(sender: Sender, requests: list[Request]) -> list[Exchange]:
    """Send all requests at once, and return their exchanges in the same order."""
    for token, request in enumerate(requests):
        sender.start(request, token=token)
    ended: dict[object, Exchange] = {}
    while sender.in_flight:
        ended.update(sender.wait(timedelta(seconds=1)))
    return [ended[token] for token in range(len(requests))]


def exchange(sender: Sender, request: Request) -> Exchange:
    [ended] = exchange_all(sender, [request])
    return ended


def status_of(found: Exchange) -> int:
    assert isinstance(found.result, Response), found.result
    return found.result.status


def kind_of(found: Exchange) -> str:
    assert isinstance(found.result, NoResponse), found.result
    return found.result.kind


# Successful exchanges ------------------------------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_given_and_the_answer_comes_back_whole(sender: Sender, receiver: Receiver) -> None:
    receiver.answers["/a/../b?c=%20d"] = Answer(202, {"X-One": "1", "x-two": "ü"}, b"thanks")

    found = exchange(
        sender, Request(receiver.url("/a/../b?c=%20d"), (("X-Token", "t"), ("X-Empty", "")), b"\0\xffbody", LONG)
    )

    assert found.result == Response(
        202, "Whatever", (("Content-Length", "6"), ("X-One", "1"), ("x-two", "ü")), b"thanks"
    )
    assert timedelta(0) < found.duration < LATE
    [request] = receiver.received
    assert (request.method, request.path, request.body) == ("POST", "/a/../b?c=%20d", b"\0\xffbody")
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}", "accept": "*/*", "x-token": "t", "x-empty": "", "content-length": "6",
        "content-type": "application/x-www-form-urlencoded",
    }  # fmt: skip


def test_a_mebibyte_is_sent_without_asking_leave(sender: Sender, receiver: Receiver) -> None:
    assert status_of(exchange(sender, a_request(receiver.url(), body=b"x" * 2**20))) == 200

    [request] = receiver.received
    assert request.body == b"x" * 2**20
    assert "expect" not in request.headers


def test_one_connection_serves_one_request_after_another(sender: Sender, receiver: Receiver) -> None:
    assert [status_of(exchange(sender, a_request(receiver.url()))) for _ in range(50)] == [200] * 50

    assert receiver.connections == 1


def test_a_new_connection_is_timed_and_a_kept_one_only_waits(sender: Sender, receiver: Receiver) -> None:
    first, second = [exchange(sender, a_request(receiver.url())).timing for _ in range(2)]

    assert first.connect is not None
    assert first.tls is None
    assert first.first_byte is not None
    assert (second.dns, second.connect, second.tls) == (None, None, None)
    assert second.first_byte is not None
    assert second.first_byte > 0


def test_a_response_that_never_comes_has_no_first_byte(sender: Sender, receiver: Receiver) -> None:
    receiver.script = lambda connection, request: receiver.closing.wait(60)  # type: ignore[assignment, return-value]

    timing = exchange(sender, a_request(receiver.url(), timeout=SOON)).timing

    assert timing.connect is not None
    assert timing.first_byte is None


def test_many_at_once_each_get_their_own_answer_and_share_connections(sender: Sender, receiver: Receiver) -> None:
    receiver.answers = {f"/{n}": Answer(400 + n, body=str(n).encode()) for n in range(60)}

    for _ in range(3):
        found = exchange_all(sender, [a_request(receiver.url(f"/{n}")) for n in range(60)])

        bodies = [one.result.body for one in found if isinstance(one.result, Response)]
        assert bodies == [str(n).encode() for n in range(60)]
        assert [status_of(one) for one in found] == [400 + n for n in range(60)]
    assert receiver.connections <= 60


def test_the_slots_are_counted(sender: Sender, receiver: Receiver) -> None:
    assert (sender.free, sender.in_flight) == (64, 0)

    sender.start(a_request(receiver.url()), token="a")
    assert (sender.free, sender.in_flight) == (63, 1)

    [(token, _)] = sender.wait(LONG)
    assert token == "a"
    assert (sender.free, sender.in_flight) == (64, 0)


def test_waiting_for_nothing_returns_and_waiting_is_bounded(sender: Sender, receiver: Receiver) -> None:
    assert sender.wait(timedelta(0)) == []
    receiver.script = lambda connection, request: receiver.closing.wait()
    sender.start(a_request(receiver.url()), token=1)

    started = time.monotonic()
    assert sender.wait(timedelta(milliseconds=50)) == []
    assert time.monotonic() - started < LATE.total_seconds()


def test_an_answer_that_came_in_time_counts_however_late_it_is_looked_at(sender: Sender, receiver: Receiver) -> None:
    may_answer, has_answered = threading.Event(), threading.Event()

    def answer_when_told(connection: socket.socket, _: Received) -> None:
        may_answer.wait()
        connection.sendall(Answer(200).encode())
        has_answered.set()

    receiver.script = answer_when_told
    sender.start(a_request(receiver.url(), timeout=timedelta(seconds=3)), token=1)
    deadline = time.monotonic() + 3
    while not receiver.received:
        assert sender.wait(timedelta(milliseconds=1)) == []
    may_answer.set()
    assert has_answered.wait(60)
    time.sleep(max(0, deadline - time.monotonic()) + 0.1)

    [(_, found)] = sender.wait(LONG)

    assert status_of(found) == 200


def test_what_is_overdue_is_given_up_also_while_others_end_all_the_time(sender: Sender, receiver: Receiver) -> None:
    receiver.script = lambda connection, request: (
        receiver.closing.wait() if request.path == "/hang" else connection.sendall(Answer(200).encode())
    )
    sender.start(a_request(receiver.url("/hang"), timeout=timedelta(milliseconds=200)), token="hangs")
    ended: list[object] = []
    started = time.monotonic()
    while "hangs" not in ended and time.monotonic() < started + 20:
        sender.start(a_request(receiver.url("/ok")), token="ok")
        ended += [token for token, _ in sender.wait(LONG)]

    assert "hangs" in ended
    assert "ok" in ended


def test_nothing_of_one_request_is_left_in_the_next(receiver: Receiver) -> None:
    sender = make_sender(slots=1)
    post = a_request(receiver.url(), body=b"secret of another")
    bodies = {"POST": b"p", "GET": b"", "DELETE": b"", "PUT": b"put", "PATCH": b"patch", "HEAD": b""}
    receiver.answers["/"] = Answer(204, body=b"")

    for method, body in bodies.items():
        for request in (post, a_request(receiver.url(), body=body, method=method), post):
            assert status_of(exchange(sender, request)) == 204
            arrived = receiver.received[-1]
            assert (arrived.method, arrived.body) == (request.method, request.body)
    sender.close()


def test_a_request_that_cannot_be_begun_leaves_the_sender_as_it_was(receiver: Receiver) -> None:
    sender = make_sender(slots=1)

    with pytest.raises(UnicodeEncodeError):
        sender.start(Request(receiver.url(), (("X", "\ud800"),), b"", LONG), token=1)

    assert (sender.free, sender.in_flight) == (1, 0)
    assert status_of(exchange(sender, a_request(receiver.url()))) == 200
    sender.close()


def test_a_connection_that_the_receiver_closed_meanwhile_is_replaced(sender: Sender, receiver: Receiver) -> None:
    receiver.answers["/"] = Answer(200)
    receiver.script = lambda connection, request: connection.sendall(Answer(200).encode())

    assert [status_of(exchange(sender, a_request(receiver.url()))) for _ in range(20)] == [200] * 20


# What is not sent ----------------------------------------------------------------------------------------------------


def test_cookies_are_not_kept(sender: Sender, receiver: Receiver) -> None:
    receiver.answers["/"] = Answer(200, {"Set-Cookie": "session=1; Path=/"})

    for _ in range(3):
        exchange(sender, a_request(receiver.url()))

    assert not any("cookie" in request.headers for request in receiver.received)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_answers_and_not_orders(sender: Sender, receiver: Receiver, status: int) -> None:
    for place in (
        receiver.url("/elsewhere"),
        "http://169.254.169.254/latest/meta-data/",
        "//\xff\xfe@@::",
        "file:///etc/passwd",
    ):
        receiver.answers["/"] = Answer(status, {"Location": place})
        assert status_of(exchange(sender, a_request(receiver.url()))) == status

    assert {request.path for request in receiver.received} == {"/"}
    assert len(receiver.received) == 4


def test_the_environments_proxies_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        sender = make_sender(slots=1)

        assert status_of(exchange(sender, a_request(receiver.url()))) == 200

        assert proxy.connections == 0
        sender.close()


def test_a_netrc_is_not_read(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login operator password s3cret\ndefault login a password b\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    receiver.answers["/"] = Answer(401, {"WWW-Authenticate": "Basic"})
    sender = make_sender(slots=1)

    assert status_of(exchange(sender, a_request(receiver.url()))) == 401

    assert "authorization" not in receiver.received[0].headers
    sender.close()


def test_compressed_answers_are_not_unpacked(sender: Sender, receiver: Receiver) -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    receiver.answers["/"] = Answer(200, {"Content-Encoding": "gzip"}, bomb)

    found = exchange(sender, a_request(receiver.url()))

    assert isinstance(found.result, Response)
    assert found.result.body == bomb[:MAX_BODY][: len(found.result.body)]
    assert "accept-encoding" not in receiver.received[0].headers


# Responses, byte for byte --------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
ANSWERS: dict[str, tuple[bytes, int | str]] = {
    "complete": (OK + b"Content-Length: 2\r\n\r\nok", 200),
    "without a reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nuntil it closes", 200),
    "until it closes": (OK + b"\r\nuntil it closes", 200),
    "bare newlines": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", 200),
    "status 204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    "status 204 with a body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204),
    "status 304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", 304),
    "status 600": (b"HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n", 600),
    "status 999": (b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", 999),
    "after interim answers": (INTERIM + b"HTTP/1.1 103 Hints\r\nX: y\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", 200),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
    "chunked with a trailer": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Late: 1\r\n\r\n", 200),
    "NUL and broken UTF-8 in the body": (OK + b"Content-Length: 4\r\n\r\n\0\xff\xfe\0", 200),
    "broken UTF-8 in a header": (OK + b"X: \xff\xfe\r\nContent-Length: 0\r\n\r\n", 200),
    # Malformed but complete, so accepting it loses nothing.
    "length beyond counting": (OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nok", 200),
    "status of four digits": (b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", 200),
    "nothing": (b"", "protocol"),
    "closes in the status": (b"HTTP/1.1 2", "protocol"),
    "closes behind the status": (b"HTTP/1.1 200", "protocol"),
    "closes behind the reason": (b"HTTP/1.1 200 OK", "protocol"),
    "closes behind the status line": (OK, "protocol"),
    "closes in a header's name": (OK + b"Content-Le", "protocol"),
    "closes in a header's value": (OK + b"Content-Length: ", "protocol"),
    "closes behind a header": (OK + b"X-Header: 1\r\n", "protocol"),
    "closes in the empty line": (OK + b"X-Header: 1\r\n\r", "protocol"),
    "closes behind an interim answer": (INTERIM, "protocol"),
    "closes in the headers behind an interim answer": (INTERIM + OK + b"X: 1\r\n", "protocol"),
    "closes in the body": (OK + b"Content-Length: 100\r\n\r\nhalf", "protocol"),
    "closes in a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf", "protocol"),
    "closes before the last chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "protocol"),
    "closes in the trailer": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-La", "protocol"),
    "broken chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", "protocol"),
    "negative chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n", "protocol"),
    "endless chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\nok", "protocol"),
    "negative length": (OK + b"Content-Length: -1\r\n\r\nok", "protocol"),
    "length is no number": (OK + b"Content-Length: two\r\n\r\nok", "protocol"),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", "protocol"),
    "status 099": (b"HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n", "protocol"),
    "status 000": (b"HTTP/1.1 000 What\r\nContent-Length: 0\r\n\r\n", "protocol"),
    "status of two digits": (b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "protocol"),
    "status of letters": (b"HTTP/1.1 OK 200\r\n\r\n", "protocol"),
    "switching protocols": (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "protocol"),
    "HTTP/0.9": (b"ok", "protocol"),
    "HTTP/2 in the clear": (b"HTTP/2 200 OK\r\n\r\n", "protocol"),
    "HTTP/9.9": (b"HTTP/9.9 200 OK\r\n\r\n", "protocol"),
    "another protocol": (b"220 smtp.example ESMTP\r\n", "protocol"),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00", "protocol"),
    "NUL in a header": (OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n", "protocol"),
    "header without a colon": (OK + b"\xff\xfe\r\n\r\n", "protocol"),
}


@pytest.mark.parametrize(("raw", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_only_a_complete_and_well_formed_answer_counts(
    sender: Sender, receiver: Receiver, raw: bytes, expected: int | str
) -> None:
    receiver.script = lambda connection, request: connection.sendall(raw)

    found = exchange(sender, a_request(receiver.url(), timeout=LATE))

    if isinstance(expected, int):
        assert status_of(found) == expected
    else:
        assert kind_of(found) == expected
        assert isinstance(found.result, NoResponse)
        assert len(found.result.error) > 5


def test_an_answer_arriving_byte_by_byte_is_the_same_answer(sender: Sender, receiver: Receiver) -> None:
    raw = INTERIM + OK + b"X-A: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n"

    def drip(connection: socket.socket, _: Received) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in raw:
            connection.sendall(bytes([byte]))

    receiver.script = drip

    found = exchange(sender, a_request(receiver.url()))

    assert isinstance(found.result, Response)
    assert (found.result.status, found.result.body) == (200, b"ok")
    assert found.result.header("x-a") == "b"


def test_the_headers_are_those_of_the_final_answer(sender: Sender, receiver: Receiver) -> None:
    early = b"HTTP/1.1 103 Hints\r\nRetry-After: 99\r\nX-Early: 1\r\n\r\n"
    receiver.script = lambda connection, request: connection.sendall(
        early + b"HTTP/1.1 503 Later\r\nRETRY-AFTER:   5  \r\nX-Twice: 1\r\nx-twice: 2\r\nContent-Length: 0\r\n\r\n"
    )

    found = exchange(sender, a_request(receiver.url()))

    assert isinstance(found.result, Response)
    assert found.result.header("retry-after") == "5"
    assert found.result.header("x-early") is None
    assert found.result.header("x-twice") == "1"
    assert found.result.reason == "Later"


# Responses that take too long ----------------------------------------------------------------------------------------


def drip_body(connection: socket.socket, _: Received) -> None:
    connection.sendall(OK + b"Content-Length: 1000\r\n\r\n")
    drip(connection)


def drip_headers(connection: socket.socket, _: Received) -> None:
    connection.sendall(OK + b"X-Header: ")
    drip(connection)


def drip_status(connection: socket.socket, _: Received) -> None:
    for byte in itertools.chain(b"HTTP/1.1 200 O", itertools.repeat(ord("K"))):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def drip(connection: socket.socket) -> None:
    # Ends when the other side closes the connection.
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def drip_interim(connection: socket.socket, _: Received) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        time.sleep(0.05)


def wait_for_hanging_up(connection: socket.socket) -> None:
    connection.settimeout(60)
    while connection.recv(65536):
        pass


def never_answer(connection: socket.socket, _: Received) -> None:
    wait_for_hanging_up(connection)


def promise_a_terabyte_and_send_nothing(connection: socket.socket, _: Received) -> None:
    connection.sendall(OK + b"Content-Length: 1000000000000\r\n\r\nhello")
    wait_for_hanging_up(connection)


def stop_in_the_headers(connection: socket.socket, _: Received) -> None:
    connection.sendall(OK + b"X-Header: 1\r\n")
    wait_for_hanging_up(connection)


HANGING = [
    drip_body, drip_headers, drip_status, drip_interim, never_answer, promise_a_terabyte_and_send_nothing,
    stop_in_the_headers,
]  # fmt: skip


@pytest.mark.parametrize("script", HANGING, ids=lambda script: script.__name__)
def test_the_deadline_covers_all_of_an_exchange(
    sender: Sender, receiver: Receiver, script: Callable[[socket.socket, Received], None]
) -> None:
    receiver.script = script

    found = exchange(sender, a_request(receiver.url(), timeout=SOON))

    assert kind_of(found) == "timeout"
    assert SOON <= found.duration < LATE


def test_the_deadline_covers_a_body_that_nobody_reads(sender: Sender, receiver: Receiver) -> None:
    receiver.greeting = lambda connection: receiver.closing.wait()  # type: ignore[assignment, return-value]

    found = exchange(sender, a_request(receiver.url(), body=b"x" * 2**23, timeout=SOON))

    assert kind_of(found) == "timeout"
    assert SOON <= found.duration < LATE


def test_the_deadline_covers_a_receiver_that_does_not_even_accept(sender: Sender) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.socket() as first,
        socket.socket() as second,
    ):
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())

        found = exchange(sender, a_request(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=SOON))

    assert kind_of(found) == "timeout"
    assert SOON <= found.duration < LATE


def test_those_that_hang_do_not_keep_the_others_waiting(sender: Sender, receiver: Receiver) -> None:
    with Receiver() as hanging:
        hanging.script = never_answer
        for n in range(40):
            sender.start(a_request(hanging.url(), timeout=LONG), token=("hanging", n))
        started = time.monotonic()

        for _ in range(10):
            for n in range(20):
                sender.start(a_request(receiver.url()), token=("fast", n))
            ended: list[object] = []
            while len(ended) < 20:
                ended += [token for token, _ in sender.wait(LONG)]
            assert sorted(ended) == sorted(("fast", n) for n in range(20))

        assert time.monotonic() - started < LATE.total_seconds()
        assert sender.in_flight == 40
        sender.close()


# Responses that are too long -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100, MAX_BODY - 1, MAX_BODY, MAX_BODY + 1, 3 * MAX_BODY])
def test_of_a_long_body_the_beginning_is_kept(receiver: Receiver, size: int) -> None:
    receiver.answers["/"] = Answer(202, body=b"x" * size)
    sender = Sender(slots=1, policy=ssrf.Policy(allows_loopback=True), certificates="", body_kept=100)

    found = exchange(sender, a_request(receiver.url()))

    assert isinstance(found.result, Response)
    assert (found.result.status, found.result.body) == (202, b"x" * min(size, 100))
    sender.close()


def test_never_more_is_kept_than_is_taken(receiver: Receiver) -> None:
    receiver.answers["/"] = Answer(200, body=b"x" * 2**20)
    sender = Sender(slots=1, policy=ssrf.Policy(allows_loopback=True), certificates="", body_kept=2**30)

    found = exchange(sender, a_request(receiver.url()))

    assert isinstance(found.result, Response)
    assert len(found.result.body) == MAX_BODY
    sender.close()


ENDLESS = {
    "a body of a terabyte": (OK + b"Content-Length: 1000000000000\r\n\r\n", b"x" * 8192),
    "chunks without end": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2000\r\n" + b"x" * 8192 + b"\r\n"),
    "a body until it closes": (OK + b"\r\n", b"x" * 8192),
}


@pytest.mark.parametrize(("head", "more"), ENDLESS.values(), ids=ENDLESS)
def test_an_endless_body_is_cut_off_and_judged_by_its_status(
    sender: Sender, receiver: Receiver, head: bytes, more: bytes
) -> None:
    sent, hung_up = [0], threading.Event()

    def pour(connection: socket.socket, _: Received) -> None:
        try:
            connection.sendall(head)
            while sent[0] < 10**9:
                connection.sendall(more)
                sent[0] += len(more)
        finally:
            hung_up.set()

    receiver.script = pour

    found = exchange(sender, a_request(receiver.url()))

    assert status_of(found) == 200
    assert hung_up.wait(60)
    # The kernel's buffers hold more than the sender has read.
    assert sent[0] < 50 * 2**20


LONG_HEADERS = {
    "one long header": (OK + b"X: ", b"x" * 8192),
    "many headers": (OK, b"X-Header: 1\r\n" * 500),
    "interim answers without end": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 300),
    "interim answers with headers": (b"", b"HTTP/1.1 103 Hints\r\nLink: </style.css>\r\n\r\n" * 300),
    "a status line without end": (b"HTTP/1.1 200 ", b"x" * 8192),
    "trailers without end": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Late: 1\r\n" * 500),
}


@pytest.mark.parametrize(("head", "more"), LONG_HEADERS.values(), ids=LONG_HEADERS)
def test_headers_without_end_are_cut_off_and_no_success(
    sender: Sender, receiver: Receiver, head: bytes, more: bytes
) -> None:
    def pour(connection: socket.socket, _: Received) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(more)

    receiver.script = pour

    found = exchange(sender, a_request(receiver.url(), timeout=LATE))

    assert kind_of(found) == "protocol"
    assert found.duration < LATE


def test_headers_just_below_the_limit_pass(sender: Sender, receiver: Receiver) -> None:
    receiver.answers["/"] = Answer(200, {f"X-{n}": "x" * 1000 for n in range(60)})

    found = exchange(sender, a_request(receiver.url()))

    assert isinstance(found.result, Response)
    assert len(found.result.headers) == 61


def test_the_owner_reads_how_long_headers_may_be(sender: Sender, receiver: Receiver) -> None:
    receiver.answers["/"] = Answer(200, {f"X-{n}": "x" * 1000 for n in range(70)})

    found = exchange(sender, a_request(receiver.url()))

    assert found.result == NoResponse(
        "protocol",
        f"The response headers are longer than {MAX_HEADERS} bytes. (after status 200)",
        "response_headers_too_long",
    )


# Connections that break, or carry extra data -------------------------------------------------------------------------


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize(
    "head",
    [b"", OK, OK + b"Content-Length: 9\r\n\r\nhalf", OK + b"\r\nhalf"],
    ids=["at once", "headers", "body", "no length"],
)
def test_a_reset_before_the_answer_is_complete_is_no_success(sender: Sender, receiver: Receiver, head: bytes) -> None:
    def answer_and_reset(connection: socket.socket, request: Received) -> None:
        # A close with unread data makes the kernel send RST instead of FIN, whatever was sent before.
        connection.sendall(head)
        reset(connection)

    receiver.script = answer_and_reset

    found = exchange(sender, a_request(receiver.url(), timeout=LATE))

    assert kind_of(found) == "protocol"


def test_a_port_where_nobody_listens_is_unreachable(sender: Sender) -> None:
    with refusing_port() as port:
        found = exchange(sender, a_request(f"http://127.0.0.1:{port}/"))

    assert kind_of(found) == "unreachable"


def test_a_name_that_does_not_exist_is_unreachable(sender: Sender) -> None:
    assert kind_of(exchange(sender, a_request("http://receiver.invalid/", timeout=LATE))) in {"unreachable", "timeout"}


def test_a_second_answer_behind_the_first_is_not_taken_for_the_next_requests(
    sender: Sender, receiver: Receiver
) -> None:
    success = OK + b"Content-Length: 0\r\n\r\n"
    receiver.answers["/"] = [Answer(raw=success * 3), Answer(500)]

    assert status_of(exchange(sender, a_request(receiver.url()))) == 200

    assert [status_of(exchange(sender, a_request(receiver.url()))) for _ in range(3)] == [500] * 3


def test_an_answer_that_comes_unasked_on_an_idle_connection_is_not_taken(sender: Sender, receiver: Receiver) -> None:
    said_too_much, may_speak = threading.Event(), threading.Event()

    def speak_unasked(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")
        if said_too_much.is_set():
            return
        may_speak.wait(60)
        connection.sendall(OK + b"Content-Length: 0\r\nX-Unasked: 1\r\n\r\n")
        said_too_much.set()
        receiver.closing.wait(60)

    receiver.greeting = speak_unasked
    assert status_of(exchange(sender, a_request(receiver.url()))) == 200
    may_speak.set()
    assert said_too_much.wait(60)

    found = exchange(sender, a_request(receiver.url()))

    assert isinstance(found.result, Response)
    assert found.result.header("x-unasked") is None
    assert receiver.connections == 2


# The SSRF guard at connection time -----------------------------------------------------------------------------------


@pytest.fixture
def strict() -> Iterator[Sender]:
    made = Sender(slots=4, policy=ssrf.Policy(), certificates="")
    yield made
    made.close()


# These bypass the validation of URLs; what counts is how libcurl interprets them.
WAYS_HOME = [
    "127.0.0.1", "localhost", "localhost.", "LOCALHOST", "a.localhost", "127.1", "0", "0.0.0.0", "2130706433",
    "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "①②⑦.⓪.⓪.①", "127。0。0。1", "%31%32%37.0.0.1",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[::1%25lo]",
    "[fe80::1%25lo]", "user:pass@127.0.0.1", "example.com@127.0.0.1", "127.0.0.1\\@example.com",
    "example.com\\@127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", WAYS_HOME)
def test_no_spelling_of_this_machine_is_dialled(strict: Sender, receiver: Receiver, host: str) -> None:
    try:
        found = exchange(strict, a_request(f"http://{host}:{receiver.port}/", timeout=LATE))
    except (UnicodeError, ValueError):
        # libcurl does not accept the URL.
        assert strict.in_flight == 0
    else:
        assert kind_of(found) in {"forbidden", "unreachable", "protocol"}
    assert receiver.connections == 0


def test_the_refusal_names_the_address_and_the_setting(strict: Sender, receiver: Receiver) -> None:
    found = exchange(strict, a_request(receiver.url()))

    assert found.result == NoResponse(
        "forbidden",
        "Connections to 127.0.0.1 are not allowed: it is in 127.0.0.0/8 (loopback). The operator can allow them by "
        "adding 127.0.0.1/32 to HOOKHUB_ALLOWED_NETWORKS or 127.0.0.1 to HOOKHUB_ALLOWED_HOSTS.",
        "address_blocked",
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/", "http://169.254.169.254/latest/", "https://192.168.0.1/", "http://100.64.0.1:8080/",
        "http://[fd00:ec2::254]/", "http://[fe80::1]/", "https://168.63.129.16/",
    ],
)  # fmt: skip
def test_loopback_for_development_opens_no_other_network(sender: Sender, url: str) -> None:
    assert kind_of(exchange(sender, a_request(url, timeout=LATE))) == "forbidden"


@pytest.mark.parametrize("port", [22, 25, 6379, 5432, 11211])
def test_no_exception_opens_a_port_of_another_service(port: int) -> None:
    sender = Sender(
        slots=1, policy=ssrf.Policy(allows_loopback=True, hosts=frozenset({"127.0.0.1", "localhost"})), certificates=""
    )

    for host in ("127.0.0.1", "localhost"):
        assert kind_of(exchange(sender, a_request(f"http://{host}:{port}/"))) == "forbidden"
    sender.close()


def test_an_allowed_host_is_dialled_by_its_name_only(receiver: Receiver) -> None:
    sender = Sender(slots=1, policy=ssrf.Policy(hosts=frozenset({"localhost"})), certificates="")

    assert kind_of(exchange(sender, a_request(receiver.url()))) == "forbidden"
    assert status_of(exchange(sender, a_request(f"http://localhost:{receiver.port}/"))) == 200
    # The open connection must not be reused for the IP address, which is still forbidden.
    assert kind_of(exchange(sender, a_request(receiver.url()))) == "forbidden"
    sender.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:1234/_x",
        "dict://127.0.0.1/",
        "ws://127.0.0.1/",
        "",
        "x",
        "http://",
    ],
)
def test_nothing_but_http_is_spoken(sender: Sender, url: str) -> None:
    assert kind_of(exchange(sender, a_request(url, timeout=LATE))) in {"protocol", "unreachable"}


# Cleanup -------------------------------------------------------------------------------------------------------------


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def wait_until(is_so: Callable[[], bool], *, seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    return is_so()


def test_five_hundred_exchanges_of_every_kind_leave_no_file_open(receiver: Receiver) -> None:
    endings = itertools.cycle([*(raw for raw, _ in ANSWERS.values()), None, b"RESET"])

    def misbehave(connection: socket.socket, request: Received) -> None:
        raw = next(endings)
        if raw is None:
            wait_for_hanging_up(connection)
        elif raw == b"RESET":
            reset(connection)
        else:
            connection.sendall(raw)

    with Receiver() as bad, refusing_port() as closed:
        bad.script = misbehave
        before = open_files()
        sender = make_sender(slots=50)
        forbidden = a_request("http://10.0.0.1/")
        for _ in range(10):
            requests = [a_request(bad.url(), timeout=timedelta(milliseconds=100)) for _ in range(30)]
            requests += [a_request(receiver.url()) for _ in range(10)]
            requests += [a_request(f"http://127.0.0.1:{closed}/")] * 5 + [forbidden] * 5
            assert len(exchange_all(sender, requests)) == 50
        assert open_files() < before + 200

        for n in range(5):
            sender.start(a_request(bad.url()), token=n)
        sender.wait(timedelta(milliseconds=20))
        sender.close()

        assert wait_until(lambda: open_files() <= before), f"{open_files()} files open, {before} before"
