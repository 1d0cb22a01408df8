"""``check_ledger`` is clean after regular operation, and names exactly the invariant that was violated by hand."""

import re
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection

from deliveries import pipeline, redelivery
from deliveries.db import sql
from deliveries.maintenance import invariants, tasks
from deliveries.models import Delivery, Event, Organization, Webhook
from deliveries.pipeline import claiming
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, lifecycle
from tests.receiver import Answer, Receiver
from tests.story import Forge, deliver_due, prune_old

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def verdicts(*, now: datetime, **more: timedelta) -> dict[str, tuple[str, int]]:
    """Return the violated invariants, each with its verdict and count."""
    findings = invariants.check_all(now=now, **more)
    return {finding.check.name: (finding.verdict, finding.count) for finding in findings if finding.verdict != "ok"}


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def story(forge: Forge, sender: Sender, *, now: datetime) -> None:
    """Create two webhooks, one failing at first: two deliveries with one attempt, two with two, and two to come."""
    forge.webhook(now=now - HOUR)
    forge.webhook(now=now - HOUR, path="/wavers", repository=forge.repository)
    forge.receiver.answers["/wavers"] = Answer(500)
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    del forge.receiver.answers["/wavers"]
    deliver_due(sender, now=now + timedelta(minutes=2))
    forge.accept(now=now + timedelta(minutes=3))


def insert_delivery(*, event: object, webhook: object, organization: object, now: datetime) -> UUID:
    """Insert a pending delivery for which nothing was accepted; return its id."""
    delivery = Delivery(due_at=now, event_type="push", created_at=now)
    delivery.event_id, delivery.webhook_id, delivery.organization_id = event, webhook, organization
    delivery.save(force_insert=True)
    return delivery.id


def test_an_empty_database_violates_nothing(db: None, now: datetime) -> None:
    findings = list(invariants.check_all(now=now))

    assert [finding.check for finding in findings] == list(invariants.CHECKS)
    assert {(finding.verdict, finding.count, finding.sample) for finding in findings} == {("ok", 0, ())}
    assert invariants.count_all() == invariants.Totals(events=0, deliveries=0, attempts=0, states={})


def test_names_are_unique_and_meanings_are_sentences() -> None:
    assert len({check.name for check in invariants.CHECKS}) == len(invariants.CHECKS)
    assert all(check.invariant and check.meaning.endswith((".", "loss.")) for check in invariants.CHECKS)


def test_no_step_of_the_pipeline_violates_an_invariant(forge: Forge, sender: Sender, now: datetime) -> None:
    story(forge, sender, now=now)
    assert verdicts(now=now + timedelta(minutes=3)) == {}

    # Claimed and sent; one of them released.
    moment = now + timedelta(minutes=4)
    claims = pipeline.claim(10, now=moment)
    assert len(claims) == 2
    assert verdicts(now=moment) == {}
    claiming.release(claims[:1])
    assert verdicts(now=moment) == {}

    # The worker of the other one dies, and both are sent in the end.
    moment += timedelta(minutes=2)
    assert tasks.rescue_expired_leases(now=moment) == 1
    assert verdicts(now=moment) == {}
    deliver_due(sender, now=moment)
    assert verdicts(now=moment) == {}

    # Once more, to a receiver that answers 410 Gone.
    forge.receiver.answers["/wavers"] = Answer(410)
    assert redelivery.redeliver(Delivery.objects.values_list("id", flat=True), now=moment) == 6
    assert verdicts(now=moment) == {}
    deliver_due(sender, now=moment)
    assert Webhook.objects.exclude(disabled_at=None).count() == 1
    assert verdicts(now=moment) == {}

    # Held, cancelled, pinged and deleted.
    moment += HOUR
    steady = Webhook.objects.get(disabled_at=None)
    redelivery.ping(steady, now=moment)
    forge.accept(now=moment)
    lifecycle.disable(steady.pk, now=moment)
    assert Delivery.objects.filter(state="held").count() == 2
    assert verdicts(now=moment) == {}
    lifecycle.delete(steady.pk, now=moment)
    assert verdicts(now=moment + HOUR) == {}
    assert invariants.count_all() == invariants.Totals(
        events=6, deliveries=8, attempts=15, states={"cancelled": 2, "delivered": 3, "failed": 3}
    )


