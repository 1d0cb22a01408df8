"""Test events: an example of a subscribed event type, sent to that webhook only."""

import json
from datetime import datetime
from typing import Any

import pytest

from deliveries import pipeline
from deliveries.event_types import catalogue
from deliveries.models import Delivery, Event, Organization, Webhook
from deliveries.sending.sender import Sender
from hookhub.event_types import registry
from hookhub.models import Scope
from tests.api import Caller, faults
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def ours(forge: Forge) -> Caller:
    return Caller.of(forge.organization)


def speak(forge: Forge, dialect: str) -> None:
    forge.organization.default_dialect = dialect
    forge.organization.save()


def sent(webhook: Webhook, caller: Caller, body: object = None) -> tuple[str, Any]:
    """Request a test event, and return the type and the data being delivered."""
    answer = caller.post(f"/v1/webhooks/{webhook.uid}/test", body)
    assert answer.status_code == 202, answer.content
    event = Event.objects.latest("id")
    assert Delivery.objects.get(pk=answer.json()["id"]).event_id == event.pk
    return event.type, json.loads(bytes(event.payload))


def test_a_test_reaches_its_webhook_and_no_other(forge: Forge, ours: Caller, sender: Sender, now: datetime) -> None:
    meant = forge.webhook(now=now, path="/meant", events=["push"])
    forge.webhook(now=now, path="/other", events=["*"])

    answer = ours.post(f"/v1/webhooks/{meant.uid}/test", {"type": "push"})
    moment = Delivery.objects.get().created_at
    pipeline.fan_out(now=moment)
    deliver_due(sender, now=moment)

    assert [request.path for request in forge.receiver.received] == ["/meant"]
    followed = ours.get(f"/v1/deliveries/{answer.json()['id']}").json()
    assert (followed["state"], followed["attempts_made"]) == ("delivered", 1)
    body = json.loads(forge.receiver.received[0].body)
    assert body["data"] == {**catalogue.of("native").types["push"].example, "test": True}


CHOSEN: dict[str, tuple[str, list[str], object, str]] = {
    "everything": ("native", ["*"], None, "push"),
    "everything where nothing is pushed": ("codmir", ["*"], None, "ticket.created"),
    "a type": ("sigmagit", ["star.removed"], None, "star.removed"),
    "what is named first": ("sigmagit", ["star.removed", "push"], None, "star.removed"),
    "a family": ("sigmagit", ["pull_request"], None, "pull_request.opened"),
    "one that is named": ("sigmagit", ["*"], {"type": "fork.created"}, "fork.created"),
    "one of a family": ("sigmagit", ["issues"], {"type": "issues.closed"}, "issues.closed"),
    "a family of two words": ("code-storage", ["repo.sync"], {"type": "repo.sync.failed"}, "repo.sync.failed"),
    "what nobody concerned knows": ("coregit", ["ticket.created"], None, "ticket.created"),
    "unknown words beside a known one": ("native", ["x.y", "tag.created"], None, "tag.created"),
}


@pytest.mark.parametrize(("dialect", "events", "body", "chosen"), CHOSEN.values(), ids=CHOSEN)
def test_the_first_that_a_webhook_asks_for_is_sent_unless_one_is_named(
    forge: Forge, ours: Caller, now: datetime, dialect: str, events: list[str], body: object, chosen: str
) -> None:
    speak(forge, dialect)
    webhook = forge.webhook(now=now, events=events, format="standard-webhooks")

    assert sent(webhook, ours, body)[0] == chosen


@pytest.mark.parametrize("dialect", ["coregit", "code-storage", "sigmagit", "social-gateway", "codmir"])
def test_other_systems_examples_are_sent_as_they_document_them(
    forge: Forge, ours: Caller, now: datetime, dialect: str
) -> None:
    speak(forge, dialect)
    webhook = forge.webhook(now=now, events=["*"], format="standard-webhooks")

    for entry in catalogue.of(dialect).types.values():
        if entry.type != "ping":
            assert sent(webhook, ours, {"type": entry.type}) == (entry.type, entry.example)


def test_githubs_families_are_sent_with_the_action_that_is_asked_for(forge: Forge, ours: Caller, now: datetime) -> None:
    speak(forge, "social-gateway")
    one = forge.webhook(now=now, events=["issues.closed"], format="standard-webhooks")
    all_of_them = forge.webhook(now=now, events=["issues"], format="standard-webhooks")

    example = catalogue.of("social-gateway").types["issues"].example
    assert sent(one, ours) == ("issues", {**example, "action": "closed"})
    assert sent(one, ours, {"type": "issues.closed"}) == ("issues", {**example, "action": "closed"})
    assert sent(all_of_them, ours, {"type": "issues.pinned"}) == ("issues", {**example, "action": "pinned"})
    assert sent(all_of_them, ours) == ("issues", example)


