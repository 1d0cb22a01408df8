"""Random sequences of what subscribers at the hub, the owner, workers and time do, compared with a model."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from deliveries import pipeline, vault
from deliveries.events import NewEvent
from deliveries.maintenance import invariants, leases
from deliveries.models import Delivery, Organization, Repository, Verification, Webhook
from deliveries.pipeline import claiming, rescue
from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.claims import Claim
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Exchange, Response
from deliveries.webhooks import lifecycle, subscribing, verification_queue, verifying
from deliveries.webhooks.subscribing import Subscription
from deliveries.webhooks.verification_queue import VerificationClaim
from tests.courses import any_course
from tests.story import pretend

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OK = Response(200, "OK", (), b"ok")
TOPIC = "http://hooks.example/acme/widgets/events/push.json"
# Each at a host of its own, so that none waits for another.
CALLBACKS = ("http://127.0.0.1:9999/", "http://127.0.0.2:9999/", "http://127.0.0.3:9999/")


@dataclass
class Exam:
    """The model's state of one open verification: what follows from the echo."""

    ends: bool
    secret: str
    lasts: timedelta
    due_at: datetime
    failures: int = 0
    claim: VerificationClaim | None = None


@dataclass
class Sub:
    """The model's state of one callback's subscription."""

    key: int
    secret: str
    is_proved: bool = False
    expires_at: datetime | None = None
    has_ended: bool = False
    exam: Exam | None = None
    forget_at: datetime | None = None

    def receives(self, now: datetime) -> bool:
        return self.is_proved and self.expires_at is not None and now < self.expires_at


