"""Verification: nothing is sent to a URL that must prove itself before it has echoed a challenge."""

import base64
import hashlib
import hmac
import json
import threading
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from deliveries import pipeline, redelivery, vault
from deliveries.db import sql
from deliveries.formats import MASK
from deliveries.maintenance import invariants, leases
from deliveries.models import AuditEntry, Delivery, Repository, Verification, Webhook
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Exchange, Response
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, creating, lifecycle, secrets, subscribing, verification_queue, verifying
from deliveries.webhooks.fields import InvalidFields, validate
from deliveries.webhooks.verifying import NewVerification
from deliveries.worker.verifier import Verifier
from tests.receiver import Answer, Receiver
from tests.story import Forge, challenge_in, deliver_due, echo, together, verify_due

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def unverified(forge: Forge, *, now: datetime, **fields: Any) -> Webhook:
    return forge.webhook(now=now, verify="challenge", **fields)


def verified(forge: Forge, *, now: datetime, **fields: Any) -> Webhook:
    webhook = unverified(forge, now=now, **fields)
    echo(forge.receiver)
    assert verify_due(now=now) == ["verified"]
    forge.receiver.received.clear()
    webhook.refresh_from_db()
    return webhook


def the_verification() -> Verification:
    return Verification.objects.latest("id")


def echoed(claim: verification_queue.VerificationClaim) -> Exchange:
    return Exchange(SECOND, Response(200, "OK", (), claim.challenge.encode()))


# Before and after the proof -------------------------------------------------------------------------------------------


