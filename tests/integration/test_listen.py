"""``manage.py listen`` and ``manage.py send_event``, as used in a terminal."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue

import pytest
import requests
from django.core.management import CommandError, call_command
from standardwebhooks import Webhook

from hookhub.management.listening import Behaviour, Receiver, open_server, pretty
from hookhub.receiving import FORMATS
from tests.fake_hookhub import fake_hookhub, refusal

ROOT = Path(__file__).resolve().parents[2]
TOLD_BY = [one.told_by for one in FORMATS.values()]
SECRET = "whsec_" + base64.b64encode(b"the first secret of this webhook").decode()
BODY = b'{"type":"push","timestamp":"2026-03-04T05:06:07Z","data":{"ref":"main"}}'


def headers(delivery: str = "msg_1", *, secret: str = SECRET) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": delivery,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(delivery, now, BODY.decode()),
    }


@contextmanager
def listening(behaviour: Behaviour, *, host: str = "127.0.0.1") -> Iterator[tuple[str, Receiver, Queue[str]]]:
    shown: Queue[str] = Queue()
    receiver = Receiver(behaviour, shown.put)
    server = open_server(receiver, host=host, port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}/hook", receiver, shown
    finally:
        receiver.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


@pytest.mark.parametrize(
    ("secrets", "signed_with", "verdict"),
    [
        pytest.param((SECRET,), SECRET, "signature ok", id="the right secret"),
        pytest.param((), SECRET, "no secret given", id="no secret"),
        pytest.param(
            (SECRET,),
            "whsec_b3RoZXI=",
            "No signature matches: the secret is wrong, or the body was modified after it was signed.",
            id="another secret",
        ),
        pytest.param(
            (SECRET,),
            None,
            f"The request has no known signature header ({', '.join(filter(None, TOLD_BY))}).",
            id="no signature",
        ),
        pytest.param(
            ("not base64!",),
            SECRET,
            "No signature matches: the secret is wrong, or the body was modified after it was signed.",
            id="a secret that is none",
        ),
    ],
)
def test_what_arrives_is_shown_with_its_verdict(
    session: requests.Session, secrets: tuple[str, ...], signed_with: str | None, verdict: str
) -> None:
    sent = headers(secret=signed_with) if signed_with else {}

    with listening(Behaviour(secrets=secrets, as_json=True)) as (url, receiver, shown):
        answer = session.post(url, data=BODY, headers=sent)
        told = json.loads(shown.get(timeout=60))
        summary = receiver.summary()

    assert answer.status_code == 200
    assert (told["method"], told["path"], told["type"]) == ("POST", "/hook", "push")
    assert (told["delivery"], told["verdict"], told["answered"]) == (sent.get("webhook-id"), verdict, "200")
    assert told["body"] == BODY.decode()
    assert summary == f"1 request for 1 delivery, 1 × {verdict}, 1 × 200"


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"type":"webhook.verification","challenge":"n7Zq"}', "n7Zq"),
        (b'{"type":"push","challenge":"n7Zq"}', "200"),
        (b'["webhook.verification"]', "200"),
        (b"no JSON", "200"),
    ],
)
def test_a_challenge_is_echoed(session: requests.Session, body: bytes, answer: str) -> None:
    with listening(Behaviour()) as (url, _, _):
        assert session.post(url, data=body).text == f"{answer}\n"


def test_a_handshake_gets_consent(session: requests.Session) -> None:
    with listening(Behaviour()) as (url, _, _):
        asked = session.options(url, headers={"WebHook-Request-Origin": "hooks.example"})
        other = session.options(url)

    assert (asked.status_code, asked.headers["Allow"]) == (200, "POST")
    assert asked.headers["WebHook-Allowed-Origin"] == "hooks.example"
    assert asked.headers["WebHook-Allowed-Rate"] == "*"
    assert "WebHook-Allowed-Origin" not in other.headers


def test_it_listens_on_an_ipv6_address(session: requests.Session) -> None:
    with listening(Behaviour(secrets=(SECRET,)), host="::1") as (url, _, shown):
        assert session.post(url, BODY, headers=headers(), timeout=10).status_code == 200

    assert "signature ok" in shown.get(timeout=5)


def test_for_people_it_is_one_line_and_the_body_laid_out(session: requests.Session) -> None:
    with listening(Behaviour(secrets=(SECRET,))) as (url, _, shown):
        session.post(url, data=BODY, headers=headers())
        line, *body = shown.get(timeout=60).splitlines()

    assert re.fullmatch(r"\S+Z?\+00:00  POST  /hook  push  msg_1  standard-webhooks  signature ok  200", line)
    assert json.loads("\n".join(body)) == json.loads(BODY)
    assert body[1] == '      "type": "push",'


def test_each_deliverys_first_requests_fail_when_asked_to(session: requests.Session) -> None:
    with listening(Behaviour(fail=2, status=204)) as (url, receiver, shown):
        answers = [
            (delivery, session.post(url, data=BODY, headers={"webhook-id": delivery}).status_code)
            for delivery in ("a", "a", "b", "a", "b", "b", "a")
        ]
        for _ in answers:
            shown.get(timeout=60)
        summary = receiver.summary()

    assert answers == [("a", 500), ("a", 500), ("b", 500), ("a", 204), ("b", 500), ("b", 204), ("a", 204)]
    assert summary == "7 requests for 2 deliveries, 7 × no secret given, 4 × 500, 3 × 204"


def test_a_hanging_receiver_shows_the_request_and_never_answers(session: requests.Session) -> None:
    with listening(Behaviour(hang=True, as_json=True)) as (url, _, shown):
        with pytest.raises(requests.ReadTimeout):
            session.post(url, data=BODY, headers=headers(), timeout=0.2)

        assert json.loads(shown.get(timeout=60))["answered"] == "no response (--hang)"


def test_a_delay_comes_before_the_answer(session: requests.Session) -> None:
    with listening(Behaviour(delay=timedelta(seconds=60))) as (url, receiver, shown):
        with pytest.raises(requests.ReadTimeout):
            session.post(url, data=BODY, timeout=0.2)

        assert (shown.qsize(), receiver.summary()) == (0, "0 requests for 0 deliveries")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 99999999999\r\n", id="too large"),
        pytest.param(b"Content-Length: " + b"9" * 5000 + b"\r\n", id="more digits than Python reads"),
        pytest.param(b"Content-Length: -1\r\n", id="negative"),
        pytest.param(b"Content-Length: many\r\n", id="not a number"),
        pytest.param(b"Transfer-Encoding: chunked\r\n", id="of unknown length"),
    ],
)
def test_a_body_that_cannot_be_bounded_is_not_read(head: bytes) -> None:
    with listening(Behaviour()) as (url, receiver, shown):
        host, port = url.split("/")[2].split(":")
        with socket.create_connection((host, int(port)), timeout=30) as raw:
            raw.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n")
            answer = b"".join(iter(lambda: raw.recv(4096), b""))
        shown.get(timeout=60)
        summary = receiver.summary()

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert "1 × not read" in summary


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"not json \xff", "    not json �", id="not JSON"),
        pytest.param(b"\x1b[2J", "    \\x1b[2J", id="what would clear the terminal"),
        pytest.param(b'{"a": "' + b"x" * 1000 + b'"}', f'    {{\n      "a": "{"x" * 151}…\n    }}', id="a long line"),
    ],
)
def test_bodies_are_shown_safely(body: bytes, shown: str) -> None:
    assert pretty(body) == shown


def test_a_long_body_is_shortened() -> None:
    lines = pretty(json.dumps(list(range(1000))).encode()).splitlines()

    assert (len(lines), lines[-1]) == (41, "    … 962 more lines, 4890 bytes in total")


def run_manage(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "*", **environment},
        timeout=60,
        check=False,
    )


def test_ctrl_c_ends_with_a_tally(session: requests.Session) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "listen", "--port", "0", "--secret", SECRET, "--hang"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stderr is not None
        url = listener.stderr.readline().split()[2]
        with pytest.raises(requests.ReadTimeout):
            session.post(url, data=BODY, headers=headers(), timeout=0.2)
        assert "signature ok" in listener.stdout.readline()

        listener.send_signal(signal.SIGINT)
        _, complaints = listener.communicate(timeout=60)

    assert listener.returncode == 0
    assert complaints.strip() == "1 request for 0 deliveries, 1 × signature ok, 1 × no response (--hang)"


def test_a_port_that_is_taken_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(CommandError) as told:
            call_command("listen", "--port", str(port))

    assert told.value.returncode == 1
    assert str(told.value).startswith(f"Cannot listen on 127.0.0.1:{port}: ")


EVENT = ("send_event", "push", "--repository", "acme/widgets", "--id", "key-1")
SENT = {"type": "push", "data": {"n": 1}, "repository": "acme/widgets", "id": "key-1"}


@pytest.mark.parametrize("data", ['{"n": 1}', "@FILE"], ids=["inline", "a file"])
def test_an_event_is_sent_and_its_id_printed(
    tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.json").write_text('{"n": 1}')

    with fake_hookhub() as fake:
        monkeypatch.setenv("HOOKHUB_URL", fake.url)
        monkeypatch.setenv("HOOKHUB_API_KEY", "hh_1_secret")
        call_command(*EVENT, "--data", data.replace("FILE", str(tmp_path / "data.json")))

    printed = capsys.readouterr()
    assert printed.err == ""
    assert re.fullmatch(r"[0-9a-f-]{36}\n", printed.out)
    assert list(fake.accepted.values()) == [SENT]


def test_an_event_is_sent_from_a_pipe() -> None:
    with fake_hookhub() as fake:
        done = run_manage(*EVENT, "--data", "-", stdin='{"n": 1}', HOOKHUB_URL=fake.url, HOOKHUB_API_KEY="hh_1_secret")

    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[0-9a-f-]{36}\n", done.stdout)
    assert list(fake.accepted.values()) == [SENT]


def test_a_refused_event_is_explained() -> None:
    with fake_hookhub() as fake:
        fake.answers = [refusal(401, "unauthenticated", "This key is revoked.")]
        done = run_manage("send_event", "push", "--url", fake.url, "--api-key", "k")

    assert done.returncode == 1
    assert done.stderr == (
        "CommandError: HookHub answered 401 unauthenticated: This key is revoked. Check the API key.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["--data", "{"], "--data is not valid JSON: ", id="not JSON"),
        pytest.param(["--data", "[" * 100_000], "--data is nested too deeply.", id="deep"),
        pytest.param(["--data", "@/nowhere"], "Cannot read the file given with --data: ", id="no file"),
        pytest.param(["--url", "nowhere"], "base_url must look like https://", id="no address"),
        pytest.param(["--api-key", ""], "Specify --url and --api-key", id="no key"),
    ],
)
def test_a_mistake_on_the_command_line_is_said_plainly(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as told:
        call_command("send_event", "push", "--url", "http://127.0.0.1:9", "--api-key", "k", *arguments)

    assert told.value.returncode == 1
    assert str(told.value).startswith(sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--delay", "nan"], "--delay must be between 0 and 86400 seconds."),
        (["--delay", "inf"], "--delay must be between 0 and 86400 seconds."),
        (["--delay=-1"], "--delay must be between 0 and 86400 seconds."),
        (["--status", "99"], "--status must be between 200 and 599."),
        (["--host", "\udcff"], "Cannot listen on \udcff:0: "),
    ],
)
def test_a_receiver_that_cannot_be_is_refused_plainly(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as told:
        call_command("listen", "--port", "0", *arguments)

    assert str(told.value).startswith(sentence)
