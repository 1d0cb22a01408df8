"""The statements for a few events do the same as those for any number, whatever the state of the webhooks."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries import pipeline
from deliveries.db import sql
from deliveries.models import Delivery, OutboxEntry, PollEntry, Repository, Webhook
from deliveries.pipeline import fan_out_statements as statements
from deliveries.pipeline import fanning_out
from deliveries.pipeline.capacity import SLOW_FROM, Capacity
from deliveries.pipeline.filtering import Pairs
from deliveries.pipeline.rescue import new_lease
from deliveries.policy.retry import TIMEOUTS_BEFORE_BACKOFF
from deliveries.webhooks import creating
from tests.story import Forge, counted_statements, is_waited_for, together

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
# A webhook with a rate, and its next turn.
PACED = {"pace_interval": SECOND / 10, "pace_lag": SECOND, "rate_requests": 10, "rate_per": 1}


def is_sometimes(usual: object, *others: object) -> st.SearchStrategy[Any]:
    """Return mostly the usual value."""
    return st.sampled_from([usual] * (2 * len(others)) + list(others))


WEBHOOKS = st.fixed_dictionaries(
    {
        "columns": st.fixed_dictionaries(
            {
                "disabled_at": is_sometimes(None, NOON - SECOND, NOON + SECOND),
                "backoff_until": is_sometimes(None, NOON, NOON + SECOND),
                "timeouts_in_a_row": is_sometimes(0, TIMEOUTS_BEFORE_BACKOFF),
                "latency_ewma": is_sometimes(None, SLOW_FROM, SLOW_FROM / 2),
                "expires_at": is_sometimes(None, NOON, NOON + DAY),
                "max_in_flight": st.sampled_from([None, 1, 2]),
                "payload_filter": is_sometimes(None, {"n": 1}, {"n": 2}),
            }
        ),
        "pace": is_sometimes(
            {}, *(PACED | {"next_request_at": at} for at in (None, NOON, NOON + SECOND / 5, NOON + SECOND, NOON + DAY))
        ),
        "is_polled": is_sometimes(False, True),
        "is_of_repository": st.booleans(),
        "sending": is_sometimes(0, 1, 2),
        "ready": is_sometimes(None, 1, 2),
        "is_stalled": is_sometimes(False, True),
    }
)
EVENTS = st.fixed_dictionaries(
    {"n": st.sampled_from([1, 2]), "place": st.integers(0, 2), "target": is_sometimes(None, 0, 1)}
)
SLOTS = st.integers(0, 3) | st.just(100)

# Of deliveries; their ids and leases differ.
COLUMNS = (
    "webhook_id", "event_id", "organization_id", "repository_id", "event_type", "created_at", "readiness", "state",
    "failures", "due_at", "attempts_made", "first_attempt_at", "leased_at", "leased_until",
)  # fmt: skip


def created(forge: Forge, facts: dict[str, Any]) -> Webhook:
    """Create a webhook that is in this state, with an earlier delivery for each that is in flight or ready."""
    fields = {"events": ["*"]} | ({"kind": "poll"} if facts["is_polled"] else {"url": forge.receiver.url()})
    repository = forge.repository if facts["is_of_repository"] else None
    webhook, _ = creating.create(fields, organization=forge.organization, repository=repository, now=NOON - DAY)
    columns = facts["columns"] | ({} if facts["is_polled"] else facts["pace"])
    if columns["disabled_at"]:
        columns |= {"disabled_reason": "by_owner"}
    Webhook.objects.filter(pk=webhook.pk).update(**columns)
    leased = {"lease": new_lease(), "leased_at": NOON, "leased_until": NOON + DAY}
    earlier = [{"state": "sending", "attempts_made": 1, **leased}] * facts["sending"]
    if facts["ready"] is not None:
        earlier.append({"state": "pending", "readiness": facts["ready"], "due_at": NOON - DAY})
    for each in earlier:
        [receipt] = pipeline.accept([forge.event(webhook_id=webhook.pk, now=NOON - DAY)], now=NOON - DAY)
        OutboxEntry.objects.all().delete()
        Delivery.objects.create(
            **{"readiness": 1, "attempts_made": 0, "event_id": receipt.id, "webhook": webhook, "event_type": "push",
               "organization": forge.organization, "repository_id": None, "created_at": NOON} | each
        )  # fmt: skip
    return webhook


@contextmanager
def rolled_back() -> Iterator[None]:
    """Return a block after which all is as it was before."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def fanned_out(*, at_once: bool = False, few: int, limit: int, capacity: Capacity) -> object:
    """Fan out, and return what came of it; the transaction is rolled back."""
    is_one = nullcontext() if few else mock.patch.object(Pairs, "is_one", False)
    with rolled_back(), is_one, mock.patch.object(fanning_out, "FEW", few):
        done = pipeline.fan_out(limit, capacity=capacity, at_once=at_once, now=NOON)
        leases = dict(Delivery.objects.exclude(lease=None).values_list("id", "lease"))
        assert all(leases[claim.delivery_id] == claim.lease for claim in done.claims)
        return (
            (done.events, done.deliveries, done.must_wait),
            sorted(str(claim[1:3] + claim[4:]) for claim in done.claims),
            sorted(map(str, Delivery.objects.values_list(*COLUMNS))),
            sorted(PollEntry.objects.values_list("webhook_id", "event_id")),
            sorted(OutboxEntry.objects.values_list("partition", "event_id")),
            sorted(map(str, Webhook.objects.values_list("pk", "next_request_at"))),
        )


