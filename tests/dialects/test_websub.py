"""The hub in WebSub's way: a subscription is proved by its callback, has a lease, and gets the topic's content."""

import hashlib
import hmac
import json
import random
import socket
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from cryptography.fernet import Fernet
from django.db import transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from deliveries import pipeline
from deliveries.maintenance import invariants, leases
from deliveries.models import Delivery, Organization, Repository, Verification, Webhook
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Exchange
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle, verification_queue, verifying
from hookhub.dialects.social_gateway.hub import topics
from hookhub.dialects.social_gateway.hub.forms import URLENCODED
from hookhub.models import Scope
from tests.admin_pages import page_of
from tests.api import Caller
from tests.receiver import Answer, Received
from tests.story import Forge, challenge_in, deliver_due, echo, is_waited_for, together, verify_due

pytestmark = pytest.mark.django_db

HUB = "http://testserver/hub"
TOPIC = "http://testserver/acme/widgets/events/push.json"
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _unlimited(settings: Settings) -> None:
    settings.HOOKHUB_HUB_REQUESTS_PER_ADDRESS = settings.HOOKHUB_HUB_REQUESTS_PER_HOST = 0


@pytest.fixture
def forge(forge: Forge) -> Forge:
    forge.repository.private = False
    forge.repository.save()
    return forge


def ask(callback: str, *, at: str = "/hub", mode: str = "subscribe", topic: str = TOPIC, **more: str) -> Any:
    """Send a form without a key."""
    named = {f"hub.{name}": value for name, value in more.items()}
    return send({"hub.mode": mode, "hub.topic": topic, "hub.callback": callback, **named}, at=at)


def send(fields: Mapping[str, str] | list[tuple[str, str]], *, at: str = "/hub", **headers: str) -> Any:
    return Client().post(at, urlencode(fields), content_type=URLENCODED, headers=headers)


def subscribed(forge: Forge, path: str = "/", **more: str) -> Webhook:
    """Subscribe the receiver at a path, and prove it."""
    answer = ask(forge.receiver.url(path), **more)
    assert (answer.status_code, answer.content) == (202, b"")
    echo(forge.receiver)
    assert verify_due(now=timezone.now()) == ["verified"]
    forge.receiver.script = None
    forge.receiver.received.clear()
    return Webhook.objects.latest("pk")


def publish(forge: Forge, sender: Sender, data: object = None, *, now: datetime | None = None) -> list[Received]:
    """Publish an event and return the requests that deliver it."""
    now = now or timezone.now()
    forge.receiver.received.clear()
    forge.accept(now=now, data={"ref": "refs/heads/main"} if data is None else data)
    deliver_due(sender, now=now)
    return list(forge.receiver.received)


def query_of(request: Received) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.path).query))


def parameters_of(request: Received) -> dict[str, str]:
    """Return the parameters of a GET but for the challenge."""
    assert request.method == "GET"
    return {name: value for name, value in query_of(request).items() if name != "hub.challenge"}


def check_notification(request: Received, *, topic: str = TOPIC, hub: str = HUB, content: bytes | None = None) -> None:
    """Check what websub.rocks checks of every notification."""
    fetched = Client().get(urlsplit(topic).path)
    assert request.method == "POST"
    assert request.body
    assert request.body == fetched.content
    assert request.headers["content-type"] == fetched.headers["Content-Type"] == "application/json"
    assert request.headers["link"] == f'<{hub}>; rel="hub", <{topic}>; rel="self"'
    if content is not None:
        assert request.body == content


# The seven tests of websub.rocks --------------------------------------------------------------------------------------


def test_100_a_typical_request_is_verified_and_gets_the_topics_content(forge: Forge, sender: Sender) -> None:
    answer = ask(forge.receiver.url("/callback"))
    assert (answer.status_code, answer.content) == (202, b"")
    assert publish(forge, sender) == []

    echo(forge.receiver)
    assert verify_due(now=timezone.now()) == ["verified"]

    [asked] = forge.receiver.received
    assert asked.path.startswith("/callback?")
    assert parameters_of(asked) == {
        "hub.mode": "subscribe", "hub.topic": TOPIC, "hub.lease_seconds": str(10 * 24 * 3600),
    }  # fmt: skip
    [update] = publish(forge, sender, {"n": 1})
    assert update.path == "/callback"
    check_notification(update, content=b'{"n": 1}')
    assert "x-hub-signature" not in update.headers


def test_101_a_secret_signs_each_update(forge: Forge, sender: Sender) -> None:
    subscribed(forge, secret="s3cret")

    [update] = publish(forge, sender)

    check_notification(update)
    assert update.headers["x-hub-signature"] == "sha256=" + hmac.digest(b"s3cret", update.body, "sha256").hex()


