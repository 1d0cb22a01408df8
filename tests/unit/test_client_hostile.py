"""For malformed responses and invalid keys, the client raises HookHubError, and never shows a key."""

import json
import pickle
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hookhub.client import Client, ConnectionFailed, Event, HookHubError, PublishedEvent
from hookhub.receiving import VerificationFailed
from hookhub.stream_client import NotPublished, StreamPublisher

KEY = "hh_1_verysecretkey"


class Handler(socketserver.BaseRequestHandler):
    """Read a request, send the bytes that the test has chosen, and close the connection."""

    def handle(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (chunk := self.request.recv(65536)):
                return
            data += chunk
        answers: list[bytes] = self.server.answers  # type: ignore[attr-defined]
        with suppress(OSError):
            self.request.sendall(answers.pop(0) if len(answers) > 1 else answers[0])


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.answers = list(answers)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def http(status: int, body: bytes, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


DEEP = b"[" * 100_000
ERROR = as_json({"error": {"code": "throttled", "message": "Too many.", "fields": []}})
ANSWERS: dict[str, bytes] = {
    "no HTTP": b"nonsense\r\n\r\n",
    "nothing": b"",
    "a status that is no number": b"HTTP/1.1 abc X\r\n\r\n",
    "a truncated body": b"HTTP/1.1 202 X\r\nContent-Length: 1000\r\n\r\n{",
    "a truncated chunk": b"HTTP/1.1 202 X\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "a chunk of no size": b"HTTP/1.1 202 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "a wrong encoding": http(202, b"not gzip", Content_Encoding="gzip"),
    "a wrong charset": http(202, b"\xff\xfe\xff", Content_Type="application/json; charset=nonsense"),
    "101 headers": http(202, b"{}", **{f"X-{n}": "y" for n in range(101)}),
    "an endless header": http(202, b"{}", X="y" * 100_000),
    "brackets": http(202, DEEP),
    "an error of brackets": http(400, DEEP),
    "an error of another shape": http(400, as_json({"error": [1]})),
    "an error whose fields are none": http(422, as_json({"error": {"code": "x", "message": "y", "fields": [1]}})),
    "an error whose message is none": http(422, as_json({"error": {"code": 1, "message": {}, "fields": 7}})),
    "a number of 5,000 digits": http(202, b'{"events":' + b"9" * 5000 + b"}"),
    "a list": http(202, b"[]"),
    "an event of no shape": http(202, as_json({"events": [{"id": 1, "type": [], "accepted_at": "x"}], "results": 1})),
    "an event of year 0": http(202, b'{"events":[{"id":"1","type":"a","accepted_at":"0000-00-00T00:00:00Z"}]}'),
    "rows of no shape": http(200, as_json({"results": [1, None], "id": 7, "next": 8})),
    "no body": http(204, b""),
    "a redirect to nonsense": http(302, b"", Location="http://["),
    "a redirect in no encoding": http(302, b"", Location="http://\xff\xfe"),
    "a redirect to nowhere": http(301, b""),
    "wait until the year 9999": http(429, ERROR, Retry_After="Fri, 31 Dec 9999 23:59:59 -2359"),
    "wait until a far year": http(429, ERROR, Retry_After="Fri, 31 Dec 99999 23:59:59 GMT"),
    "wait for 5,000 digits": http(429, ERROR, Retry_After="9" * 5000),
    "wait for a foreign digit": http(429, ERROR, Retry_After="²"),
    "wait for nonsense": http(503, ERROR, Retry_After="Mon, 99 Foo"),
    "a cookie of nonsense": http(400, ERROR, Set_Cookie="\x01=\xff; expires=Fri, 99 Foo 99999"),
}

CALLS: dict[str, Callable[[Client], object]] = {
    "publish": lambda client: client.publish("push", {}),
    "publish_batch": lambda client: client.publish_batch([Event("push", 1)]),
    "replay": lambda client: client.replay(state="failed"),
    "webhooks.create": lambda client: client.webhooks.create("https://a.example/", events=["*"]),
    "webhooks.list": lambda client: list(client.webhooks.list()),
    "webhooks.get": lambda client: client.webhooks.get("x"),
    "webhooks.update": lambda client: client.webhooks.update("x", {}),
    "webhooks.enable": lambda client: client.webhooks.enable("x"),
    "webhooks.disable": lambda client: client.webhooks.disable("x"),
    "webhooks.rotate_secret": lambda client: client.webhooks.rotate_secret("x"),
    "webhooks.ping": lambda client: client.webhooks.ping("x"),
    "webhooks.stats": lambda client: client.webhooks.stats("x"),
    "webhooks.delete": lambda client: client.webhooks.delete("x"),
    "deliveries.list": lambda client: list(client.deliveries.list()),
    "deliveries.get": lambda client: client.deliveries.get("x"),
    "deliveries.redeliver": lambda client: client.deliveries.redeliver("x"),
    "deliveries.cancel": lambda client: client.deliveries.cancel("x"),
}


def error_of(call: Callable[[Client], object], client: Client) -> HookHubError | None:
    try:
        call(client)
    except HookHubError as error:
        return error
    return None


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_whatever_is_answered_nothing_but_a_hookhub_error_comes_out_and_no_key(answer: bytes) -> None:
    with answering(answer) as url, Client(url, KEY, timeout=timedelta(seconds=20), retries=1) as client:
        for name, call in CALLS.items():
            error = error_of(call, client)
            assert error is not None or not name.startswith("publish"), name
            assert KEY not in f"{error} {error!r} {getattr(error, '__cause__', None)!r}", name
            assert error is None or error.published == (), name


@pytest.mark.parametrize("broken", ["a truncated body", "a truncated chunk"])
def test_a_request_whose_response_breaks_off_is_repeated(broken: str) -> None:
    complete = {"events": [{"id": "e1", "type": "push", "accepted_at": "2026-03-04T05:06:07Z"}]}

    with answering(ANSWERS[broken], http(202, as_json(complete))) as url, Client(url, KEY, retries=1) as client:
        assert client.publish("push", {}).id == "e1"


def test_what_was_published_before_the_nonsense_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookhub.client.client.MAX_BATCH_EVENTS", 1)
    first = {"events": [{"id": "e1", "type": "push", "accepted_at": "2026-03-04T05:06:07.123Z"}]}

    with (
        answering(http(202, as_json(first)), http(202, DEEP)) as url,
        Client(url, KEY, retries=0) as client,
        pytest.raises(HookHubError) as raised,
    ):
        client.publish_batch([Event("push", 1), Event("push", 2)])

    assert [(event.id, event.accepted_at.isoformat()) for event in raised.value.published] == [
        ("e1", "2026-03-04T05:06:07.123000+00:00")
    ]


def test_a_list_that_leads_to_itself_ends() -> None:
    page = {"results": [{"id": "1"}], "next": "http://[/v1/webhooks?cursor=a"}

    with answering(http(200, as_json(page))) as url, Client(url, KEY) as client, pytest.raises(HookHubError):
        list(client.webhooks.list())


@pytest.mark.parametrize("part", ["..", ".", ""])
def test_a_part_of_a_path_that_would_lead_elsewhere_is_refused_and_nothing_is_asked(part: str) -> None:
    with answering(http(204, b""), http(204, b"")) as url, Client(url, KEY, retries=0) as client:
        for call in (client.repositories.delete, client.webhooks.delete, client.deliveries.redeliver):
            with pytest.raises(ValueError, match="is not an id or a name"):
                call(part)
        with pytest.raises(ValueError, match="is not an id or a name"):
            client.webhooks.delete_consumer("w", part)


@pytest.mark.parametrize("space", ["\n", "\r\n", " ", "\t"])
def test_white_space_around_a_key_is_none_of_it(space: str) -> None:
    with answering(http(200, b'{"id": "x"}')) as url, Client(url, f" {KEY}{space}") as client:
        assert client.webhooks.get("x") == {"id": "x"}


@pytest.mark.parametrize("strange", ["\n", "\r", "ü", "\0", " ", "\u200b", "\ud800", "\x7f"])
def test_a_key_with_other_characters_is_refused_without_being_shown(strange: str) -> None:
    with pytest.raises(ValueError, match="api_key is empty, too long or contains invalid characters") as raised:
        Client("https://hooks.example", f"hh_very{strange}secretkey")

    assert "secretkey" not in f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r}"


@pytest.mark.parametrize(
    "url", [KEY, f"https://user:{KEY}@hooks.example", f"http://[{KEY}", f"https://a/?key={KEY}", None]
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: Any) -> None:
    with pytest.raises(ValueError, match="base_url must look like") as raised:
        Client(url, KEY)

    assert KEY not in f"{raised.value!r}"


def test_nothing_that_a_client_is_made_of_shows_its_key() -> None:
    with Client("https://hooks.example", KEY) as client:
        assert KEY not in f"{client!r} {client.webhooks!r} {vars(client)} {client._transport._session.auth!r}"


def test_an_error_comes_out_of_a_pool_of_processes_as_it_was() -> None:
    refused = HookHubError("No.", status=422, code="invalid", fields=[("events[0].type", "is bad")], advice="Look.")
    refused.published = (PublishedEvent("e1", "push", datetime(2026, 3, 4, tzinfo=UTC), replayed=False),)
    lost = ConnectionFailed("no response", status=None, code="connection_failed")
    unwritten = NotPublished("Redis is full", code="redis_full", advice="Wait.", entries=["1-0"])
    unproven = VerificationFailed("No signature matches.", code="wrong_signature")

    for error in (refused, lost, unwritten, unproven):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_redis_url_that_is_none_is_refused_without_its_password() -> None:
    for url in ("redis://:very/secretkey@127.0.0.1:6379/0", "http://:secretkey@127.0.0.1", "secretkey"):
        with pytest.raises(ValueError, match="redis must be a URL such as redis://") as raised:
            StreamPublisher(url)
        assert "secretkey" not in f"{raised.value!r}"


class RedisHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(65536):
            self.request.sendall(self.server.answer)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n",
        b":abc\r\n",
        b"$abc\r\n",
        b"*1\r\n" * 5000,
        b"+\xff\xfe\r\n",
        b"*0\r\n",
        b"$-1\r\n",
        b"-ERR x\r\n",
    ],
)
def test_whatever_a_redis_answers_nothing_but_not_published_comes_out(answer: bytes) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), RedisHandler) as server:
        server.daemon_threads = True
        server.answer = answer  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"redis://127.0.0.1:{server.server_address[1]}/0"
        try:
            with StreamPublisher(url, retries=0) as publisher, pytest.raises(NotPublished):
                publisher.publish("push", {})
        finally:
            server.shutdown()
            thread.join()
