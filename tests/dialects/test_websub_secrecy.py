"""What the answers of the hub do not reveal to strangers: names in private networks, repositories, subscribers."""

import socket
from datetime import timedelta
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from deliveries.models import Organization, Repository, Verification, Webhook
from hookhub.dialects.social_gateway.hub import websub
from hookhub.dialects.social_gateway.hub.forms import URLENCODED
from hookhub.models import Scope
from tests.api import Caller
from tests.story import Forge, echo, verify_due

pytestmark = pytest.mark.django_db

TOPIC = "http://testserver/acme/widgets/events/push.json"
PRIVATE = "http://testserver/acme/secret/events/push.json"
UNKNOWN = "http://testserver/acme/none/events/push.json"
# As tests/integration/test_public_refusals.py has them: one that resolves to an inner address, and one to none.
INNER, NO_NAME = "http://db.corp.internal:9000/", "http://no-such-name.corp.internal:9000/"


@pytest.fixture(autouse=True)
def _unlimited(settings: Settings) -> None:
    settings.HOOKHUB_HUB_REQUESTS_PER_ADDRESS = settings.HOOKHUB_HUB_REQUESTS_PER_HOST = 0


@pytest.fixture
def forge(forge: Forge) -> Forge:
    forge.repository.private = False
    forge.repository.save()
    Repository.objects.create(organization=forge.organization, name="secret")
    return forge


def ask(callback: str, *, mode: str = "subscribe", topic: str = TOPIC, headers: dict[str, str] | None = None) -> Any:
    form = urlencode({"hub.mode": mode, "hub.topic": topic, "hub.callback": callback})
    return Client().post("/hub", form, content_type=URLENCODED, headers=headers)


def seen(answer: Any) -> tuple[int, bytes, dict[str, str]]:
    """Return all that a caller sees of a response but the id of its request and what is left of its limits."""
    counts = ("x-request-id", "x-ratelimit-", "ratelimit")
    headers = {name: value for name, value in answer.headers.items() if not name.lower().startswith(counts)}
    return answer.status_code, answer.content, headers


def asked_of(forge: Forge) -> list[dict[str, str]]:
    """Send what is due, and return what each request to the receiver says but for the challenge."""
    forge.receiver.received.clear()
    verify_due(now=timezone.now())
    queries = [dict(parse_qsl(urlsplit(each.path).query)) for each in forge.receiver.received]
    return [{name: value for name, value in query.items() if name != "hub.challenge"} for query in queries]


@pytest.fixture
def inner_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one name resolve to an inner address, and all others to none."""

    def getaddrinfo(host: str, *_: object, **__: object) -> list[Any]:
        if host != urlsplit(INNER).hostname:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def no_look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names that are looked up, by whatever way."""
    names: list[str] = []

    def noted(host: str, *_: object, **__: object) -> NoReturn:
        names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    monkeypatch.setattr("deliveries.sending.url.resolve_quickly", noted)
    return names


