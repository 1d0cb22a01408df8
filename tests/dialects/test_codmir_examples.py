"""The request in codmir's webhook documentation, and the event that it promises."""

import hashlib
import hmac
import json
from datetime import datetime

import pytest

from deliveries import vault
from deliveries.models import Organization, Webhook
from deliveries.sending.sender import Sender
from hookhub.models import Scope
from tests.api import Caller, faults
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

URL = "https://93.184.215.14/webhooks/codmir"
EVENTS = [
    "ticket.created", "ticket.updated", "ticket.deleted", "ticket.status_changed", "ticket.assigned",
    "comment.created", "project.created", "member.added",
]  # fmt: skip


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(slug="acme", default_dialect="codmir")


@pytest.fixture
def caller(organization: Organization) -> Caller:
    return Caller.of(organization, Scope.MANAGE)


def test_register(caller: Caller) -> None:
    wanted = {"url": URL, "events": ["ticket.created", "ticket.updated"], "secret": "your-webhook-secret"}

    answer = caller.post("/v1/webhooks", wanted)

    created, webhook = answer.json(), Webhook.objects.get()
    assert answer.status_code == 201
    assert {name: created[name] for name in wanted} == wanted
    assert (created["id"], created["active"], created["format"]) == (str(webhook.uid), True, "codmir")
    assert [secret.text for secret in vault.secrets_of(webhook)] == ["your-webhook-secret"]
    assert "your-webhook-secret" not in caller.get(f"/v1/webhooks/{created['id']}").content.decode()


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_of_the_table_can_be_asked_for(caller: Caller, event: str) -> None:
    assert caller.post("/v1/webhooks", {"url": URL, "events": [event]}).json()["events"] == [event]


def test_the_caller_may_name_a_format(caller: Caller) -> None:
    created = caller.post("/v1/webhooks", {"url": URL, "events": ["ticket.created"], "format": "coregit"}).json()

    assert created["format"] == "coregit"


def test_an_event_that_codmir_does_not_have_is_refused(caller: Caller) -> None:
    answer = caller.post("/v1/webhooks", {"url": URL, "events": ["ticket.created", "push"]})

    assert (answer.status_code, list(faults(answer))) == (422, ["events"])
    assert not Webhook.objects.exists()


def test_the_rest_of_the_life_of_a_webhook_has_hookhubs_own_shapes(caller: Caller) -> None:
    created = caller.post("/v1/webhooks", {"url": URL, "events": ["ticket.created"]}).json()
    address = f"/v1/webhooks/{created['id']}"

    assert created["secret"].startswith("whsec_")
    assert [row["id"] for row in caller.get("/v1/webhooks").json()["results"]] == [created["id"]]
    assert caller.patch(address, {"active": False}).json()["active"] is False
    assert caller.delete(address).status_code == 204
    assert caller.get(address).json()["error"]["code"] == "not_found"


def test_payload_and_signature(forge: Forge, sender: Sender) -> None:
    Organization.objects.filter(pk=forge.organization.pk).update(default_dialect="codmir")
    forge.organization.refresh_from_db()
    wanted = {"url": forge.receiver.url(), "events": ["ticket.created"], "secret": "your-webhook-secret"}
    Caller.of(forge.organization).post("/v1/webhooks", wanted)
    data = {
        "ticket": {"id": "tkt_xyz789", "title": "Bug in login flow", "status": "open", "priority": "high"},
        "project": {"id": "proj_def456", "name": "Main App"},
        "user": {"id": "usr_ghi012", "name": "John Doe"},
    }
    now = datetime.fromisoformat("2024-01-15T10:30:00Z")
    forge.accept(now=now, event_type="ticket.created", data=data)

    deliver_due(sender, now=now)

    [request] = forge.receiver.received
    body = json.loads(request.body)
    assert list(body) == ["id", "type", "timestamp", "data"]
    assert body["id"].startswith("evt_")
    assert (body["type"], body["timestamp"], body["data"]) == ("ticket.created", "2024-01-15T10:30:00Z", data)
    expected = hmac.new(b"your-webhook-secret", request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-codmir-signature"] == f"sha256={expected}"
