"""The HTTP front, served as in the Procfile: what untrusted clients can do to it over real sockets."""

import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.front_app import LONG
from tests.raw_http import CLOSE, WAIT, answer_to, connect, parsed, post, rest_of, served, told

SHORT_DEADLINE = "0.2"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served("30") as (port, _):
        yield port


@pytest.fixture(scope="module")
def impatient() -> Iterator[int]:
    with served(SHORT_DEADLINE) as (port, _):
        yield port


@pytest.fixture(scope="module")
def prefixed() -> Iterator[int]:
    with served("30", PREFIX="/hooks") as (port, _):
        yield port


def test_the_application_is_handed_what_wsgi_promises(port: int) -> None:
    lines = b"X-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX-Latin: \xe9\r\nX_Forwarded_Proto: https\r\n"

    environ = told(port, b"GET /a%20b/%C3%A9%ff?x=%20y HTTP/1.1\r\n" + lines + CLOSE + b"\r\n")

    assert environ == {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "HookHub",
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/\u00c3\u00a9\u00ff",
        "QUERY_STRING": "x=%20y",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(port),
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "h",
        "HTTP_CONNECTION": "close",
        "HTTP_X_A": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_LATIN": "\u00e9",
        "body": 0,
    }


def test_of_a_media_type_only_what_counts_is_handed_on(port: int) -> None:
    environ = told(port, post(2, more=b"Content-Type: application/json; charset=base64\r\n"), b"{}")

    assert environ["CONTENT_TYPE"] == "application/json"


