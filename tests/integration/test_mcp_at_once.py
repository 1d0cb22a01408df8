"""Calls of agents at the same time: one subscription for what is the same, and none of a key that is revoked."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from deliveries.models import Organization, Verification, Webhook
from deliveries.webhooks import mcp_subscribing, quotas
from deliveries.webhooks.mcp_subscribing import Asked, Key, Subscription
from hookhub.models import ApiKey, Scope
from tests.story import together

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
THREADS = 4


@pytest.fixture
def key(organization: Organization) -> ApiKey:
    return ApiKey.issue(organization=organization, scope=Scope.READ, now=timezone.now())[0]


def wanted(key: ApiKey, organization: Organization, *, path: str = "") -> Subscription:
    identity = Key(organization.pk, key.key_id, f"https://agent.example/{path}", "push", {})
    return Subscription(identity, "whsec_" + "a" * 32, None, {}, "https://hooks.example/v1/events/")


def subscribe(subscription: Subscription, organization: Organization, *, now: datetime) -> Asked:
    return mcp_subscribing.subscribe(subscription, organization=organization, lasts=HOUR, now=now)


def test_the_same_asked_for_by_several_is_one_subscription(key: ApiKey, organization: Organization) -> None:
    now = timezone.now()

    asked = together(*[lambda: subscribe(wanted(key, organization), organization, now=now)] * THREADS)

    assert len({each.webhook_id for each in asked}) == 1
    assert Webhook.objects.count() == 1
    assert Verification.objects.open().count() == 1


def test_the_last_place_is_given_once(key: ApiKey, organization: Organization, settings: Settings) -> None:
    settings.HOOKHUB_MCP_SUBSCRIPTIONS = 1
    now = timezone.now()

    def ask(path: str) -> Asked | None:
        with suppress(quotas.LimitReached):
            return subscribe(wanted(key, organization, path=path), organization, now=now)
        return None

    asked = together(*[partial(ask, str(number)) for number in range(THREADS)])

    assert asked.count(None) == THREADS - 1
    assert Webhook.objects.count() == 1


@pytest.mark.parametrize("turn", range(4))
def test_no_subscription_survives_a_key_that_is_revoked_at_the_same_time(
    key: ApiKey, organization: Organization, turn: int
) -> None:
    now = timezone.now()

    def as_the_door_does() -> Asked | None:
        with transaction.atomic():
            found = ApiKey.objects.select_for_update(of=("self",), no_key=True).filter(pk=key.pk, revoked_at=None)
            if not found.exists():
                return None
            return subscribe(wanted(key, organization), organization, now=now)

    acts: list[Callable[[], object]] = [as_the_door_does, lambda: key.revoke(now=now)]
    together(*(acts if turn % 2 else reversed(acts)))

    assert not Verification.objects.open().exists()
    assert not Webhook.objects.kept().filter(expires_at=None).exists()
    assert not Webhook.objects.kept().filter(expires_at__gt=now).exists()