def test_102_unknown_parameters_are_ignored(forge: Forge, sender: Sender) -> None:
    form = {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.callback": forge.receiver.url("/"), "foo": "a"}
    assert send({**form, "hub.foo": "b"}).status_code == 202
    echo(forge.receiver)
    assert verify_due(now=timezone.now()) == ["verified"]
    assert not {"foo", "hub.foo"} & query_of(forge.receiver.received[0]).keys()

    [update] = publish(forge, sender)
    check_notification(update)


def test_103_a_renewal_is_verified_again_and_the_next_event_arrives_once(forge: Forge, sender: Sender) -> None:
    webhook = subscribed(forge, lease_seconds="3600")
    before = webhook.expires_at

    again = subscribed(forge, lease_seconds="7200")

    assert again.pk == webhook.pk
    assert again.expires_at is not None
    assert before is not None
    assert again.expires_at > before
    [update] = publish(forge, sender)
    check_notification(update)


def test_104_unsubscribing_is_verified_and_nothing_arrives_afterwards(forge: Forge, sender: Sender) -> None:
    webhook = subscribed(forge)
    assert ask(forge.receiver.url("/"), mode="unsubscribe").status_code == 202
    assert len(publish(forge, sender)) == 1
    forge.receiver.received.clear()
    echo(forge.receiver)

    assert verify_due(now=timezone.now()) == ["verified"]

    [asked] = forge.receiver.received
    assert parameters_of(asked) == {"hub.mode": "unsubscribe", "hub.topic": TOPIC}
    assert publish(forge, sender) == []
    webhook.refresh_from_db()
    assert webhook.deleted_at is not None
    # It knows already, so it is not told.
    assert not Verification.objects.open().exists()


def test_discovery_a_topic_names_its_hub_and_itself(forge: Forge, sender: Sender) -> None:
    publish(forge, sender, {"n": 1})

    for path in ("/acme/widgets/events/push", "/acme/widgets/events/push.json"):
        answer = Client().get(path)
        assert (answer.status_code, answer.content) == (200, b'{"n": 1}')
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Link"] == f'<{HUB}>; rel="hub", <{TOPIC}>; rel="self"'
        assert Client().head(path).headers["Link"] == answer.headers["Link"]


def test_discovery_a_topic_without_events_has_no_content_yet(forge: Forge) -> None:
    answer = Client().get("/acme/widgets/events/push")
    assert (answer.status_code, answer.content, "Link" in answer.headers) == (204, b"", True)


# Requests -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"hub.callback": None}, "hub.callback is required"),
        ({"hub.mode": None}, "hub.mode is required"),
        ({"hub.topic": None}, "hub.topic is required"),
        ({"hub.mode": "publish"}, "hub.mode must be one of: subscribe, unsubscribe"),
        ({"hub.topic": "http://elsewhere.example/acme/widgets/events/push"}, "hub.topic has the unknown host"),
        ({"hub.topic": "not a URL"}, "hub.topic must have the form"),
        ({"hub.topic": 'http://testserver/acme/widgets/events/push>;rel="x'}, "hub.topic must have the form"),
        ({"hub.callback": "ftp://127.0.0.1/"}, "hub.callback is not allowed"),
        ({"hub.callback": "socialgateway://campfire?room=x"}, "hub.callback is not allowed"),
        ({"hub.callback": "http://user:pass@127.0.0.1/"}, "hub.callback is not allowed"),
        ({"hub.lease_seconds": "0"}, "hub.lease_seconds must be a positive integer"),
        ({"hub.lease_seconds": "-5"}, "hub.lease_seconds must be a positive integer"),
        ({"hub.lease_seconds": "1.5"}, "hub.lease_seconds must be a positive integer"),
        ({"hub.lease_seconds": "٣"}, "hub.lease_seconds must be a positive integer"),
        ({"hub.lease_seconds": ""}, "hub.lease_seconds must be a positive integer"),
        ({"hub.secret": "x" * 200}, "hub.secret must be less than 200 bytes"),
        ({"hub.secret": "é" * 100}, "hub.secret must be less than 200 bytes"),
        ({"hub.signature_algorithm": "md5"}, "hub.signature_algorithm must be one of"),
    ],
)
def test_an_invalid_request_is_400_as_text_and_changes_nothing(
    forge: Forge, changes: dict[str, str | None], names: str
) -> None:
    form = {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.callback": forge.receiver.url("/"), **changes}

    answer = send({name: value for name, value in form.items() if value is not None})

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert answer.content.decode().startswith(names)
    assert not Webhook.objects.exists()
    assert not Verification.objects.exists()


@pytest.mark.parametrize("secret", ["x" * 199, "é" * 99 + "x"])
def test_a_secret_of_199_bytes_is_accepted(forge: Forge, sender: Sender, secret: str) -> None:
    subscribed(forge, secret=secret)
    [update] = publish(forge, sender)
    digest = hmac.digest(secret.encode(), update.body, "sha256").hex()
    assert update.headers["x-hub-signature"] == f"sha256={digest}"


def test_of_repeated_keys_the_last_counts(forge: Forge) -> None:
    here = forge.receiver.url("/last")
    form = [("hub.mode", "unsubscribe"), ("hub.mode", "subscribe"), ("hub.topic", TOPIC)]
    assert send([*form, ("hub.callback", forge.receiver.url("/first")), ("hub.callback", here)]).status_code == 202
    assert Webhook.objects.get().has_url(here)


def test_parameters_of_pubsubhubbub_0_3_are_tolerated_and_the_token_is_sent_back(forge: Forge) -> None:
    assert ask(forge.receiver.url("/"), verify="async", verify_token="tök&en").status_code == 202
    verify_due(now=timezone.now())
    assert query_of(forge.receiver.received[0])["hub.verify_token"] == "tök&en"
    assert "hub.verify" not in query_of(forge.receiver.received[0])


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
def test_each_subscription_may_have_another_algorithm(forge: Forge, sender: Sender, algorithm: str) -> None:
    subscribed(forge, secret="s", signature_algorithm=algorithm)
    [update] = publish(forge, sender)
    expected = hmac.new(b"s", update.body, getattr(hashlib, algorithm)).hexdigest()
    assert update.headers["x-hub-signature"] == f"{algorithm}={expected}"


def test_a_body_that_is_no_form_is_refused_as_text(forge: Forge) -> None:
    answer = Client().post("/hub", b"{}", content_type="application/json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (415, "text/plain; charset=utf-8")


# Which way ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["hub.lease_seconds", "hub.verify"])
def test_a_key_that_asks_for_a_lease_or_a_verification_gets_websubs_way(forge: Forge, field: str) -> None:
    caller = Caller.of(forge.organization)
    form = {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.callback": forge.receiver.url("/")}

    plain = send(form, Authorization=f"Bearer {caller.key}")
    leased = send({**form, field: "600"}, Authorization=f"Bearer {caller.key}")

    assert (plain.status_code, leased.status_code) == (204, 202)
    assert list(Webhook.objects.order_by("pk").values_list("format", flat=True)) == ["social-gateway", "websub"]


@pytest.mark.parametrize("scope", [Scope.READ, Scope.PUBLISH])
def test_a_key_that_may_not_manage_gets_websubs_way(forge: Forge, scope: Scope) -> None:
    caller = Caller.of(forge.organization, scope)
    form = {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.callback": forge.receiver.url("/")}
    assert send(form, Authorization=f"Bearer {caller.key}").status_code == 202


def test_a_key_of_another_organization_gets_websubs_way_to_a_public_topic(forge: Forge, other: Caller) -> None:
    form = {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.callback": forge.receiver.url("/")}
    assert send(form, Authorization=f"Bearer {other.key}").status_code == 202


# Verification ---------------------------------------------------------------------------------------------------------


def test_the_callbacks_query_stays_and_ours_is_appended(forge: Forge, sender: Sender) -> None:
    subscribed_at = forge.receiver.url("/cb?id=7&hub.mode=x&a=b%20c")
    ask(subscribed_at)
    echo(forge.receiver)
    assert verify_due(now=timezone.now()) == ["verified"]
    assert forge.receiver.received[0].path.startswith("/cb?id=7&hub.mode=x&a=b%20c&hub.mode=subscribe&hub.topic=http")
    forge.receiver.script = None
    [update] = publish(forge, sender)
    assert update.path == "/cb?id=7&hub.mode=x&a=b%20c"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(404), id="404"),
        pytest.param(Answer(302, {"Location": "/elsewhere"}), id="redirect"),
        pytest.param(Answer(200, body=b"another"), id="another text"),
        pytest.param(Answer(200, body=b""), id="no text"),
        pytest.param(Answer(500), id="500"),
    ],
)
def test_a_failed_verification_changes_nothing(forge: Forge, sender: Sender, answer: Answer) -> None:
    webhook = subscribed(forge, secret="old", lease_seconds="3600")
    ask(forge.receiver.url("/"), secret="new", lease_seconds="86400")

    def spoiled(connection: socket.socket, _: Received) -> None:
        connection.sendall(answer.encode())

    forge.receiver.script = spoiled
    now = timezone.now()
    while Verification.objects.open().exists():
        verify_due(now=now)
        now += timedelta(minutes=6)
    forge.receiver.script = None

    again = Webhook.objects.get()
    assert (again.expires_at, again.deleted_at) == (webhook.expires_at, None)
    [update] = publish(forge, sender)
    assert update.headers["x-hub-signature"] == "sha256=" + hmac.digest(b"old", update.body, "sha256").hex()


def test_the_echo_counts_whatever_its_content_type_but_must_be_equal(forge: Forge) -> None:
    ask(forge.receiver.url("/"))

    def script(connection: socket.socket, request: Received) -> None:
        body = (challenge_in(request) or "").encode() + b"\n" * (len(forge.receiver.received) == 1)
        connection.sendall(Answer(201, {"Content-Type": "image/png", "Connection": "close"}, body).encode())

    forge.receiver.script = script
    now = timezone.now()
    assert verify_due(now=now) == ["pending"]
    assert verify_due(now=now + timedelta(minutes=1)) == ["verified"]


def test_a_challenge_is_used_once(forge: Forge) -> None:
    ask(forge.receiver.url("/"))
    verify_due(now=timezone.now())
    verify_due(now=timezone.now() + timedelta(minutes=1))
    first, second = [challenge_in(request) for request in forge.receiver.received]
    assert first is not None
    assert first != second
    assert set(first) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_an_unproved_subscription_is_forgotten_after_its_schedule(forge: Forge) -> None:
    ask(forge.receiver.url("/"))
    now = timezone.now()
    while Verification.objects.open().exists():
        verify_due(now=now)
        now += timedelta(minutes=6)

    assert leases.forget_unverified(now=now) == 1
    assert not Webhook.objects.kept().exists()


def test_the_old_secret_signs_until_a_renewal_is_proved(forge: Forge, sender: Sender) -> None:
    subscribed(forge, secret="old")
    ask(forge.receiver.url("/"), secret="new")
    [before] = publish(forge, sender)
    assert before.headers["x-hub-signature"] == "sha256=" + hmac.digest(b"old", before.body, "sha256").hex()

    echo(forge.receiver)
    verify_due(now=timezone.now())
    forge.receiver.script = None

    [after] = publish(forge, sender)
    assert after.headers["x-hub-signature"] == "sha256=" + hmac.digest(b"new", after.body, "sha256").hex()
    subscribed(forge)
    [unsigned] = publish(forge, sender)
    assert "x-hub-signature" not in unsigned.headers


def test_two_processes_verify_one_subscription_once(forge: Forge) -> None:
    ask(forge.receiver.url("/"))
    now = timezone.now()
    [claimed] = verification_queue.claim(8, now=now)
    assert verification_queue.claim(8, now=now) == []
    # The first process dies after the echo, before its commit; a second one asks again, and the late result is lost.
    later = now + timedelta(minutes=1)
    echo(forge.receiver)
    assert verify_due(now=later) == ["verified"]
    assert verifying.conclude(claimed, Exchange(SECOND, NoResponse("timeout", "late")), now=later) is None
    assert Webhook.objects.get().verified_at == later


@pytest.mark.django_db(transaction=True)
def test_subscribers_at_once_make_one_subscription(forge: Forge) -> None:
    here = forge.receiver.url("/")
    answers = together(*[lambda: ask(here).status_code] * 4)
    assert answers == [202] * 4
    assert Webhook.objects.kept().count() == 1


# Lease ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["proved for its owner", "move called off", "proof dropped", "made private"])
def test_what_was_kept_for_a_proof_after_its_end_goes_when_nothing_can_renew_it(forge: Forge, way: str) -> None:
    owner = Caller.of(forge.organization)
    webhook = subscribed(forge, lease_seconds="300")
    address = f"/v1/webhooks/{webhook.uid}"
    if way == "proved for its owner":
        owner.post(f"{address}/verify")
    elif way == "made private":
        Webhook.objects.update(subscription={**(webhook.subscription or {}), "is_public": False})
        ask(forge.receiver.url("/"))
    else:
        owner.patch(address, {"url": forge.receiver.url("/moved")})
    Webhook.objects.update(expires_at=timezone.now())
    leases.end_expired(now=timezone.now())
    assert Webhook.objects.kept().get().ended_at is not None

    if way == "proved for its owner":
        echo(forge.receiver)
        assert verify_due(now=timezone.now()) == ["verified"]
    elif way == "move called off":
        assert owner.patch(address, {"url": forge.receiver.url("/")}).status_code == 200
    elif way == "proof dropped":
        assert owner.patch(address, {"verify": None}).status_code == 200
    else:
        assert owner.patch("/v1/repositories/widgets", {"private": True}).status_code == 200
    leases.end_expired(now=timezone.now())

    assert not Webhook.objects.kept().exists()


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ({}, 10 * DAY),
        ({"lease_seconds": "3600"}, timedelta(hours=1)),
        ({"lease_seconds": "1"}, timedelta(minutes=5)),
        ({"lease_seconds": "999999999999999999999"}, 30 * DAY),
    ],
)
def test_the_lease_is_within_bounds_told_and_counted_from_the_verification(
    forge: Forge, asked: dict[str, str], granted: timedelta
) -> None:
    ask(forge.receiver.url("/"), **asked)
    echo(forge.receiver)
    proved_at = timezone.now() + timedelta(seconds=5)
    verify_due(now=proved_at)

    assert query_of(forge.receiver.received[0])["hub.lease_seconds"] == str(int(granted.total_seconds()))
    assert Webhook.objects.get().expires_at == proved_at + granted


