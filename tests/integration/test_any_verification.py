"""Random sequences of what owners, receivers, workers and time do to leases and proofs, compared with a model."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

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
from deliveries.models import Delivery, Organization, Verification, Webhook
from deliveries.pipeline import claiming, rescue
from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.claims import Claim
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Exchange, Response
from deliveries.webhooks import changing, creating, lifecycle, verification_queue, verifying
from deliveries.webhooks.verification_queue import VerificationClaim
from tests.courses import any_course
from tests.story import pretend

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OK = Response(200, "OK", (), b"ok")
NAMES = ("plain", "proved", "other")


@dataclass
class Exam:
    """The model's state of one open verification: what the webhook gets if its URL echoes the challenge."""

    url: str | None
    secret: str | None
    due_at: datetime
    failures: int = 0
    claim: VerificationClaim | None = None


@dataclass
class Hook:
    """The model's state of one webhook."""

    key: int
    url: str
    secret: str
    needs_proof: bool
    is_verified: bool = False
    expires_at: datetime | None = None
    is_deleted: bool = False
    exam: Exam | None = None
    forget_at: datetime | None = None

    def receives(self, now: datetime) -> bool:
        is_proved = self.is_verified or not self.needs_proof
        return is_proved and not self.is_deleted and (self.expires_at is None or now < self.expires_at)


