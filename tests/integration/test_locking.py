"""Locking: concurrent operations on the same deliveries never deadlock."""

from datetime import datetime, timedelta

import pytest
from django.db import connection

from deliveries import pipeline, redelivery
from deliveries.maintenance import tasks
from deliveries.models import Attempt, Delivery, Repository, Webhook
from deliveries.webhooks import lifecycle
from tests.api import Caller
from tests.story import Forge, prune_old, together

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 12


def test_whatever_is_done_to_the_same_deliveries_at_the_same_time_nothing_fails(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, max_in_flight=1000)
    forge.accept(200, now=now)
    ids = list(Delivery.objects.order_by("id").values_list("id", flat=True))
    # Due in reverse order of ids, so that an index scan by due time visits them in the opposite order.
    for position, delivery_id in enumerate(ids):
        Delivery.objects.filter(pk=delivery_id).update(due_at=now - timedelta(seconds=position))

    def again_and_again(*actions: object) -> None:
        for _ in range(ROUNDS):
            for action in actions:
                action()  # type: ignore[operator]

    # A deadlock would raise in one of these threads.
    together(
        lambda: again_and_again(lambda: redelivery.redeliver(ids, now=now)),
        lambda: again_and_again(lambda: redelivery.redeliver(ids[::-1], now=now)),
        lambda: again_and_again(lambda: redelivery.cancel(ids[::-1], now=now)),
        lambda: again_and_again(lambda: lifecycle.disable(webhook.pk, now=now)),
        lambda: again_and_again(lambda: lifecycle.enable(webhook.pk, release_held=True, now=now)),
        lambda: again_and_again(lambda: pipeline.claim(7, now=now)),
        lambda: again_and_again(lambda: tasks.rescue_expired_leases(now=now + timedelta(hours=1))),
        lambda: again_and_again(lambda: prune_old(now=now, retention=timedelta(0))),
    )

    assert Delivery.objects.count() == 200
    assert set(Attempt.objects.values_list("outcome", flat=True)) <= {"unknown"}


def test_the_webhooks_of_a_deleted_repository_are_not_locked_until_the_last_is_deleted(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        forge.webhook(repository=forge.repository, now=now)
    is_in_transaction = []

    def delete(webhook_id: int, *, now: datetime) -> int:
        is_in_transaction.append(connection.in_atomic_block)
        if len(is_in_transaction) == 1:
            # One is created meanwhile, and one is deleted by another request.
            forge.webhook(repository=forge.repository, now=now)
            really_delete(Webhook.objects.kept().latest("id").pk - 1, now=now)
        return really_delete(webhook_id, now=now)

    really_delete = lifecycle.delete
    monkeypatch.setattr(lifecycle, "delete", delete)

    assert Caller.of(forge.organization).delete("/v1/repositories/widgets").status_code == 204
    # Only the one that was created meanwhile is deleted together with the repository.
    assert is_in_transaction == [False, False, False, True]
    assert not Webhook.objects.kept().exists()
    assert not Repository.objects.filter(pk=forge.repository.pk).exists()
