"""The program that forwards events to a developer's machine, beside a HookHub that is busy."""

import json
import threading

import pytest

from hookhub import forwarding
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