class Course(RuleBasedStateMachine):
    """Runs random steps, and checks after each whom the engine would send to, and with which secret."""

    asked = Bundle("asked")

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.now = NOON
        self.count = 0
        self.hooks: dict[str, Hook] = {}
        # The request in flight, if any, and the end of its lease: all URLs have the same host.
        self.in_flight: tuple[VerificationClaim, datetime] | None = None
        self.sent = 0

    def teardown(self) -> None:
        transaction.savepoint_rollback(self.savepoint)

    @initialize()
    def set_up(self) -> None:
        self.organization = Organization.objects.create(slug="course")
        for name in NAMES:
            self.create(name, needs_proof=name != "plain")

    def create(self, name: str, *, needs_proof: bool) -> None:
        url, secret = self.place(), self.secret()
        wanted = {"url": url, "events": ["*"], "secret": secret, "retry_schedule": [60], "auto_disable": False}
        wanted |= {"verify": "challenge"} if needs_proof else {}
        webhook, _ = creating.create(wanted, organization=self.organization, repository=None, now=self.now)
        self.hooks[name] = Hook(webhook.pk, url, secret, needs_proof)
        if needs_proof:
            self.hooks[name].exam = Exam(None, None, self.now)

    # The owner --------------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES))
    def move(self, name: str) -> None:
        hook = self.hooks[name]
        if hook.is_deleted:
            return
        url, secret = self.place(), self.secret()
        changing.change(hook.key, {"url": url, "secret": secret}, now=self.now)
        if hook.needs_proof and hook.is_verified:
            hook.exam = Exam(url, secret, self.now)
        else:
            hook.url, hook.secret = url, secret
            if hook.needs_proof or hook.exam is not None:
                hook.exam, hook.forget_at = Exam(None, None, self.now), None

    @rule(name=st.sampled_from(NAMES))
    def ask(self, name: str) -> None:
        hook = self.hooks[name]
        if hook.is_deleted:
            return
        verifying.verify(hook.key, now=self.now)
        if hook.exam is None:
            hook.exam, hook.forget_at = Exam(None, None, self.now), None
        elif hook.exam.claim is None:
            hook.exam.due_at, hook.exam.failures = self.now, 0

    @rule(name=st.sampled_from(NAMES), wanted=st.sampled_from([None, "challenge"]))
    def change_proof(self, name: str, wanted: str | None) -> None:
        hook = self.hooks[name]
        if hook.is_deleted:
            return
        changing.change(hook.key, {"verify": wanted}, now=self.now)
        if wanted is None:
            hook.needs_proof = hook.is_verified = False
            hook.exam = None
        elif not hook.needs_proof:
            hook.exam, hook.forget_at = Exam(None, None, self.now), None

    @rule(name=st.sampled_from(NAMES), seconds=st.sampled_from([None, 1, 30, 300]))
    def change_end(self, name: str, seconds: int | None) -> None:
        hook = self.hooks[name]
        if hook.is_deleted:
            return
        hook.expires_at = None if seconds is None else self.now + seconds * SECOND
        changing.change(hook.key, {"expires_at": hook.expires_at}, now=self.now)

    @rule(name=st.sampled_from(NAMES))
    def revoke(self, name: str) -> None:
        hook = self.hooks[name]
        if hook.is_deleted:
            # So that a run does not end with nothing left to do.
            self.create(name, needs_proof=name != "plain")
            return
        lifecycle.delete(hook.key, now=self.now)
        hook.is_deleted, hook.exam = True, None

    # The receivers, and the workers that ask them ---------------------------------------------------------------------

    @rule(target=asked)
    def send_verification(self) -> Any:
        if self.in_flight is not None and self.in_flight[1] < self.now:
            lost = self.exam_of(self.in_flight[0])
            if lost is not None:
                lost.claim, lost.due_at = None, self.now
            self.in_flight = None
        due = [hook for hook in self.hooks.values() if hook.exam is not None and hook.exam.due_at <= self.now]

        claims = verification_queue.claim(4, now=self.now)

        if self.in_flight is not None or not due:
            assert claims == []
            return multiple()
        [claim] = claims
        [hook] = [hook for hook in due if hook.key == claim.webhook_id]
        assert hook.exam is not None
        # The one that has been due for the longest time.
        assert hook.exam.due_at == min(other.exam.due_at for other in due if other.exam is not None)
        request = verification_queue.request_of(claim, now=self.now)
        assert request is not None
        assert request.url == (hook.exam.url or hook.url)
        hook.exam.claim = claim
        self.in_flight = (claim, self.now + verification_queue.LEASE)
        return multiple(claim)

    @rule(claim=consumes(asked))
    def echo(self, claim: VerificationClaim) -> None:
        exam, hook = self.conclude(claim, Response(200, "OK", (), claim.challenge.encode()), expected="verified")
        if exam is not None and hook is not None:
            hook.needs_proof = hook.is_verified = True
            hook.url, hook.secret = exam.url or hook.url, exam.secret or hook.secret
            hook.exam = None

    @rule(claim=consumes(asked), answer=st.sampled_from(["wrong", "lost", "gone"]))
    def fail(self, claim: VerificationClaim, answer: str) -> None:
        exam = self.exam_of(claim)
        is_last = answer == "gone" or (exam is not None and exam.failures >= len(verifying.SCHEDULE))
        came = {"wrong": OK, "gone": Response(410, "", (), b""), "lost": NoResponse("timeout", "Slow.")}[answer]
        exam, hook = self.conclude(claim, came, expected="failed" if is_last else "pending")
        if exam is None or hook is None:
            return
        if is_last:
            hook.exam, hook.forget_at = None, self.now + verifying.KEPT_FOR
        else:
            exam.due_at, exam.claim = self.now + verifying.SCHEDULE[exam.failures], None
            exam.failures += 1

    @rule(claim=consumes(asked))
    def crash(self, claim: VerificationClaim) -> None:
        """Lose the request: nothing is concluded, and its host stays busy until the lease expires."""

    def conclude(
        self, claim: VerificationClaim, came: Response | NoResponse, *, expected: str
    ) -> tuple[Exam | None, Hook | None]:
        """Conclude a request, perhaps too late; return its exam and webhook if the result counts."""
        exam = self.exam_of(claim)
        state = verifying.conclude(claim, Exchange(SECOND, came), now=self.now)
        assert state == (None if exam is None else expected)
        if self.in_flight is not None and self.in_flight[0] == claim:
            self.in_flight = None
        hook = next((hook for hook in self.hooks.values() if hook.key == claim.webhook_id), None)
        return (exam, hook) if exam is not None else (None, None)

    # The rest of the engine -------------------------------------------------------------------------------------------

    @rule(outcome=st.sampled_from(["ok", "fails", "crash"]))
    def publish(self, outcome: str) -> None:
        event = NewEvent(
            organization_id=self.organization.pk, repository_id=None, type="push", topics=("push", "*"), payload=b"{}",
            occurred_at=self.now,
        )  # fmt: skip
        [receipt] = pipeline.accept([event], now=self.now)
        done = pipeline.fan_out(capacity=Capacity(2), now=self.now)
        found = set(Delivery.objects.filter(event_id=receipt.id).values_list("webhook", flat=True))
        assert found == {hook.key for hook in self.hooks.values() if hook.receives(self.now)}
        self.send([*done.claims, *pipeline.claim(8, now=self.now)], outcome)

    @rule(outcome=st.sampled_from(["ok", "fails", "crash"]))
    def work(self, outcome: str) -> None:
        rescue.rescue_expired(now=self.now)
        claiming.promote_due(now=self.now)
        self.send(pipeline.claim(8, now=self.now), outcome)

    def send(self, claims: list[Claim], outcome: str) -> None:
        """Check that each claim may be sent, where to and with which secret."""
        for claim in claims:
            [hook] = [hook for hook in self.hooks.values() if hook.key == claim.destination.webhook_id]
            assert hook.receives(self.now)
            assert claim.destination.url == hook.url
            sealed, uid = claim.destination.sealed_secrets, claim.destination.webhook_uid
            assert [one.text for one in vault.open_secrets(sealed, of=uid)] == [hook.secret]
        if outcome != "crash":
            came = OK if outcome == "ok" else NoResponse("timeout", "Slow.")
            pipeline.settle(pretend(claims, came, now=self.now), now=self.now)

    @rule()
    def maintain(self) -> None:
        rescue.rescue_expired(now=self.now)
        leases.warn_of_expiry(now=self.now)
        leases.end_expired(now=self.now)
        leases.forget_unverified(now=self.now)
        for hook in self.hooks.values():
            if hook.forget_at is not None and hook.forget_at <= self.now:
                hook.forget_at = None
                if hook.needs_proof and not hook.is_verified:
                    hook.is_deleted, hook.exam = True, None
        self.check_ledger()

    @rule(seconds=st.sampled_from([1, 11, 31, 61, 301, 8 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    # Invariants -------------------------------------------------------------------------------------------------------

    @invariant()
    def the_webhooks_are_as_the_model_says(self) -> None:
        found = Webhook.objects.in_bulk([hook.key for hook in self.hooks.values()])
        for hook in self.hooks.values():
            webhook = found[hook.key]
            assert webhook.deleted_at is not None if hook.is_deleted else webhook.deleted_at is None
            if hook.is_deleted:
                continue
            assert (webhook.url, webhook.expires_at) == (hook.url, hook.expires_at)
            assert (webhook.proof is not None, webhook.verified_at is not None) == (hook.needs_proof, hook.is_verified)
            assert [one.text for one in vault.secrets_of(webhook)] == [hook.secret]

    @invariant()
    def the_verifications_are_as_the_model_says(self) -> None:
        found = {
            webhook: (state, due_at, failures)
            for webhook, state, due_at, failures in Verification.objects.open().values_list(
                "webhook", "state", "due_at", "failures"
            )
        }
        assert found == {
            hook.key: ("pending", exam.due_at, exam.failures)
            if exam.claim is None
            else ("sending", None, exam.failures)
            for hook in self.hooks.values()
            if (exam := hook.exam) is not None
        }

    def check_ledger(self) -> None:
        """Check the invariants of the tables: after maintenance only, because this takes more time than all else."""
        faults = [
            (one.check.name, one.sample)
            # The clock moves by whole seconds: an event at the time of a change may be matched as before or after it.
            for one in invariants.check_all(now=self.now, settling=SECOND)
            if one.verdict == "fault"
        ]
        assert faults == []

    # Helpers of the model ---------------------------------------------------------------------------------------------

    def exam_of(self, claim: VerificationClaim) -> Exam | None:
        """Return the open verification whose request this is, or None if its result no longer counts."""
        exams = [hook.exam for hook in self.hooks.values() if hook.exam is not None]
        return next((exam for exam in exams if exam.claim is not None and exam.claim.lease == claim.lease), None)

    def place(self) -> str:
        self.count += 1
        return f"http://127.0.0.1:9999/{self.count}"

    def secret(self) -> str:
        return "whsec_" + UUID(int=self.count).hex


@pytest.mark.django_db
def test_no_unproved_url_gets_an_event_no_proved_one_misses_one_and_none_gets_any_after_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The delay after a lost lease is random, and a run must be reproducible.
    monkeypatch.setattr(rescue, "POISON_SPREAD", timedelta(0))
    run_state_machine_as_test(Course, settings=any_course(examples=30, steps=30))
