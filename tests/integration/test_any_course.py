"""Random sequences of events: compares the pipeline on a real database with a model in plain Python, step by step."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
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

from deliveries import pipeline, redelivery
from deliveries.event_types.topics import topics_of
from deliveries.events import NewEvent
from deliveries.maintenance import tasks
from deliveries.models import Attempt, Delivery, Event, Organization
from deliveries.pipeline import claiming, rescue
from deliveries.pipeline.attempting import AttemptResult, build_result, render
from deliveries.pipeline.capacity import Capacity
from deliveries.pipeline.claims import Claim
from deliveries.pipeline.settling import OUTCOMES
from deliveries.policy.outcomes import NoResponse
from deliveries.policy.retry import MAX_LEASE_LOSSES
from deliveries.sending.exchange import Exchange, Response
from deliveries.webhooks import creating, lifecycle
from tests.courses import any_course

SCHEDULE = [timedelta(minutes=1), timedelta(minutes=5)]
LEASE = timedelta(seconds=60)
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
# name: (subscribed topics, in-flight limit)
WEBHOOKS = {"one": (["a"], 1), "two": (["a", "b"], 2), "all": (["*"], 3)}

ANSWERS: dict[str, Response | NoResponse] = {
    "ok": Response(200, "OK", (), b"ok"),
    "refused": Response(500, "", (), b""),
    "busy": Response(429, "", (("Retry-After", "90"),), b""),
    "gone": Response(410, "", (), b""),
    "timeout": NoResponse("timeout", "Too slow."),
}


@dataclass
class Owed:
    """The model's state of one delivery."""

    event: UUID
    webhook: str
    state: str = "pending"
    finish_reason: str | None = None
    ready: bool = True
    due_at: datetime | None = None
    failures: int = 0
    losses: int = 0
    first_attempt_at: datetime | None = None
    lease: UUID | None = None
    leased_until: datetime = NOON
    # The outcome of each attempt; None while it is in flight.
    attempts: list[str | None] = field(default_factory=list)


@dataclass
class Hook:
    """The model's state of one webhook."""

    name: str
    off_since: datetime | None = None
    enabled_at: datetime | None = None
    backoff_until: datetime | None = None
    last_success_at: datetime | None = None
    review_since: datetime | None = None
    is_gone: bool = False

    @property
    def is_on(self) -> bool:
        return self.off_since is None