def each_way(
    forge: Forge, webhooks: list[dict[str, Any]], events: list[dict[str, Any]], *, slots: int, slow_slots: int
) -> list[object]:
    """Return what comes of a fan-out at once if possible, by the statements for a few events, and by the others."""
    hooks = [created(forge, facts) for facts in webhooks]
    other = Repository.objects.create(organization=forge.organization, name="other")
    for facts in events:
        target = None if facts["target"] is None else hooks[facts["target"] % len(hooks)].pk
        place = [forge.repository.pk, other.pk, None][facts["place"]]
        event = replace(forge.event(data={"n": facts["n"]}, webhook_id=target, now=NOON), repository_id=place)
        pipeline.accept([event], now=NOON)
    stalled = [hook.pk for hook, facts in zip(hooks, webhooks, strict=True) if facts["is_stalled"]]
    capacity = Capacity(slots, slow_slots, stalled)

    at_once = fanned_out(at_once=True, few=8, limit=8, capacity=capacity)
    return [at_once, *(fanned_out(few=few, limit=8, capacity=capacity) for few in (8, 0))]


@settings(suppress_health_check=list(HealthCheck))
@given(
    webhooks=st.lists(WEBHOOKS, min_size=1, max_size=3),
    events=st.lists(EVENTS, min_size=1, max_size=3) | st.lists(EVENTS, min_size=1, max_size=1),
    slots=SLOTS,
    slow_slots=SLOTS,
)
def test_few_events_are_fanned_out_as_many_are(
    forge: Forge, webhooks: list[dict[str, Any]], events: list[dict[str, Any]], slots: int, slow_slots: int
) -> None:
    with rolled_back():
        at_once, few, many = each_way(forge, webhooks, events, slots=slots, slow_slots=slow_slots)
    assert at_once == few == many