def test_nothing_is_sent_after_the_lease_and_the_subscription_is_deleted(forge: Forge, sender: Sender) -> None:
    webhook = subscribed(forge, lease_seconds="3600")
    assert webhook.expires_at is not None
    assert len(publish(forge, sender, now=webhook.expires_at - SECOND)) == 1
    assert publish(forge, sender, now=webhook.expires_at) == []

    leases.end_expired(now=webhook.expires_at)

    assert not Webhook.objects.kept().exists()
    pipeline.fan_out(now=webhook.expires_at)
    found = invariants.check_all(now=webhook.expires_at + DAY, settling=timedelta(0))
    assert not [one for one in found if one.count]


# Distribution ---------------------------------------------------------------------------------------------------------


def test_a_renewal_that_is_proved_after_the_old_lease_is_not_lost(forge: Forge, sender: Sender) -> None:
    webhook = subscribed(forge, lease_seconds="300")
    assert webhook.expires_at is not None
    assert ask(forge.receiver.url("/"), lease_seconds="3600").status_code == 202
    ended = webhook.expires_at + SECOND

    leases.end_expired(now=ended)
    leases.end_expired(now=ended + SECOND)

    assert publish(forge, sender, now=ended) == []
    echo(forge.receiver)
    assert verify_due(now=ended + SECOND) == ["verified"]
    forge.receiver.script = None
    webhook.refresh_from_db()
    assert (webhook.deleted_at, webhook.ended_at) == (None, None)
    assert webhook.expires_at == ended + SECOND + timedelta(hours=1)
    assert len(publish(forge, sender, now=ended + 2 * SECOND)) == 1


