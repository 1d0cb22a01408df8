"""The handshake: nothing is sent before a receiver has consented, and then no more than it has allowed."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django import Settings

from deliveries.maintenance import invariants
from deliveries.models import Attempt, AuditEntry, Delivery, Verification, Webhook
from deliveries.sending.exchange import Exchange, Response
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, verification_queue, verifying
from deliveries.webhooks.fields import InvalidFields
from tests.api import Caller, faults
from tests.receiver import Answer, Receiver
from tests.story import Forge, deliver_due, echo, together, verify_due

pytestmark = pytest.mark.django_db

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture(autouse=True)
def public_url(settings: Settings) -> None:
    settings.HOOKHUB_PUBLIC_URL = "https://Hooks.example:8443/hookhub"


def consent(receiver: Receiver, *, rate: str | None = "*", path: str = "/", origin: str = "hooks.example") -> None:
    """Make the receiver answer every request with its consent."""
    headers = {"WebHook-Allowed-Origin": origin}
    receiver.answers[path] = Answer(headers=headers if rate is None else {**headers, "WebHook-Allowed-Rate": rate})


def unverified(forge: Forge, *, now: datetime, **fields: Any) -> Webhook:
    return forge.webhook(now=now, **{"verify": "handshake", "format": "cloudevents", **fields})


def consented(forge: Forge, *, rate: str | None = "*", now: datetime, **fields: Any) -> Webhook:
    webhook = unverified(forge, now=now, **fields)
    consent(forge.receiver, rate=rate)
    assert verify_due(now=now) == ["verified"]
    forge.receiver.received.clear()
    webhook.refresh_from_db()
    return webhook


def test_without_a_name_no_receiver_can_be_asked(forge: Forge, settings: Settings, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="cloudevents")
    settings.HOOKHUB_PUBLIC_URL = ""

    for way in (
        lambda: unverified(forge, now=now),
        lambda: changing.change(webhook.pk, {"verify": "handshake"}, now=now),
    ):
        with pytest.raises(InvalidFields) as refused:
            way()
        assert list(refused.value.errors) == ["verify"]

    assert not Verification.objects.exists()


def test_a_receiver_is_asked_and_nothing_is_sent_before(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    forge.accept(now=now)

    assert verify_due(now=now) == ["pending"]

    [asked] = forge.receiver.received
    assert (asked.method, asked.path, asked.body) == ("OPTIONS", "/", b"")
    assert asked.headers["webhook-request-origin"] == "hooks.example"
    assert not {"webhook-signature", "webhook-request-rate", "webhook-request-callback"} & asked.headers.keys()
    verification = webhook.verifications.get()
    assert verification.last_error == "The receiver answered 200 without WebHook-Allowed-Origin."
    assert not Delivery.objects.exists()
    assert deliver_due(sender, now=now) == set()


def test_each_delivery_names_the_origin_that_was_granted(
    forge: Forge, sender: Sender, now: datetime, settings: Settings
) -> None:
    webhook = consented(forge, now=now, headers={"X-Own": "secret"})
    # The name that the receiver has granted is the one to send, until it grants another.
    settings.HOOKHUB_PUBLIC_URL = "https://renamed.example"
    forge.accept(now=now)

    assert len(deliver_due(sender, now=now)) == 1

    [sent] = forge.receiver.received
    assert (sent.method, sent.headers["webhook-request-origin"]) == ("POST", "hooks.example")
    log = Attempt.objects.get().request_headers
    assert "WebHook-Request-Origin: hooks.example" in log
    assert "X-Own: ********" in log
    verifying.verify(webhook.pk, now=now)
    consent(forge.receiver, origin="renamed.example")
    assert verify_due(now=now) == ["verified"]
    webhook.refresh_from_db()
    assert webhook.request_origin == "renamed.example"


def test_other_webhooks_name_no_origin(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, format="cloudevents-binary")
    forge.accept(now=now)

    deliver_due(sender, now=now)

    assert "webhook-request-origin" not in forge.receiver.received[0].headers


@pytest.mark.parametrize("wire_format", ["cloudevents", "cloudevents-binary"])
def test_the_sdk_reads_what_arrives(wire_format: str, forge: Forge, sender: Sender, now: datetime) -> None:
    consented(forge, now=now, format=wire_format)
    [event_id] = forge.accept(now=now)

    deliver_due(sender, now=now)

    [request] = forge.receiver.received
    event = from_http_event(HTTPMessage(headers=request.headers, body=request.body))
    assert (event.get_id(), event.get_source(), event.get_type()) == (str(event_id), "/acme/widgets", "push")
    assert event.get_extension("deliveryid") == request.headers["webhook-id"] == str(Delivery.objects.get().pk)
    assert event.get_data() == {"ref": "refs/heads/main"}


def test_consent_comes_in_any_format_but_a_chats(forge: Forge, now: datetime) -> None:
    assert consented(forge, now=now, format="github").proof == "handshake"

    with pytest.raises(InvalidFields, match="format: cannot be slack"):
        unverified(forge, now=now, format="slack", url=forge.receiver.url("/chat"))


# The rate -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "allowed"), [("90", 90), ("*", None), (None, None)])
def test_the_rate_is_kept_with_the_webhook(rate: str | None, allowed: int | None, forge: Forge, now: datetime) -> None:
    webhook = consented(forge, rate=rate, now=now)

    assert (webhook.allowed_rate, webhook.next_request_at) == (allowed, None)
    entry = AuditEntry.objects.get(action="webhook.verified")
    assert json.loads(entry.after or "").get("allowed_rate") == allowed


def test_another_handshake_changes_the_rate(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = consented(forge, rate="60", now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    webhook.refresh_from_db()
    assert webhook.next_request_at is not None

    for rate, allowed in {"30": 30, "*": None}.items():
        consent(forge.receiver, rate=rate)
        verifying.verify(webhook.pk, now=now)
        assert verify_due(now=now) == ["verified"]
        webhook.refresh_from_db()
        assert webhook.allowed_rate == allowed

    assert webhook.next_request_at is None


def test_a_receiver_that_no_longer_consents_changes_nothing(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = consented(forge, rate="60", now=now)
    forge.receiver.answers["/"] = Answer()

    verifying.verify(webhook.pk, now=now)
    for _ in range(4):
        verify_due(now=now)
        now += timedelta(minutes=10)

    assert Verification.objects.latest("id").state == "failed"
    webhook.refresh_from_db()
    assert (webhook.unverified, webhook.allowed_rate, webhook.request_origin) == (False, 60, "hooks.example")
    forge.accept(now=now)
    assert len(deliver_due(sender, now=now)) == 1


def test_a_move_keeps_the_old_rate_until_the_new_receiver_has_consented(forge: Forge, now: datetime) -> None:
    webhook = consented(forge, rate="60", now=now)

    changing.change(webhook.pk, {"url": forge.receiver.url("/new")}, now=now)
    webhook.refresh_from_db()
    assert (webhook.allowed_rate, webhook.stored_url) == (60, forge.receiver.url("/"))
    consent(forge.receiver, rate="5", path="/new")
    assert verify_due(now=now) == ["verified"]

    webhook.refresh_from_db()
    assert (webhook.allowed_rate, webhook.stored_url) == (5, forge.receiver.url("/new"))


# Other proofs ---------------------------------------------------------------------------------------------------------


def test_a_webhook_may_change_its_proof(forge: Forge, now: datetime) -> None:
    webhook = consented(forge, rate="60", now=now)

    changing.change(webhook.pk, {"verify": "challenge"}, now=now)
    webhook.refresh_from_db()
    # Until it has echoed the challenge, the handshake holds.
    assert (webhook.proof, webhook.allowed_rate) == ("handshake", 60)
    echo(forge.receiver)
    assert verify_due(now=now) == ["verified"]
    webhook.refresh_from_db()
    assert (webhook.proof, webhook.allowed_rate, webhook.request_origin) == ("challenge", None, None)

    changing.change(webhook.pk, {"verify": "handshake"}, now=now)
    forge.receiver.script = None
    consent(forge.receiver, rate="10")
    assert verify_due(now=now) == ["verified"]
    webhook.refresh_from_db()
    assert (webhook.proof, webhook.allowed_rate) == ("handshake", 10)

    changing.change(webhook.pk, {"verify": None}, now=now)
    webhook.refresh_from_db()
    assert (webhook.proof, webhook.allowed_rate, webhook.request_origin) == (None, None, None)


def test_what_an_unverified_webhook_is_asked_can_be_changed(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, verify="challenge")

    changing.change(webhook.pk, {"verify": "handshake"}, now=now)

    webhook.refresh_from_db()
    assert (webhook.proof, webhook.unverified) == ("handshake", True)
    assert [one.proof for one in webhook.verifications.open()] == ["handshake"]


def test_asking_again_asks_for_the_same(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    changing.change(webhook.pk, {"verify": "handshake"}, now=now)
    forge.receiver.answers["/"] = Answer(410)
    assert verify_due(now=now) == ["failed"]

    verifying.verify(webhook.pk, now=now)

    assert Verification.objects.latest("id").proof == "handshake"


def test_what_lies_outside_the_engine_cannot_break_the_grant(forge: Forge, now: datetime) -> None:
    webhook = consented(forge, rate="60", now=now)

    without_rate = {"allowed_rate": None, "next_request_at": now}
    for wrong in ({"allowed_rate": 0}, {"request_origin": None}, {"verified_at": None}, without_rate):
        with pytest.raises(IntegrityError), transaction.atomic():
            Webhook.objects.filter(pk=webhook.pk).update(**wrong)


# A process that dies, and two at once ---------------------------------------------------------------------------------


def test_an_answer_whose_lease_is_lost_grants_nothing(forge: Forge, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    [claimed] = verification_queue.claim(8, now=now)
    [again] = verification_queue.claim(8, now=now + MINUTE)
    granted = Exchange(SECOND, Response(200, "", (("WebHook-Allowed-Origin", "*"), ("WebHook-Allowed-Rate", "5")), b""))

    assert verifying.conclude(claimed, granted, now=now + MINUTE) is None
    webhook.refresh_from_db()
    assert (webhook.unverified, webhook.allowed_rate) == (True, None)
    assert verifying.conclude(again, granted, now=now + MINUTE) == "verified"
    webhook.refresh_from_db()
    assert (webhook.unverified, webhook.allowed_rate) == (False, 5)


@pytest.mark.django_db(transaction=True)
def test_of_two_that_conclude_at_once_one_does(forge: Forge, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    [claimed] = verification_queue.claim(8, now=now)
    granted = Exchange(SECOND, Response(200, "", (("WebHook-Allowed-Origin", "*"), ("WebHook-Allowed-Rate", "5")), b""))

    states = together(*[lambda: verifying.conclude(claimed, granted, now=now)] * 2)

    assert sorted(map(str, states)) == ["None", "verified"]
    webhook.refresh_from_db()
    assert webhook.allowed_rate == 5


def test_headers_without_end_are_no_consent(forge: Forge, now: datetime) -> None:
    unverified(forge, now=now)
    consent(forge.receiver, rate="9" * 400_000)

    assert verify_due(now=now) == ["pending"]

    assert Verification.objects.get().last_status is None


# The doors ------------------------------------------------------------------------------------------------------------


def test_the_api_shows_what_was_granted(api: Caller, receiver: Receiver) -> None:
    made = api.post(
        "/v1/webhooks",
        {"url": receiver.url("/"), "events": ["*"], "format": "cloudevents", "verify": "handshake"},
    ).json()
    assert (made["verify"], made["status"], made["allowed_rate"]) == ("handshake", "unverified", None)
    consent(receiver, rate="120")
    verify_due(now=timezone.now())

    shown = api.get(f"/v1/webhooks/{made['id']}").json()

    assert (shown["status"], shown["allowed_rate"], shown["verification"]["state"]) == ("active", 120, "verified")


def test_an_owner_can_neither_set_the_rate_nor_the_name(api: Caller, receiver: Receiver) -> None:
    wanted = {"url": receiver.url("/"), "events": ["*"]}

    assert "allowed_rate" in faults(api.post("/v1/webhooks", {**wanted, "allowed_rate": 5}))
    refused = api.post("/v1/webhooks", {**wanted, "headers": {"webhook-request-ORIGIN": "bank.example"}})
    assert faults(refused) == {
        "headers": "webhook-request-ORIGIN cannot be set: HookHub sends this header itself, to a receiver that has "
        "consented to it"
    }
    assert not Webhook.objects.exists()


def test_an_organization_that_demands_verification_accepts_a_handshake(api: Caller, receiver: Receiver) -> None:
    api.patch("/v1/organizations/acme", {"verify_webhooks": True})

    made = api.post("/v1/webhooks", {"url": receiver.url("/"), "events": ["*"], "verify": "handshake"})

    assert (made.status_code, made.json()["verify"]) == (201, "handshake")


def test_the_ledger_tells_of_requests_beyond_the_rate(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = consented(forge, rate="2", now=now)
    forge.accept(5, now=now)
    now += MINUTE

    def deliver_and_check() -> int:
        deliver_due(sender, now=now)
        [found] = [one for one in invariants.check_all(now=now) if one.check.name == "attempts-beyond-the-rate"]
        return found.count

    assert [deliver_and_check(), Attempt.objects.count()] == [0, 1]
    # As if the rate had been forgotten for a moment.
    paced = Webhook.objects.filter(pk=webhook.pk).values("allowed_rate", "pace_interval", "pace_lag").get()
    Webhook.objects.update(**dict.fromkeys(paced), next_request_at=None)
    deliver_due(sender, now=now + 20 * SECOND)
    Webhook.objects.update(**paced)

    assert [deliver_and_check(), Attempt.objects.count()] == [3, 5]
