"""HTTP/1.1 as the web server speaks it, over raw sockets: what is malformed, too long, too slow, or unusual."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.raw_http import CLOSE, WAIT, answer_to, connect, parsed, post, rest_of, served, told

SECRET = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served() as (port, _):
        yield port


@pytest.fixture(scope="module")
def impatient() -> Iterator[int]:
    with served(WEB_IDLE_TIMEOUT="1") as (port, _):
        yield port


def one_of(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one response, and no byte of the next."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += connection.recv(1)
    status, headers, _ = parsed(raw)
    content = b""
    while len(content) < int(headers.get("content-length", 0)):
        content += connection.recv(int(headers["content-length"]) - len(content))
    return status, headers, content


def refused(port: int, *parts: bytes) -> tuple[int, str]:
    """Return the status and code of the only response to something, after which the server closes the connection."""
    with connect(port) as connection:
        for part in parts:
            connection.sendall(part)
        raw = rest_of(connection)
    status, headers, content = parsed(raw)
    assert headers["connection"] == "close"
    assert len(content) == int(headers["content-length"]), "more than one response"
    return status, json.loads(content)["error"]["code"]


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"hello\r\n\r\n", id="no request"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"GET / HTTP/1.1\nHost: h\n\n", id="bare line feeds"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n", id="NUL in a header"),
        pytest.param(b"GET / HTTP/1.1\r\nA : b\r\n\r\n", id="space before a colon"),
        pytest.param(b"GET / HTTP/1.1\r\n A: b\r\n\r\n", id="folded"),
        pytest.param(b"GET /\xff HTTP/1.1\r\n\r\n", id="no ASCII in the target"),
        pytest.param(b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(b"GET / HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n", id="hexadecimal length"),
        pytest.param(b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", id="length without end"),
        pytest.param(b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", id="two lengths"),
        pytest.param(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunks in HTTP/1.0"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="compressed"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", id="an empty coding"),
        pytest.param(b"GET / RTSP/1.0\r\n\r\n", id="RTSP"),
        pytest.param(b"OPTIONS * RTSP/1.1\r\nHost: h\r\n\r\n", id="RTSP 1.1"),
        pytest.param(b"DESCRIBE /a RTSP/1.0\r\n\r\n", id="a method of RTSP"),
        pytest.param(b"SOURCE / ICE/1.0\r\n\r\n", id="ICE"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
    ],
)
def test_a_malformed_head_is_refused_and_nothing_behind_it_is_read(port: int, head: bytes) -> None:
    assert refused(port, head + SECRET) == (400, "malformed")


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(b"Content-Length: 6\r\n\r\n0\r\n\r\nG", id="with a length"),
        pytest.param(b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", id="another coding last"),
        pytest.param(b"\r\n5\nhello\n0\n\n", id="bare line feeds"),
        pytest.param(b"\r\n-1\r\nx\r\n0\r\n\r\n", id="negative"),
        pytest.param(b"\r\n1\r\nxx\r\n0\r\n\r\n", id="longer than it says"),
    ],
)
def test_chunks_that_two_servers_may_read_differently_are_refused(port: int, more: bytes) -> None:
    assert refused(port, CHUNKED + more + SECRET) == (400, "malformed")


def test_an_unknown_version_is_refused(port: int) -> None:
    assert refused(port, b"GET / HTTP/2.0\r\nHost: h\r\n\r\n") == (505, "malformed")


def test_a_malformed_request_is_refused_after_the_responses_before_it(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nhello\r\n\r\n" + SECRET)
        status, _, content = one_of(connection)
        assert (status, json.loads(content)["PATH_INFO"]) == (200, "/1")
        assert parsed(rest_of(connection))[0] == 400


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([b"GET /", b"x" * 70_000], id="target"),
        pytest.param([b"GET / HTTP/1.1\r\nA: ", *[b"x" * 10_000] * 8], id="header without end"),
        pytest.param([b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n"], id="many lines"),
        pytest.param([b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 1000 + b"\r\n") * 70 + b"\r\n"], id="long lines"),
    ],
)
def test_a_head_that_is_too_large_is_refused(port: int, parts: list[bytes]) -> None:
    assert refused(port, *parts) == (431, "too_large")


def test_a_head_of_some_size_is_read_however_it_is_cut(port: int) -> None:
    head = b"GET /x HTTP/1.1\r\n" + (b"X-A: " + b"b" * 500 + b"\r\n") * 100 + CLOSE + b"\r\n"

    assert (
        told(port, *[head[start : start + 999] for start in range(0, len(head), 999)])["HTTP_X_A"].count("b") == 50_000
    )
    assert told(port, *[head[-100:][at : at + 1] if at else head[:-99] for at in range(100)])["PATH_INFO"] == "/x"


def test_what_a_chunked_body_contains_beside_its_content_is_limited(port: int) -> None:
    trailer = CHUNKED + b"\r\n1\r\nx\r\n0\r\nX-A: "
    extension = CHUNKED + b"\r\n1;"

    assert refused(port, trailer, *[b"x" * 10_000] * 60) == (400, "malformed")
    assert refused(port, extension, *[b"x" * 10_000] * 60) == (400, "malformed")


def test_trailers_are_no_headers_of_this_request_or_the_next(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(CHUNKED + b"\r\n3;ext=1\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nHost: elsewhere\r\n\r\n")
        first = json.loads(one_of(connection)[2])
        connection.sendall(b"GET /next HTTP/1.1\r\n" + CLOSE + b"\r\n")
        second = json.loads(one_of(connection)[2])

    assert (first["body"], first["HTTP_HOST"], second["HTTP_HOST"]) == (3, "h", "h")
    assert not {"HTTP_AUTHORIZATION"} & (first.keys() | second.keys())


def test_a_head_that_does_not_come_is_given_up(impatient: int) -> None:
    assert refused(impatient, b"GET / HTTP/1.1\r\nHost:") == (408, "request_timeout")


def test_a_silent_connection_is_closed(impatient: int) -> None:
    with connect(impatient) as silent, connect(impatient) as used:
        used.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert one_of(used)[0] == 200
        assert rest_of(used) == b""
        assert rest_of(silent) == b""


def test_the_next_request_may_come_on_the_same_connection_for_as_long_as_it_likes(impatient: int) -> None:
    with connect(impatient) as connection:
        for _ in range(3):
            connection.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
            status, headers, content = one_of(connection)
            assert (status, json.loads(content)["body"]) == (200, 2)
            assert "connection" not in headers
            assert headers["date"].endswith(" GMT")


@pytest.mark.parametrize("with_body", [True, False])
def test_an_offer_to_upgrade_is_declined_and_hides_no_body(port: int, with_body: bool) -> None:
    offer = b"Host: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(SECRET) if with_body else b"\r\n"
    body = SECRET if with_body else b""

    for parts in ([b"POST /x HTTP/1.1\r\n" + offer + length + body], [b"POST /x HTTP/1.1\r\n" + offer + length, body]):
        with connect(port) as connection:
            for part in parts:
                connection.sendall(part)
            first = json.loads(one_of(connection)[2])
            connection.sendall(b"GET /next HTTP/1.1\r\n" + CLOSE + b"\r\n")
            second = json.loads(parsed(rest_of(connection))[2])
        assert (first["body"], second["PATH_INFO"]) == (len(body), "/next")


def test_a_chunked_body_behind_an_offer_to_upgrade_is_read_as_one(port: int) -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

    with connect(port) as connection:
        connection.sendall(CHUNKED + offer + b"\r\n3\r\nabc\r\n0\r\n\r\n" + b"GET /next HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert json.loads(one_of(connection)[2])["body"] == 3
        assert json.loads(parsed(rest_of(connection))[2])["PATH_INFO"] == "/next"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://other/3?a=1", "/3", "a=1"),
        (b"http://other", "/", ""),
        (b"http://other?a", "/", "a"),
        (b"/a/b?c?d", "/a/b", "c?d"),
        (b"//a", "//a", ""),
        (b"/?", "/", ""),
        (b"/a%2fb%00", "/a/b\0", ""),
        (b"/%zz", "/%zz", ""),
    ],
)
def test_targets_are_told_as_a_path_and_a_query(port: int, target: bytes, path: str, query: str) -> None:
    environ = told(port, b"GET " + target + b" HTTP/1.1\r\n" + CLOSE + b"\r\n")

    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)


@pytest.mark.parametrize("line", [b"OPTIONS * HTTP/1.1", b"TRACE /x HTTP/1.1"])
def test_unusual_methods_get_to_the_application(port: int, line: bytes) -> None:
    assert told(port, line + b"\r\n" + CLOSE + b"\r\n")["REQUEST_METHOD"] == line.split()[0].decode()


@pytest.mark.parametrize("target", [b"other:443", b"/healthz"])
def test_no_tunnel_is_opened_through_it(port: int, target: bytes) -> None:
    assert refused(port, b"CONNECT " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n" + SECRET) == (405, "method_not_allowed")


def test_http_1_0_is_kept_open_only_on_request(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        status, headers, _ = one_of(connection)
        assert (status, headers["connection"]) == (200, "keep-alive")
        connection.sendall(b"GET /2 HTTP/1.0\r\n\r\n")
        status, headers, content = parsed(rest_of(connection))
        assert (status, headers["connection"], json.loads(content)["PATH_INFO"]) == (200, "close", "/2")


def test_a_body_may_follow_the_response_to_the_request_before_it(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n" + post(3, "/2"))
        assert json.loads(one_of(connection)[2])["PATH_INFO"] == "/1"
        connection.sendall(b"abc")
        assert json.loads(parsed(rest_of(connection))[2])["body"] == 3


def test_a_client_that_sends_no_more_gets_all_responses(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        raw = rest_of(connection)

    assert raw.count(b"HTTP/1.1 200 OK") == 2
    assert b'"PATH_INFO": "/2"' in raw


def test_more_requests_ahead_than_are_answered_close_the_connection_after_those_that_are(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(1000)))
        raw = rest_of(connection)

    assert raw.count(b"HTTP/1.1 200 OK") == 64
    assert b'"PATH_INFO": "/63"' in raw


def test_a_body_that_is_refused_before_it_is_sent_is_not_taken_for_a_request(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 4000000\r\n\r\n")
        status, headers, _ = one_of(connection)
        assert (status, headers["connection"]) == (413, "close")
        connection.sendall(SECRET)
        assert rest_of(connection) == b""


def test_long_bodies_are_read_to_their_end_though_reading_pauses(port: int) -> None:
    known = b"Authorization: Bearer known\r\nHost: h\r\n"
    with connect(port) as connection:
        for _ in range(3):
            connection.sendall(
                b"POST /v1/events HTTP/1.1\r\nContent-Length: 1000000\r\n" + known + b"\r\n" + b"x" * 1_000_000
            )
            assert json.loads(one_of(connection)[2])["body"] == 1_000_000


def test_connections_beyond_the_limit_of_open_files_wait() -> None:
    with served(before="ulimit -n 40; ") as (port, process):
        many = [connect(port) for _ in range(80)]
        for connection in many:
            connection.close()
        assert answer_to(port, b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"\r\n")[0] == 200
        assert process.poll() is None
    assert process.wait(WAIT) == 0


def test_an_empty_header_and_empty_lines_before_a_request_are_read(port: int) -> None:
    environ = told(port, b"\r\n\r\n" + post(0, more=b"X-Empty:\r\nX-Blank:   \r\n"))

    assert (environ["HTTP_X_EMPTY"], environ["HTTP_X_BLANK"]) == ("", "")


def test_blanks_around_a_value_are_no_part_of_it(port: int) -> None:
    more = b"Content-Length:\t 3 \t\r\nExpect: 100-continue \r\nHost:  h \r\nX-A: b \t c \t \r\n"
    with connect(port) as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nConnection: close \r\n" + more + b"\r\n")
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        environ = json.loads(parsed(rest_of(connection))[2])

    assert (environ["body"], environ["CONTENT_LENGTH"]) == (3, "3")
    assert (environ["HTTP_HOST"], environ["HTTP_X_A"]) == ("h", "b \t c")
