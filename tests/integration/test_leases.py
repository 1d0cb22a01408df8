"""Leases: at its end a webhook gets no more, what is pending is cancelled, and its owner is told before."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail

from deliveries import pipeline, redelivery
from deliveries.maintenance import invariants, leases
from deliveries.models import AuditEntry, Delivery, Event, Webhook
from deliveries.pipeline import claiming, rescue
from deliveries.pipeline.capacity import Capacity
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, lifecycle
from deliveries.webhooks.fields import InvalidFields
from deliveries.webhooks.leases import warning_at
from hookhub.models import Membership
from tests.alerts import notify
from tests.receiver import Answer
from tests.story import Forge, attempt_all, deliver_due, pretend

pytestmark = pytest.mark.django_db

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
TICK = timedelta(microseconds=1)


def leased(forge: Forge, *, now: datetime, lasts: timedelta = HOUR, **fields: Any) -> Webhook:
    return forge.webhook(now=now, expires_at=now + lasts, **fields)


def states() -> list[tuple[str, str | None]]:
    return list(Delivery.objects.order_by("id").values_list("state", "finish_reason"))


def faults(*, now: datetime) -> list[str]:
    return [one.check.name for one in invariants.check_all(now=now) if one.verdict == "fault"]


# The end is exact -----------------------------------------------------------------------------------------------------


def test_an_event_is_fanned_out_to_it_until_the_end_and_no_later(forge: Forge, now: datetime) -> None:
    leased(forge, now=now)

    forge.accept(now=now + HOUR - TICK)
    forge.accept(now=now + HOUR)

    assert states() == [("pending", None)]


def test_an_event_accepted_before_the_end_and_fanned_out_after_it_is_not_delivered(forge: Forge, now: datetime) -> None:
    leased(forge, now=now)
    pipeline.accept([forge.event(now=now)], now=now)

    done = pipeline.fan_out(capacity=Capacity(8), now=now + HOUR)

    assert (done.events, done.deliveries, done.claims) == (1, 0, [])
    assert faults(now=now + HOUR) == []


def test_nothing_is_claimed_from_the_end_on_though_no_maintenance_ran(forge: Forge, now: datetime) -> None:
    leased(forge, now=now)
    forge.accept(2, now=now)

    assert len(pipeline.claim(1, now=now + HOUR - TICK)) == 1
    assert pipeline.claim(8, now=now + HOUR) == []

    assert states() == [("sending", None), ("cancelled", "lease_expired")]


def test_a_retry_that_is_due_after_the_end_is_never_sent(forge: Forge, sender: Sender, now: datetime) -> None:
    leased(forge, now=now)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now + HOUR - SECOND)
    assert states() == [("pending", None)]

    deliver_due(sender, now=now + 2 * HOUR)

    assert states() == [("cancelled", "lease_expired")]
    assert len(forge.receiver.received) == 1
    assert faults(now=now + 2 * HOUR) == []


def test_what_is_in_flight_at_the_end_may_succeed(forge: Forge, sender: Sender, now: datetime) -> None:
    leased(forge, now=now)
    forge.accept(now=now)
    claims = pipeline.claim(1, now=now + HOUR - TICK)
    leases.end_expired(now=now + HOUR)

    pipeline.settle(attempt_all(claims, sender, now=now + HOUR), now=now + HOUR)
    leases.end_expired(now=now + HOUR + SECOND)

    assert states() == [("delivered", "delivered")]
    assert Webhook.objects.get().ended_at == now + HOUR + SECOND


@pytest.mark.parametrize("way", ["fails", "dies"])
def test_what_is_in_flight_at_the_end_is_not_repeated(forge: Forge, now: datetime, way: str) -> None:
    leased(forge, now=now)
    forge.accept(now=now)
    claims = pipeline.claim(1, now=now + HOUR - TICK)
    leases.end_expired(now=now + HOUR)
    assert Webhook.objects.get().ended_at is None

    later = now + 2 * HOUR
    if way == "fails":
        pipeline.settle(pretend(claims, NoResponse("timeout", "Slow."), now=now + HOUR), now=now + HOUR)
    else:
        assert rescue.rescue_expired(now=later) == 1
    assert leases.end_expired(now=later) == 1

    assert states() == [("cancelled", "lease_expired")]
    assert Webhook.objects.get().ended_at == later


def test_other_webhooks_go_on(forge: Forge, sender: Sender, now: datetime) -> None:
    leased(forge, now=now)
    forge.webhook(now=now, path="/other")

    forge.accept(now=now + HOUR)
    deliver_due(sender, now=now + HOUR)

    assert [request.path for request in forge.receiver.received] == ["/other"]


# Maintenance ----------------------------------------------------------------------------------------------------------


def test_what_is_pending_scheduled_or_held_is_cancelled(forge: Forge, now: datetime) -> None:
    webhook = leased(forge, now=now)
    forge.accept(3, now=now)
    ids = list(Delivery.objects.order_by("id").values_list("id", flat=True))
    Delivery.objects.filter(id=ids[1]).update(readiness=0, due_at=now + DAY)
    Delivery.objects.filter(id=ids[2]).update(state="held", due_at=None)

    assert leases.end_expired(now=now + HOUR - TICK) == 0
    assert leases.end_expired(now=now + HOUR) == 3

    assert states() == [("cancelled", "lease_expired")] * 3
    webhook.refresh_from_db()
    assert (webhook.ended_at, webhook.status(now=now + HOUR)) == (now + HOUR, "ended")
    assert AuditEntry.objects.filter(action="webhook.ended").count() == 1
    assert leases.end_expired(now=now + 2 * HOUR) == 0
    assert Event.objects.filter(type="lease.expired").count() == 1


def test_it_works_in_bounded_batches(forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    leased(forge, now=now)
    leased(forge, now=now, path="/other")
    forge.accept(3, now=now)
    monkeypatch.setattr("deliveries.db.sql.BATCH", 2)

    counts = [leases.end_expired(now=now + HOUR) for _ in range(5)]

    assert sum(counts) == 6
    assert max(counts) <= 3
    assert set(states()) == {("cancelled", "lease_expired")}
    assert Webhook.objects.filter(ended_at=None).count() == 0


def test_a_deleted_webhook_does_not_end(forge: Forge, now: datetime) -> None:
    webhook = leased(forge, now=now)
    lifecycle.delete(webhook.pk, now=now)

    assert leases.end_expired(now=now + HOUR) == 0
    assert leases.warn_of_expiry(now=now + HOUR) == 0

    assert Event.objects.count() == 0


def test_what_has_ended_cannot_be_redelivered_and_pings_reach_nothing(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = leased(forge, now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    delivery = Delivery.objects.get()
    end = now + HOUR

    assert redelivery.redeliver([delivery.id], now=end) == 0
    redelivery.send_to(webhook, "ping", {}, now=end)
    deliver_due(sender, now=end)
    leases.end_expired(now=end)

    assert len(forge.receiver.received) == 1
    delivery.refresh_from_db()
    assert delivery.state == "delivered"
    webhook = Webhook.objects.get()
    assert redelivery.blocked_reason(Delivery.objects.get(id=delivery.id)) == "of a webhook whose lease has ended"


# Renewal --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_ended", [False, True])
@pytest.mark.parametrize("lasts", [None, 3 * HOUR])
def test_another_end_renews_it(
    forge: Forge, sender: Sender, now: datetime, *, has_ended: bool, lasts: timedelta | None
) -> None:
    webhook = leased(forge, now=now)
    moment = now + HOUR - SECOND
    if has_ended:
        moment = now + HOUR
        leases.end_expired(now=moment)

    changed, _ = changing.change(
        webhook.pk, {"expires_at": None if lasts is None else (now + lasts).isoformat()}, now=moment
    )

    assert changed.status(now=now + 2 * HOUR) == "active"
    assert changed.ended_at is None
    forge.accept(now=now + 2 * HOUR)
    deliver_due(sender, now=now + 2 * HOUR)
    assert len(forge.receiver.received) == 1


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("2026-03-04T11:59:59Z", "must be in the future"),
        ("2026-03-04T12:00:00Z", "must be in the future"),
        ("2026-03-05T12:00:00", "must be a time in RFC 3339 form with a time zone, or null for no end"),
        ("2026-02-30T12:00:00Z", "must be a time in RFC 3339 form with a time zone, or null for no end"),
        (1_772_625_600, "must be a time in RFC 3339 form with a time zone, or null for no end"),
        ("tomorrow", "must be a time in RFC 3339 form with a time zone, or null for no end"),
    ],
)
def test_an_end_is_a_time_in_the_future(forge: Forge, now: datetime, value: object, error: str) -> None:
    webhook = forge.webhook(now=now)

    with pytest.raises(InvalidFields) as raised:
        changing.change(webhook.pk, {"expires_at": value}, now=now)
    with pytest.raises(InvalidFields):
        forge.webhook(now=now, path="/2", expires_at=value)

    assert raised.value.errors == {"expires_at": error}
    assert Webhook.objects.get().expires_at is None


# Warnings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lasts", "before"),
    [(30 * DAY, 7 * DAY), (28 * DAY, 7 * DAY), (4 * DAY, DAY), (4 * HOUR, HOUR)],
    ids=["long", "four weeks", "days", "hours"],
)
def test_a_warning_comes_a_week_before_the_end_or_when_a_quarter_is_left(
    now: datetime, lasts: timedelta, before: timedelta
) -> None:
    assert warning_at(now + lasts, now=now) == now + lasts - before


def test_the_owner_is_told_once_by_an_event_and_an_e_mail(forge: Forge, sender: Sender, now: datetime) -> None:
    user = User.objects.create(username="olga", email="olga@acme.example")
    Membership.objects.create(user=user, organization=forge.organization, role="owner")
    webhook = leased(forge, now=now, lasts=30 * DAY, name="Deploys", path="/leased?key=secret")
    forge.webhook(now=now, path="/operations", events=["lease.expiring"])
    due = now + 23 * DAY

    assert [leases.warn_of_expiry(now=due - TICK), notify(now=due - TICK)] == [0, 0]
    assert [leases.warn_of_expiry(now=due), leases.warn_of_expiry(now=due)] == [1, 0]
    assert [notify(now=due), notify(now=due)] == [1, 0]

    pipeline.fan_out(now=due)
    deliver_due(sender, now=due)
    [request] = forge.receiver.received
    assert request.path == "/operations"
    assert b'"type":"lease.expiring"' in request.body
    assert str(webhook.uid).encode() in request.body
    [letter] = mail.outbox
    assert letter.subject == "[HookHub] acme: webhook ends soon"
    assert "Deploys" in letter.body
    assert "2026-04-03T12:00:00" in letter.body
    assert "secret" not in letter.body


def test_a_renewed_lease_is_warned_of_again(forge: Forge, now: datetime) -> None:
    webhook = leased(forge, now=now, lasts=30 * DAY)
    leases.warn_of_expiry(now=now + 23 * DAY)

    changing.change(webhook.pk, {"expires_at": (now + 60 * DAY).isoformat()}, now=now + 24 * DAY)

    # The e-mail about the first lease is no longer due.
    assert notify(now=now + 24 * DAY) == 0
    assert [leases.warn_of_expiry(now=now + 52 * DAY), leases.warn_of_expiry(now=now + 53 * DAY)] == [0, 1]


def test_a_webhook_without_a_lease_is_in_none_of_the_indexes(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)

    assert (webhook.expires_at, webhook.expiry_warning_at, webhook.ended_at, webhook.proof) == (None, None, None, None)
    assert [leases.warn_of_expiry(now=now + DAY), leases.end_expired(now=now + DAY)] == [0, 0]


# The ledger -----------------------------------------------------------------------------------------------------------


def test_the_ledger_shows_what_was_sent_after_the_end(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(2, now=now)
    deliver_due(sender, now=now + HOUR)
    forge.accept(now=now + HOUR)
    claiming.claim(1, now=now + HOUR)

    Webhook.objects.update(expires_at=now + HOUR - 20 * SECOND)

    found = {one.check.name: (one.verdict, one.count) for one in invariants.check_all(now=now + HOUR) if one.count}
    assert found["deliveries-sent-after-lease"] == ("fault", 3)


def test_the_ledger_shows_what_is_still_to_be_cancelled(forge: Forge, now: datetime) -> None:
    leased(forge, now=now)
    forge.accept(now=now)

    found = {one.check.name: one.verdict for one in invariants.check_all(now=now + HOUR) if one.count}

    assert found == {"deliveries-to-be-cancelled": "waiting"}