BY_HAND = [
    ("deliveries-in-no-state", ["delivery_state_known", "delivery_finished_with_reason"],
     "UPDATE hookhub_delivery SET state = 'asleep' WHERE state = 'pending' AND id = {some}"),
    ("deliveries-leased-wrongly", ["delivery_leased_while_sending"],
     "UPDATE hookhub_delivery SET state = 'sending', attempts_made = 1 WHERE id = {some}"),
    ("deliveries-leased-wrongly", ["delivery_leased_while_sending"],
     "UPDATE hookhub_delivery SET lease = gen_random_uuid() WHERE id = {some}"),
    ("deliveries-never-due", ["delivery_due_while_pending"],
     "UPDATE hookhub_delivery SET due_at = NULL WHERE id = {some}"),
    ("deliveries-finished-wrongly", ["delivery_finished_with_reason"],
     "UPDATE hookhub_delivery SET finished_at = due_at WHERE id = {some}"),
    ("deliveries-finished-wrongly", ["delivery_finished_with_reason"],
     "UPDATE hookhub_delivery SET finished_at = NULL WHERE id = {done}"),
    ("deliveries-finished-wrongly", [],
     "UPDATE hookhub_delivery SET finish_reason = 'gone' WHERE id = {done}"),
    ("deliveries-finished-wrongly", ["delivery_finished_with_reason"],
     "UPDATE hookhub_delivery SET state = 'failed', finish_reason = NULL WHERE id = {done}"),
    ("deliveries-failed-too-often", ["delivery_failures_are_attempts"],
     "UPDATE hookhub_delivery SET failures = 3 WHERE id = {done}"),
    ("deliveries-without-proof", [],
     "UPDATE hookhub_attempt SET outcome = 'failed' WHERE outcome = 'delivered' AND delivery_id = {done}"),
    ("deliveries-with-other-attempts", [],
     "DELETE FROM hookhub_attempt WHERE number = 1 AND delivery_id = {done}"),
    ("deliveries-with-other-attempts", [],
     "UPDATE hookhub_attempt SET number = 3 WHERE number = 1 AND delivery_id = {done}"),
    ("deliveries-with-other-attempts", [],
     "UPDATE hookhub_delivery SET attempts_made = 3 WHERE id = {done}"),
    ("deliveries-with-other-attempts", [],
     "UPDATE hookhub_delivery SET attempts_made = 1 WHERE id = {done}"),
    ("attempts-without-delivery", [],
     ("INSERT INTO hookhub_attempt (id, delivery_id, webhook_id, number, started_at, url, request_headers, outcome,"
     " response_headers, response_body, error) SELECT gen_random_uuid(), gen_random_uuid(), webhook_id, 1, started_at,"
     " url, '', 'no_response', '', '', '' FROM hookhub_attempt WHERE number = 1 AND delivery_id = {done}")),
    ("events-without-delivery", [],
     "DELETE FROM hookhub_delivery WHERE id = {some}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "constraints", "statement"), BY_HAND, ids=[f"{row[0]}: {row[2][:60]}" for row in BY_HAND]
)
def test_a_row_altered_by_hand_violates_exactly_its_invariant(
    name: str, constraints: list[str], statement: str, forge: Forge, sender: Sender, now: datetime
) -> None:
    story(forge, sender, now=now)
    # A pending delivery, and one delivered at the second attempt.
    some = Delivery.objects.filter(state="pending").order_by("id")[0]
    done = Delivery.objects.filter(state="delivered", attempts_made=2).order_by("id")[0]

    execute(*(f"ALTER TABLE hookhub_delivery DROP CONSTRAINT {constraint}" for constraint in constraints))
    execute(statement.format(some=f"'{some.id}'", done=f"'{done.id}'"))

    [broken] = [f for f in invariants.check_all(now=now + timedelta(minutes=3)) if f.verdict != "ok"]
    assert (broken.check.name, broken.verdict, broken.count, broken.is_at_least) == (name, "fault", 1, False)
    if "attempts-without" not in name:
        about = done if "{done}" in statement else some
        assert broken.sample[0] in {str(about.id), f"{about.event_id} to webhook {about.webhook.uid}"}


def test_a_reference_to_nothing_is_found(forge: Forge, sender: Sender, now: datetime) -> None:
    story(forge, sender, now=now)
    moment = now + timedelta(minutes=3)
    event, webhook = Event.objects.order_by("id")[0], Webhook.objects.order_by("id")[0]
    there = {"event": event.pk, "webhook": webhook.pk, "organization": forge.organization.pk}

    for noun, nothing in (("event", uuid4()), ("webhook", 10**9), ("organization", 10**9)):
        # The pair of event and webhook is unique, so use an event without deliveries.
        spare = pipeline.accept([forge.event(now=now, webhook_id=10**9)], now=now)[0]
        pipeline.fan_out(now=now)
        lost = insert_delivery(**{**there, "event": spare.id, noun: nothing}, now=moment)

        [broken] = [f for f in invariants.check_all(now=moment) if f.verdict != "ok"]
        assert (broken.check.name, broken.count, broken.sample) == (f"deliveries-without-{noun}", 1, (str(lost),))
        Delivery.objects.filter(id=lost).delete()


def test_an_outbox_entry_without_its_event_is_found(forge: Forge, now: datetime) -> None:
    pipeline.accept([forge.event(now=now)], now=now)
    Event.objects.all().delete()

    assert verdicts(now=now) == {"outbox-without-event": ("fault", 1)}


def test_an_event_without_its_organization_is_found(forge: Forge, now: datetime) -> None:
    [event] = forge.accept(now=now)

    Event.objects.filter(id=event).update(organization_id=10**9)

    assert verdicts(now=now) == {"events-without-organization": ("fault", 1)}


def test_a_delivery_to_another_organization_is_found(forge: Forge, receiver: Receiver, now: datetime) -> None:
    other = Forge.make(receiver, slug="other")
    theirs = other.webhook(now=now - HOUR)
    [event] = forge.accept(now=now)

    insert_delivery(event=event, webhook=theirs.pk, organization=forge.organization.pk, now=now)

    assert verdicts(now=now) == {"deliveries-across-organizations": ("fault", 1)}


def test_an_expired_lease_is_a_fault_once_its_grace_is_over(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now - HOUR)
    forge.accept(now=now)
    [claim] = pipeline.claim(1, now=now)
    over = claim.leased_until + invariants.GRACE

    assert verdicts(now=over) == {}
    assert verdicts(now=over + timedelta(seconds=1)) == {"deliveries-leased-too-long": ("fault", 1)}
    assert verdicts(now=claim.leased_until + timedelta(seconds=6), grace=timedelta(seconds=5)) == {
        "deliveries-leased-too-long": ("fault", 1)
    }


def test_a_late_fan_out_is_waiting_not_a_fault(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now - HOUR)
    pipeline.accept([forge.event(now=now)], now=now)

    assert verdicts(now=now + invariants.GRACE) == {}
    assert verdicts(now=now + invariants.GRACE + timedelta(seconds=1)) == {"events-not-fanned-out": ("waiting", 1)}


def test_pending_for_a_disabled_webhook_is_waiting_not_a_fault(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now - HOUR)
    forge.accept(now=now)

    # As if the fan-out had run concurrently with the disabling.
    Webhook.objects.filter(pk=webhook.pk).update(disabled_at=now, disabled_reason="by_owner", changed_at=now)

    assert verdicts(now=now) == {"deliveries-to-be-held": ("waiting", 1)}
    assert pipeline.claim(1, now=now) == []
    assert verdicts(now=now) == {}


# label: (creation of the webhook relative to the event, its fields, whether it matches)
SUBSCRIPTIONS = {
    "everything": (-HOUR, {}, True),
    "the same type": (-HOUR, {"events": ["push"]}, True),
    "another type": (-HOUR, {"events": ["issues"]}, False),
    "created after the event": (timedelta(seconds=1), {}, False),
}


@pytest.mark.parametrize(("created_after", "fields", "matches"), SUBSCRIPTIONS.values(), ids=SUBSCRIPTIONS)
def test_a_missing_delivery_is_a_fault_only_if_the_webhook_matches(
    forge: Forge, now: datetime, created_after: timedelta, fields: dict[str, object], *, matches: bool
) -> None:
    forge.webhook(now=now + created_after, **fields)
    forge.accept(now=now)

    Delivery.objects.all().delete()

    assert verdicts(now=now) == ({"events-without-delivery": ("fault", 1)} if matches else {})


def test_a_webhook_with_a_filter_misses_what_its_filter_accepts_and_what_is_meant_for_it_alone(
    forge: Forge, now: datetime
) -> None:
    webhook = forge.webhook(now=now - HOUR)
    Webhook.objects.filter(pk=webhook.pk).update(payload_filter={"a": 1})
    # PostgreSQL cannot represent the NUL.
    data = [{"a": 1.0, "text": "\0"}, {"a": True}, [1]]
    wanted, *_ = pipeline.accept([forge.event(now=now, data=each) for each in data], now=now)
    redelivery.ping(webhook, now=now)
    pipeline.fan_out(now=now)
    assert Delivery.objects.count() == 2
    assert verdicts(now=now) == {}

    Delivery.objects.filter(event_id=wanted.id).delete()
    assert verdicts(now=now) == {"events-without-delivery": ("fault", 1)}
    [found] = [each for each in invariants.check_all(now=now) if each.count]
    assert found.sample == (f"{wanted.id} to webhook {webhook.uid}",)
    assert verdicts(now=now, settling=2 * HOUR) == {"events-in-doubt": ("waiting", 1)}

    Delivery.objects.all().delete()
    assert verdicts(now=now) == {"events-without-delivery": ("fault", 2)}
    forge.webhook(now=now - HOUR)
    assert verdicts(now=now) == {"events-without-delivery": ("fault", 5)}


def test_a_webhook_of_another_repository_misses_nothing(forge: Forge, receiver: Receiver, now: datetime) -> None:
    elsewhere = forge.organization.repositories.create(name="gadgets")
    forge.webhook(now=now - HOUR, repository=elsewhere)
    forge.webhook(now=now - HOUR, repository=forge.repository)
    Forge.make(receiver, slug="other").webhook(now=now - HOUR)
    forge.accept(now=now)

    Delivery.objects.all().delete()

    assert verdicts(now=now) == {"events-without-delivery": ("fault", 1)}


def test_webhooks_of_deleted_repositories_are_not_compared_with_all_events(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.accept(50, now=now)
    for _ in range(20):
        forge.webhook(now=now - HOUR)
    Webhook.objects.update(deleted_at=now)
    forge.webhook(now=now - HOUR)
    rows_of: dict[str, int] = {}

    def explain(query: str, parameters: dict[str, object]) -> list[sql.Row]:
        plan = [line for (line,) in sql.run(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {query}", parameters)]
        rows_of[query] = max(int(float(rows)) for rows in re.findall(r"actual rows=([\d.]+)", " ".join(plan)))
        return [(0, ())] if "found" in query else [(False,)]

    monkeypatch.setattr(invariants, "_run_without_timeout", explain)

    list(invariants.check_all(now=now))
    # Each event has two topics, in two scopes.
    assert max(rows_of.values()) <= 50 * 2 * 2


def test_a_ping_is_missing_only_at_its_webhook(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now - HOUR)
    pinged = forge.webhook(now=now - HOUR, events=["issues"])
    redelivery.ping(pinged, now=now)
    pipeline.fan_out(now=now)
    assert verdicts(now=now) == {}

    Delivery.objects.all().delete()

    [broken] = [f for f in invariants.check_all(now=now) if f.verdict != "ok"]
    assert (broken.check.name, broken.sample) == (
        "events-without-delivery", (f"{Event.objects.get().id} to webhook {pinged.uid}",)
    )  # fmt: skip


def test_a_webhook_changed_since_is_not_checked_for_earlier_events(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now - HOUR, events=["issues"])
    forge.accept(now=now)

    changing.change(webhook.pk, {"events": ["*"]}, now=now + timedelta(seconds=1))
    assert verdicts(now=now + HOUR) == {}

    changing.change(webhook.pk, {"events": ["*"]}, now=now - HOUR)
    assert verdicts(now=now + HOUR) == {"events-without-delivery": ("fault", 1)}


def test_an_event_missing_just_after_a_change_of_its_webhook_is_in_doubt(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now - timedelta(seconds=9))
    forge.accept(now=now)

    Delivery.objects.all().delete()

    assert verdicts(now=now) == {"events-in-doubt": ("waiting", 1)}
    assert verdicts(now=now, settling=timedelta(0)) == {"events-without-delivery": ("fault", 1)}


def test_what_retention_has_deleted_is_not_missing(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now - HOUR)
    forge.webhook(now=now - HOUR, path="/fails", retry_schedule=[86400] * 20)
    forge.receiver.answers["/fails"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)

    # One of the event's deliveries is finished and deleted; the other keeps the event.
    later = now + timedelta(days=31)
    assert prune_old(now=later).rows == 1
    assert prune_old(now=later).rows == 0

    assert verdicts(now=later) == {}
    assert verdicts(now=later, within=timedelta(days=40)) == {"events-without-delivery": ("fault", 1)}


def test_within_limits_the_check_to_what_was_not_pruned(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now - HOUR)
    forge.webhook(now=now - HOUR, path="/fails")
    forge.receiver.answers["/fails"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    later = now + timedelta(days=3)

    prune_old(now=later, retention=timedelta(days=2))

    assert verdicts(now=later) == {"events-without-delivery": ("fault", 1)}
    assert verdicts(now=later, within=timedelta(days=2)) == {}


def test_the_report_is_short_however_many_violations_there_are(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now - HOUR)
    events = forge.accept(30, now=now)
    Delivery.objects.all().delete()

    [broken] = [f for f in invariants.check_all(now=now) if f.verdict != "ok"]
    assert (broken.count, broken.is_at_least, len(broken.sample)) == (30, False, 20)
    assert [line[:36] for line in broken.sample] == [str(event) for event in sorted(events)[:20]]

    monkeypatch.setattr(invariants, "MAX_COUNT", 25)
    [broken] = [f for f in invariants.check_all(now=now) if f.verdict != "ok"]
    assert (broken.count, broken.is_at_least, len(broken.sample)) == (25, True, 20)


def test_the_totals_count_rows_and_states(forge: Forge, sender: Sender, now: datetime) -> None:
    story(forge, sender, now=now)
    Organization.objects.create(slug="idle")

    assert invariants.count_all() == invariants.Totals(
        events=3, deliveries=6, attempts=6, states={"delivered": 4, "pending": 2}
    )
