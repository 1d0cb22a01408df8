"""The subscriber pubsubhubbub from npm, unmodified, subscribes to a public repository's topic."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Delivery, Webhook
from deliveries.webhooks import lifecycle
from tests.partners import node
from tests.partners.live import Live, deliver
from tests.story import verify_due

PUSH = {"ref": "refs/heads/main", "commits": []}


class Program:
    """The subscriber in a separate process, and the topic that it subscribes to."""

    def __init__(self, script: node.Running, live: Live) -> None:
        self.script = script
        self.live = live
        self.topic = f"{live.url}/octocat/Hello-World/events/push"
        self.hub = f"{live.url}/hub"

    def do(self, action: str) -> list[dict[str, Any]]:
        """Ask the hub, let it ask the callback, and return the events that this fires."""
        assert self.script.ask({"do": action, "topic": self.topic, "hub": self.hub}) == {"error": None}
        verify_due(now=timezone.now())
        return self.events()

    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.script.ask({"do": "events"})
        return events

    def publish(self) -> list[dict[str, Any]]:
        """Publish an event, deliver it, and return the events that this fires."""
        self.live.publish("push", PUSH)
        deliver()
        return self.events()


@pytest.fixture
def program(live_server: LiveServer, settings: Settings) -> Iterator[Program]:
    settings.HOOKHUB_HUB_REQUESTS_PER_ADDRESS = settings.HOOKHUB_HUB_REQUESTS_PER_HOST = 0
    live = Live.make(live_server.url)
    live.repository.private = False
    live.repository.save()
    with node.running("pubsubhubbub.mjs") as script:
        yield Program(script, live)


def test_its_feed_event_fires_while_it_is_subscribed(program: Program) -> None:
    # It finds the topic and the hub again in the query of its callback.
    named = {"topic": program.topic, "hub": program.hub}
    assert program.do("subscribe") == [{"name": "subscribe", **named}]

    [feed] = program.publish()

    assert json.loads(feed.pop("feed")) == PUSH
    assert feed == {"name": "feed", **named, "type": "application/json"}
    assert Delivery.objects.get().state == "delivered"

    assert program.do("subscribe") == [{"name": "subscribe", **named}]
    assert len(program.publish()) == 1

    assert program.do("unsubscribe") == [{"name": "unsubscribe", **named}]
    assert program.publish() == []
    assert not Webhook.objects.kept().exists()


def test_it_hears_that_it_is_denied(program: Program) -> None:
    program.do("subscribe")
    lifecycle.delete(Webhook.objects.get().pk, now=timezone.now())
    verify_due(now=timezone.now())
    assert [event["name"] for event in program.events()] == ["denied"]

    program.live.repository.private = True
    program.live.repository.save()
    assert [event["name"] for event in program.do("subscribe")] == ["denied"]
