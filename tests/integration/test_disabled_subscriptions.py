"""Subscriptions that the owner of the organization has disabled: their subscribers cannot have them again by asking."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from deliveries.maintenance import leases
from deliveries.models import Organization, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, lifecycle, mcp_subscribing, mcp_verdicts
from deliveries.webhooks.mcp_subscribing import Asked, Disabled, Key, Subscription
from hookhub.dialects.social_gateway.hub.forms import URLENCODED
from hookhub.models import ApiKey, Scope
from tests.api import Caller
from tests.receiver import Answer
from tests.story import Forge, deliver_due, echo, verify_due

pytestmark = pytest.mark.django_db

TOPIC = "http://testserver/acme/widgets/events/push.json"
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def forge(forge: Forge, settings: Settings) -> Forge:
    settings.HOOKHUB_HUB_REQUESTS_PER_ADDRESS = settings.HOOKHUB_HUB_REQUESTS_PER_HOST = 0
    forge.repository.private = False
    forge.repository.save()
    return forge


def enable(webhook: Webhook) -> None:
    lifecycle.enable(webhook.pk, release_held=False, now=timezone.now())


def disable(webhook: Webhook) -> None:
    lifecycle.disable(webhook.pk, now=timezone.now())


def maintain() -> None:
    leases.end_expired(now=timezone.now())
    leases.forget_unverified(now=timezone.now())


# At the hub -----------------------------------------------------------------------------------------------------------


def ask(forge: Forge, mode: str = "subscribe", *, path: str = "/") -> None:
    form = {"hub.mode": mode, "hub.topic": TOPIC, "hub.callback": forge.receiver.url(path)}
    assert Client().post("/hub", urlencode(form), content_type=URLENCODED).status_code == 202


def prove(forge: Forge, mode: str = "subscribe") -> None:
    ask(forge, mode)
    echo(forge.receiver)
    assert verify_due(now=timezone.now()) == ["verified"]
    forge.receiver.script = None


def refuse(forge: Forge) -> None:
    forge.receiver.script = lambda connection, _: connection.sendall(Answer(410).encode())
    assert verify_due(now=timezone.now()) == ["failed"]
    forge.receiver.script = None


def delivered(forge: Forge, sender: Sender) -> list[str]:
    forge.receiver.received.clear()
    now = timezone.now()
    forge.accept(now=now)
    deliver_due(sender, now=now)
    return [request.method for request in forge.receiver.received]


@pytest.mark.parametrize("way", ["unsubscribed", "lease ended", "renewal failed", "made private"])
def test_a_subscriber_cannot_undo_that_the_owner_has_disabled_it(forge: Forge, sender: Sender, way: str) -> None:
    prove(forge)
    webhook = Webhook.objects.get()
    disable(webhook)

    match way:
        case "unsubscribed":
            prove(forge, "unsubscribe")
        case "lease ended" | "renewal failed":
            Webhook.objects.update(expires_at=timezone.now() - SECOND)
            if way == "renewal failed":
                ask(forge)
                maintain()
                refuse(forge)
        case "made private":
            owner = Caller.of(forge.organization)
            for private in (True, False):
                assert owner.patch("/v1/repositories/widgets", {"private": private}).status_code == 200
            verify_due(now=timezone.now())
    maintain()
    prove(forge)

    assert Webhook.objects.kept().get() == webhook
    assert delivered(forge, sender) == []
    enable(webhook)
    assert delivered(forge, sender) == ["POST"]


def test_one_disabled_before_its_callback_has_failed_the_verification_is_not_forgotten(
    forge: Forge, sender: Sender
) -> None:
    ask(forge)
    webhook = Webhook.objects.get()
    disable(webhook)
    refuse(forge)
    maintain()

    prove(forge)

    assert Webhook.objects.kept().get() == webhook
    assert delivered(forge, sender) == []


@pytest.mark.parametrize("is_proved", [True, False])
def test_one_that_has_ended_goes_when_its_owner_enables_it(forge: Forge, sender: Sender, is_proved: bool) -> None:
    ask(forge)
    if is_proved:
        echo(forge.receiver)
        assert verify_due(now=timezone.now()) == ["verified"]
    disable(Webhook.objects.get())
    if is_proved:
        prove(forge, "unsubscribe")
    else:
        refuse(forge)
    maintain()
    maintain()
    assert Webhook.objects.kept().get().status(now=timezone.now()) == "ended"

    enable(Webhook.objects.get())
    maintain()

    assert not Webhook.objects.kept().exists()
    prove(forge)
    assert delivered(forge, sender) == ["POST"]


def test_one_that_is_asked_for_again_before_its_owner_enables_it_goes_on(forge: Forge, sender: Sender) -> None:
    prove(forge)
    webhook = Webhook.objects.get()
    disable(webhook)
    prove(forge, "unsubscribe")
    maintain()
    prove(forge)

    enable(webhook)
    maintain()

    assert delivered(forge, sender) == ["POST"]


def test_one_that_has_ended_takes_no_place_from_others(forge: Forge, settings: Settings) -> None:
    settings.HOOKHUB_HUB_SUBSCRIPTIONS = 1
    prove(forge)
    disable(Webhook.objects.get())
    ask(forge, path="/other")
    assert Webhook.objects.count() == 1
    # The denial.
    assert verify_due(now=timezone.now()) == ["verified"]

    prove(forge, "unsubscribe")
    maintain()
    ask(forge, path="/other")

    assert Webhook.objects.kept().count() == 2


# By MCP ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def wanted(organization: Organization) -> Subscription:
    key = ApiKey.issue(organization=organization, scope=Scope.READ, now=timezone.now())[0]
    identity = Key(organization.pk, key.key_id, "https://agent.example/", "push", {})
    return Subscription(identity, "whsec_" + "a" * 32, None, {}, "https://hooks.example/v1/events/")


def subscribe(wanted: Subscription) -> Asked:
    organization = Organization.objects.get()
    return mcp_subscribing.subscribe(wanted, organization=organization, lasts=HOUR, now=timezone.now())


def fail(wanted: Subscription, way: str) -> Any:
    """Ask for a subscription that its owner disables before the callback has proved itself, which it does not."""
    asked = subscribe(wanted)
    disable(Webhook.objects.get())
    if way == "timed out":
        return mcp_verdicts.give_up(asked, now=timezone.now())
    now = timezone.now()
    Webhook.objects.get().verifications.update(state="failed", due_at=None, finished_at=now, forget_at=now)
    return mcp_verdicts.verdict_on(asked)


@pytest.mark.parametrize("way", ["timed out", "refused"])
def test_an_agents_that_is_disabled_while_its_callback_is_asked_is_not_forgotten(
    wanted: Subscription, way: str
) -> None:
    assert fail(wanted, way).reason is not None

    for _ in range(2):
        with pytest.raises(Disabled) as refused:
            subscribe(wanted)
        assert refused.value.by_owner
        maintain()


def test_an_agent_hears_that_it_was_disabled_while_its_callback_was_asked(wanted: Subscription) -> None:
    asked = subscribe(wanted)
    now = timezone.now()
    Webhook.objects.update(verified_at=now, expires_at=now + HOUR)
    Webhook.objects.get().verifications.update(state="verified", due_at=None, finished_at=now)
    assert mcp_verdicts.verdict_on(asked) == (now + HOUR, None)

    disable(Webhook.objects.get())

    assert mcp_verdicts.verdict_on(asked) == (None, mcp_verdicts.ENDED)


@pytest.mark.parametrize("is_patched", [True, False])
def test_one_that_is_disabled_for_failing_can_be_disabled_for_good(wanted: Subscription, is_patched: bool) -> None:
    subscribe(wanted)
    webhook = Webhook.objects.get()
    with transaction.atomic():
        lifecycle.disable_locked(webhook, reason=Webhook.DisabledReason.FAILING, now=timezone.now())

    if is_patched:
        changing.change(webhook.pk, {}, active=False, now=timezone.now())
    else:
        disable(webhook)

    mcp_subscribing.unsubscribe(wanted.key, now=timezone.now())
    with pytest.raises(Disabled):
        subscribe(wanted)


@pytest.mark.parametrize("way", ["timed out", "refused"])
def test_an_agents_that_has_ended_goes_when_its_owner_enables_it(wanted: Subscription, way: str) -> None:
    fail(wanted, way)
    maintain()

    enable(Webhook.objects.get())
    maintain()

    assert not Webhook.objects.kept().exists()
    assert subscribe(wanted).verification is not None