def test_a_renewal_that_fails_after_the_old_lease_leaves_nothing(forge: Forge) -> None:
    webhook = subscribed(forge, lease_seconds="300")
    assert webhook.expires_at is not None
    ask(forge.receiver.url("/"), lease_seconds="3600")
    forge.receiver.script = lambda connection, _: connection.sendall(Answer(500).encode())
    leases.end_expired(now=webhook.expires_at)
    assert Webhook.objects.kept().exists()

    for seconds in (0, 10, 70, 370):
        assert leases.forget_unverified(now=webhook.expires_at + seconds * SECOND) == 0
        assert verify_due(now=webhook.expires_at + seconds * SECOND) == ["failed" if seconds == 370 else "pending"]

    assert leases.forget_unverified(now=webhook.expires_at + 370 * SECOND) == 1
    assert not Webhook.objects.kept().exists()


def test_a_renewal_that_fails_before_the_lease_ends_changes_nothing(forge: Forge) -> None:
    webhook = subscribed(forge)
    ask(forge.receiver.url("/"))
    forge.receiver.script = lambda connection, _: connection.sendall(Answer(410).encode())
    assert verify_due(now=timezone.now()) == ["failed"]
    assert leases.forget_unverified(now=timezone.now()) == 0
    assert Webhook.objects.kept().get() == webhook