class Course(RuleBasedStateMachine):
    """Runs random steps, and checks after each what there is, and which callbacks get an event with which secret."""

    asked = Bundle("asked")

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.now = NOON
        self.subs: dict[str, Sub] = {}
        # The request in flight to each callback's host, and the end of its lease.
        self.in_flight: dict[str, tuple[VerificationClaim, datetime]] = {}

    def teardown(self) -> None:
        transaction.savepoint_rollback(self.savepoint)

    @initialize()
    def set_up(self) -> None:
        self.organization = Organization.objects.create(slug="course")
        self.repository = Repository.objects.create(organization=self.organization, name="widgets", private=False)

    def wanted(self, callback: str, secret: str) -> Subscription:
        return Subscription(
            callback, TOPIC, "http://hooks.example/hub", "push", secret, "sha256", is_public=True, sent_back={}
        )

    # Subscribers and the owner ----------------------------------------------------------------------------------------

    @rule(callback=st.sampled_from(CALLBACKS), secret=st.sampled_from(["", "a", "b"]), lasts=st.sampled_from([20, 400]))
    def subscribe(self, callback: str, secret: str, lasts: int) -> None:
        lease = lasts * SECOND
        webhook = subscribing.subscribe(
            self.wanted(callback, secret), repository=self.repository, lasts=lease, now=self.now
        )
        assert webhook is not None
        sub = self.subs.setdefault(callback, Sub(webhook.pk, secret))
        assert sub.key == webhook.pk
        sub.exam, sub.forget_at = Exam(False, secret, lease, self.now), None

    @rule(callback=st.sampled_from(CALLBACKS))
    def unsubscribe(self, callback: str) -> None:
        subscribing.unsubscribe(self.wanted(callback, ""), now=self.now)
        if (sub := self.subs.get(callback)) is not None:
            sub.exam, sub.forget_at = Exam(True, "", SECOND, self.now), None

    @rule(callback=st.sampled_from(CALLBACKS))
    def revoke(self, callback: str) -> None:
        if (sub := self.subs.pop(callback, None)) is not None:
            lifecycle.delete(sub.key, now=self.now)

    @rule()
    def hide(self) -> None:
        """Make the repository private, which ends all of them, and public again."""
        Repository.objects.filter(pk=self.repository.pk).update(private=True)
        assert subscribing.revoke_unseen(self.repository.pk, now=self.now) == len(self.subs)
        Repository.objects.filter(pk=self.repository.pk).update(private=False)
        self.subs.clear()

    # Callbacks, and the workers that ask them -------------------------------------------------------------------------

    @rule(callback=st.sampled_from(CALLBACKS), secret=st.sampled_from(["", "a", "b"]), lasts=st.sampled_from([20, 400]))
    def subscribe_and_prove(self, callback: str, secret: str, lasts: int) -> None:
        """Take the usual way, so that most runs get beyond it."""
        self.subscribe(callback, secret, lasts)
        for claim in self.claim():
            if claim.webhook_id == self.subs[callback].key:
                self.prove(claim)

    @rule(target=asked)
    def send_verifications(self) -> Any:
        return multiple(*self.claim())

    def claim(self) -> list[VerificationClaim]:
        for callback, (claim, until) in list(self.in_flight.items()):
            if until < self.now:
                del self.in_flight[callback]
                if (lost := self.exam_of(claim)) is not None:
                    lost.claim, lost.due_at = None, self.now
        self.tell_denied()
        claims = verification_queue.claim(9, now=self.now)
        due = {
            sub.key: callback
            for callback, sub in self.subs.items()
            if sub.exam and sub.exam.claim is None and sub.exam.due_at <= self.now and callback not in self.in_flight
        }
        assert {claim.webhook_id for claim in claims} == due.keys()
        for claim in claims:
            callback = due[claim.webhook_id or 0]
            exam = self.subs[callback].exam
            request = verification_queue.request_of(claim, now=self.now)
            assert exam is not None
            assert request is not None
            assert request.url.startswith(callback)
            assert f"hub.mode={'unsubscribe' if exam.ends else 'subscribe'}" in request.url
            exam.claim = claim
            self.in_flight[callback] = (claim, self.now + verification_queue.LEASE)
        return claims

    def tell_denied(self) -> None:
        """Let those that were revoked be told; nothing follows from their answer."""
        Verification.objects.filter(mode="denied").delete()

    @rule(claim=consumes(asked))
    def echo(self, claim: VerificationClaim) -> None:
        self.prove(claim)

    def prove(self, claim: VerificationClaim) -> None:
        callback, exam = self.conclude(claim, Response(200, "OK", (), claim.challenge.encode()), expected="verified")
        if exam is None:
            return
        if exam.ends:
            del self.subs[callback]
            return
        sub = self.subs[callback]
        sub.is_proved, sub.secret, sub.exam = True, exam.secret, None
        sub.expires_at, sub.has_ended = self.now + exam.lasts, False

    @rule(claim=consumes(asked), answer=st.sampled_from(["wrong", "lost", "gone"]))
    def fail(self, claim: VerificationClaim, answer: str) -> None:
        found = self.exam_of(claim)
        is_last = answer == "gone" or (found is not None and found.failures >= len(verifying.SCHEDULE))
        came = {"wrong": OK, "gone": Response(410, "", (), b""), "lost": NoResponse("timeout", "Slow.")}[answer]
        callback, exam = self.conclude(claim, came, expected="failed" if is_last else "pending")
        if exam is None:
            return
        if is_last:
            self.subs[callback].exam, self.subs[callback].forget_at = None, self.now
        else:
            exam.due_at, exam.claim = self.now + verifying.SCHEDULE[exam.failures], None
            exam.failures += 1

    @rule(claim=consumes(asked))
    def crash(self, claim: VerificationClaim) -> None:
        """Lose the request: nothing is concluded, and its host stays busy until the lease expires."""

    def conclude(
        self, claim: VerificationClaim, came: Response | NoResponse, *, expected: str
    ) -> tuple[str, Exam | None]:
        """Conclude a request, perhaps too late; return its callback, and the exam if the result counts."""
        exam = self.exam_of(claim)
        state = verifying.conclude(claim, Exchange(SECOND, came), now=self.now)
        assert state == (None if exam is None else expected)
        self.in_flight = {callback: each for callback, each in self.in_flight.items() if each[0] != claim}
        return next((callback for callback, sub in self.subs.items() if sub.exam is exam), ""), exam

    def exam_of(self, claim: VerificationClaim) -> Exam | None:
        """Return the open verification whose request this is, or None if its result no longer counts."""
        exams = [sub.exam for sub in self.subs.values() if sub.exam is not None]
        return next((exam for exam in exams if exam.claim is not None and exam.claim.lease == claim.lease), None)

    # The rest of the engine -------------------------------------------------------------------------------------------

    @rule(outcome=st.sampled_from(["ok", "fails", "crash"]))
    def publish(self, outcome: str) -> None:
        event = NewEvent(
            organization_id=self.organization.pk, repository_id=self.repository.pk, type="push", topics=("push", "*"),
            payload=b"{}", occurred_at=self.now,
        )  # fmt: skip
        [receipt] = pipeline.accept([event], now=self.now)
        done = pipeline.fan_out(capacity=Capacity(2), now=self.now)
        found = set(Delivery.objects.filter(event_id=receipt.id).values_list("webhook", flat=True))
        assert found == {sub.key for sub in self.subs.values() if sub.receives(self.now)}
        self.send([*done.claims, *pipeline.claim(8, now=self.now)], outcome)

    @rule(outcome=st.sampled_from(["ok", "fails", "crash"]))
    def work(self, outcome: str) -> None:
        rescue.rescue_expired(now=self.now)
        claiming.promote_due(now=self.now)
        self.send(pipeline.claim(8, now=self.now), outcome)

    def send(self, claims: list[Claim], outcome: str) -> None:
        """Check that each claim may be sent, where to and with which secret."""
        for claim in claims:
            [(callback, sub)] = [each for each in self.subs.items() if each[1].key == claim.destination.webhook_id]
            assert sub.receives(self.now)
            assert claim.destination.url == callback
            sealed, uid = claim.destination.sealed_secrets, claim.destination.webhook_uid
            assert [one.text for one in vault.open_secrets(sealed, of=uid)] == [sub.secret] * bool(sub.secret)
        if outcome != "crash":
            came = OK if outcome == "ok" else NoResponse("timeout", "Slow.")
            pipeline.settle(pretend(claims, came, now=self.now), now=self.now)

    @rule()
    def maintain(self) -> None:
        rescue.rescue_expired(now=self.now)
        leases.end_expired(now=self.now)
        for callback, sub in list(self.subs.items()):
            if sub.expires_at is not None and sub.expires_at <= self.now and not sub.has_ended:
                # What is in flight may still succeed, and is waited for.
                sub.has_ended = not Delivery.objects.filter(webhook=sub.key, state="sending").exists()
                if sub.has_ended and sub.exam is None:
                    del self.subs[callback]
        leases.forget_unverified(now=self.now)
        for callback, sub in list(self.subs.items()):
            if sub.forget_at is not None:
                sub.forget_at = None
                if not sub.is_proved or sub.has_ended:
                    del self.subs[callback]
        faults = [
            (one.check.name, one.sample)
            # The clock moves by whole seconds: an event at the time of a change may be matched as before or after it.
            for one in invariants.check_all(now=self.now, settling=SECOND)
            if one.verdict == "fault"
        ]
        assert faults == []

    @rule(seconds=st.sampled_from([1, 11, 31, 301]))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule()
    def wait_for_an_end(self) -> None:
        ends = [sub.expires_at for sub in self.subs.values() if sub.expires_at is not None and not sub.has_ended]
        self.now = max(self.now, min(ends, default=self.now))
        self.maintain()

    @invariant()
    def the_subscriptions_are_as_the_model_says(self) -> None:
        found = {
            webhook.pk: (
                webhook.url, webhook.verified_at is not None, webhook.expires_at, webhook.ended_at is not None,
                [one.text for one in vault.secrets_of(webhook)],
            )
            for webhook in Webhook.objects.kept()
        }  # fmt: skip
        assert found == {
            sub.key: (callback, sub.is_proved, sub.expires_at, sub.has_ended, [sub.secret] * bool(sub.secret))
            for callback, sub in self.subs.items()
        }


@pytest.mark.django_db
def test_a_subscription_is_in_force_from_its_proof_to_its_end_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    # The delay after a lost lease is random, and a run must be reproducible.
    monkeypatch.setattr(rescue, "POISON_SPREAD", timedelta(0))
    run_state_machine_as_test(Course, settings=any_course(examples=30, steps=40))
