"""GitHub's clients in Go, Java and Rust, and GitHub's command line, unmodified, get everything they require."""

from typing import Any

import pytest
from django.conf import settings
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Webhook
from tests.partners import github_clients
from tests.partners.live import Live, deliver
from tests.receiver import Receiver

pytestmark = [pytest.mark.github, pytest.mark.django_db(transaction=True)]

NAME = "octocat/Hello-World"
MASKED = "********"


class Driven:
    """What a client's program saw, and what this HookHub stored."""

    def __init__(self, client: str, live: Live, receiver: Receiver) -> None:
        self.url = receiver.url("/hook")
        self.root = f"{live.url}/api/v3"
        self.webhooks: list[Webhook] = []
        self.saw = github_clients.drive(client, url=live.url, key=live.key, receiver=self.url, deliver=self._deliver)
        self.ids = [webhook.pk for webhook in self.webhooks]

    def _deliver(self) -> None:
        self.webhooks = self.webhooks or list(Webhook.objects.order_by("pk"))
        deliver()


@pytest.fixture
def live(live_server: LiveServer) -> Live:
    return Live.make(live_server.url)


def events_at(receiver: Receiver) -> list[str]:
    return [request.headers["x-socialgateway-event"] for request in receiver.received]


def test_go_github_lives_through_all_of_a_hooks_life(live: Live, receiver: Receiver) -> None:
    driven = Driven("go-github", live, receiver)

    limit = settings.HOOKHUB_REQUESTS_PER_KEY
    made = driven.webhooks[0].created_at.timestamp()
    assert driven.saw == {
        "login": "octocat",
        "limits": [limit, limit],
        "spent": 1,
        "organization": f"{driven.root}/orgs/octocat/hooks",
        "repository": [NAME, "octocat", True],
        "made": ["Repository", "web", True, ["push"], driven.url, "json", "0", MASKED, "unused"],
        "at": int(made),
        "ids": driven.ids,
        "pages": [driven.ids[:2], driven.ids[2:]],
        "events": [["push", "issues"], ["push", "issues"]],
        "config": ["form", "form"],
        "deliveries": [["push", "OK", 200, False], ["ping", "OK", 200, False]],
        "whole": [True, True, NAME, '"ok"'],
        "accepted": True,
        "again": [["ping", "OK", 200, True]],
        "missing": [404, "Not Found", []],
        "invalid": [422, "Validation Failed", ["url missing_field"]],
        "stranger": [401, "Bad credentials", []],
        "left": 0,
    }
    assert events_at(receiver) == ["ping", "push", "ping"]


def test_octocrab_lives_through_all_of_a_hooks_life(live: Live, receiver: Receiver) -> None:
    driven = Driven("octocrab", live, receiver)

    shown = {"content_type": "json", "insecure_ssl": "0", "url": driven.url, "secret": MASKED}
    assert driven.saw == {
        "login": "octocat",
        "limit": settings.HOOKHUB_REQUESTS_PER_KEY,
        "organization": f"{driven.root}/orgs/octocat/hooks",
        "profile": "octocat",
        "repository": [NAME, "octocat", True],
        "made": ["Repository", "web", True, ["push"], shown, "unused"],
        "at": int(driven.webhooks[0].created_at.timestamp()),
        "ids": driven.ids,
        "pages": [driven.ids[:2], driven.ids[2:]],
        "events": [["push", "issues"], ["push", "issues"]],
        "config": ["form", "form"],
        "deliveries": [["push", "OK", 200, False], ["ping", "OK", 200, False]],
        "whole": [True, True, "ok"],
        "again": [["ping", "OK", 200, True]],
        "missing": [404, "Not Found", []],
        "stranger": [401, "Bad credentials", []],
        "invalid": [422, "Validation Failed", ["url missing_field"]],
        "left": 0,
    }
    assert events_at(receiver) == ["ping", "push", "ping"]


def test_hub4j_lives_through_what_it_knows_of_a_hooks_life(live: Live, receiver: Receiver) -> None:
    driven = Driven("hub4j", live, receiver)

    limit = settings.HOOKHUB_REQUESTS_PER_KEY
    shown: dict[str, Any] = {"url": driven.url, "content_type": "json", "insecure_ssl": "0", "secret": MASKED}
    assert driven.saw == {
        "valid": True,
        "login": "octocat",
        "limits": [limit, limit],
        "since": int(live.organization.created_at.timestamp()),
        "organization": f"{driven.root}/orgs/octocat",
        "user": "Organization",
        "repository": [NAME, "octocat", True],
        "made": ["web", True, "[PUSH]", shown],
        "at": int(driven.webhooks[0].created_at.timestamp()),
        "all": "[ALL]",
        "ids": driven.ids,
        "listed": driven.ids,
        "found": True,
        "missing": [404, "Not Found"],
        "invalid": [422, "Validation Failed"],
        "stranger": [401, "Bad credentials"],
        "left": 0,
    }
    assert events_at(receiver) == ["ping"]