def test_the_link_names_the_hub_and_the_topic_as_the_subscriber_wrote_them(forge: Forge, sender: Sender) -> None:
    topic = "https://github.com/ACME/widgets/events/push"
    subscribed(forge, at="/api/v3/hub", topic=topic)
    [update] = publish(forge, sender)
    assert update.headers["link"] == f'<http://testserver/api/v3/hub>; rel="hub", <{topic}>; rel="self"'


def test_topics_and_callbacks_make_subscriptions_of_their_own(forge: Forge, sender: Sender) -> None:
    subscribed(forge, "/a")
    subscribed(forge, "/b")
    subscribed(forge, "/a", topic=TOPIC.removesuffix(".json"))
    assert Webhook.objects.count() == 3
    assert sorted(request.path for request in publish(forge, sender)) == ["/a", "/a", "/b"]


def test_only_the_topics_events_arrive(forge: Forge, sender: Sender) -> None:
    subscribed(forge)
    now = timezone.now()
    forge.accept(event_type="issues.opened", now=now)
    deliver_due(sender, now=now)
    assert forge.receiver.received == []


def test_410_ends_the_subscription(forge: Forge, sender: Sender) -> None:
    subscribed(forge)
    forge.receiver.answers["/"] = Answer(410)
    publish(forge, sender)

    pipeline.review(now=timezone.now())

    assert not Webhook.objects.kept().exists()
    assert not Verification.objects.open().exists()
    assert publish(forge, sender) == []


def test_a_subscriber_that_fails_stays_subscribed(forge: Forge, sender: Sender, settings: Settings) -> None:
    settings.HOOKHUB_DISABLE_AFTER_FAILURES = 1
    subscribed(forge)
    forge.receiver.answers["/"] = Answer(500)
    now = timezone.now()
    publish(forge, sender, now=now)
    for _ in range(6):
        now += timedelta(hours=7)
        deliver_due(sender, now=now)
        pipeline.review(now=now)

    assert Delivery.objects.get().state == "failed"
    assert Webhook.objects.get().active


# Private topics, denial, revocation -----------------------------------------------------------------------------------


@pytest.fixture
def private(forge: Forge) -> Repository:
    return Repository.objects.create(organization=forge.organization, name="secret")


def denied(forge: Forge) -> dict[str, str]:
    """Return what the only request says that denies a subscription."""
    forge.receiver.received.clear()
    verify_due(now=timezone.now())
    [request] = forge.receiver.received
    assert not Verification.objects.filter(mode="denied").exists()
    return query_of(request)


@pytest.mark.parametrize("path", ["acme/secret/events/push", "acme/none/events/push", "nobody/none/events/push",
                                  "acme/widgets/events/unheard-of"])  # fmt: skip
def test_a_topic_that_may_not_be_seen_is_accepted_and_then_denied(forge: Forge, private: Repository, path: str) -> None:
    topic = f"http://testserver/{path}"

    answer = ask(forge.receiver.url("/cb?id=7"), topic=topic)

    assert (answer.status_code, answer.content) == (202, b"")
    assert not Webhook.objects.exists()
    assert denied(forge) == {
        "id": "7", "hub.mode": "denied", "hub.topic": topic, "hub.reason": "There is no such topic, or it is private.",
    }  # fmt: skip


def test_a_denial_is_repeated_on_the_schedule_and_then_forgotten(forge: Forge) -> None:
    ask(forge.receiver.url("/"), topic="http://testserver/acme/none/events/push")
    forge.receiver.answers = {}
    forge.receiver.script = lambda connection, _: connection.sendall(Answer(500).encode())
    now = timezone.now()
    asked_at = [seconds for seconds in range(600) if verify_due(now=now + seconds * SECOND)]
    assert asked_at == [0, 10, 70, 370]
    assert not Verification.objects.exists()