class Course(RuleBasedStateMachine):
    """Runs random steps of the delivery pipeline, and compares the database with the model after each."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.now = NOON
        # By event: its type, when it was accepted, and whether it has been fanned out.
        self.events: dict[UUID, tuple[str, datetime, bool]] = {}
        self.owed: dict[UUID, Owed] = {}
        self.hooks = {name: Hook(name) for name in WEBHOOKS}
        self.names: dict[int, str] = {}

    def teardown(self) -> None:
        transaction.savepoint_rollback(self.savepoint)

    @initialize()
    def set_up(self) -> None:
        self.organization = Organization.objects.create(slug="course")
        for name, (events, most) in WEBHOOKS.items():
            wanted = {"url": "http://127.0.0.1:9999/", "events": events, "max_in_flight": most,
                      "retry_schedule": [wait.total_seconds() for wait in SCHEDULE]}  # fmt: skip
            webhook, _ = creating.create(wanted, organization=self.organization, repository=None, now=self.now)
            self.names[webhook.pk] = name
        # Initial events, so that no run is empty.
        self.accept("a", 4)
        self.accept("b", 2)
        self.fan_out(6)

    # Steps -----------------------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from("ab"), count=st.integers(1, 3))
    def accept(self, kind: str, count: int) -> None:
        events = [
            NewEvent(
                organization_id=self.organization.pk, repository_id=None, type=kind, topics=topics_of(kind, {}),
                payload=b"{}", occurred_at=self.now,
            )
            for _ in range(count)
        ]  # fmt: skip
        for receipt in pipeline.accept(events, now=self.now):
            self.events[receipt.id] = (kind, self.now, False)

    @rule(target=claims, limit=st.integers(1, 4), room=st.integers(0, 5))
    def fan_out(self, limit: int, room: int = 0) -> Any:
        waiting = sorted(event for event, (_, _, is_done) in self.events.items() if not is_done)[:limit]
        expected = {
            (event, name)
            for event in waiting
            for name, (kinds, _) in WEBHOOKS.items()
            if self.may_be_owed(event, self.hooks[name]) and topics_known_of(self.events[event][0]) & set(kinds)
        }

        # New deliveries do not overtake ready ones.
        could = {
            name: min(self.share_of(name) - self.in_flight(name), sum(webhook == name for _, webhook in expected))
            for name in WEBHOOKS
            if self.hooks[name].is_on and not self.is_resting(name) and not any(map(self.is_ready, self.owed_to(name)))
        }

        done = pipeline.fan_out(limit, capacity=Capacity(room), now=self.now)

        assert done[:2] == (len(waiting), len(expected))
        assert len(done.claims) == min(room, sum(could.values()))
        for row in Delivery.objects.filter(event_id__in=waiting):
            assert (row.event_id, self.names[row.webhook_id]) in expected
            self.owed[row.id] = Owed(row.event_id, self.names[row.webhook_id], due_at=self.now)
        for claim in done.claims:
            assert self.owed[claim.delivery_id].webhook in could
            self.take(claim)
        for event in waiting:
            self.events[event] = (*self.events[event][:2], True)
        return multiple(*done.claims)

    @rule()
    def line_up(self) -> None:
        due = [one for one in self.owed.values() if one.state == "pending" and not one.ready and self.is_due(one)]
        assert claiming.promote_due(now=self.now) == len(due)
        for one in due:
            one.ready = True

    @rule(target=claims, limit=st.integers(1, 6))
    def claim(self, limit: int) -> Any:
        free = {name: self.share_of(name) - self.in_flight(name) for name in WEBHOOKS}
        could = {
            name: min(free[name], sum(one.webhook == name and self.may_be_claimed(one) for one in self.owed.values()))
            for name in WEBHOOKS
        }

        claims = pipeline.claim(limit, now=self.now)

        assert len(claims) == min(limit, sum(max(count, 0) for count in could.values()))
        for claim in claims:
            one = self.owed[claim.delivery_id]
            assert self.may_be_claimed(one)
            self.take(claim)
        # The claim holds ready deliveries of disabled webhooks.
        off = {
            key: one for key, one in self.owed.items() if one.state == "pending" and not self.hooks[one.webhook].is_on
        }
        if off:
            for key, state, due_at in Delivery.objects.filter(id__in=off).values_list("id", "state", "due_at"):
                assert state in {"held", "pending"}
                off[key].state, off[key].due_at = state, due_at
        return multiple(*claims)

    def take(self, claim: Claim) -> None:
        """Apply a claim to the model."""
        one = self.owed[claim.delivery_id]
        assert self.hooks[one.webhook].is_on
        one.state, one.lease, one.leased_until, one.due_at = "sending", claim.lease, self.now + LEASE, None
        one.first_attempt_at = one.first_attempt_at or self.now
        one.attempts.append(None)
        assert (claim.number, claim.failures) == (len(one.attempts), one.failures)
        assert (claim.event_id, self.names[claim.destination.webhook_id]) == (str(one.event), one.webhook)

    @rule(target=claims, limit=st.integers(1, 6))
    def line_up_and_claim(self, limit: int) -> Any:
        self.line_up()
        return self.claim(limit)

    @rule(claim=consumes(claims))
    def succeed(self, claim: Claim) -> None:
        self.settle(claim, "ok")

    @rule(claim=consumes(claims), answer=st.sampled_from(sorted(set(ANSWERS) - {"ok"})))
    def fail(self, claim: Claim, answer: str) -> None:
        self.settle(claim, answer)

    def settle(self, claim: Claim, answer: str) -> None:
        """Settle in time or late: a worker presumed dead may still report."""
        one = self.owed[claim.delivery_id]
        result = self.result_of(claim, answer)
        is_ours = one.state == "sending" and one.lease == claim.lease

        assert pipeline.settle([result], now=self.now).applied == ({claim.delivery_id} if is_ours else set())

        if one.attempts[claim.number - 1] in {None, "unknown"}:
            one.attempts[claim.number - 1] = OUTCOMES[type(result.outcome)]
        if is_ours:
            self.move_on(one, answer)

    @rule(claim=consumes(claims))
    def crash(self, claim: Claim) -> None:
        """Lose a claim: the worker dies, and nothing happens until its lease expires."""

    @rule()
    def reclaim(self) -> None:
        lost = [one for one in self.owed.values() if one.state == "sending" and one.leased_until < self.now]
        assert tasks.rescue_expired_leases(now=self.now) == len(lost)
        for one in lost:
            one.losses += 1
            one.lease = None
            one.attempts[-1] = one.attempts[-1] or "unknown"
            if one.losses >= MAX_LEASE_LOSSES:
                one.state, one.finish_reason = "failed", "poison"
            else:
                one.state, one.due_at, one.ready = "pending", self.now, True

    @rule(seconds=st.sampled_from([1, 59, 61, 301, 3600]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(name=st.sampled_from(sorted(WEBHOOKS)))
    def disable(self, name: str) -> None:
        held = [one for one in self.owed.values() if one.webhook == name and one.state == "pending"]
        was_on = self.hooks[name].is_on
        assert lifecycle.disable(self.key_of(name), now=self.now)[1] == (len(held) if was_on else 0)
        if was_on:
            self.turn_off(name)

    @rule(name=st.sampled_from(sorted(WEBHOOKS)), release=st.booleans())
    def enable(self, name: str, release: bool) -> None:
        held = [one for one in self.owed.values() if one.webhook == name and one.state == "held"] if release else []
        assert lifecycle.enable(self.key_of(name), release_held=release, now=self.now)[1] == len(held)
        for one in held:
            one.state, one.due_at, one.ready = "pending", self.now, True
            one.failures, one.first_attempt_at = 0, None
        last_success_at = self.hooks[name].last_success_at
        self.hooks[name] = Hook(name, enabled_at=self.now, last_success_at=last_success_at)

    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        if not self.owed:
            return
        wanted = data.draw(st.sampled_from(self.in_order()))
        one = self.owed[wanted]
        can_be = one.state != "sending" and self.hooks[one.webhook].is_on
        assert redelivery.redeliver([wanted], now=self.now) == can_be
        if can_be:
            one.state, one.finish_reason, one.due_at, one.ready = "pending", None, self.now, True
            one.failures, one.losses, one.first_attempt_at = 0, 0, None

    @rule(data=st.data())
    def call_off(self, data: st.DataObject) -> None:
        if not self.owed:
            return
        wanted = data.draw(st.sampled_from(self.in_order()))
        one = self.owed[wanted]
        can_be = one.state in {"pending", "held"}
        assert redelivery.cancel([wanted], now=self.now) == can_be
        if can_be:
            one.state, one.finish_reason, one.due_at = "cancelled", "cancelled", None

    @rule()
    def review(self) -> None:
        expected = {name for name, hook in self.hooks.items() if hook.is_on and self.has_failed(hook)}
        disabled = pipeline.review(now=self.now)
        assert {self.names[webhook.pk] for webhook in disabled} == expected
        for hook in self.hooks.values():
            hook.review_since, hook.is_gone = None, False
        for webhook in disabled:
            self.turn_off(self.names[webhook.pk])
        # Each is announced by its own event, to which no webhook here subscribes.
        for event in Event.objects.filter(type="webhook.disabled").exclude(id__in=self.events):
            self.events[event.id] = ("webhook.disabled", self.now, False)

    # Invariants -------------------------------------------------------------------------------------------------------

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        # Tuples instead of models, because thousands of steps read them.
        rows = Delivery.objects.values_list(
            "id", "webhook_id", "state", "finish_reason", "attempts_made", "failures", "lease_losses", "due_at", "lease"
        )
        found = {key: (self.names[webhook], *told) for key, webhook, *told in rows}
        assert found == {
            key: (
                one.webhook, one.state, one.finish_reason, len(one.attempts), one.failures, one.losses, one.due_at,
                one.lease if one.state == "sending" else None,
            )
            for key, one in self.owed.items()
        }  # fmt: skip
        sending = Counter(name for name, state, *_ in found.values() if state == "sending")
        assert all(sending[name] <= most for name, (_, most) in WEBHOOKS.items())

    @invariant()
    def the_attempts_are_complete(self) -> None:
        told: dict[UUID, list[tuple[int, str]]] = {key: [] for key in self.owed}
        for delivery, number, outcome in Attempt.objects.order_by("number").values_list(
            "delivery_id", "number", "outcome"
        ):
            told[delivery].append((number, outcome))
        for key, one in self.owed.items():
            known = [(number, came) for number, came in enumerate(one.attempts, 1) if came is not None]
            assert told[key] == known
            # Only the last attempt can be in flight.
            assert None not in one.attempts[:-1]
            assert all(later[0] == earlier[0] + 1 for earlier, later in pairwise(told[key]))

    # Helpers of the model ---------------------------------------------------------------------------------------------

    def in_order(self) -> list[UUID]:
        """Return the deliveries in a reproducible order, since half of each id is random."""
        return sorted(self.owed, key=lambda key: (self.owed[key].event, self.owed[key].webhook))

    def key_of(self, name: str) -> int:
        return next(key for key, known in self.names.items() if known == name)

    def may_be_owed(self, event: UUID, hook: Hook) -> bool:
        """Return whether a webhook gets an event: it does if the event was accepted first, and then it may be held."""
        return hook.off_since is None or hook.off_since > self.events[event][1]

    def is_due(self, one: Owed) -> bool:
        return one.due_at is not None and one.due_at <= self.now

    def share_of(self, name: str) -> int:
        return WEBHOOKS[name][1]

    def in_flight(self, name: str) -> int:
        return sum(one.webhook == name and one.state == "sending" for one in self.owed.values())

    def owed_to(self, name: str) -> list[Owed]:
        return [one for one in self.owed.values() if one.webhook == name]

    def is_ready(self, one: Owed) -> bool:
        return one.state == "pending" and one.ready

    def is_resting(self, name: str) -> bool:
        until = self.hooks[name].backoff_until
        return until is not None and until > self.now

    def may_be_claimed(self, one: Owed) -> bool:
        return self.is_ready(one) and self.hooks[one.webhook].is_on and not self.is_resting(one.webhook)

    def has_failed(self, hook: Hook) -> bool:
        since = hook.review_since
        last = hook.last_success_at
        # Successes are stored with a resolution of one second.
        return hook.is_gone or (since is not None and (last is None or last + timedelta(seconds=1) < since))

    def turn_off(self, name: str) -> None:
        self.hooks[name].off_since = self.now
        for one in self.owed.values():
            if one.webhook == name and one.state == "pending":
                one.state, one.due_at = "held", None

    def result_of(self, claim: Claim, answer: str) -> AttemptResult:
        request = render(claim, now=self.now)
        exchange = Exchange(timedelta(milliseconds=5), ANSWERS[answer])
        return build_result(claim, request, exchange, started_at=self.now, now=self.now, jitter=0.0)

    def move_on(self, one: Owed, answer: str) -> None:
        """Apply a response to the model's delivery and webhook."""
        hook = self.hooks[one.webhook]
        one.lease, one.losses = None, 0
        if answer == "ok":
            one.state, one.finish_reason = "delivered", "delivered"
            hook.last_success_at = self.now
            return
        one.failures += 1
        counts = hook.enabled_at is None or (one.first_attempt_at or self.now) >= hook.enabled_at
        if answer == "gone":
            one.state, one.finish_reason = "failed", "gone"
            # What counts is when the request started, and here each request starts when it ends.
            hook.is_gone = True
        elif one.failures > len(SCHEDULE):
            one.state, one.finish_reason = "failed", "exhausted"
            if counts:
                hook.review_since = max(filter(None, [hook.review_since, one.first_attempt_at]))
        else:
            wait = SCHEDULE[one.failures - 1]
            if answer == "busy":
                wait = max(wait, timedelta(seconds=90))
            one.state, one.due_at, one.ready = "pending", self.now + wait, False
        if answer == "busy":
            until = self.now + timedelta(seconds=90)
            hook.backoff_until = max(filter(None, [hook.backoff_until, until]))


def topics_known_of(kind: str) -> set[str]:
    """Return the topics that match an event type; ``*`` does not match system events."""
    return {kind} if kind.startswith("webhook.") else {"*", kind}


@pytest.mark.django_db
def test_whatever_happens_nothing_is_lost_and_nothing_is_sent_that_may_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    # The delay after a lost lease is random, and a run must be reproducible.
    monkeypatch.setattr(rescue, "POISON_SPREAD", timedelta(0))
    run_state_machine_as_test(Course, settings=any_course(examples=60, steps=40))
