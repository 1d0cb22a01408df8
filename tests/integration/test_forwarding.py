"""The program that forwards events to a developer's machine, beside a HookHub that is busy."""

import json
import signal
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from hookhub.forwarding import forwarder as forwarding
from hookhub.forwarding.remote import Failed
from tests.receiver import Answer, Receiver

EMPTY = {"events": [], "cursor": "c", "has_more": False, "expired": 0}


class Pauses(threading.Event):
    """Notes each pause, and ends the program at the second."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        if len(self.seconds) == 2:
            self.set()
        return self.is_set()


def test_a_poll_that_is_answered_at_once_is_not_repeated_at_once(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this machine is.
    monkeypatch.setattr(forwarding, "FIRST_PAUSE_SECONDS", 600.0)
    poll = f"/v1/webhooks/w/poll?wait={forwarding.WAIT_SECONDS}"
    receiver.answers = {
        "/v1/webhooks": Answer(status=201, body=json.dumps({"id": "w"}).encode()),
        poll: Answer(body=json.dumps(EMPTY).encode()),
        f"{poll}&cursor=c": [Answer(body=json.dumps(EMPTY).encode()), Answer(status=401)],
        "/v1/webhooks/w": Answer(status=204, body=b""),
    }
    wanted = forwarding.Forwarding(receiver.url("").rstrip("/"), "hh_x", receiver.url("/hook"))
    forwarder = forwarding.Forwarder(wanted, show=lambda _: None, tell=lambda _: None)
    forwarder._stopping = pauses = Pauses()

    forwarder.run()

    assert pauses.seconds == [600.0, 600.0]
    asked = [(each.method, each.path) for each in receiver.received]
    assert asked == [
        ("POST", "/v1/webhooks"), ("GET", poll), ("GET", f"{poll}&cursor=c"), ("DELETE", "/v1/webhooks/w"),
    ]  # fmt: skip


class Story:
    """A remote HookHub that answers each call with the next of the answers for it, and notes the calls."""

    def __init__(self, receiver: Receiver, **answers: list[Answer]) -> None:
        poll = f"/v1/webhooks/w/poll?wait={forwarding.WAIT_SECONDS}"
        self.paths = {
            "create": "/v1/webhooks",
            "replay": "/v1/webhooks/w/replay-missing",
            "state": "/v1/replays/r",
            "first": poll,
            "poll": f"{poll}&cursor=c",
            "delete": "/v1/webhooks/w",
        }
        created, ended = Answer(201, body=b'{"id": "w"}'), Answer(204, body=b"")
        given = {"create": [created], "delete": [ended], **answers}
        receiver.answers = {self.paths[name]: found if len(found) > 1 else found[0] for name, found in given.items()}
        self.receiver = receiver

    def calls(self) -> list[str]:
        names = {path: name for name, path in self.paths.items()}
        return [names[each.path] for each in self.receiver.received]

    def since(self) -> list[str]:
        """Return from when on the events were asked for."""
        return [json.loads(each.body)["after"] for each in self.receiver.received if each.path == self.paths["replay"]]


def empty(**more: object) -> Answer:
    return Answer(body=json.dumps({**EMPTY, **more}).encode())


def forward(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, *, since: timedelta | None = None) -> list[str]:
    """Forward until the remote HookHub refuses the key; return what was said."""
    monkeypatch.setattr(forwarding, "FIRST_PAUSE_SECONDS", 0.0)
    said: list[str] = []
    wanted = forwarding.Forwarding(receiver.url("").rstrip("/"), "hh_x", receiver.url("/hook"), since=since)
    forwarder = forwarding.Forwarder(wanted, show=said.append, tell=said.append)
    with pytest.raises(Failed):
        forwarder.run()
    return said


STARTED, REFUSED = Answer(202, body=b'{"id": "r", "state": "running"}'), Answer(401, body=b"{}")
RUNNING, DONE = (Answer(body=json.dumps({"state": state}).encode()) for state in ("running", "finished"))


@pytest.mark.parametrize(
    "fault", [Answer(503), Answer(raw=b"no HTTP\r\n\r\n"), Answer(409)], ids=["503", "broken", "409"]
)
def test_the_first_replay_is_asked_for_until_there_is_an_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, fault: Answer
) -> None:
    story = Story(receiver, replay=[fault, fault, STARTED], first=[REFUSED])

    said = forward(receiver, monkeypatch, since=timedelta(hours=1))

    assert story.calls() == ["create", "replay", "replay", "replay", "first", "delete"]
    assert len(set(story.since())) == 1
    assert len([line for line in said if "trying again" in line]) == 2


def test_a_webhook_that_is_gone_before_its_replay_has_ended_leaves_nothing_out(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Answer(404, body=b"{}")
    story = Story(
        receiver, replay=[STARTED], state=[RUNNING, Answer(503), RUNNING], first=[empty(), REFUSED],
        poll=[empty(), empty(), gone],
    )  # fmt: skip

    forward(receiver, monkeypatch, since=timedelta(hours=1))

    # The queue was empty meanwhile, and the replay ran.
    first, second = (datetime.fromisoformat(each) for each in story.since())
    assert second == first - forwarding.OVERLAP


def test_what_was_read_after_the_end_of_the_replay_is_not_asked_for_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Answer(404, body=b"{}")
    story = Story(
        receiver, replay=[STARTED], state=[RUNNING, DONE], first=[empty(), REFUSED], poll=[empty(), empty(), gone]
    )

    forward(receiver, monkeypatch, since=timedelta(hours=1))

    first, second = (datetime.fromisoformat(each) for each in story.since())
    assert second > first + timedelta(minutes=30)


KEY = "hh_0123456789ab_secret"


@pytest.fixture
def signals() -> Iterator[None]:
    """Take back the handlers that the command sets."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        pytest.param(f"{KEY}\r\nX: y", "--api-key contains", id="a line break inside"),
        pytest.param(f"{KEY}\u2013", "--api-key contains", id="a letter that no header can have"),
        pytest.param(f"{KEY}\r", "refused", id="a line break at the end, as a file from Windows has it"),
    ],
)
def test_no_message_shows_the_key(written: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKHUB_API_KEY", written)

    # Nothing listens there.
    with pytest.raises(CommandError) as raised:
        call_command("listen", "--forward", "http://127.0.0.1:1/", "--url", "http://127.0.0.1:1")

    assert wrong in str(raised.value)
    assert "secret" not in str(raised.value)


def test_neither_a_netrc_nor_the_url_replaces_the_key(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login operator password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    story = Story(receiver, first=[REFUSED])

    forward(receiver, monkeypatch)

    assert story.calls() == ["create", "first", "delete"]
    assert {each.headers["authorization"] for each in receiver.received} == {"Bearer hh_x"}


@pytest.mark.parametrize(
    "leads_to", [b"/caf\xe9", b"http://[", b"//[x"], ids=["Latin-1", "half an address", "without a scheme"]
)
def test_a_program_that_redirects_ends_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, leads_to: bytes
) -> None:
    page = {
        "events": [
            {"id": f"d{n}", "event": f"e{n}", "type": "push", "cursor": "c", "headers": {}, "body": "{}", "error": None}
            for n in (1, 2)
        ]
    }
    story = Story(receiver, first=[empty(**page)], poll=[REFUSED])
    moved = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\nConnection: close\r\n\r\n" % leads_to
    receiver.answers = {**receiver.answers, "/hook": Answer(raw=moved)}
    story.paths["hook"] = "/hook"

    said = forward(receiver, monkeypatch)

    assert story.calls() == ["create", "first", "hook", "hook", "poll", "delete"]
    assert len([line for line in said if " 302 in " in line]) == 2


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, b'{"ok": true}', "does not answer as HookHub does"),
        (200, b"<p>Log in</p>", "the answer is not JSON"),
        (200, b"[" * 100_000, "does not answer as HookHub does"),
        (403, b"[" * 100_000, "The answer was 403, and not one of HookHub's"),
    ],
    ids=["another program's JSON", "a page", "JSON that is nested too deeply", "a refusal that is nested too deeply"],
)
def test_an_address_of_another_program_is_told_in_words(
    receiver: Receiver, status: int, body: bytes, problem: str
) -> None:
    receiver.answers = {"/v1/webhooks": Answer(status, body=body)}

    with pytest.raises(CommandError, match=problem):
        call_command("listen", "--forward", receiver.url("/hook"), "--url", receiver.url(""), "--api-key", KEY)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "\n", "/v1\r\n"])
