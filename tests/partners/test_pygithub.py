"""PyGithub, unmodified, manages the hooks of a repository as it does at GitHub."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
from github import Auth, BadCredentialsException, Github, GithubException, UnknownObjectException
from github.Repository import Repository as RemoteRepository
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Webhook
from tests.partners.live import Live, deliver
from tests.receiver import Answer, Receiver

PUSH = {"ref": "refs/heads/main", "commits": []}


@pytest.fixture(params=["", "/api/v3"], ids=["as github.com", "as an Enterprise"])
def live(request: pytest.FixtureRequest, live_server: LiveServer) -> Live:
    return Live.make(live_server.url + request.param)


@pytest.fixture
def hub(live: Live) -> Iterator[Github]:
    with client(live, Auth.Token(live.key)) as made:
        yield made


def client(live: Live, auth: Auth.Auth) -> Github:
    # Without pauses between requests, which spare GitHub. PyGithub keeps its connections until it is closed, and the
    # server keeps a thread with a database session for each.
    return Github(base_url=live.url, auth=auth, retry=None, seconds_between_requests=0, seconds_between_writes=0)


@pytest.fixture
def remote(hub: Github) -> RemoteRepository:
    return hub.get_repo("octocat/Hello-World")


def test_a_hooks_life(live: Live, remote: RemoteRepository, receiver: Receiver) -> None:
    config = {"url": receiver.url("/hook"), "content_type": "json", "secret": "It's a Secret", "insecure_ssl": "1"}
    hook = remote.create_hook("web", config, ["push"], active=True)

    assert (hook.name, hook.active, hook.events) == ("web", True, ["push"])
    assert hook.config == {**config, "secret": "********"}
    assert hook.url == f"{live.url}/repos/octocat/Hello-World/hooks/{hook.id}"
    assert (hook.last_response.status, hook.last_response.code) == ("unused", None)
    assert remote.get_hook(hook.id) == hook

    hook.edit("web", hook.config, events=["push", "pull_request"])
    assert hook.events == ["push", "pull_request"]
    hook.edit("web", hook.config, add_events=["issues"], remove_events=["pull_request"])
    assert hook.events == ["push", "issues"]

    hook.ping()
    deliver()
    [ping] = receiver.received
    signature = hmac.new(b"It's a Secret", ping.body, hashlib.sha256).hexdigest()
    assert ping.headers["x-socialgateway-event"] == "ping"
    assert ping.headers["x-hub-signature-256"] == f"sha256={signature}"
    assert json.loads(ping.body)["hook_id"] == hook.id

    live.publish("push", PUSH)
    deliver()
    hook.test()
    deliver()
    assert [json.loads(request.body) for request in receiver.received[1:]] == [PUSH, PUSH]
    assert hook.update()
    assert (hook.last_response.status, hook.last_response.code, hook.last_response.message) == ("active", 200, "OK")

    hook.edit("web", hook.config, active=False)
    assert hook.active is False
    hook.ping()
    deliver()
    assert len(receiver.received) == 3

    hook.delete()
    with pytest.raises(UnknownObjectException):
        remote.get_hook(hook.id)
    assert list(remote.get_hooks()) == []


def test_lists_over_pages(hub: Github, live: Live, remote: RemoteRepository, receiver: Receiver) -> None:
    made = [remote.create_hook("web", {"url": receiver.url(f"/{number}")}).id for number in range(7)]

    for per_page in (1, 3, 7, 100):
        hub.per_page = per_page
        found = remote.get_hooks()
        assert [hook.id for hook in found] == made
        assert found.totalCount == 7
    hub.per_page = 3
    assert [hook.id for hook in remote.get_hooks().reversed] == made[::-1]
    assert [hook.id for hook in remote.get_hooks().get_page(2)] == made[6:]


def test_deliveries_are_read(hub: Github, live: Live, remote: RemoteRepository, receiver: Receiver) -> None:
    receiver.answers["/hook"] = [Answer(500, body=b"not today"), Answer(200, {"X-Thanks": "yes"}, b"thanks")]
    hook = remote.create_hook("web", {"url": receiver.url("/hook"), "content_type": "json"}, ["*"])
    live.publish("issues", {"action": "opened", "issue": {"number": 1, "title": "é"}})
    deliver()
    live.publish("push", PUSH)
    deliver()

    hub.per_page = 1
    newest, oldest = list(remote.get_hook_deliveries(hook.id))
    assert (newest.event, newest.action, newest.status, newest.status_code) == ("push", None, "OK", 200)
    assert (oldest.event, oldest.action, oldest.status) == ("issues", "opened", "Invalid HTTP Response: 500")
    assert (oldest.status_code, oldest.redelivery, oldest.repository_id) == (500, False, remote.id)
    assert newest.delivered_at is not None
    assert newest.guid == receiver.received[1].headers["x-socialgateway-delivery"]

    assert newest.id is not None
    whole = remote.get_hook_delivery(hook.id, newest.id)
    assert whole.request is not None
    assert whole.response is not None
    assert whole.request.payload == PUSH
    assert (whole.request.headers or {})["X-SocialGateway-Event"] == "push"
    assert "X-Hub-Signature" not in (whole.request.headers or {})
    assert ((whole.response.headers or {})["X-Thanks"], whole.response.payload) == ("yes", "thanks")


def test_refusals_arrive_as_the_clients_own_errors(
    live: Live, hub: Github, remote: RemoteRepository, receiver: Receiver
) -> None:
    remote.create_hook("web", {"url": receiver.url("/")}, ["push"])

    with pytest.raises(GithubException) as twice:
        remote.create_hook("web", {"url": receiver.url("/")}, ["push"])
    with pytest.raises(GithubException) as unknown:
        remote.create_hook("web", {"url": receiver.url("/other")}, ["pushed"])
    with pytest.raises(UnknownObjectException):
        hub.get_repo("octocat/nowhere")
    with client(live, Auth.Token("hh_000000000000_" + "a" * 43)) as stranger, pytest.raises(BadCredentialsException):
        stranger.get_repo("octocat/Hello-World")

    assert (twice.value.status, twice.value.data["errors"][0]["message"]) == (
        422, "Hook already exists on this repository",
    )  # fmt: skip
    assert (unknown.value.status, unknown.value.data["errors"][0]["field"]) == (422, "events")
    assert Webhook.objects.count() == 1


def test_it_comes_in_with_a_password_too(live: Live) -> None:
    with client(live, Auth.Login("octocat", live.key)) as hub:
        assert hub.get_repo("octocat/Hello-World").name == "Hello-World"


def test_a_subscription_at_the_hub_brings_signed_updates_until_it_ends(
    live: Live, remote: RemoteRepository, receiver: Receiver
) -> None:
    secret = "It's a Secret to Everybody"
    remote.subscribe_to_hub("push", receiver.url("/updates"), secret)
    remote.subscribe_to_hub("issues", receiver.url("/updates"), secret)

    [hook] = remote.get_hooks()
    assert (hook.name, hook.active, hook.events) == ("web", True, ["push", "issues"])
    assert hook.config == {
        "url": receiver.url("/updates"), "content_type": "form", "insecure_ssl": "0", "secret": "********",
    }  # fmt: skip
    live.publish("push", PUSH)
    live.publish("issues", {"action": "opened"})
    deliver()
    arrived = {request.headers["x-socialgateway-event"]: request for request in receiver.received}
    assert (len(receiver.received), set(arrived)) == (2, {"push", "issues"})
    assert json.loads(parse_qs(arrived["push"].body.decode())["payload"][0]) == PUSH
    for request in receiver.received:
        assert (
            request.headers["x-hub-signature"] == "sha1=" + hmac.new(secret.encode(), request.body, "sha1").hexdigest()
        )

    remote.unsubscribe_from_hub("push", receiver.url("/updates"))
    live.publish("push", PUSH)
    live.publish("issues", {"action": "closed"})
    deliver()
    assert [request.headers["x-socialgateway-event"] for request in receiver.received[2:]] == ["issues"]
    remote.unsubscribe_from_hub("issues", receiver.url("/updates"))
    assert list(remote.get_hooks()) == []
    live.publish("issues", {"action": "opened"})
    deliver()
    assert len(receiver.received) == 3


def test_the_hubs_refusals_arrive_as_the_clients_own_errors(
    live: Live, remote: RemoteRepository, receiver: Receiver
) -> None:
    with pytest.raises(GithubException) as unknown:
        remote.subscribe_to_hub("pushed", receiver.url("/"))
    with pytest.raises(GithubException) as unreachable:
        remote.subscribe_to_hub("push", "http://10.0.0.1/")
    live.repository.delete()
    with pytest.raises(UnknownObjectException):
        remote.subscribe_to_hub("push", receiver.url("/"))

    assert (unknown.value.status, unknown.value.data) == (422, {"message": 'Invalid event: "pushed"'})
    assert (unreachable.value.status, unreachable.value.data["errors"][0]["field"]) == (422, "hub.callback")
    assert not Webhook.objects.exists()