def test_a_body_in_chunks_arrives_whole_and_with_its_length(port: int) -> None:
    head = b"POST /v1/webhooks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"\r\n"

    environ = told(port, head, b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n")

    assert (environ["body"], environ["CONTENT_LENGTH"]) == (5, "5")
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_a_body_in_chunks_is_cut_off_at_the_limit_too(port: int) -> None:
    head = b"POST /v1/webhooks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"\r\n"

    status, _, content = answer_to(port, head, (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 3, b"0\r\n\r\n")

    assert status == 413
    assert json.loads(content)["error"]["message"] == "The request body exceeds 65,536 bytes."


def test_a_client_that_sends_on_while_it_is_refused_gets_to_read_the_answer(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 4_000_000)
        connection.sendall(b"GET /next HTTP/1.1\r\n" + CLOSE + b"\r\n")
        raw = rest_of(connection)

    first, _, second = raw.partition(b"HTTP/1.1 200 OK")
    assert parsed(first)[0] == 413
    assert b'"PATH_INFO": "/next"' in second


def test_a_client_that_asks_first_is_refused_before_it_sends_anything(port: int) -> None:
    asking = b"Expect: 100-continue\r\n"

    assert answer_to(port, post(4_000_000, more=asking))[0] == 413
    with connect(port) as connection:
        connection.sendall(post(3, more=asking))
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert json.loads(parsed(rest_of(connection))[2])["body"] == 3


@pytest.mark.parametrize("path", ["/admin/login/", "/v1/events", "/v1/webhooks", "/admin/"])
def test_bodies_that_do_not_come_hold_no_thread_and_end_at_the_deadline(impatient: int, path: str) -> None:
    slow = [connect(impatient) for _ in range(16)]
    for connection in slow:
        connection.sendall(post(2, path) + b"x")

    assert told(impatient, b"GET /meanwhile HTTP/1.1\r\n" + CLOSE + b"\r\n")["PATH_INFO"] == "/meanwhile"

    for connection in slow:
        with connection:
            status, _, content = parsed(rest_of(connection))
        assert (status, json.loads(content)["error"]["code"]) == (408, "request_timeout")


def test_a_long_body_is_read_for_a_known_key_only(port: int) -> None:
    body = b"x" * 100_000
    known, unknown = b"Authorization: Bearer known\r\n", b"Authorization: Bearer unknown\r\n"

    assert answer_to(port, post(len(body), "/v1/events"), body)[0] == 413
    assert answer_to(port, post(len(body), "/v1/events", unknown), body)[0] == 401
    assert told(port, post(len(body), "/v1/events", known), body)["body"] == 100_000


def test_a_long_form_is_read_for_a_known_session_only(port: int) -> None:
    path, body = "/admin/hookhub/customeventtype/add/", b"x" * 100_000

    assert answer_to(port, post(len(body), path, b"Cookie: sessionid=unknown\r\n"), body)[0] == 401
    assert told(port, post(len(body), path, b"Cookie: sessionid=known\r\n"), body)["body"] == 100_000


@pytest.mark.parametrize(
    "rest", [pytest.param(b"3\r\nab", id="that break off"), pytest.param(b"zz\r\nab\r\n", id="without a length")]
)
def test_chunks_that_cannot_be_read_are_the_clients_mistake(port: int, rest: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"\r\n" + rest)
        connection.shutdown(socket.SHUT_WR)
        status, _, content = parsed(rest_of(connection))

    assert (status, json.loads(content)["error"]["code"]) == (400, "malformed")


def test_more_long_bodies_than_there_is_memory_for_are_put_off(port: int) -> None:
    known = b"Authorization: Bearer known\r\n"
    with connect(port) as first:
        first.sendall(post(1_000_000, "/v1/events", known) + b"x" * 999_999)
        # Once the first body is nearly received, there is memory for only half of another. A slow machine may have
        # received another before: then the first one is put off.
        until = time.monotonic() + WAIT
        while (found := answer_to(port, post(900_000, "/v1/events", known), b"x" * 900_000))[0] == 200:
            if select.select([first], [], [], 0)[0]:
                found = parsed(rest_of(first))
                break
            assert time.monotonic() < until
        else:
            first.sendall(b"x")
            assert json.loads(parsed(rest_of(first))[2])["body"] == 1_000_000

    assert (found[0], found[1]["retry-after"]) == (503, "1")
    assert told(port, post(900_000, "/v1/events", known), b"x" * 900_000)["body"] == 900_000


def test_a_full_queue_refuses_one_more_and_health_checks_are_answered_all_the_same(tmp_path: Path) -> None:
    release = tmp_path / "release"
    with served("30", release=release) as (port, _):
        # Two threads and one request ahead, and ten more may wait.
        holding = [connect(port) for _ in range(14)]
        for connection in holding:
            connection.sendall(b"GET /hold HTTP/1.1\r\n" + CLOSE + b"\r\n")
        (refused, *_), *_ = select.select(holding, [], [], WAIT)
        status, headers, content = parsed(rest_of(refused))

        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(content)["error"]["code"] == "overloaded"
        assert answer_to(port, b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"\r\n")[2] == b'{"status": "ok"}'
        assert answer_to(port, b"GET /readyz HTTP/1.1\r\n" + CLOSE + b"\r\n")[2] == b'{"status": "ok"}'

        release.touch()
        assert [parsed(rest_of(one))[0] for one in holding if one is not refused] == [200] * 13
        for connection in holding:
            connection.close()


def test_readers_that_do_not_read_hold_no_thread(port: int) -> None:
    readers = [connect(port) for _ in range(8)]
    for connection in readers:
        connection.sendall(b"GET /long HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"

    assert told(port, b"GET /meanwhile HTTP/1.1\r\n" + CLOSE + b"\r\n")["body"] == 0

    for connection in readers:
        with connection:
            assert len(rest_of(connection).partition(b"\r\n\r\n")[2]) == LONG


def test_head_has_the_length_and_nothing_of_the_content(port: int) -> None:
    for path, length in ((b"/long", str(LONG)), (b"/x", None)):
        status, headers, content = answer_to(port, b"HEAD " + path + b" HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert (status, content) == (200, b"")
        assert length is None or headers["content-length"] == length


@pytest.mark.parametrize(
    ("asked", "script_name", "path_info"),
    [
        pytest.param("/hooks/v1/events", "/hooks", "/v1/events", id="below the prefix"),
        pytest.param("/hooks/", "/hooks", "/", id="its root"),
        pytest.param("/hooks/a%20b/%C3%A9", "/hooks", "/a b/\u00c3\u00a9", id="quoted"),
        pytest.param("/hooksmith", "/hooks", "/hooksmith", id="another name that begins like it"),
        pytest.param("/v1/events", "/hooks", "/v1/events", id="taken off by a proxy"),
    ],
)
def test_a_path_prefix_is_handed_on_apart_from_the_path(
    prefixed: int, asked: str, script_name: str, path_info: str
) -> None:
    environ = told(prefixed, f"GET {asked} HTTP/1.1\r\n".encode() + CLOSE + b"\r\n")

    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


def test_limits_and_health_checks_are_the_same_below_a_path_prefix(prefixed: int) -> None:
    assert answer_to(prefixed, b"GET /hooks/healthz HTTP/1.1\r\n" + CLOSE + b"\r\n")[2] == b'{"status": "ok"}'
    assert answer_to(prefixed, b"GET /hooks/readyz HTTP/1.1\r\n" + CLOSE + b"\r\n")[2] == b'{"status": "ok"}'

    status, _, content = answer_to(prefixed, post(4097, "/hooks/admin/login/"), b"x" * 4097)
    assert (status, json.loads(content)["error"]["message"]) == (413, "The request body exceeds 4,096 bytes.")
    known = b"Authorization: Bearer known\r\n"
    assert told(prefixed, post(100_000, "/hooks/v1/events", known), b"x" * 100_000)["body"] == 100_000


def test_requests_sent_in_a_row_are_answered_in_order(port: int) -> None:
    first = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"

    with connect(port) as connection:
        connection.sendall(first + b"GET http://other/3 HTTP/1.1\r\n" + CLOSE + b"\r\n")
        raw = rest_of(connection)

    found = [raw.index(b'"PATH_INFO": "/%d"' % number) for number in (1, 2, 3)]
    assert found == sorted(found)


def test_a_failure_of_the_application_is_a_500_without_details(port: int) -> None:
    status, _, content = answer_to(port, b"GET /fail HTTP/1.1\r\n" + CLOSE + b"\r\n")

    assert (status, json.loads(content)["error"]["code"]) == (500, "internal")
    assert b"as the test wants it" not in content


def test_a_client_that_goes_away_in_the_midst_of_its_body_leaves_nothing_behind(port: int) -> None:
    known = b"Authorization: Bearer known\r\n"
    for _ in range(3):
        with connect(port) as connection:
            connection.sendall(post(1_000_000, "/v1/events", known) + b"x" * 900_000)

    # All memory for long bodies, which has room for one of these, is released in the end.
    until = time.monotonic() + WAIT
    while answer_to(port, post(1_000_000, "/v1/events", known), b"x" * 1_000_000)[0] != 200:
        assert time.monotonic() < until


def test_a_thousand_silent_connections_shut_nobody_out(port: int) -> None:
    silent = [connect(port) for _ in range(1024)]
    try:
        for connection in silent[::2]:
            connection.sendall(b"GET /x HTTP/1.1\r\nHost:")
        assert answer_to(port, b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"\r\n")[2] == b'{"status": "ok"}'
        assert told(port, b"GET /x HTTP/1.1\r\n" + CLOSE + b"\r\n")["body"] == 0
    finally:
        for connection in silent:
            connection.close()


def test_a_request_under_way_is_answered_when_the_server_is_told_to_stop() -> None:
    with served("30") as (port, process), connect(port) as connection:
        connection.sendall(post(3) + b"ab")
        # When a later request is answered, this one has been accepted.
        told(port, b"GET /x HTTP/1.1\r\n" + CLOSE + b"\r\n")
        process.terminate()
        connection.sendall(b"c")

        assert json.loads(parsed(rest_of(connection))[2])["body"] == 3
        assert process.wait(WAIT) == 0
