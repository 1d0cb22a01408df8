"""System events tell their subscribers which webhooks were changed, by whom, and which deliveries have failed."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from deliveries import pipeline, redelivery
from deliveries.event_types import catalogue
from deliveries.maintenance import tasks
from deliveries.models import Delivery, Event, OutboxEntry, Webhook
from deliveries.policy.retry import MAX_LEASE_LOSSES
from deliveries.sending.exchange import Response
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, lifecycle, secrets
from hookhub.event_types import validation
from hookhub.event_types.validation import Budget
from hookhub.models import ApiKey
from tests.api import Caller
from tests.receiver import Answer
from tests.story import Forge, attempt_all, claim_due, counted_statements, deliver_due, pretend, together, verify_due

pytestmark = pytest.mark.django_db

# Of another instance, as it is passed on.
HOPS = "0123456789ab=1"
OWN = ["webhook", "delivery.exhausted"]
EXHAUSTED = "delivery.exhausted"


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization)


def subscriber(forge: Forge, *, now: datetime, path: str = "/operations", **fields: Any) -> Webhook:
    return forge.webhook(now=now, path=path, **{"events": OWN, **fields})


def told() -> list[tuple[str, dict[str, Any]]]:
    """Return the type and the data of every system event, and check each against the schema of its type."""
    found = []
    for event in Event.objects.exclude(type="push").order_by("id"):
        data = json.loads(bytes(event.payload))
        known = catalogue.of("native").types[event.type]
        assert known.schema_text is not None
        assert validation.errors_in(data, known.schema_text, budget=Budget()) == {}
        assert (event.repository_id, "*" in event.topics) == (None, False)
        found.append((event.type, data))
    return found


def forget_events() -> None:
    Event.objects.all().delete()
    OutboxEntry.objects.all().delete()


def fail_for_good(count: int, *, status: int = 500, now: datetime) -> list[Any]:
    """Return the last results of that many claimed deliveries."""
    return pretend(claim_due(count, now=now), Response(status, "", (), b"no"), now=now)


# Changes of webhooks ------------------------------------------------------------------------------------------------


def test_each_change_is_told_with_its_author_and_what_changed(forge: Forge, caller: Caller, now: datetime) -> None:
    subscriber(forge, now=now)
    forget_events()
    key = ApiKey.objects.get(key_id=caller.key.split("_")[1])

    body = {"url": forge.receiver.url("/ci?token=s3cret"), "events": ["push"], "headers": {"X-Token": "t0ps3cret"}}
    created = caller.post("/v1/webhooks", {**body, "name": "ci"}).json()
    address = f"/v1/webhooks/{created['id']}"
    caller.patch(address, {"events": ["push", "tag.created"], "headers": {"X-Token": "an0ther"}})
    caller.patch(address, {"name": "ci"})
    caller.post(f"{address}/disable", {})
    caller.post(f"{address}/disable", {})
    caller.post(f"{address}/enable", {})
    caller.post(f"{address}/rotate-secret", {})
    caller.patch(address, {"active": False, "name": "old"})
    caller.delete(address)

    events = told()
    assert [event_type for event_type, _ in events] == [
        "webhook.created", "webhook.updated", "webhook.disabled", "webhook.enabled", "webhook.updated",
        "webhook.updated", "webhook.disabled", "webhook.deleted",
    ]  # fmt: skip
    data = [each for _, each in events]
    assert {tuple(each["actor"].items()) for each in data} == {
        (("kind", "api_key"), ("id", key.key_id), ("name", key.name))
    }
    assert {each["webhook"]["id"] for each in data} == {created["id"]}
    assert (data[0]["after"]["events"], data[0]["after"]["active"], "secret" in data[0]["after"]) == (
        ["push"], True, False,
    )  # fmt: skip
    assert sorted(data[1]["changed"]) == ["events", "headers"]
    assert (data[1]["before"], data[1]["after"]) == ({"events": ["push"]}, {"events": ["push", "tag.created"]})
    assert (data[2]["reason"], data[2]["failure_count"]) == ("by_owner", 0)
    assert data[3]["reason"] == "by_owner"
    assert (data[4]["changed"], data[4]["before"], data[4]["after"]) == (["secret"], {}, {})
    assert (data[5]["changed"], data[5]["before"], data[5]["after"]) == (["name"], {"name": "ci"}, {"name": "old"})
    stored = b"".join(bytes(payload) for payload in Event.objects.values_list("payload", flat=True)).decode()
    assert not any(secret in stored for secret in ("s3cret", "an0ther", "whsec", created["secret"]))


def test_what_the_owner_disables_arrives_and_reads_like_what_hookhub_disables(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    subscriber(forge, now=now)
    mine = forge.webhook(now=now, path="/mine", events=["push"])
    gone = forge.webhook(now=now, path="/gone", events=["push"])
    forget_events()

    lifecycle.disable(mine.pk, now=now)
    Webhook.objects.filter(pk=gone.pk).update(gone_at=now)
    pipeline.review(now=now)
    pipeline.fan_out(now=now)
    deliver_due(sender, now=now)

    bodies = [json.loads(request.body) for request in forge.receiver.received if request.path == "/operations"]
    assert sorted((body["type"], body["data"]["reason"], body["data"]["actor"]["kind"]) for body in bodies) == [
        ("webhook.disabled", "by_owner", "system"), ("webhook.disabled", "gone", "system"),
    ]  # fmt: skip
    assert bodies[0]["data"].keys() == bodies[1]["data"].keys()
    assert len(told()) == 2


def test_a_verified_url_is_told_as_an_update(forge: Forge, now: datetime) -> None:
    subscriber(forge, now=now)
    forge.receiver.answers["/proved"] = Answer(200, {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "120"})
    webhook = forge.webhook(now=now, path="/proved", verify="handshake")
    forget_events()

    assert verify_due(now=now) == ["verified"]

    [(event_type, data)] = told()
    assert (event_type, data["webhook"]["id"]) == ("webhook.updated", str(webhook.uid))
    assert data["changed"] == ["verified_at", "allowed_rate"]
    assert data["after"]["allowed_rate"] == 120


def test_a_change_that_is_rolled_back_is_not_told(forge: Forge, now: datetime) -> None:
    subscriber(forge, now=now)
    webhook = forge.webhook(now=now, path="/other")
    forget_events()

    with transaction.atomic():
        lifecycle.disable(webhook.pk, now=now)
        changing.change(webhook.pk, {"name": "other"}, now=now)
        secrets.rotate_secret(webhook.pk, now=now)
        assert len(told()) == 3
        transaction.set_rollback(True)

    assert told() == []
    assert not OutboxEntry.objects.exists()


UNWANTED: dict[str, Callable[[Forge, datetime], object]] = {
    "nobody": lambda _forge, _now: None,
    "everything of the forge": lambda forge, now: subscriber(forge, now=now, events=["*"]),
    "another family": lambda forge, now: subscriber(forge, now=now, events=["delivery", "lease"]),
    "another organization": lambda forge, now: subscriber(Forge.make(forge.receiver, "globex"), now=now),
    "a repository": lambda forge, now: subscriber(forge, now=now, repository=forge.repository),
    "disabled": lambda forge, now: lifecycle.disable(subscriber(forge, now=now).pk, now=now),
    "deleted": lambda forge, now: lifecycle.delete(subscriber(forge, now=now).pk, now=now),
    "unverified": lambda forge, now: subscriber(forge, now=now, verify="challenge"),
}


@pytest.mark.parametrize("who", UNWANTED)
def test_nothing_is_stored_that_nobody_subscribes_to(forge: Forge, now: datetime, who: str) -> None:
    webhook = forge.webhook(now=now, path="/other", events=["push"], retry_schedule=[], auto_disable=False)
    UNWANTED[who](forge, now)
    forge.accept(now=now)
    Event.objects.exclude(type="push").delete()

    changing.change(webhook.pk, {"name": "new"}, now=now)
    pipeline.settle(fail_for_good(9, now=now), now=now)

    assert set(Delivery.objects.filter(webhook=webhook).values_list("state", flat=True)) == {"failed"}
    assert told() == []


def test_a_polling_webhook_gets_them_too(forge: Forge, caller: Caller, now: datetime) -> None:
    made = caller.post("/v1/webhooks", {"kind": "poll", "events": ["webhook.updated"]}).json()

    caller.patch(f"/v1/webhooks/{made['id']}", {"name": "reader"})
    pipeline.fan_out(now=now)

    [event] = caller.get(f"/v1/webhooks/{made['id']}/poll").json()["events"]
    assert (event["type"], json.loads(event["body"])["data"]["changed"]) == ("webhook.updated", ["name"])


# Deliveries that have failed for good --------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "reason", "outcome"), [(500, "exhausted", "failed"), (410, "gone", "gone")])
def test_a_delivery_that_failed_for_good_is_told_and_arrives(
    forge: Forge, sender: Sender, now: datetime, status: int, reason: str, outcome: str
) -> None:
    subscriber(forge, now=now)
    webhook = forge.webhook(now=now, path="/broken?token=s3cret", events=["push"], retry_schedule=[60], name="ci")
    forget_events()
    forge.receiver.answers["/broken?token=s3cret"] = Answer(status, body=b"the body of the answer")
    forge.receiver.answers["/broken"] = Answer(status, body=b"the body of the answer")
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    [event_id] = forge.accept(now=now, trace=trace, hops=HOPS)
    deliver_due(sender, now=now)
    # A receiver that is gone is disabled at once.
    assert sorted(event_type for event_type, _ in told()) == ([EXHAUSTED, "webhook.disabled"] if status == 410 else [])

    late = now + timedelta(minutes=2)
    deliver_due(sender, now=late)
    pipeline.fan_out(now=late)
    deliver_due(sender, now=late)

    [data] = [data for event_type, data in told() if event_type == EXHAUSTED]
    delivery = Delivery.objects.get(webhook=webhook)
    assert data == {
        "webhook": {"id": str(webhook.uid), "name": "ci", "url": webhook.shown_url},
        "delivery": {
            "id": str(delivery.pk),
            "event": {"id": str(event_id), "type": "push"},
            "repository": "widgets",
            "attempts": delivery.attempts_made,
            "first_attempt_at": now.isoformat(),
            "failed_at": (late if status == 500 else now).isoformat(),
            "reason": reason,
        },
        "last_attempt": {
            "number": delivery.attempts_made, "outcome": outcome, "status": status, "cause": None,
        },
    }  # fmt: skip
    stored = Event.objects.get(type=EXHAUSTED)
    assert (stored.trace, stored.hops) == (trace, HOPS)
    arrived = [json.loads(request.body) for request in forge.receiver.received if request.path == "/operations"]
    assert EXHAUSTED in [body["type"] for body in arrived]
    assert "s3cret" not in json.dumps(arrived)


def test_a_poison_message_is_told(forge: Forge, now: datetime, settings: Settings) -> None:
    settings.HOOKHUB_LEASE = timedelta(seconds=60)
    subscriber(forge, now=now)
    forge.webhook(now=now, path="/other", events=["push"])
    forget_events()
    forge.accept(now=now)
    for round_ in range(MAX_LEASE_LOSSES):
        at = now + timedelta(minutes=10) * round_
        assert len(claim_due(1, now=at)) == 1
        assert told() == []
        assert tasks.rescue_expired_leases(now=at + timedelta(minutes=5)) == 1

    [(event_type, data)] = told()
    assert (event_type, data["delivery"]["reason"], data["delivery"]["attempts"]) == (EXHAUSTED, "poison", 5)
    assert data["last_attempt"] == {"number": 5, "outcome": "unknown", "status": None, "cause": None}


def test_a_redelivery_that_fails_again_is_told_again(forge: Forge, now: datetime) -> None:
    subscriber(forge, now=now)
    forge.webhook(now=now, path="/other", events=["push"], retry_schedule=[], auto_disable=False)
    forge.accept(now=now)
    pipeline.settle(fail_for_good(9, now=now), now=now)
    delivery = Delivery.objects.get(state="failed")

    redelivery.redeliver([delivery.pk], now=now)
    pipeline.settle(fail_for_good(9, now=now), now=now)

    assert [data["delivery"]["attempts"] for event_type, data in told() if event_type == EXHAUSTED] == [1, 2]


def test_an_exhausted_delivery_of_a_system_event_is_told_to_nobody(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = subscriber(forge, now=now, retry_schedule=[], auto_disable=False, events=[*OWN, "push"])
    forget_events()
    forge.receiver.answers["/operations"] = Answer(500)
    changing.change(webhook.pk, {"name": "new"}, now=now)
    forge.accept(now=now)
    for _ in range(5):
        deliver_due(sender, now=now)
        pipeline.fan_out(now=now)

    # Of three exhausted deliveries only that of the event of the forge is told.
    assert [event_type for event_type, _ in told()] == ["webhook.updated", EXHAUSTED]
    states = Delivery.objects.order_by("event_type").values_list("event_type", "state")
    assert list(states) == [(EXHAUSTED, "failed"), ("push", "failed"), ("webhook.updated", "failed")]


def test_a_result_that_is_settled_twice_is_told_once(forge: Forge, now: datetime) -> None:
    subscriber(forge, now=now)
    forge.webhook(now=now, path="/other", events=["push"], retry_schedule=[])
    forget_events()
    forge.accept(now=now)
    results = fail_for_good(9, now=now)

    pipeline.settle(results, now=now)
    pipeline.settle(results, is_repeated=True, now=now)
    # Nor is one whose lease was lost.
    Delivery.objects.update(state="pending", finish_reason=None, finished_at=None, due_at=now)
    pipeline.settle(results, now=now)

    assert [event_type for event_type, _ in told()] == [EXHAUSTED]


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_with_the_same_result_one_tells(forge: Forge, now: datetime) -> None:
    subscriber(forge, now=now)
    forge.webhook(now=now, path="/other", events=["push"], retry_schedule=[])
    forget_events()
    forge.accept(now=now)
    results = fail_for_good(9, now=now)

    together(*[lambda: pipeline.settle(results, now=now)] * 4)

    assert [event_type for event_type, _ in told()] == [EXHAUSTED]


def test_settling_costs_no_statement_more_if_nobody_subscribes_and_two_for_any_number_if_somebody_does(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, events=["push"], retry_schedule=[], auto_disable=False, max_in_flight=200)
    counts = {}
    for what, answer, count in (("success", 200, 3), ("nobody", 500, 3), ("one", 500, 3), ("many", 500, 60)):
        if what == "one":
            subscriber(forge, now=now)
        forge.receiver.answers["/"] = Answer(answer)
        forge.accept(count, now=now)
        # So that each settlement writes the health of the webhook.
        Webhook.objects.filter(pk=webhook.pk).update(last_success_at=None)
        results = attempt_all(claim_due(200, now=now), sender, now=now)
        results = [each for each in results if each.claim.event_type == "push"]
        assert len(results) == count
        with counted_statements() as seen:
            assert len(pipeline.settle(results, now=now).applied) == count
        counts[what] = len([each for each in seen if "SAVEPOINT" not in each])

    assert counts["nobody"] == counts["success"]
    assert counts["one"] == counts["many"] == counts["nobody"] + 2
    assert [event_type for event_type, _ in told()].count(EXHAUSTED) == 63


# What others may not imitate -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", ["webhook.created", EXHAUSTED, "lease.expiring", "lease.expired"])
def test_nobody_else_may_publish_or_register_a_system_event(caller: Caller, event_type: str) -> None:
    published = caller.post("/v1/events", {"type": event_type, "data": {}})
    registered = caller.post("/v1/event-types", {"type": event_type})

    assert [answer.status_code for answer in (published, registered)] == [422, 422]
    assert not Event.objects.exists()


def test_the_action_of_an_event_does_not_make_it_a_system_event(forge: Forge, caller: Caller, now: datetime) -> None:
    subscriber(forge, now=now)
    forget_events()

    answer = caller.post("/v1/events", {"type": "delivery", "data": {"action": "exhausted"}})
    pipeline.fan_out(now=now)

    assert answer.status_code == 202
    assert not Delivery.objects.exists()
