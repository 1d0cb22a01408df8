"""github3.py, unmodified, finds a repository and manages its hooks as it does at GitHub."""

import pytest
from django.conf import settings
from github3 import GitHubEnterprise
from github3.exceptions import NotFoundError
from pytest_django.live_server_helper import LiveServer

from tests.partners.live import Live, deliver
from tests.receiver import Receiver


@pytest.fixture
def hub(live_server: LiveServer) -> GitHubEnterprise:
    return GitHubEnterprise(live_server.url, token=Live.make(live_server.url).key)


def test_a_hooks_life(hub: GitHubEnterprise, receiver: Receiver) -> None:
    repository = hub.repository("Octocat", "hello-world")
    assert (repository.full_name, repository.owner.login) == ("octocat/Hello-World", "octocat")

    hook = repository.create_hook("web", {"url": receiver.url("/hook"), "content_type": "json"}, ["push"])
    assert [found.id for found in repository.hooks()] == [hook.id]
    assert hook.ping()
    deliver()
    assert [request.headers["x-socialgateway-event"] for request in receiver.received] == ["ping"]
    assert hook.edit(config=hook.config, events=["issues"])
    assert repository.hook(hook.id).events == ["issues"]
    assert hook.delete()
    assert list(repository.hooks()) == []


def test_whose_token_it_is_and_how_many_requests_are_left(hub: GitHubEnterprise) -> None:
    assert hub.me().login == "octocat"
    # The key's own limit, minus the two requests just made.
    assert hub.ratelimit_remaining == settings.HOOKHUB_REQUESTS_PER_KEY - 2
    with pytest.raises(NotFoundError):
        hub.repository("octocat", "nowhere")