def test_the_address_is_taken_as_the_sdks_take_it(receiver: Receiver, end: str) -> None:
    receiver.answers = {"/v1/webhooks": Answer(body=b"{}")}

    with pytest.raises(CommandError, match="does not answer as HookHub does"):
        call_command(
            "listen", "--forward", receiver.url("/hook"), "--url", receiver.url("").rstrip("/") + end, "--api-key", KEY
        )

    assert [each.path for each in receiver.received] == ["/v1/webhooks"]


def test_no_event_is_sent_with_a_cookie_of_the_one_before(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        {"id": f"d{n}", "event": f"e{n}", "type": "push", "cursor": "c", "headers": {}, "body": "{}", "error": None}
        for n in (1, 2)
    ]
    story = Story(receiver, first=[empty(events=events)], poll=[REFUSED])
    receiver.answers = {**receiver.answers, "/hook": Answer(headers={"Set-Cookie": "session=1; Path=/"})}
    story.paths["hook"] = "/hook"

    forward(receiver, monkeypatch)

    sent = [each for each in receiver.received if each.path == "/hook"]
    assert [each.headers.get("cookie") for each in sent] == [None, None]


@pytest.mark.parametrize("date", ["nonsense", "Fri, 31 Dec 99999999999999999999 23:59:59 GMT", ""])
def test_a_clock_that_says_no_time_ends_nothing(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, date: str) -> None:
    strange = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 11\r\nConnection: close\r\n\r\n".encode()
    story = Story(receiver, first=[REFUSED])
    receiver.answers = {**receiver.answers, "/v1/webhooks": Answer(raw=strange + b'{"id": "w"}')}

    forward(receiver, monkeypatch)

    assert story.calls() == ["create", "first", "delete"]