def test_a_private_topic_is_for_keys_that_may_read(forge: Forge, private: Repository, other: Caller) -> None:
    path = "/acme/secret/events/push.json"
    reader = Caller.of(forge.organization, Scope.READ)
    assert [Client().get(path).status_code, other.get(path).status_code] == [404, 404]
    assert Client().get(path).json() == {"message": "Not Found"}
    assert reader.get(path).status_code == 204

    form = {"hub.mode": "subscribe", "hub.topic": f"http://testserver{path}", "hub.callback": forge.receiver.url("/")}
    assert send(form, Authorization=f"Bearer {reader.key}").status_code == 202
    assert Webhook.objects.get().repository == private


def subscribed_with_a_key(forge: Forge, private: Repository) -> str:
    """Subscribe the receiver to a private repository, prove it, and return the topic."""
    topic = f"http://testserver/acme/{private.name}/events/push.json"
    reader = Caller.of(forge.organization, Scope.READ)
    form = {"hub.mode": "subscribe", "hub.topic": topic, "hub.callback": forge.receiver.url("/")}
    send(form, Authorization=f"Bearer {reader.key}")
    echo(forge.receiver)
    assert verify_due(now=timezone.now()) == ["verified"]
    return topic


def test_a_stranger_cannot_have_a_subscriber_told_that_it_is_denied(forge: Forge, private: Repository) -> None:
    topic = subscribed_with_a_key(forge, private)

    assert ask(forge.receiver.url("/"), topic=topic).status_code == 202

    assert verify_due(now=timezone.now()) == []
    assert Webhook.objects.get().status(now=timezone.now()) == "active"


def test_a_subscriber_needs_no_key_to_unsubscribe(forge: Forge, private: Repository) -> None:
    topic = subscribed_with_a_key(forge, private)

    # Only the callback itself can confirm it.
    assert ask(forge.receiver.url("/other"), mode="unsubscribe", topic=topic).status_code == 202
    assert verify_due(now=timezone.now()) == []
    assert ask(forge.receiver.url("/"), mode="unsubscribe", topic=topic).status_code == 202
    assert verify_due(now=timezone.now()) == ["verified"]
    assert not Webhook.objects.kept().exists()


def test_a_repository_with_a_new_name_keeps_its_subscribers_who_renew_and_end_as_before(
    forge: Forge, sender: Sender
) -> None:
    webhook = subscribed(forge, "/?n=1")
    Repository.objects.filter(pk=forge.repository.pk).update(name="gadgets")
    another = Repository.objects.create(organization=forge.organization, name="widgets", private=True)

    echo(forge.receiver)
    ask(forge.receiver.url("/?n=1"), lease_seconds=str(20 * 86400))
    assert verify_due(now=timezone.now()) == ["verified"]
    webhook.refresh_from_db()
    assert webhook.repository == forge.repository != another
    assert webhook.expires_at is not None
    assert webhook.expires_at > timezone.now() + 19 * DAY
    assert len(publish(forge, sender)) == Webhook.objects.count() == 1

    ask(forge.receiver.url("/?n=1"), mode="unsubscribe")
    assert verify_due(now=timezone.now()) == ["verified"]
    assert publish(forge, sender) == []


def test_a_stranger_cannot_have_a_subscriber_told_that_a_repository_with_a_new_name_is_gone(forge: Forge) -> None:
    subscribed(forge)
    Repository.objects.filter(pk=forge.repository.pk).update(name="gadgets", private=True)

    assert ask(forge.receiver.url("/")).status_code == 202

    assert verify_due(now=timezone.now()) == []
    assert Webhook.objects.get().status(now=timezone.now()) == "active"


def test_a_ping_for_one_webhook_is_not_the_topics_content(forge: Forge, sender: Sender) -> None:
    webhook = subscribed(forge)
    event = forge.event(now=timezone.now(), data={"for": "one"}, webhook_id=webhook.pk)
    pipeline.accept([event], now=timezone.now())
    assert Client().get("/acme/widgets/events/push").status_code == 204