def test_the_words_of_the_wire_format_do_where_the_organization_has_none(
    forge: Forge, ours: Caller, now: datetime
) -> None:
    webhook = forge.webhook(now=now, events=["push", "repo.created"], format="coregit")

    assert sent(webhook, ours, {"type": "push"})[1]["repository"] == {"name": "widgets", "full_name": "acme/widgets"}
    speak(forge, "coregit")
    assert sent(webhook, ours, {"type": "push"}) == ("push", catalogue.of("coregit").types["push"].example)


def test_a_type_of_ones_own_is_sent_marked_where_its_schema_allows_that(
    forge: Forge, ours: Caller, now: datetime
) -> None:
    webhook = forge.webhook(now=now, events=["*"])
    closed = {"type": "object", "properties": {"n": {}}, "additionalProperties": False}
    for wanted in (
        {"type": "a.open", "example": {"n": 1}},
        {"type": "a.closed", "example": {"n": 1}, "schema": closed},
        {"type": "a.list", "example": [1]},
        {"type": "push", "example": {"ours": 1}},
    ):
        registry.register(wanted, organization=forge.organization, now=now)

    assert sent(webhook, ours, {"type": "a.open"})[1] == {"n": 1, "test": True}
    assert sent(webhook, ours, {"type": "a.closed"})[1] == {"n": 1}
    assert sent(webhook, ours, {"type": "a.list"})[1] == [1]
    assert sent(webhook, ours)[1] == {"ours": 1, "test": True}


REFUSED: dict[str, tuple[list[str], object, str]] = {
    "a type it does not ask for": (["push"], {"type": "branch.created"}, "type"),
    "a type nobody knows": (["*"], {"type": "x.y"}, "type"),
    "a type without an example": (["*"], {"type": "bare"}, "type"),
    "what is no part of everything": (["*"], {"type": "webhook.disabled"}, "type"),
    "a ping, which is another button": (["*"], {"type": "ping"}, "type"),
    "nothing that anybody knows": (["x.y"], None, "type"),
    "no text": (["*"], {"type": 5}, "type"),
    "another field": (["*"], {"typ": "push"}, "typ"),
    "no object": (["*"], ["push"], "body"),
}


@pytest.mark.parametrize(("events", "body", "field"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_sent_is_refused_and_nothing_is(
    forge: Forge, ours: Caller, now: datetime, events: list[str], body: object, field: str
) -> None:
    registry.register({"type": "bare"}, organization=forge.organization, now=now)
    webhook = forge.webhook(now=now, events=events)

    answer = ours.post(f"/v1/webhooks/{webhook.uid}/test", body)

    assert (answer.status_code, list(faults(answer))) == (422, [field])
    assert not Event.objects.exists()


def test_only_who_manages_the_webhook_may_and_only_while_it_is_active(
    forge: Forge, ours: Caller, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    address = f"/v1/webhooks/{webhook.uid}/test"
    stranger = Caller.of(Organization.objects.create(slug="other"))

    assert Caller.of(forge.organization, Scope.READ).post(address).status_code == 403
    assert Caller.of(forge.organization, Scope.PUBLISH).post(address).status_code == 403
    assert stranger.post(address).status_code == 404
    ours.post(f"/v1/webhooks/{webhook.uid}/disable")
    assert ours.post(address).status_code == 409
    ours.delete(f"/v1/webhooks/{webhook.uid}")
    assert ours.post(address).status_code == 404
    assert not Event.objects.exists()


def test_an_event_that_would_be_refused_when_published_is_no_test_either(
    forge: Forge, ours: Caller, now: datetime
) -> None:
    """Documented examples match their own schemas, so test events also work with validation."""
    Organization.objects.update(validate_events=True, default_dialect="sigmagit")
    forge.organization.refresh_from_db()
    webhook = forge.webhook(now=now, events=["*"], format="standard-webhooks")
    kind, data = sent(webhook, ours, {"type": "issues.opened"})

    answer = Caller.of(forge.organization).post("/v1/events", {"type": kind, "data": data})

    assert answer.status_code == 202
