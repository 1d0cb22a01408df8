"""Single HTTP calls with the interface of ``requests``, through the same SSRF guard."""

import gzip
import json
import socket
import threading
import time
from datetime import timedelta

import pytest
import requests
from pytest_django import Settings

from deliveries.sending import requests_adapter
from tests.receiver import Answer, Receiver, refusing_port


@pytest.fixture
def session() -> requests.Session:
    return requests_adapter.session()


def test_a_get_brings_status_headers_and_body(session: requests.Session, receiver: Receiver) -> None:
    body = json.dumps({"title": "Grüße 🎉"}, ensure_ascii=False).encode()
    receiver.answers["/a?b=c"] = Answer(418, {"Content-Type": "application/json", "X-One": "1"}, body)

    response = session.get(receiver.url("/a"), params={"b": "c"}, timeout=60)

    assert (response.status_code, response.reason, response.ok) == (418, "Whatever", False)
    assert response.headers["x-one"] == "1"
    assert response.json() == {"title": "Grüße 🎉"}
    assert response.content == body
    assert response.url == receiver.url("/a?b=c")
    assert response.elapsed > timedelta(0)
    assert response.history == []
    with pytest.raises(requests.HTTPError, match="418"):
        response.raise_for_status()
    [request] = receiver.received
    assert (request.method, request.path, request.body) == ("GET", "/a?b=c", b"")


@pytest.mark.parametrize(
    ("arguments", "body", "content_type"),
    [
        ({"json": {"a": 1}}, b'{"a": 1}', "application/json"),
        ({"data": {"a": "ü", "b": "1"}}, b"a=%C3%BC&b=1", "application/x-www-form-urlencoded"),
        ({"data": b"\0\xff"}, b"\0\xff", None),
        ({"data": "text"}, b"text", None),
        ({}, b"", None),
    ],
    ids=["json", "form", "bytes", "text", "nothing"],
)
def test_a_post_carries_its_body(
    session: requests.Session, receiver: Receiver, arguments: dict[str, object], body: bytes, content_type: str | None
) -> None:
    response = session.post(receiver.url(), timeout=60, headers={"X-Token": "t"}, **arguments)  # type: ignore[arg-type]

    assert response.status_code == 200
    [request] = receiver.received
    assert (request.method, request.body) == ("POST", body)
    assert request.headers["x-token"] == "t"
    if content_type:
        assert request.headers["content-type"] == content_type


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_is_what_arrives(session: requests.Session, receiver: Receiver, method: str) -> None:
    receiver.answers["/"] = Answer(204, body=b"")

    assert session.request(method, receiver.url(), timeout=60).status_code == 204

    assert receiver.received[0].method == method


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("arguments", [{}, {"allow_redirects": False}, {"allow_redirects": True}], ids=str)
def test_redirects_are_never_followed(
    session: requests.Session, receiver: Receiver, status: int, arguments: dict[str, bool]
) -> None:
    receiver.answers["/"] = Answer(status, {"Location": receiver.url("/elsewhere")})

    for method in ("GET", "POST"):
        response = session.request(method, receiver.url(), timeout=60, **arguments)  # type: ignore[arg-type]
        assert response.status_code == status
        assert response.headers["location"] == receiver.url("/elsewhere")

    assert [request.path for request in receiver.received] == ["/", "/"]


def test_an_answer_that_is_compressed_unasked_is_given_as_it_is(session: requests.Session, receiver: Receiver) -> None:
    packed = gzip.compress(b"hello" * 1000)
    receiver.answers["/"] = Answer(200, {"Content-Encoding": "gzip"}, packed)

    response = session.get(receiver.url(), timeout=60)

    assert response.content == packed
    assert receiver.received[0].headers.get("accept-encoding", "identity") == "identity"


def test_text_is_read_as_its_content_type_says(session: requests.Session, receiver: Receiver) -> None:
    receiver.answers["/"] = Answer(200, {"Content-Type": "text/plain; charset=iso-8859-1"}, b"Gr\xfc\xdfe")

    assert session.get(receiver.url(), timeout=60).text == "Grüße"


def test_headers_that_come_twice_are_joined(session: requests.Session, receiver: Receiver) -> None:
    receiver.answers["/"] = Answer(
        raw=b"HTTP/1.1 200 OK\r\nLink: <a>\r\nlink: <b>\r\nX: \xfc\r\nContent-Length: 0\r\n\r\n"
    )

    response = session.get(receiver.url(), timeout=60)

    assert response.headers["Link"] == "<a>, <b>"
    assert response.headers["X"] == "ü"


def test_cookies_are_not_kept(session: requests.Session, receiver: Receiver) -> None:
    receiver.answers["/"] = Answer(200, {"Set-Cookie": "a=b"})

    for _ in range(2):
        session.get(receiver.url(), timeout=60)

    assert "cookie" not in receiver.received[1].headers


@pytest.mark.parametrize("timeout", [0.2, (0.1, 0.1), (None, 0.2), (0.2, None)], ids=str)
def test_a_timeout_is_requests_own_and_covers_the_whole_call(
    session: requests.Session, receiver: Receiver, timeout: float | tuple[float, float]
) -> None:
    receiver.script = lambda connection, request: receiver.closing.wait(60)  # type: ignore[assignment, return-value]

    started = time.monotonic()
    with pytest.raises(requests.Timeout):
        session.get(receiver.url(), timeout=timeout)

    assert 0.19 < time.monotonic() - started < 30


def test_a_timeout_covers_a_name_whose_nameserver_is_silent(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: may_answer.wait(60) and [])

    started = time.monotonic()
    with pytest.raises(requests.Timeout, match="Resolving the host name timed out after 200 ms"):
        session.get("http://silent.example/", timeout=0.2)

    assert 0.19 < time.monotonic() - started < 30
    may_answer.set()


def test_without_a_timeout_the_deployments_holds(
    session: requests.Session, receiver: Receiver, settings: Settings
) -> None:
    settings.HOOKHUB_TIMEOUT = timedelta(milliseconds=100)
    receiver.script = lambda connection, request: receiver.closing.wait(60)  # type: ignore[assignment, return-value]

    with pytest.raises(requests.Timeout):
        session.get(receiver.url())


def test_a_refused_connection_is_requests_own_error(session: requests.Session) -> None:
    with refusing_port() as port, pytest.raises(requests.ConnectionError):
        session.get(f"http://127.0.0.1:{port}/", timeout=60)


def test_a_forbidden_address_is_an_error_that_says_so(
    session: requests.Session, receiver: Receiver, settings: Settings
) -> None:
    settings.HOOKHUB_DEVELOPMENT = False

    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(requests.ConnectionError, match=r"Connections to .* are not allowed"):
            session.get(f"http://{host}:{receiver.port}/", timeout=60)

    assert receiver.connections == 0


def test_a_broken_answer_is_requests_own_error(session: requests.Session, receiver: Receiver) -> None:
    receiver.answers["/"] = Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")

    with pytest.raises(requests.ConnectionError):
        session.get(receiver.url(), timeout=60)


def test_neither_the_environments_proxies_nor_its_netrc_are_used(
    session: requests.Session,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    netrc = tmp_path_factory.mktemp("home") / ".netrc"
    netrc.write_text("default login operator password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(netrc.parent))
    monkeypatch.setenv("NETRC", str(netrc))
    with Receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())

        session.get(receiver.url(), timeout=60)

        assert proxy.connections == 0
    assert "authorization" not in receiver.received[0].headers
