"""Payload filters: an event goes to a webhook with a filter only if its data passes, and others are not affected."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest import mock

import pytest

from deliveries import pipeline
from deliveries.db import sql
from deliveries.events import NewEvent
from deliveries.models import Delivery, OutboxEntry, Webhook
from deliveries.pipeline import filtering
from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.claims import Claim
from tests.story import Forge

pytestmark = pytest.mark.django_db


def filtered(forge: Forge, wanted: object, *, now: datetime, **fields: Any) -> Webhook:
    webhook = forge.webhook(now=now, **fields)
    Webhook.objects.filter(pk=webhook.pk).update(payload_filter=wanted)
    return webhook


def fan_out(forge: Forge, *data: object, slots: int = 0, now: datetime) -> tuple[dict[str, list[int]], list[Claim]]:
    """Publish an event for each data; return by webhook's name the positions of the events it gets, and the claims."""
    receipts = pipeline.accept([forge.event("push", each, now=now) for each in data], now=now)
    done = pipeline.fan_out(capacity=Capacity(slots), now=now)
    assert done.events == len(data)
    position = {receipt.id: at for at, receipt in enumerate(receipts)}
    found: dict[str, list[int]] = {}
    for name, event_id in Delivery.objects.order_by("event").values_list("webhook__name", "event"):
        found.setdefault(name, []).append(position[event_id])
    assert done.deliveries == sum(map(len, found.values()))
    return found, done.claims


@contextmanager
def watched() -> Iterator[list[str]]:
    """Record the statements of filters that are executed."""
    seen: list[str] = []
    run = sql.run

    def record(statement: str, *arguments: Any, **more: Any) -> list[sql.Row]:
        seen.append(statement)
        return run(statement, *arguments, **more)

    with mock.patch.object(sql, "run", record):
        yield seen


def test_each_webhook_gets_the_events_that_its_filter_accepts(forge: Forge, now: datetime) -> None:
    forge.webhook(name="all", now=now)
    filtered(forge, {"branch": "main"}, name="main", now=now)
    filtered(forge, {"branch": "main", "forced": True}, name="forced", now=now)
    filtered(forge, {"branch": "none"}, name="none", now=now)

    found, _ = fan_out(
        forge,
        {"branch": "main", "forced": False},
        {"branch": "main", "forced": True},
        {"branch": "other", "forced": True},
        ["main"],
        now=now,
    )

    assert found == {"all": [0, 1, 2, 3], "main": [0, 1], "forced": [1]}


@pytest.mark.parametrize("slots", [0, 1, 10], ids=["no slot", "one slot", "many slots"])
def test_an_accepted_event_is_claimed_at_once_and_a_rejected_one_never(forge: Forge, now: datetime, slots: int) -> None:
    filtered(forge, {"n": 1}, name="one", now=now)
    filtered(forge, {"n": 2}, name="two", now=now)

    found, claims = fan_out(forge, {"n": 1}, slots=slots, now=now)

    assert found == {"one": [0]}
    assert all(claim.payload == b'{"n": 1}' for claim in claims)
    assert len(claims) == Delivery.objects.filter(state="sending").count() <= slots


def test_a_webhook_does_not_get_the_place_of_one_whose_filter_rejects_the_event(forge: Forge, now: datetime) -> None:
    full = forge.webhook(max_in_flight=1, now=now)
    forge.accept(1, now=now)
    assert len(pipeline.claim(1, now=now)) == 1
    filtered(forge, {"n": 1}, name="one", now=now)
    pipeline.accept([forge.event("push", {"n": 2}, now=now)], now=now)

    assert pipeline.fan_out(capacity=Capacity(10), now=now)[:3] == (1, 1, [])

    assert sorted(Delivery.objects.values_list("webhook", "state")) == [(full.pk, "pending"), (full.pk, "sending")]


def test_an_event_that_all_filters_reject_is_fanned_out_to_none(forge: Forge, now: datetime) -> None:
    filtered(forge, {"n": 1}, name="one", now=now)

    assert fan_out(forge, {"n": 2}, {}, slots=10, now=now) == ({}, [])
    assert not OutboxEntry.objects.exists()
    # No webhook stays locked, and nothing is left to do.
    assert pipeline.fan_out(now=now).events == 0


@pytest.mark.parametrize(
    "payload",
    [b'{"n": 1, "text": "\\u0000"}', b'{"n": 1, "text": "\\ud800"}', b'{"n": 1, "big": 1e400}'],
    ids=["NUL", "lone surrogate", "large number"],
)
def test_what_postgresql_could_not_represent_passes_like_all_else(forge: Forge, now: datetime, payload: bytes) -> None:
    filtered(forge, {"n": 1}, name="one", now=now)
    filtered(forge, {"n": 2}, name="two", now=now)
    event = replace(forge.event(now=now), payload=payload)

    pipeline.accept([event], now=now)
    pipeline.fan_out(now=now)

    assert [delivery.webhook.name for delivery in Delivery.objects.all()] == ["one"]


def test_more_events_than_are_in_memory_at_a_time_are_all_looked_at(forge: Forge, now: datetime) -> None:
    filtered(forge, {"even": True}, name="even", now=now)
    count = 3 * filtering.PAYLOADS + 1

    with watched() as seen:
        found, _ = fan_out(forge, *({"even": n % 2 == 0} for n in range(count)), now=now)

    assert found == {"even": list(range(0, count, 2))}
    assert seen.count(filtering.FIND_PAYLOADS) == 4


def test_a_ping_passes_whatever_the_filter(forge: Forge, now: datetime) -> None:
    webhook = filtered(forge, {"n": 1}, name="one", now=now)
    ping: NewEvent = forge.event("ping", {"zen": "x"}, webhook_id=webhook.pk, now=now)

    pipeline.accept([ping], now=now)
    pipeline.fan_out(now=now)

    assert Delivery.objects.count() == 1


def test_without_a_webhook_with_a_filter_among_those_that_match_nothing_more_is_executed(
    forge: Forge, now: datetime
) -> None:
    forge.webhook(name="all", now=now)
    filtered(forge, {"n": 1}, name="other type", events=["issues"], now=now)

    with watched() as seen:
        found, _ = fan_out(forge, {"n": 2}, now=now)

    assert found == {"all": [0]}
    assert not {filtering.FIND_FILTERED, filtering.FIND_PAYLOADS, filtering.WITHOUT_REJECTED} & set(seen)