def test_an_unverified_webhook_gets_nothing(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    sibling = forge.webhook(now=now, path="/sibling")

    forge.accept(2, now=now)
    deliver_due(sender, now=now)

    assert webhook.status(now=now) == "unverified"
    assert {request.path for request in forge.receiver.received} == {"/sibling"}
    assert set(Delivery.objects.values_list("webhook", flat=True)) == {sibling.pk}


@pytest.mark.parametrize("as_json", [False, True], ids=["body", "json"])
def test_an_echo_verifies_it_and_events_arrive(forge: Forge, sender: Sender, now: datetime, as_json: bool) -> None:
    webhook = unverified(forge, now=now)
    echo(forge.receiver, as_json=as_json)
    forge.accept(now=now)

    verified_at = now + SECOND
    assert verify_due(now=verified_at) == ["verified"]
    forge.accept(now=verified_at + SECOND)
    deliver_due(sender, now=verified_at + SECOND)

    webhook.refresh_from_db()
    assert (webhook.proof, webhook.verified_at, webhook.status(now=now)) == ("challenge", verified_at, "active")
    asked, delivered = forge.receiver.received
    assert challenge_in(asked) is not None
    assert json.loads(delivered.body)["type"] == "push"
    # Of the two events, only the one after the proof.
    assert Delivery.objects.get().state == "delivered"
    settling = timedelta(0)
    assert not [one for one in invariants.check_all(now=verified_at + SECOND, settling=settling) if one.count]


def test_the_challenge_is_signed_with_the_secret_and_has_the_custom_headers(forge: Forge, now: datetime) -> None:
    unverified(forge, now=now, secret=SECRET, headers={"Authorization": "Bearer gate"})

    verify_due(now=now)

    [asked] = forge.receiver.received
    assert asked.method == "POST"
    assert asked.headers["authorization"] == "Bearer gate"
    assert asked.headers["webhook-id"] == str(the_verification().id)
    signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode() + asked.body
    assert asked.headers["webhook-signature"] == signature(SECRET, signed)


def signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def test_each_request_has_another_challenge_and_an_old_one_proves_nothing(forge: Forge, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    forge.receiver.answers["/"] = Answer(500)
    verify_due(now=now)
    first = challenge_in(forge.receiver.received[0])
    assert first is not None
    forge.receiver.answers["/"] = Answer(200, body=first.encode())

    assert verify_due(now=now + 10 * SECOND) == ["pending"]

    assert challenge_in(forge.receiver.received[1]) != first
    webhook.refresh_from_db()
    assert webhook.unverified


# Failure --------------------------------------------------------------------------------------------------------------


def test_it_is_asked_on_a_short_schedule_and_the_owner_can_read_why_it_failed(forge: Forge, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    forge.receiver.answers["/"] = Answer(404, body=b"no such \x1b[1mhook" + b"." * 5000)

    asked_at = [seconds for seconds in range(600) if verify_due(now=now + seconds * SECOND)]

    assert asked_at == [0, 10, 70, 370]
    verification = the_verification()
    assert (verification.state, verification.attempts_made, verification.failures) == ("failed", 4, 4)
    assert (verification.last_status, verification.last_error) == (404, "The receiver answered 404.")
    assert verification.last_excerpt.startswith("no such \\x1b[1mhook...")
    assert len(verification.last_excerpt) <= verifying.MAX_EXCERPT + 3
    assert verification.last_started_at == verification.finished_at == now + 370 * SECOND
    assert [(entry["number"], entry["started_at"], entry["status"]) for entry in verification.requests] == [
        (place + 1, (now + seconds * SECOND).isoformat(), 404) for place, seconds in enumerate(asked_at)
    ]
    assert {entry["outcome"] for entry in verification.requests} == {"failed"}
    assert {entry["error"] for entry in verification.requests} == {"The receiver answered 404."}
    assert {entry["excerpt"] for entry in verification.requests} == {verification.last_excerpt}
    webhook.refresh_from_db()
    assert webhook.unverified
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "webhook.created", "webhook.verification_started", "webhook.verification_failed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200, body=b"ok"), "The response does not contain the challenge."),
        (Answer(302, headers={"Location": "/other"}), "The receiver answered 302; redirects are not followed."),
        (Answer(200, body=b"x" * 2000), "The response is longer than 1,024 bytes."),
        (Answer(raw=b"nonsense\r\n\r\n"), None),
    ],
    ids=["no echo", "redirect", "long", "no HTTP"],
)
def test_what_is_no_echo_proves_nothing(forge: Forge, now: datetime, answer: Answer, error: str | None) -> None:
    unverified(forge, now=now)
    forge.receiver.answers["/"] = answer

    assert verify_due(now=now) == ["pending"]

    assert error is None or the_verification().last_error == error
    assert the_verification().last_error
    assert len(forge.receiver.received) == 1


def test_a_receiver_that_is_gone_ends_it_at_once(forge: Forge, now: datetime) -> None:
    unverified(forge, now=now)
    forge.receiver.answers["/"] = Answer(410)

    assert verify_due(now=now) == ["failed"]


def test_what_the_guard_refuses_fails(forge: Forge, now: datetime, settings: Any) -> None:
    unverified(forge, now=now)
    settings.HOOKHUB_DEVELOPMENT = False
    settings.HOOKHUB_ALLOWED_NETWORKS = ()

    assert verify_due(now=now) == ["pending"]

    assert forge.receiver.received == []
    assert the_verification().last_error


def test_what_was_never_verified_is_forgotten_after_a_while_unless_asked_again(forge: Forge, now: datetime) -> None:
    webhook, other = unverified(forge, now=now), unverified(forge, now=now, path="/other")
    forge.receiver.answers = {"/": Answer(410), "/other": Answer(410)}
    # One request at a time to a host.
    assert (verify_due(now=now), verify_due(now=now)) == (["failed"], ["failed"])
    end = now + verifying.KEPT_FOR
    verifying.verify(other.pk, now=now + SECOND)

    assert leases.forget_unverified(now=end - SECOND) == 0
    assert leases.forget_unverified(now=end) == 1

    webhook.refresh_from_db()
    other.refresh_from_db()
    assert (webhook.deleted_at, other.deleted_at) == (end, None)


def test_a_door_may_forget_what_was_never_verified_at_once(forge: Forge, now: datetime) -> None:
    fields = {"url": forge.receiver.url("/"), "events": ["push"], "format": forge.organization.wire_format}
    wanted = NewVerification("websub", kept_for=timedelta(0))
    webhook, _ = creating.insert(
        validate(fields), organization=forge.organization, repository=None, verification=wanted, now=now
    )
    [claim] = verification_queue.claim(8, now=now)
    assert verifying.conclude(claim, Exchange(SECOND, Response(410, "", (), b"")), now=now) == "failed"

    assert leases.forget_unverified(now=now) == 1

    webhook.refresh_from_db()
    assert webhook.deleted_at == now


def test_a_verified_webhook_is_never_forgotten(forge: Forge, now: datetime) -> None:
    webhook = verified(forge, now=now)
    echo(forge.receiver, spoiled=True)
    forge.receiver.script = None
    forge.receiver.answers["/"] = Answer(410)
    verifying.verify(webhook.pk, now=now)
    assert verify_due(now=now) == ["failed"]

    assert leases.forget_unverified(now=now + 2 * verifying.KEPT_FOR) == 0

    webhook.refresh_from_db()
    assert (webhook.verified_at, webhook.deleted_at) == (now, None)


# A change that waits --------------------------------------------------------------------------------------------------


def test_a_move_waits_for_the_proof_of_the_new_url(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = verified(forge, now=now, secret=SECRET, headers={"X-Token": "old"})
    elsewhere = {"url": forge.receiver.url("/new"), "events": ["push"]}

    changed, new_secret = changing.change(webhook.pk, elsewhere, now=now)

    assert (changed.url, changed.events) == (forge.receiver.url("/"), ["push"])
    assert new_secret is not None
    assert [one.text for one in vault.secrets_of(changed)] == [SECRET]
    forge.accept(now=now)
    deliver_due(sender, now=now)
    assert [request.path for request in forge.receiver.received] == ["/"]
    assert forge.receiver.received[0].headers["x-token"] == "old"

    assert verify_due(now=now + SECOND) == ["verified"]

    asked = forge.receiver.received[1]
    assert (asked.path, asked.headers.get("x-token")) == ("/new", None)
    signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode() + asked.body
    assert asked.headers["webhook-signature"] == signature(new_secret, signed)
    webhook.refresh_from_db()
    assert (webhook.url, webhook.verified_at) == (forge.receiver.url("/new"), now + SECOND)
    assert [one.text for one in vault.secrets_of(webhook)] == [new_secret]
    assert vault.headers_of(webhook) == {}
    assert the_verification().sealed_change is None
    forge.accept(now=now + 2 * SECOND)
    deliver_due(sender, now=now + 2 * SECOND)
    assert forge.receiver.received[2].path == "/new"


def test_a_move_that_fails_leaves_everything_as_it_was(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = verified(forge, now=now, secret=SECRET)
    before = Webhook.objects.values().get()
    forge.receiver.script = None
    forge.receiver.answers["/new"] = Answer(410)

    changing.change(webhook.pk, {"url": forge.receiver.url("/new"), "secret": SECRET[:-4] + "AAAA"}, now=now + SECOND)
    assert verify_due(now=now + SECOND) == ["failed"]

    after = Webhook.objects.values().get()
    assert {**after, "changed_at": None} == {**before, "changed_at": None}
    assert the_verification().sealed_change is None


def test_a_later_move_replaces_an_earlier_one(forge: Forge, now: datetime) -> None:
    webhook = verified(forge, now=now)

    changing.change(webhook.pk, {"url": forge.receiver.url("/second")}, now=now)
    changing.change(webhook.pk, {"url": forge.receiver.url("/third")}, now=now)

    assert verify_due(now=now) == ["verified"]
    assert [request.path for request in forge.receiver.received] == ["/third"]
    webhook.refresh_from_db()
    assert webhook.url == forge.receiver.url("/third")


@pytest.mark.parametrize("query", ["", "?part=2"])
def test_a_move_is_called_off_by_the_old_url(forge: Forge, now: datetime, query: str) -> None:
    webhook = verified(forge, now=now)
    before = vault.secrets_of(webhook)
    changing.change(webhook.pk, {"url": forge.receiver.url("/new")}, now=now)
    echo(forge.receiver)

    _, secret = changing.change(webhook.pk, {"url": forge.receiver.url("/") + query, "name": "same"}, now=now)
    assert (secret, verify_due(now=now)) == (None, [])

    webhook.refresh_from_db()
    assert (webhook.url, webhook.name) == (forge.receiver.url("/") + query, "same")
    assert vault.secrets_of(webhook) == before
    assert the_verification().state == "superseded"
    assert [request.path for request in forge.receiver.received] == []


def test_a_move_waits_on_whatever_else_is_changed(forge: Forge, now: datetime) -> None:
    webhook = verified(forge, now=now)
    changing.change(webhook.pk, {"url": forge.receiver.url("/new")}, now=now)
    echo(forge.receiver)

    changing.change(webhook.pk, {"name": "other"}, active=False, now=now)

    assert verify_due(now=now) == ["verified"]
    webhook.refresh_from_db()
    assert webhook.url == forge.receiver.url("/new")


def test_a_move_waits_on_for_another_proof_that_is_asked_for(forge: Forge, now: datetime) -> None:
    webhook = verified(forge, now=now, path="/old")
    _, secret = changing.change(webhook.pk, {"url": forge.receiver.url("/new")}, now=now)

    changing.change(webhook.pk, {"verify": "handshake"}, now=now)

    [claim] = verification_queue.claim(8, now=now)
    asked = the_verification()
    assert (asked.proof, asked.stored_url, asked.state) == ("handshake", forge.receiver.url("/new"), "sending")
    consent = Response(200, "OK", (("WebHook-Allowed-Origin", "*"),), b"")
    assert verifying.conclude(claim, Exchange(SECOND, consent), now=now) == "verified"
    webhook.refresh_from_db()
    assert (webhook.url, webhook.proof) == (forge.receiver.url("/new"), "handshake")
    assert [one.text for one in vault.secrets_of(webhook)] == [secret]


def test_the_url_of_an_unverified_webhook_set_again_is_still_asked(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, verify="challenge")
    echo(forge.receiver)

    changing.change(webhook.pk, {"url": forge.receiver.url("/")}, now=now)

    assert verify_due(now=now) == ["verified"]


def test_the_format_moves_with_the_url(forge: Forge, now: datetime) -> None:
    webhook = verified(forge, now=now)

    _, secret = changing.change(webhook.pk, {"url": forge.receiver.url("/new"), "format": "github"}, now=now)
    webhook.refresh_from_db()
    assert webhook.format == "standard-webhooks"

    assert verify_due(now=now) == ["verified"]
    webhook.refresh_from_db()
    assert (webhook.format, webhook.url) == ("github", forge.receiver.url("/new"))
    assert [one.text for one in vault.secrets_of(webhook)] == ([secret] if secret else [])


def test_another_query_needs_no_proof(forge: Forge, now: datetime) -> None:
    webhook = verified(forge, now=now)

    changed, _ = changing.change(webhook.pk, {"url": forge.receiver.url("/?token=1")}, now=now)

    assert changed.url == forge.receiver.url("/?token=1")
    assert verify_due(now=now) == []


def test_the_url_of_an_unverified_webhook_changes_at_once_and_is_asked_instead(forge: Forge, now: datetime) -> None:
    webhook = unverified(forge, now=now)

    changed, _ = changing.change(webhook.pk, {"url": forge.receiver.url("/new")}, now=now)
    echo(forge.receiver)

    assert changed.url == forge.receiver.url("/new")
    assert verify_due(now=now) == ["verified"]
    assert [request.path for request in forge.receiver.received] == ["/new"]


def test_a_waiting_secret_is_encrypted_for_its_verification(forge: Forge, now: datetime, settings: Any) -> None:
    webhook = verified(forge, now=now)
    changing.change(webhook.pk, {"url": forge.receiver.url("/new"), "secret": SECRET}, now=now)
    waiting = the_verification()
    assert waiting.sealed_change is not None
    assert SECRET.encode() not in bytes(waiting.sealed_change)
    with pytest.raises(vault.Tampered):
        vault.open_change(waiting.sealed_change, of=uuid4())

    old = settings.HOOKHUB_ENCRYPTION_KEYS
    settings.HOOKHUB_ENCRYPTION_KEYS = ("A" * 43 + "=", *old)
    assert list(secrets.reencrypt_all()) == [True]
    settings.HOOKHUB_ENCRYPTION_KEYS = ("A" * 43 + "=",)

    assert verify_due(now=now) == ["verified"]
    webhook.refresh_from_db()
    assert [one.text for one in vault.secrets_of(webhook)] == [SECRET]


def test_a_change_whose_key_is_lost_is_not_applied(forge: Forge, now: datetime, settings: Any) -> None:
    webhook = verified(forge, now=now)
    changing.change(webhook.pk, {"url": forge.receiver.url("/new")}, now=now)
    [claim] = verification_queue.claim(1, now=now)
    settings.HOOKHUB_ENCRYPTION_KEYS = ("A" * 43 + "=",)

    assert verifying.conclude(claim, echoed(claim), now=now) == "failed"

    assert "cannot be decrypted" in the_verification().last_error
    webhook.refresh_from_db()
    assert webhook.stored_url == forge.receiver.url("/")


# Asking for it --------------------------------------------------------------------------------------------------------


def test_an_active_webhook_goes_on_while_it_is_asked_for_the_first_time(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)

    changing.change(webhook.pk, {"verify": "challenge"}, now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    assert len(forge.receiver.received) == 1
    echo(forge.receiver)
    assert verify_due(now=now) == ["verified"]

    webhook.refresh_from_db()
    assert (webhook.proof, webhook.verified_at) == ("challenge", now)


def test_the_owner_may_give_up_verification(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = unverified(forge, now=now)

    changed, _ = changing.change(webhook.pk, {"verify": None}, now=now)

    assert (changed.proof, changed.verified_at) == (None, None)
    assert verify_due(now=now) == []
    forge.accept(now=now)
    deliver_due(sender, now=now)
    assert len(forge.receiver.received) == 1


def test_asking_again_restarts_the_schedule_of_what_is_pending(forge: Forge, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    forge.receiver.answers["/"] = Answer(500)
    verify_due(now=now)

    verifying.verify(webhook.pk, now=now + SECOND)
    echo(forge.receiver)

    assert verify_due(now=now + SECOND) == ["verified"]
    assert Verification.objects.count() == 1


def test_an_organization_demands_it_of_new_webhooks_and_new_urls(forge: Forge, now: datetime) -> None:
    existing = forge.webhook(now=now)
    forge.organization.verify_webhooks = True
    forge.organization.save()

    created = forge.webhook(now=now, path="/new")
    changed, _ = changing.change(existing.pk, {"url": forge.receiver.url("/elsewhere")}, now=now)

    assert (created.unverified, changed.unverified) == (True, False)
    assert changed.url == forge.receiver.url("/")
    echo(forge.receiver)
    assert (verify_due(now=now), verify_due(now=now)) == (["verified"], ["verified"])
    existing.refresh_from_db()
    assert (existing.url, existing.proof) == (forge.receiver.url("/elsewhere"), "challenge")
    with pytest.raises(InvalidFields, match="cannot be null"):
        changing.change(existing.pk, {"verify": None}, now=now)
    with pytest.raises(InvalidFields, match="cannot be null"):
        forge.webhook(now=now, verify=None)


def test_a_chat_cannot_be_verified(forge: Forge, now: datetime) -> None:
    with pytest.raises(InvalidFields, match="echo no challenge"):
        unverified(forge, now=now, format="slack")

    assert not Webhook.objects.exists()


def test_to_prove_an_unsubscription_deletes_the_webhook(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    wanted = NewVerification("websub", {"hub.topic": "https://hub.example/t"})
    with transaction.atomic():
        verifying.ask(Webhook.objects.locked().get(pk=webhook.pk), wanted, mode=Verification.Mode.UNSUBSCRIBE, now=now)
    echo(forge.receiver)

    assert verify_due(now=now) == ["verified"]

    assert forge.receiver.received[0].path.startswith("/?hub.mode=unsubscribe&hub.topic=https%3A%2F%2F")
    webhook.refresh_from_db()
    assert webhook.deleted_at == now


def test_a_proof_grants_the_lease_that_was_asked_for(forge: Forge, now: datetime) -> None:
    fields = {"url": forge.receiver.url("/callback?id=7"), "events": ["push"], "format": forge.organization.wire_format}
    wanted = NewVerification("websub", {"hub.topic": "https://hub.example/t"}, lasts=timedelta(days=10))
    webhook, _ = creating.insert(
        validate(fields), organization=forge.organization, repository=forge.repository, verification=wanted, now=now
    )
    assert webhook.unverified
    echo(forge.receiver)

    assert verify_due(now=now + SECOND) == ["verified"]

    [asked] = forge.receiver.received
    assert (asked.method, asked.body) == ("GET", b"")
    assert asked.path.startswith("/callback?id=7&hub.mode=subscribe&hub.topic=https%3A%2F%2Fhub.example%2Ft&")
    assert asked.path.endswith("&hub.lease_seconds=864000")
    webhook.refresh_from_db()
    assert webhook.expires_at == now + SECOND + timedelta(days=10)
    # Its receiver renews it; its owner is not told.
    assert webhook.expiry_warning_at is None


# Processes ------------------------------------------------------------------------------------------------------------


def test_a_process_that_dies_is_repeated_and_reports_in_vain(forge: Forge, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    [dead] = verification_queue.claim(1, now=now)
    assert verification_queue.claim(1, now=now + verification_queue.LEASE) == []

    later = now + verification_queue.LEASE + SECOND
    [living] = verification_queue.claim(1, now=later)

    assert dead.challenge != living.challenge
    assert verifying.conclude(dead, echoed(dead), now=later) is None
    webhook.refresh_from_db()
    assert webhook.unverified
    assert verifying.conclude(living, echoed(living), now=later) == "verified"
    assert verifying.conclude(living, echoed(living), now=later) is None
    # The lost request has used no step of the schedule.
    assert (the_verification().attempts_made, the_verification().failures) == (2, 0)
    lost, proved = the_verification().requests
    assert (lost["number"], lost["outcome"], lost["status"], lost["duration"]) == (1, "unknown", None, None)
    assert datetime.fromisoformat(lost["started_at"]) == now
    assert (proved["number"], proved["outcome"], proved["status"], proved["error"]) == (2, "verified", 200, "")


def test_a_request_that_always_takes_its_process_down_is_given_up(forge: Forge, now: datetime) -> None:
    unverified(forge, now=now)
    pause = verification_queue.LEASE + SECOND

    claimed = [len(verification_queue.claim(1, now=now + count * pause)) for count in range(25)]

    assert sum(claimed) == verification_queue.MAX_ATTEMPTS
    verification = the_verification()
    assert (verification.state, verification.forget_at is not None) == ("failed", True)
    assert [entry["number"] for entry in verification.requests] == list(range(11, 21))
    assert {entry["outcome"] for entry in verification.requests} == {"unknown"}


def test_what_is_superseded_in_flight_changes_nothing_and_keeps_its_host_busy(forge: Forge, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    [claim] = verification_queue.claim(1, now=now)

    changing.change(webhook.pk, {"url": forge.receiver.url("/new")}, now=now)

    assert verification_queue.claim(1, now=now) == []
    assert verifying.conclude(claim, echoed(claim), now=now) is None
    webhook.refresh_from_db()
    assert webhook.unverified
    [after] = verification_queue.claim(1, now=now)
    request = verification_queue.request_of(after, now=now)
    assert request is not None
    assert request.url == forge.receiver.url("/new")


def test_a_webhook_that_is_deleted_in_flight_stays_deleted(forge: Forge, now: datetime) -> None:
    webhook = unverified(forge, now=now)
    [claim] = verification_queue.claim(1, now=now)

    lifecycle.delete(webhook.pk, now=now)

    assert verifying.conclude(claim, echoed(claim), now=now) is None
    webhook.refresh_from_db()
    assert (webhook.deleted_at, webhook.verified_at) == (now, None)
    assert the_verification().state == "superseded"
    assert verification_queue.claim(1, now=now) == []


def test_only_one_request_is_in_flight_to_a_host(forge: Forge, receiver: Receiver, now: datetime) -> None:
    for path in ("/1", "/2"):
        unverified(forge, now=now, path=path)
    forge.webhook(now=now, url=f"http://localhost:{receiver.port}/3", verify="challenge")

    claims = verification_queue.claim(8, now=now)

    hosts = [Verification.objects.get(pk=claim.id).host for claim in claims]
    assert sorted(hosts) == ["127.0.0.1", "localhost"]
    assert verification_queue.claim(8, now=now) == []
    pending = Verification.objects.filter(state="pending")
    with pytest.raises(IntegrityError), transaction.atomic():
        pending.update(state="sending", due_at=None, lease=uuid4(), leased_until=now, challenge="x")


def of_a_stranger(forge: Forge, url: str, *, now: datetime) -> None:
    wanted = subscribing.Subscription(
        url, "http://testserver/acme/widgets/events/push", "http://testserver/hub", "push", "", "sha256",
        is_public=True, sent_back={},
    )  # fmt: skip
    assert subscribing.subscribe(wanted, repository=forge.repository, lasts=60 * SECOND, now=now)


def test_strangers_at_the_hub_delay_no_proof_that_a_key_has_asked_for(forge: Forge, now: datetime) -> None:
    Repository.objects.update(private=False)
    for number in range(1, 12):
        of_a_stranger(forge, f"http://127.0.0.{number}:9999/{number}", now=now - 60 * SECOND)
    owners = unverified(forge, now=now)

    claims = verification_queue.claim(8, now=now)

    # Also before the stranger's of the same host, and there is room for the next.
    assert owners.pk in {claim.webhook_id for claim in claims}
    assert len(claims) == 8 - verification_queue.RESERVED
    assert verification_queue.claim(verification_queue.RESERVED, now=now) == []
    forge.webhook(now=now, url="http://localhost:9999/", verify="challenge")
    assert len(verification_queue.claim(1, now=now)) == 1


def test_each_kind_of_due_proofs_is_found_by_an_index(new_files: None, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement, index in [
            (verification_queue.FIND_DUE, "verification_due on"),
            (verification_queue.FIND_DUE_OF_HUB, "verification_due_of_hub on"),
            (verification_queue.IS_ANYTHING_DUE, "verification_due_of_hub on"),
        ]:
            cursor.execute(f"EXPLAIN {statement}", {"now": now, "limit": 8})
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert index in plan
            assert "Seq Scan" not in plan


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_together_share_what_is_due(forge: Forge, now: datetime) -> None:
    for path in ("/1", "/2", "/3"):
        unverified(forge, now=now, path=path)

    claims = together(*[lambda: verification_queue.claim(8, now=now)] * 4)

    assert sorted(map(len, claims)) == [0, 0, 0, 1]


@pytest.mark.django_db(transaction=True)
def test_of_two_processes_only_one_concludes(forge: Forge, now: datetime) -> None:
    unverified(forge, now=now)
    [claim] = verification_queue.claim(1, now=now)

    states = together(*[lambda: verifying.conclude(claim, echoed(claim), now=now)] * 4)

    assert sorted(states, key=str) == [None, None, None, "verified"]
    assert AuditEntry.objects.filter(action="webhook.verified").count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_verifier_sends_what_is_due_by_the_databases_clock(forge: Forge) -> None:
    now = sql.database_now()
    webhooks = [unverified(forge, now=now, path=f"/{number}") for number in range(3)]
    echo(forge.receiver)

    assert Verifier(threading.Event()).run(sql.database_now()) == 3

    assert len(forge.receiver.received) == 3
    for webhook in webhooks:
        webhook.refresh_from_db()
        assert webhook.verified_at is not None
    assert Verifier(threading.Event()).run(sql.database_now()) == 0


@pytest.mark.django_db(transaction=True)
def test_the_verifier_concludes_what_it_cannot_send(forge: Forge, settings: Any) -> None:
    unverified(forge, now=sql.database_now())
    settings.HOOKHUB_ENCRYPTION_KEYS = ("A" * 43 + "=",)

    assert Verifier(threading.Event()).run(sql.database_now()) == 1

    assert "could not be built" in the_verification().last_error
    assert forge.receiver.received == []


@pytest.mark.django_db(transaction=True)
def test_a_verifier_that_is_stopped_leaves_the_rest_to_others(forge: Forge, receiver: Receiver) -> None:
    unverified(forge, now=sql.database_now())
    stopped = threading.Event()
    receiver.script = lambda _connection, _request: receiver.closing.wait(30)
    running = threading.Thread(target=lambda: together(lambda: Verifier(stopped).run(sql.database_now())))
    running.start()
    receiver.wait_for(1)

    stopped.set()
    running.join(10)

    assert not running.is_alive()
    assert the_verification().state == "sending"


# The rest of the engine -----------------------------------------------------------------------------------------------


def test_whatever_way_leads_to_an_unverified_webhook_nothing_is_sent(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = unverified(forge, now=now)
    redelivery.send_to(webhook, "ping", {}, now=now)
    pipeline.fan_out(now=now)

    deliver_due(sender, now=now)

    assert forge.receiver.received == []
    delivery = Delivery.objects.get()
    assert delivery.state == "held"
    assert redelivery.redeliver([delivery.id], now=now) == 0
    assert redelivery.blocked_reason(delivery) == "of an unverified webhook"


def test_the_ledger_shows_what_was_sent_to_an_unverified_webhook(forge: Forge, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    Webhook.objects.filter(pk=webhook.pk).update(proof="challenge")

    found = {one.check.name: one.verdict for one in invariants.check_all(now=now) if one.count}

    assert found == {"deliveries-sent-to-unverified": "fault"}


def test_no_response_is_recorded_as_such(forge: Forge, now: datetime) -> None:
    unverified(forge, now=now)
    [claim] = verification_queue.claim(1, now=now)

    exchange = Exchange(SECOND, NoResponse("timeout", "No response within 10 s"))
    assert verifying.conclude(claim, exchange, now=now) == "pending"

    verification = the_verification()
    assert (verification.last_status, verification.last_error) == (None, "No response within 10 s")
    assert verification.due_at == now + verifying.SCHEDULE[0]


def test_the_mask_of_a_url_hides_its_query(forge: Forge, now: datetime) -> None:
    unverified(forge, now=now, path="/?token=secret")

    assert the_verification().stored_url == forge.receiver.url(f"/?token={MASK}")
