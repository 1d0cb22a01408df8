"""Flask-WebSub, unmodified, subscribes to a public repository's topic over TLS, as it does at any hub."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import flask
import pytest
from django.utils import timezone
from flask_websub.subscriber import (
    SQLite3SubscriberStorage,
    SQLite3TempSubscriberStorage,
    Subscriber,
    discover,
)
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Webhook
from deliveries.webhooks import lifecycle
from tests.certificates import Identity
from tests.partners.live import Live, deliver
from tests.partners.tls_front import tls_before
from tests.story import verify_due

PUSH = {"ref": "refs/heads/main", "commits": []}


@dataclass
class Program:
    """A Flask application with a subscriber, and what its handlers have heard."""

    app: flask.Flask
    subscriber: Subscriber
    live: Live
    url: str
    heard: list[tuple[str, ...]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def discover(self) -> dict[str, Any]:
        found: dict[str, Any] = discover(f"{self.url}/octocat/Hello-World/events/push")
        return found

    def do(self, action: str, *args: object, **more: object) -> Any:
        """Call a method of the subscriber in its application, and let the hub ask the callback."""
        with self.app.test_request_context(base_url=self.base):
            done = getattr(self.subscriber, action)(*args, **more)
        verify_due(now=timezone.now())
        return done

    @property
    def base(self) -> str:
        return str(self.app.config["BASE"])

    def publish(self) -> list[bytes]:
        """Publish an event; return the bodies that the subscriber accepts, with a valid signature."""
        self.bodies.clear()
        self.live.publish("push", PUSH)
        deliver()
        return list(self.bodies)


@pytest.fixture
def program(
    live_server: LiveServer, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Program]:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.HOOKHUB_HUB_REQUESTS_PER_ADDRESS = settings.HOOKHUB_HUB_REQUESTS_PER_HOST = 0
    authority = Identity.make(tmp_path / "authority.pem", "Test authority")
    server = Identity.make(tmp_path / "server.pem", "127.0.0.1", issuer=authority, address="127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.path))
    app = flask.Flask(__name__)
    subscriber = Subscriber(
        SQLite3SubscriberStorage(str(tmp_path / "storage.sqlite3")),
        SQLite3TempSubscriberStorage(str(tmp_path / "temporary.sqlite3")),
    )
    app.register_blueprint(subscriber.build_blueprint(url_prefix="/callbacks"))
    served = make_server("127.0.0.1", 0, app)
    app.config["BASE"] = f"http://127.0.0.1:{served.server_port}"
    threading.Thread(target=served.serve_forever, daemon=True).start()
    live = Live.make(live_server.url)
    live.repository.private = False
    live.repository.save()
    with tls_before(int(live_server.url.rpartition(":")[2]), server.server_context()) as port:
        made = Program(app, subscriber, live, f"https://127.0.0.1:{port}")
        subscriber.add_listener(lambda _topic, _callback, body: made.bodies.append(body))
        subscriber.add_success_handler(lambda _topic, _callback, mode: made.heard.append((mode,)))
        subscriber.add_error_handler(lambda _topic, _callback, reason: made.heard.append(("denied", reason)))
        yield made
    served.shutdown()
    served.server_close()


def test_it_discovers_subscribes_renews_and_unsubscribes(program: Program) -> None:
    program.publish()
    found = program.discover()
    assert found == {
        "hub_url": f"{program.url}/hub", "topic_url": f"{program.url}/octocat/Hello-World/events/push.json",
    }  # fmt: skip

    callback = program.do("subscribe", **found, lease_seconds=86_400)
    assert program.heard == [("subscribe",)]
    assert program.subscriber.storage[callback]["lease_seconds"] == 86_400
    # It accepts no update whose signature is not that of its secret.
    assert program.subscriber.storage[callback]["secret"]
    assert [json.loads(body) for body in program.publish()] == [PUSH]

    program.do("renew", callback)
    assert program.heard == [("subscribe",)] * 2
    assert [json.loads(body) for body in program.publish()] == [PUSH]
    assert Webhook.objects.kept().count() == 1

    program.do("unsubscribe", callback)
    assert program.heard[2:] == [("unsubscribe",)]
    assert program.publish() == []
    assert not Webhook.objects.kept().exists()


def test_it_hears_that_a_private_topic_is_denied(program: Program) -> None:
    program.publish()
    found = program.discover()
    program.live.repository.private = True
    program.live.repository.save()

    program.do("subscribe", **found)

    assert program.heard == [("denied", "There is no such topic, or it is private.")]


def test_it_hears_that_its_subscription_was_ended(program: Program) -> None:
    program.publish()
    program.do("subscribe", **program.discover())

    lifecycle.delete(Webhook.objects.kept().get().pk, now=timezone.now())
    verify_due(now=timezone.now())

    assert program.heard == [
        ("subscribe",), ("denied", "The subscription was ended by the owner of the topic."),
    ]  # fmt: skip


def test_another_secret_is_not_accepted(program: Program) -> None:
    """The test of the test: the subscriber drops what is signed with another secret."""
    program.publish()
    callback = program.do("subscribe", **program.discover())
    stored = program.subscriber.storage[callback]
    program.subscriber.storage[callback] = {**stored, "secret": "another"}

    assert program.publish() == []
