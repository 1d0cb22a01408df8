"""The program that forwards events to a developer's machine, beside a HookHub that is busy."""

import json
import threading
from datetime import datetime, timedelta

import pytest

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
    wanted = forwarding.Wanted(receiver.url("").rstrip("/"), "hh_x", receiver.url("/hook"))
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
    wanted = forwarding.Wanted(receiver.url("").rstrip("/"), "hh_x", receiver.url("/hook"), since=since)
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
