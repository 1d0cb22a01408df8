"""Locking: subscriptions and webhooks that are created at the same time never deadlock."""

import threading
import time
from datetime import datetime, timedelta
from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone

from deliveries.models import Organization, Repository
from deliveries.webhooks import creating, mcp_subscribing, subscribing
from hookhub.models import ApiKey, Scope
from tests.story import Forge, is_waited_for, together

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
ROUNDS = 10


@pytest.fixture
def forge(forge: Forge) -> Forge:
    forge.repository.private = False
    forge.repository.save()
    return forge


def at_the_hub(forge: Forge, path: str, *, now: datetime) -> None:
    wanted = subscribing.Subscription(
        f"http://127.0.0.1:9999/{path}", "http://testserver/acme/widgets/events/push", "http://testserver/hub", "push",
        "", "sha256", is_public=True, sent_back={},
    )  # fmt: skip
    subscribing.subscribe(wanted, repository=forge.repository, lasts=HOUR, now=now)


def by_an_agent(forge: Forge, key: ApiKey, path: str, *, now: datetime) -> None:
    identity = mcp_subscribing.Key(
        forge.organization.pk, key.key_id, f"https://agent.example/{path}", "push", {"repository": "widgets"}
    )
    wanted = mcp_subscribing.Subscription(identity, "whsec_" + "a" * 32, forge.repository, {}, "https://hooks.example/")
    mcp_subscribing.subscribe(wanted, organization=forge.organization, lasts=HOUR, now=now)


def by_the_owner(forge: Forge, path: str, *, now: datetime) -> None:
    fields = {"url": f"http://127.0.0.1:9999/owner/{path}", "events": ["push"]}
    creating.create(fields, organization=forge.organization, repository=forge.repository, now=now)


def test_whoever_subscribes_to_one_repository_at_the_same_time_nothing_fails(forge: Forge) -> None:
    now = timezone.now()
    key = ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now)[0]
    ways = [partial(at_the_hub, forge), partial(by_an_agent, forge, key), partial(by_the_owner, forge)]

    def again_and_again(way: "partial[None]") -> None:
        for turn in range(ROUNDS):
            way(str(turn), now=now)

    # A deadlock would raise in one of these threads.
    together(*[partial(again_and_again, way) for way in ways])

    assert forge.repository.webhooks.count() == len(ways) * ROUNDS


def test_a_subscription_at_the_hub_locks_the_organization_before_the_repository_as_all_others_do(forge: Forge) -> None:
    is_locked = threading.Event()

    def lock_both() -> None:
        with transaction.atomic():
            Organization.objects.select_for_update(no_key=True).get(pk=forge.organization.pk)
            is_locked.set()
            until = time.monotonic() + 60
            while not is_waited_for():
                assert time.monotonic() < until
            Repository.objects.select_for_update(no_key=True, nowait=True).get(pk=forge.repository.pk)

    def subscribe() -> None:
        assert is_locked.wait(60)
        at_the_hub(forge, "", now=timezone.now())

    together(lock_both, subscribe)