@pytest.mark.parametrize(
    ("facts", "is_possible"),
    [
        pytest.param({}, True, id="plain"),
        pytest.param({"is_of_repository": False}, True, id="of an organization"),
        pytest.param({"sending": 1, "columns": {"max_in_flight": 3}}, True, id="enough capacity"),
        pytest.param({"sending": 2, "columns": {"max_in_flight": 3}}, False, id="capacity for one of two"),
        pytest.param({"ready": 1}, False, id="a ready delivery"),
        pytest.param({"pace": PACED}, False, id="a rate"),
        pytest.param({"is_polled": True}, False, id="a queue"),
        pytest.param({"is_stalled": True}, False, id="stalled"),
        pytest.param({"columns": {"payload_filter": {"n": 1}}}, False, id="a filter"),
        pytest.param({"columns": {"latency_ewma": SLOW_FROM}}, False, id="slow"),
        pytest.param({"columns": {"backoff_until": NOON + SECOND}}, False, id="backs off"),
        pytest.param({"columns": {"disabled_at": NOON + SECOND}}, False, id="disabled meanwhile"),
        pytest.param(
            {"columns": {"disabled_at": NOON - SECOND}}, True, id="disabled before, so that it does not match"
        ),
    ],
)
def test_plain_events_are_fanned_out_by_one_statement(
    forge: Forge, facts: dict[str, Any], *, is_possible: bool
) -> None:
    usual = {"disabled_at": None, "max_in_flight": None, "payload_filter": None}
    plain = {"pace": {}, "is_polled": False, "is_of_repository": True, "sending": 0, "ready": None, "is_stalled": False}
    webhook = created(forge, plain | facts | {"columns": usual | facts.get("columns", {})})
    pipeline.accept([forge.event(data={"n": 1}, now=NOON) for _ in range(2)], now=NOON)
    capacity = Capacity(10, 10, [webhook.pk] if facts.get("is_stalled") else [])

    with counted_statements() as ran:
        done = pipeline.fan_out(8, capacity=capacity, now=NOON)

    assert (done.events, done.at_once) == (2, is_possible)
    assert [statements.FAN_OUT_AT_ONCE in ran, statements.TAKE_FEW in ran] == [True, not is_possible]


def test_more_deliveries_than_slots_are_not_fanned_out_at_once(forge: Forge) -> None:
    for _ in range(3):
        forge.webhook(now=NOON)
    pipeline.accept([forge.event(now=NOON)], now=NOON)

    with rolled_back():
        assert pipeline.fan_out(8, capacity=Capacity(3), now=NOON).at_once
    done = pipeline.fan_out(8, capacity=Capacity(2), now=NOON)

    assert (done.deliveries, len(done.claims), done.at_once) == (3, 2, False)


@pytest.mark.django_db(transaction=True)
def test_requests_in_flight_are_counted_once_the_webhook_is_locked(forge: Forge) -> None:
    webhook = forge.webhook(now=NOON, max_in_flight=1)
    [earlier] = forge.accept(1, now=NOON)
    Delivery.objects.update(state="held", due_at=None)
    pipeline.accept([forge.event(now=NOON)], now=NOON)
    waits = "SELECT ctid AS place FROM hookhub_outbox WHERE (SELECT pg_advisory_xact_lock(7)) IS NOT NULL"
    slow = statements.FAN_OUT_AT_ONCE.replace("SELECT ctid AS place FROM hookhub_outbox", waits)
    assert slow != statements.FAN_OUT_AT_ONCE
    is_locked = threading.Event()

    def send_the_earlier() -> None:
        """Commit after the snapshot of the fan-out was taken, and before it locks the webhook."""
        leased = {"lease": new_lease(), "leased_at": NOON, "leased_until": NOON + DAY}
        with transaction.atomic():
            sql.run("SELECT pg_advisory_xact_lock(7)", {})
            is_locked.set()
            while not is_waited_for():
                time.sleep(0.01)
            Delivery.objects.filter(event_id=earlier).update(state="sending", attempts_made=1, **leased)

    def fan_out() -> fanning_out.FannedOut:
        assert is_locked.wait(30)
        return pipeline.fan_out(8, capacity=Capacity(10), now=NOON)

    with mock.patch.object(statements, "FAN_OUT_AT_ONCE", slow):
        _, done = together(send_the_earlier, fan_out)

    assert (done.at_once, done.deliveries, done.claims) == (False, 1, [])
    assert sorted(Delivery.objects.filter(webhook=webhook).values_list("state", flat=True)) == ["pending", "sending"]