def test_a_topic_looks_through_a_bounded_number_of_events(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    forge.accept(now=timezone.now())
    forge.accept(2, now=timezone.now(), event_type="issues.opened")
    assert topics.latest_payload(forge.repository, "push") is not None
    assert topics.latest_payload(forge.repository, "issues") is not None
    monkeypatch.setattr(topics, "MAX_SCANNED", 2)
    assert topics.latest_payload(forge.repository, "push") is None


@pytest.mark.parametrize("through", ["/v1/", "engine"])
def test_what_the_owner_deletes_is_told_to_the_subscriber(forge: Forge, sender: Sender, through: str) -> None:
    webhook = subscribed(forge, "/cb?id=7")
    if through == "/v1/":
        assert Caller.of(forge.organization).delete(f"/v1/webhooks/{webhook.uid}").status_code == 204
    else:
        lifecycle.delete(webhook.pk, now=timezone.now())

    assert denied(forge) == {
        "id": "7", "hub.mode": "denied", "hub.topic": TOPIC,
        "hub.reason": "The subscription was ended by the owner of the topic.",
    }  # fmt: skip
    assert publish(forge, sender) == []


def test_a_subscription_whose_key_is_lost_can_be_deleted(forge: Forge, settings: Settings) -> None:
    webhook = subscribed(forge, "/cb?id=7")
    settings.HOOKHUB_ENCRYPTION_KEYS = (Fernet.generate_key().decode(),)

    lifecycle.delete(webhook.pk, now=timezone.now())

    assert not Webhook.objects.kept().exists()
    assert not Verification.objects.open().exists()


def test_a_repository_made_private_loses_the_subscribers_who_must_not_see_it(forge: Forge, sender: Sender) -> None:
    subscribed(forge, "/public")
    reader = Caller.of(forge.organization, Scope.READ)
    form = {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.callback": forge.receiver.url("/reader")}
    send(form, Authorization=f"Bearer {reader.key}")
    echo(forge.receiver)
    assert verify_due(now=timezone.now()) == ["verified"]
    forge.receiver.script = None

    owner = Caller.of(forge.organization)
    assert owner.patch("/v1/repositories/widgets", {"private": True}).status_code == 200

    assert denied(forge)["hub.mode"] == "denied"
    assert [request.path for request in publish(forge, sender)] == ["/reader"]


def test_a_renewal_without_a_key_does_not_outlast_that_the_repository_is_public(forge: Forge, sender: Sender) -> None:
    reader = Caller.of(forge.organization, Scope.READ)
    form = {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.callback": forge.receiver.url("/reader")}
    send(form, Authorization=f"Bearer {reader.key}")
    echo(forge.receiver)
    assert verify_due(now=timezone.now()) == ["verified"]
    before = Webhook.objects.get()
    assert send({**form, "hub.secret": "anybody's"}).status_code == 202

    owner = Caller.of(forge.organization)
    assert owner.patch("/v1/repositories/widgets", {"private": True}).status_code == 200

    assert verify_due(now=timezone.now()) == []
    after = Webhook.objects.get()
    assert (after.subscription, after.expires_at) == (before.subscription, before.expires_at)
    assert (after.subscription or {})["is_public"] is False
    # Its own, with the key, goes on.
    send(form, Authorization=f"Bearer {reader.key}")
    assert verify_due(now=timezone.now()) == ["verified"]


@pytest.mark.django_db(transaction=True)
def test_a_subscription_that_ends_while_its_repository_is_made_private_is_no_error(forge: Forge) -> None:
    webhook = subscribed(forge, "/public")
    ending = threading.Event()

    def end() -> None:
        with transaction.atomic():
            lifecycle.delete(webhook.pk, now=timezone.now())
            ending.set()
            until = time.monotonic() + 60
            while not is_waited_for():
                assert time.monotonic() < until

    def make_private() -> int:
        assert ending.wait(60)
        answer: int = Caller.of(forge.organization).patch("/v1/repositories/widgets", {"private": True}).status_code
        return answer

    assert together(end, make_private)[1] == 200
    assert Repository.objects.get(name="widgets").private


# Abuse ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["subscribe", "unsubscribe"])
def test_the_operator_can_demand_a_key(forge: Forge, sender: Sender, settings: Settings, mode: str) -> None:
    subscribed(forge)
    settings.HOOKHUB_HUB_ANONYMOUS = False

    answers = [ask(forge.receiver.url("/"), mode=mode, topic=topic) for topic in (TOPIC, TOPIC + "x")]

    for answer in answers:
        assert (answer.status_code, answer.headers["Content-Type"]) == (401, "text/plain; charset=utf-8")
        assert answer.content.startswith(b"This hub takes no requests without an API key")
    assert not Verification.objects.open().exists()
    # What was subscribed before, keys, and topics go on.
    assert len(publish(forge, sender)) == 1
    assert Client().get("/acme/widgets/events/push").status_code == 200
    reader = Caller.of(forge.organization, Scope.READ)
    form = {"hub.mode": mode, "hub.topic": TOPIC, "hub.callback": forge.receiver.url("/")}
    assert send(form, Authorization=f"Bearer {reader.key}").status_code == 202
    assert Verification.objects.open().exists()


def test_a_client_has_a_limit(forge: Forge, settings: Settings) -> None:
    settings.HOOKHUB_HUB_REQUESTS_PER_ADDRESS = 2
    client = Client(REMOTE_ADDR=f"2001:db8:{random.getrandbits(16):x}::1")
    form = {"hub.mode": "subscribe", "hub.topic": TOPIC}
    answers = [
        client.post("/hub", urlencode({**form, "hub.callback": forge.receiver.url(f"/{n}")}), content_type=URLENCODED)
        for n in range(3)
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Retry-After" in answers[2].headers
    assert Webhook.objects.count() == 2


def test_a_callbacks_host_has_a_limit(forge: Forge, settings: Settings) -> None:
    settings.HOOKHUB_HUB_REQUESTS_PER_HOST = 2
    host = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.1"
    answers = [ask(f"http://{host}:{9000 + n}/").status_code for n in range(3)]
    assert answers == [202, 202, 429]


def test_an_inner_address_is_refused(forge: Forge) -> None:
    for topic in (TOPIC, "http://testserver/acme/none/events/push"):
        answer = ask("http://169.254.169.254/latest/meta-data", topic=topic)
        assert answer.status_code == 400
        assert answer.content.startswith(b"hub.callback is not allowed.")
    assert not Verification.objects.exists()


def test_subscriptions_have_a_limit_and_take_none_of_the_owners(forge: Forge, settings: Settings) -> None:
    settings.HOOKHUB_WEBHOOKS_PER_ORGANIZATION = 1
    settings.HOOKHUB_WEBHOOK_CHANGES = 1
    settings.HOOKHUB_HUB_SUBSCRIPTIONS = 2
    answers = [ask(forge.receiver.url(f"/{n}")) for n in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert [webhook.stored_url for webhook in Webhook.objects.order_by("pk")] == [
        forge.receiver.url("/0"), forge.receiver.url("/1"),
    ]  # fmt: skip
    denial = Verification.objects.get(mode="denied")
    assert denial.details["hub.reason"].startswith("There are too many subscriptions")
    forge.webhook(now=timezone.now())


def test_of_callbacks_that_differ_only_in_the_masked_query_no_more_is_loaded_than_is_compared(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        ask(forge.receiver.url(f"/?n={number}"))
    loaded: list[object] = []
    load = Webhook.from_db.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Webhook], *args: Any) -> Webhook:
        loaded.append(args)
        webhook: Webhook = load(cls, *args)
        return webhook

    monkeypatch.setattr(Webhook, "from_db", classmethod(counted))

    assert ask(forge.receiver.url("/?n=19")).status_code == 202
    assert ask(forge.receiver.url("/?n=19"), mode="unsubscribe").status_code == 202

    # Thousands of whole rows would be read under locks that others wait for.
    assert len(loaded) == 2
    assert Webhook.objects.count() == 20


def test_it_shows_in_v1(forge: Forge) -> None:
    webhook = subscribed(forge)
    shown = Caller.of(forge.organization).get(f"/v1/webhooks/{webhook.uid}").json()
    assert (shown["format"], shown["verify"], shown["status"]) == ("websub", "websub", "active")
    assert shown["subscription"] == {"topic": TOPIC, "hub": HUB, "algorithm": "sha256", "is_public": True}


def test_asking_again_by_the_owner_names_the_topic(forge: Forge) -> None:
    webhook = subscribed(forge)
    assert Caller.of(forge.organization).post(f"/v1/webhooks/{webhook.uid}/verify").status_code in {200, 202}
    verify_due(now=timezone.now())
    asked = parameters_of(forge.receiver.received[0])
    assert (asked["hub.mode"], asked["hub.topic"]) == ("subscribe", TOPIC)


@pytest.mark.parametrize("way", ["verify", "move"])
def test_asking_again_by_the_owner_tells_what_is_left_of_the_lease(forge: Forge, way: str) -> None:
    webhook = subscribed(forge, lease_seconds="3600")
    end = webhook.expires_at
    owner = Caller.of(forge.organization)
    echo(forge.receiver)

    if way == "verify":
        owner.post(f"/v1/webhooks/{webhook.uid}/verify")
    else:
        owner.patch(f"/v1/webhooks/{webhook.uid}", {"url": forge.receiver.url("/moved")})
    assert verify_due(now=timezone.now() + 600 * SECOND) == ["verified"]

    # A subscription is asked for with its lease, without which subscribers refuse it.
    assert 2900 <= int(parameters_of(forge.receiver.received[0])["hub.lease_seconds"]) <= 3000
    webhook.refresh_from_db()
    assert webhook.expires_at == end


def test_a_deployment_under_a_prefix_names_its_addresses_with_it(
    forge: Forge, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.urls.base._prefixes", SimpleNamespace(value="/hooks/"))
    topic = "http://testserver/hooks/acme/widgets/events/push.json"
    forge.accept(now=timezone.now())
    answer = Client().get("/acme/widgets/events/push")
    assert answer.headers["Link"] == f'<http://testserver/hooks/hub>; rel="hub", <{topic}>; rel="self"'
    form = {"hub.mode": "subscribe", "hub.topic": topic, "hub.callback": forge.receiver.url("/")}
    assert send(form).status_code == 202
    echo(forge.receiver)
    verify_due(now=timezone.now())
    forge.receiver.script = None
    [update] = publish(forge, sender)
    assert update.headers["link"] == answer.headers["Link"]


def test_the_payload_is_sent_byte_for_byte(forge: Forge, sender: Sender) -> None:
    subscribed(forge)
    data = {"text": "größer <&> 🎉", "n": 1.50}
    [update] = publish(forge, sender, data)
    assert update.body == json.dumps(data).encode()


def test_organizations_are_kept_apart(forge: Forge, sender: Sender) -> None:
    stranger = Organization.objects.create(slug="stranger")
    Repository.objects.create(organization=stranger, name="widgets", private=False)
    subscribed(forge, topic="http://testserver/stranger/widgets/events/push")
    assert publish(forge, sender) == []


def test_it_shows_in_the_admin(forge: Forge, admin_client: Client) -> None:
    webhook = subscribed(forge)
    page = admin_client.get(page_of(webhook)).content.decode()
    assert TOPIC in page
    assert HUB in page