@pytest.mark.parametrize("mode", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize("topic", [TOPIC, PRIVATE, UNKNOWN])
@pytest.mark.parametrize("scope", [None, Scope.READ])
def test_the_web_server_looks_up_no_callback(
    forge: Forge, no_look_ups: list[str], mode: str, topic: str, scope: Scope | None
) -> None:
    headers = {} if scope is None else {"Authorization": f"Bearer {Caller.of(forge.organization, scope).key}"}

    answers = [seen(ask(callback, mode=mode, topic=topic, headers=headers)) for callback in (INNER, NO_NAME)]

    assert answers[0] == answers[1]
    assert answers[0][:2] == (202, b"")
    assert no_look_ups == []


def test_a_web_server_looks_up_what_a_key_may_set(forge: Forge, no_look_ups: list[str]) -> None:
    """It shows that the look-ups are seen."""
    assert forge.webhook(now=timezone.now(), url=NO_NAME)
    assert no_look_ups == ["no-such-name.corp.internal"]


@pytest.mark.usefixtures("inner_names")
def test_a_name_with_an_inner_address_fails_like_an_unknown_name_when_it_is_connected_to(forge: Forge) -> None:
    for callback in (INNER, NO_NAME):
        assert ask(callback).status_code == 202

    assert verify_due(now=timezone.now()) == ["pending", "pending"]

    refused, unknown = Verification.objects.order_by("id")
    assert "blocked address" in refused.last_error
    assert "10.1.2.3" not in refused.last_error
    assert unknown.last_error == "Could not resolve host: no-such-name.corp.internal"
    assert forge.receiver.received == []
    assert [webhook.unverified for webhook in Webhook.objects.all()] == [True, True]


@pytest.mark.parametrize(
    "callback",
    [
        "http://10.1.2.3:9000/", "http://[fd00::1]/", "http://169.254.169.254/", "http://0x7f.1/", "http://127.0.0.1/",
        "http://localhost/", "http://inner.localhost/", "http://testserver/", "http://receiver.example:22/",
        "http://receiver.example:6379/", "http://user:secret@receiver.example/", "ftp://receiver.example/",
    ],
)  # fmt: skip
def test_what_the_text_of_a_callback_shows_is_still_refused(
    forge: Forge, no_look_ups: list[str], settings: Settings, callback: str
) -> None:
    settings.HOOKHUB_DEVELOPMENT = False
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.HOOKHUB_ALLOWED_NETWORKS = ()
    for topic in (TOPIC, PRIVATE):
        answer = ask(callback, topic=topic)
        assert answer.status_code == 400
        assert answer.content.startswith(b"hub.callback is not allowed. ")
    assert no_look_ups == []
    assert not Verification.objects.exists()


@pytest.mark.parametrize("has_key", [False, True])
@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_a_private_repositorys_topic_looks_like_that_of_none(forge: Forge, method: str, has_key: bool) -> None:
    stranger = Caller.of(Organization.objects.create(slug="stranger"))
    headers = {"Authorization": f"Bearer {stranger.key}"} if has_key else {}
    paths = ["acme/secret/events/push", "acme/none/events/push", "nobody/none/events/push", "acme/secret/events/none"]

    answers = [seen(getattr(Client(), method)(f"/{path}", headers=headers)) for path in paths]

    assert answers[0][0] == {"get": 404, "head": 404, "options": 200}[method]
    assert answers == [answers[0]] * len(paths)


@pytest.mark.parametrize("has_key", [False, True])
def test_a_subscription_to_a_private_repository_ends_like_one_to_none(forge: Forge, has_key: bool) -> None:
    stranger = Caller.of(Organization.objects.create(slug="stranger"), Scope.READ)
    headers = {"Authorization": f"Bearer {stranger.key}"} if has_key else {}
    topics = [PRIVATE, UNKNOWN, PRIVATE.replace("push", "none"), PRIVATE.replace("acme", "nobody")]
    answers, told = [], []
    for topic in topics:
        answers.append(seen(ask(forge.receiver.url("/"), topic=topic, headers=headers)))
        [denial] = asked_of(forge)
        told.append({**denial, "hub.topic": denial["hub.topic"] == topic})

    assert answers[0][:2] == (202, b"")
    assert answers == [answers[0]] * len(topics)
    assert told == [{"hub.mode": "denied", "hub.topic": True, "hub.reason": websub.NOT_FOUND}] * len(topics)


def test_a_key_that_manages_another_organization_learns_nothing_either(forge: Forge) -> None:
    stranger = Caller.of(Organization.objects.create(slug="stranger"))
    headers = {"Authorization": f"Bearer {stranger.key}"}
    answers = [seen(ask(forge.receiver.url("/"), topic=topic, headers=headers)) for topic in (PRIVATE, UNKNOWN)]
    assert answers[0][0] == 404
    assert answers[0] == answers[1]


@pytest.mark.parametrize("limit", ["HOOKHUB_HUB_SUBSCRIPTIONS", "HOOKHUB_WEBHOOKS_PER_HOST"])
def test_a_full_hub_does_not_tell_who_is_subscribed(forge: Forge, settings: Settings, limit: str) -> None:
    subscriber = forge.receiver.url("/subscriber")
    ask(subscriber)
    echo(forge.receiver)
    assert verify_due(now=timezone.now()) == ["verified"]
    setattr(settings, limit, 1)

    answers = [seen(ask(callback)) for callback in (subscriber, forge.receiver.url("/other"))]

    assert answers[0][:2] == (202, b"")
    assert answers[0] == answers[1]
    assert Webhook.objects.count() == 1
    # Each callback is told what concerns it, one after the other, since they are at one host.
    renewed, denial = [*asked_of(forge), *asked_of(forge)]
    assert renewed["hub.mode"] == "subscribe"
    assert denial == {"hub.mode": "denied", "hub.topic": TOPIC, "hub.reason": websub.TOO_MANY}


def test_a_topic_made_private_meanwhile_is_denied(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository is found public, and private once it is locked."""
    find = websub.topics.visible_repository

    def find_and_hide(*args: Any) -> Repository | None:
        found = find(*args)
        Repository.objects.filter(name="widgets").update(private=True)
        return found

    monkeypatch.setattr(websub.topics, "visible_repository", find_and_hide)

    assert seen(ask(forge.receiver.url("/")))[:2] == (202, b"")

    assert asked_of(forge) == [{"hub.mode": "denied", "hub.topic": TOPIC, "hub.reason": websub.NOT_FOUND}]
    assert not Webhook.objects.exists()


def test_an_unsubscription_answers_the_same_whoever_is_subscribed(forge: Forge) -> None:
    subscriber = forge.receiver.url("/subscriber")
    ask(subscriber)
    echo(forge.receiver)
    assert verify_due(now=timezone.now() + timedelta(seconds=1)) == ["verified"]
    asks = [(subscriber, TOPIC), (forge.receiver.url("/other"), TOPIC), (subscriber, PRIVATE), (subscriber, UNKNOWN)]

    answers = [seen(ask(callback, mode="unsubscribe", topic=topic)) for callback, topic in asks]

    assert answers[0][:2] == (202, b"")
    assert answers == [answers[0]] * len(asks)
