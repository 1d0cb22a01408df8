"""The operator's commands: what they do, what they print, and how they fail."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from io import StringIO
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from freezegun import freeze_time
from psycopg.conninfo import make_conninfo
from pytest_django import Settings

from deliveries import pipeline, vault
from deliveries.db import sql
from deliveries.maintenance import invariants, retention
from deliveries.management.commands import redeliver
from deliveries.models import Attempt, Delivery, Event, Organization, Verification, Webhook
from deliveries.sending.sender import Sender
from deliveries.systems import SYSTEMS
from deliveries.vault import Unreadable
from deliveries.webhooks import changing, denials, secrets
from hookhub.models import ApiKey, Scope, digest
from hookhub.procfile import ROOT
from hookhub.service.management.commands import changepassword
from hookhub.service.management.commands.up import first_steps
from testbed.processes import wait_for
from tests.receiver import Answer, Receiver
from tests.story import Forge, deliver_due, outcomes_of, the_delivery, verify_due

pytestmark = pytest.mark.django_db

PROMISE = "every event has a delivery for each matching webhook, or an entry in its queue if it is polled"
HOUR = timedelta(hours=1)


def run(*arguments: str, at: datetime | None = None) -> str:
    """Run a command, optionally at a frozen time, and return its standard output."""
    out = StringIO()
    if at is None:
        call_command(*arguments, stdout=out, stderr=StringIO(), no_color=True)
    else:
        with freeze_time(at):
            call_command(*arguments, stdout=out, stderr=StringIO(), no_color=True)
    return out.getvalue()


def complaint(*arguments: str, at: datetime | None = None) -> str:
    """Run a command that must fail, and return its error message."""
    with pytest.raises(CommandError) as failure:
        run(*arguments, at=at)
    assert failure.value.returncode == 1
    return str(failure.value)


def states() -> dict[str, int]:
    """Return the number of deliveries by state."""
    return invariants.count_all().states


# check_ledger -------------------------------------------------------------------------------------------------------


def test_a_clean_ledger_is_reported_line_by_line(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now - HOUR)
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    forge.accept(now=now)

    lines = run("check_ledger", at=now).splitlines()

    assert lines[: len(invariants.CHECKS)] == [f"ok       {check.invariant}" for check in invariants.CHECKS]
    assert lines[len(invariants.CHECKS) :] == [
        "3 events, 2 attempts, 3 deliveries: pending 1, delivered 2.",
        "All invariants hold.",
    ]


def test_an_empty_ledger_has_totals_too(db: None) -> None:
    assert "0 events, 0 attempts, 0 deliveries.\n" in run("check_ledger")


def test_a_fault_is_told_with_its_rows_and_fails_the_command(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now - HOUR)
    events = sorted(forge.accept(21, now=now))
    Delivery.objects.all().delete()
    out = StringIO()

    with freeze_time(now), pytest.raises(CommandError) as failure:
        call_command("check_ledger", stdout=out, no_color=True)

    assert str(failure.value) == f"1 of {len(invariants.CHECKS)} invariants violated."
    assert failure.value.returncode == 1
    lines = out.getvalue().splitlines()
    at = lines.index(f"FAULT    {PROMISE}: violated by 21")
    assert lines[at + 2 : at + 23] == [f"           {event} to webhook {webhook.uid}" for event in events[:20]] + [
        "           …"
    ]
    assert lines[-1] == "21 events, 0 attempts, 0 deliveries."


def test_what_only_waits_does_not_fail_the_command(forge: Forge, now: datetime) -> None:
    pipeline.accept([forge.event(now=now)], now=now)

    assert "waiting  every event is fanned out in time: violated by 1\n" in run("check_ledger", at=now + HOUR)
    assert "waiting" not in run("check_ledger", "--grace", "3600", at=now + HOUR)


def test_machines_get_one_object(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now - timedelta(seconds=5))
    [event] = forge.accept(now=now)
    clean = json.loads(run("check_ledger", "--json", at=now))
    assert clean["ok"] is True
    assert clean["checked_at"] == "2026-03-04T12:00:00+00:00"
    assert clean["totals"] == {"events": 1, "deliveries": 1, "attempts": 0, "states": {"pending": 1}}
    assert {check["verdict"] for check in clean["checks"]} == {"ok"}

    Delivery.objects.all().delete()
    in_doubt = json.loads(run("check_ledger", "--json", at=now))
    out = StringIO()
    with freeze_time(now), pytest.raises(CommandError):
        call_command("check_ledger", "--json", "--settling", "0", stdout=out)
    broken = json.loads(out.getvalue())

    assert in_doubt["ok"] is True
    assert [check["name"] for check in in_doubt["checks"] if check["verdict"] == "waiting"] == ["events-in-doubt"]
    assert broken["ok"] is False
    assert [check for check in broken["checks"] if check["verdict"] != "ok"] == [
        {
            "name": "events-without-delivery",
            "promise": PROMISE,
            "verdict": "fault",
            "count": 1,
            "count_is_at_least": False,
            "sample": [f"{event} to webhook {webhook.uid}"],
        }
    ]


def test_a_check_may_take_longer_than_any_other_statement(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 1234")
        run("check_ledger")
        # Inside the test's own transaction SET LOCAL lasts until its end.
        cursor.execute("SELECT current_setting('statement_timeout')")
        assert cursor.fetchone() == ("0",)


@pytest.mark.django_db(transaction=True)
def test_the_server_ends_what_a_command_that_was_killed_has_asked_for() -> None:
    program = (
        "import django; django.setup(); from deliveries.maintenance import invariants as i;"
        "i._run_without_timeout('SELECT pg_sleep(600)', {})"
    )
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    url = make_conninfo(**{name: connection.settings_dict[key] or None for name, key in names.items()})
    environment = {
        **os.environ, "DATABASE_URL": url, "HOOKHUB_DEVELOPMENT": "1",
        "DJANGO_SETTINGS_MODULE": "hookhub.service.settings",
    }  # fmt: skip

    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment) as process:
        wait_for(lambda: sql.run(running, {}) == [(1,)], "the statement")
        process.kill()

    wait_for(lambda: sql.run(running, {}) == [(0,)], "its end")


@pytest.mark.parametrize("option", ["--grace=-1", "--grace=soon", "--settling=nan", "--within=inf"])
def test_a_span_that_is_none_is_refused(option: str, db: None) -> None:
    assert "is not a number of" in complaint("check_ledger", option)


# prune --------------------------------------------------------------------------------------------------------------


def old_and_new(forge: Forge, sender: Sender, *, now: datetime) -> None:
    """Create five events delivered and one still failing forty days ago, three delivered ten days ago, two today."""
    forge.webhook(now=now - timedelta(days=50))
    forge.webhook(now=now - timedelta(days=50), path="/fails", events=["issues"], retry_schedule=[86400] * 20)
    forge.receiver.answers["/fails"] = Answer(500)
    for count, days, event_type in ((5, 40, "push"), (1, 40, "issues"), (3, 10, "push"), (2, 0, "push")):
        moment = now - timedelta(days=days)
        forge.accept(count, event_type=event_type, now=moment)
        deliver_due(sender, now=moment)
    Delivery.objects.filter(state="pending").update(due_at=now + HOUR)


PRUNINGS = [
    ("retention", [], 6, 5, "2026-02-02 12:00"),
    ("a week", ["--older-than", "7"], 9, 8, "2026-02-25 12:00"),
    ("a year", ["--older-than", "365"], 0, 0, "2025-03-04 12:00"),
]


@pytest.mark.parametrize(("label", "options", "deliveries", "events", "until"), PRUNINGS, ids=[r[0] for r in PRUNINGS])
def test_pruning_deletes_what_the_dry_run_announced(
    label: str, options: list[str], deliveries: int, events: int, until: str,
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    old_and_new(forge, sender, now=now)
    before = invariants.count_all()
    what = f"{deliveries} deliveries with all attempts and {events} events, created before {until} UTC."

    assert run("prune", "--dry-run", *options, at=now) == f"Would delete {what}\n"
    assert invariants.count_all() == before
    lines = run("prune", *options, at=now).splitlines()

    total = deliveries + events
    assert lines[0] == f"Deleting {what}"
    assert lines[-1] == f"Deleted {total} deliveries and events."
    assert lines[1:-1] == ([f"{total} of {total} deleted"] if total else [])
    after = invariants.count_all()
    assert (before.deliveries - after.deliveries, before.events - after.events) == (deliveries, events)
    # The failing delivery is kept, however old, with its attempt and its event.
    assert after.states["pending"] == 1
    assert not Attempt.objects.exclude(delivery__in=Delivery.objects.all()).exists()


def test_pruning_goes_on_batch_by_batch(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_and_new(forge, sender, now=now)
    monkeypatch.setattr(retention, "MAX_BATCH", 2)

    lines = run("prune", at=now).splitlines()

    assert len(lines) > 3
    assert lines[-2:] == ["11 of 11 deleted", "Deleted 11 deliveries and events."]
    assert run("prune", at=now).splitlines()[-1] == "Deleted 0 deliveries and events."


@pytest.mark.parametrize("days", ["0", "-1", "99999"])
def test_pruning_keeps_at_least_a_day(days: str, forge: Forge, now: datetime) -> None:
    forge.accept(now=now)

    assert complaint("prune", f"--older-than={days}", at=now + 90 * timedelta(days=1)) == (
        f"--older-than: {days} is invalid; use an integer from 1 to 3650."
    )
    assert Event.objects.count() == 1


# redeliver ----------------------------------------------------------------------------------------------------------


def test_a_delivery_named_by_its_id_is_sent_again(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    chosen, other = Delivery.objects.order_by("id")

    assert run("redeliver", str(chosen.id), at=now + HOUR) == "1 made due, 0 skipped.\n"

    chosen.refresh_from_db()
    assert (chosen.state, chosen.due_at, chosen.redeliveries) == ("pending", now + HOUR, 1)
    deliver_due(sender, now=now + HOUR)
    assert outcomes_of(chosen) == ["delivered", "delivered"]
    assert outcomes_of(other) == ["delivered"]


def test_ids_of_several_organizations_may_be_mixed_and_repeated(
    forge: Forge, receiver: Receiver, sender: Sender, now: datetime
) -> None:
    other = Forge.make(receiver, slug="other")
    for one in (forge, other):
        one.webhook(now=now)
        one.accept(now=now)
    deliver_due(sender, now=now)
    ids = [str(delivery.id) for delivery in Delivery.objects.all()]

    assert run("redeliver", *ids, *ids, at=now) == "2 made due, 0 skipped.\n"


def redelivery_story(forge: Forge, receiver: Receiver, sender: Sender, *, now: datetime) -> tuple[Webhook, Webhook]:
    """Deliver a push and an issue on each of three days to one webhook that succeeds and one that fails at once."""
    good = forge.webhook(now=now)
    bad = forge.webhook(now=now, path="/fails", retry_schedule=[], auto_disable=False)
    receiver.answers["/fails"] = Answer(500)
    other = Forge.make(receiver, slug="other")
    other.webhook(now=now)
    other.accept(now=now)
    for day in range(3):
        moment = now + timedelta(days=day)
        forge.accept(event_type="push", now=moment)
        forge.accept(event_type="issues", now=moment)
        deliver_due(sender, now=moment)
    return good, bad


def test_filters_narrow_each_other_down(forge: Forge, receiver: Receiver, sender: Sender, now: datetime) -> None:
    good, bad = redelivery_story(forge, receiver, sender, now=now)
    event = str(Event.objects.filter(organization=forge.organization).order_by("id")[0].id)
    later = now + timedelta(days=3)
    table = [
        ("--organization acme", 12),
        ("--organization other", 1),
        (f"--webhook {good.uid}", 6),
        (f"--webhook {bad.uid} --organization acme --state failed", 6),
        (f"--webhook {good.uid} --state failed", 0),
        (f"--event {event}", 2),
        ("--state failed", 6),
        ("--state failed --state delivered", 13),
        ("--type push", 7),
        ("--type push --state failed", 3),
        ("--after 2026-03-05", 8),
        ("--after 2026-03-05T12:00Z", 8),
        ("--after 2026-03-05T12:00:01Z", 4),
        ("--after 2026-03-05T14:00+02:00 --before 2026-03-06T12:00Z", 4),
        ("--before 2026-03-05T12:00", 5),
        ("--before 1960-01-01", 0),
    ]

    for options, count in table:
        said = run("redeliver", "--dry-run", *options.split(), at=later)
        assert (options, said) == (options, f"{count} would be made due, 0 skipped.\n")
    assert states() == {"delivered": 7, "failed": 6}

    assert run("redeliver", "--type", "push", "--state", "failed", at=later) == "3 made due, 0 skipped.\n"
    assert states() == {"delivered": 7, "failed": 3, "pending": 3}
    assert set(Delivery.objects.filter(state="pending").values_list("webhook", "event_type", "due_at")) == {
        (bad.pk, "push", later)
    }


def test_it_says_what_was_left_alone_and_why(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    by_state = {"sending": 2, "disabled": 3, "deleted": 4}
    forge.accept(15, now=now)
    ids = list(Delivery.objects.order_by("id").values_list("id", flat=True))
    disabled, deleted = forge.webhook(now=now), forge.webhook(now=now)
    Webhook.objects.filter(pk=disabled.pk).update(disabled_at=now, disabled_reason="by_owner")
    Webhook.objects.filter(pk=deleted.pk).update(deleted_at=now)
    # Held, but its webhook is active again, so it can be sent.
    Delivery.objects.filter(id__in=ids[:1]).update(state="held", due_at=None)
    Delivery.objects.filter(id__in=ids[1:3]).update(
        state="sending", attempts_made=1, lease=uuid4(), leased_at=now, leased_until=now, due_at=None
    )
    Delivery.objects.filter(id__in=ids[3:6]).update(webhook=disabled)
    Delivery.objects.filter(id__in=ids[6:10]).update(webhook=deleted)
    reasons = "4 of a deleted webhook, 3 of a disabled webhook, 2 being sent"
    assert sum(by_state.values()) == 9

    dry = run("redeliver", "--organization", "acme", "--dry-run", at=now + HOUR)
    assert dry == f"6 would be made due, 9 skipped ({reasons}).\n"
    assert not Delivery.objects.filter(redeliveries__gt=0).exists()
    assert run("redeliver", "--organization", "acme", at=now + HOUR) == f"6 made due, 9 skipped ({reasons}).\n"
    assert set(Delivery.objects.filter(redeliveries=1).values_list("id", flat=True)) == {ids[0], *ids[10:]}


def test_what_changes_state_meanwhile_is_left_alone(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(3, now=now)
    honest = redeliver.redelivery.redeliver

    def just_after_a_claim(deliveries: list[object], *, now: datetime) -> int:
        assert len(pipeline.claim(1, now=now)) == 1
        return honest(deliveries, now=now)

    monkeypatch.setattr(redeliver.redelivery, "redeliver", just_after_a_claim)

    assert run("redeliver", "--type", "push", at=now) == "2 made due, 1 skipped (1 changed state in the meantime).\n"


def test_many_are_made_due_in_batches(
    forge: Forge, receiver: Receiver, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Forge.make(receiver, slug="other")
    forge.webhook(now=now)
    other.webhook(now=now)
    forge.accept(3, now=now)
    other.accept(2, now=now)
    monkeypatch.setattr(redeliver, "BATCH", 2)

    said = run("redeliver", "--state", "pending", at=now + HOUR)

    assert said == "2 examined, 2 made due\n5 examined, 5 made due\n5 made due, 0 skipped.\n"
    assert set(Delivery.objects.values_list("redeliveries", "due_at")) == {(1, now + HOUR)}


def test_few_among_millions_may_take_longer_to_find_than_any_other_statement(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 1234")
        run("redeliver", "--type", "push", "--dry-run", at=now)
        cursor.execute("SHOW statement_timeout")

        # As above.
        assert cursor.fetchone() == ("0",)


UNCLEAR = [
    ("nothing", "", ("This would select all deliveries. Use delivery ids, or filter with --webhook, --organization, "
     "--event, --state, --type, --after, --before.")),
    ("no id", "12", "DELIVERY_ID: '12' is not an id; an id looks like 019538a1-4f00-7000-8000-0123456789ab."),
    ("unknown id", "{nothing}", "Unknown deliveries: {nothing}. Nothing was sent."),
    ("known and unknown", "{delivery} {nothing}", "Unknown deliveries: {nothing}. Nothing was sent."),
    ("id and filter", "{delivery} --type push", "Use either delivery ids or filters, not both."),
    ("webhook is no id", "--webhook x", ("--webhook: 'x' is not an id; an id looks like "
     "019538a1-4f00-7000-8000-0123456789ab.")),
    ("no such webhook", "--webhook {nothing}", "--webhook: {nothing} does not exist."),
    ("another's webhook", "--webhook {webhook} --organization other",
     "--webhook: {webhook} belongs to another organization."),
    ("no such event", "--event {nothing}", "--event: {nothing} does not exist."),
    ("another's event", "--event {event} --organization other", "--event: {event} belongs to another organization."),
    ("no such organization", "--organization nobody",
     "--organization: 'nobody' does not exist; existing organizations: acme, other."),
    ("no date", "--after yesterday", "--after: 'yesterday' is not a date; write 2026-03-04 or 2026-03-04T12:00Z."),
    ("no moment", "--before 0001-01-01T00:00+14:00",
     "--before: '0001-01-01T00:00+14:00' is not a date; write 2026-03-04 or 2026-03-04T12:00Z."),
    ("empty span", "--after 2026-03-05 --before 2026-03-05",
     "--before (2026-03-05 00:00) is not later than --after (2026-03-05 00:00)."),
    ("no type", "--type a..b", ("--type: 'a..b' is not a valid event type: use up to 200 letters, digits, underscores "
     "and hyphens, with single dots between words, like issues.opened.")),
    ("sending", "--state sending", ("Error: argument --state: invalid choice: 'sending' "
     "(choose from 'delivered', 'failed', 'cancelled', 'pending', 'held')")),
]  # fmt: skip


@pytest.mark.parametrize(("label", "options", "expected"), UNCLEAR, ids=[row[0] for row in UNCLEAR])
def test_an_unclear_wish_is_refused_and_nothing_is_sent(
    label: str, options: str, expected: str, forge: Forge, receiver: Receiver, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    [event] = forge.accept(now=now)
    deliver_due(sender, now=now)
    Forge.make(receiver, slug="other")
    words = {"delivery": the_delivery().id, "event": event, "webhook": webhook.uid, "nothing": uuid4()}

    assert complaint("redeliver", *options.format(**words).split()) == expected.format(**words)
    assert states() == {"delivered": 1}


# reencrypt_secrets --------------------------------------------------------------------------------------------------


def test_secrets_are_sealed_with_the_new_key_and_the_old_one_can_go(
    forge: Forge, sender: Sender, now: datetime, settings: Settings
) -> None:
    webhook = forge.webhook(now=now, headers={"X-Token": "open sesame"})
    forge.webhook(now=now)
    secrets = vault.secrets_of(webhook)
    old, new = settings.HOOKHUB_ENCRYPTION_KEYS, Fernet.generate_key().decode()

    settings.HOOKHUB_ENCRYPTION_KEYS = (new, *old)
    assert run("reencrypt_secrets").splitlines() == [
        "Checking that the secrets of 2 webhooks can be decrypted.",
        "All can be decrypted. Re-encrypting them with the first key.",
        "Re-encrypted the secrets of 2 webhooks. Only the first key is needed now.",
    ]

    settings.HOOKHUB_ENCRYPTION_KEYS = (new,)
    webhook.refresh_from_db()
    assert vault.secrets_of(webhook) == secrets
    assert vault.headers_of(webhook) == {"X-Token": "open sesame"}
    settings.HOOKHUB_ENCRYPTION_KEYS = old
    with pytest.raises(Unreadable):
        vault.secrets_of(webhook)


def test_a_denial_that_waits_is_sealed_with_the_new_key_and_still_sent(
    forge: Forge, now: datetime, settings: Settings
) -> None:
    denial = denials.deny(forge.receiver.url("/callback"), topic="topic", reason="unknown", now=now)
    old, new = settings.HOOKHUB_ENCRYPTION_KEYS, Fernet.generate_key().decode()
    settings.HOOKHUB_ENCRYPTION_KEYS = (new, *old)
    # One that no key opens ends by itself, and stops nothing.
    lost = denials.deny(forge.receiver.url("/lost"), topic="topic", reason="unknown", now=now - HOUR)
    Verification.objects.filter(pk=lost.pk).update(sealed_change=denial.sealed_change)

    run("reencrypt_secrets")

    settings.HOOKHUB_ENCRYPTION_KEYS = (new,)
    lost.delete()
    assert verify_due(now=now) == ["verified"]
    assert [request.path.split("?")[0] for request in forge.receiver.received] == ["/callback"]


def test_a_change_that_waits_and_cannot_be_opened_is_reported_before_anything_is_changed(
    forge: Forge, now: datetime, settings: Settings
) -> None:
    webhook, old = forge.webhook(now=now), settings.HOOKHUB_ENCRYPTION_KEYS
    Webhook.objects.update(proof="challenge", verified_at=now)
    settings.HOOKHUB_ENCRYPTION_KEYS = ("A" * 43 + "=", *old)
    changing.change(webhook.pk, {"url": forge.receiver.url("/new")}, now=now)
    settings.HOOKHUB_ENCRYPTION_KEYS = (Fernet.generate_key().decode(), *old)
    before = Webhook.objects.get().sealed_secrets

    told = complaint("reencrypt_secrets")

    assert told.startswith("Nothing was changed: 1 of 1 webhooks cannot be decrypted")
    assert str(webhook.uid) in told
    assert Webhook.objects.get().sealed_secrets == before


def test_sealing_anew_goes_on_where_it_was_interrupted(forge: Forge, now: datetime, settings: Settings) -> None:
    for _ in range(3):
        forge.webhook(now=now)
    settings.HOOKHUB_ENCRYPTION_KEYS = (Fernet.generate_key().decode(), *settings.HOOKHUB_ENCRYPTION_KEYS)
    interrupted = secrets.reencrypt_all()
    assert next(interrupted)
    interrupted.close()

    assert run("reencrypt_secrets").splitlines()[-1].startswith("Re-encrypted the secrets of 2 webhooks.")
    assert run("reencrypt_secrets").splitlines()[-1].startswith("Re-encrypted the secrets of 0 webhooks.")


def test_without_the_old_key_nothing_is_changed_and_the_webhooks_are_named(
    forge: Forge, now: datetime, settings: Settings
) -> None:
    locked = forge.webhook(now=now)
    settings.HOOKHUB_ENCRYPTION_KEYS = (Fernet.generate_key().decode(),)
    readable = forge.webhook(now=now)
    settings.HOOKHUB_ENCRYPTION_KEYS = (Fernet.generate_key().decode(), *settings.HOOKHUB_ENCRYPTION_KEYS)
    sealed = dict(Webhook.objects.values_list("pk", "sealed_secrets"))

    assert complaint("reencrypt_secrets") == (
        "Nothing was changed: 1 of 2 webhooks cannot be decrypted with the keys in HOOKHUB_ENCRYPTION_KEYS. "
        "Append the old key to that setting and run this command again. If the key is lost, set the URL, the secret "
        f"and the headers of each webhook again, or delete it. Webhooks: {locked.uid}"
    )
    assert {pk: bytes(value) for pk, value in Webhook.objects.values_list("pk", "sealed_secrets")} == {
        pk: bytes(value) for pk, value in sealed.items()
    }
    assert readable.pk in sealed


@pytest.mark.parametrize("column", ["sealed_secrets", "sealed_headers", "sealed_url"])
def test_values_that_no_key_opens_are_reported_with_advice_that_works(forge: Forge, now: datetime, column: str) -> None:
    fields = {"url": forge.receiver.url("/?token=1"), "secret": "new-secret-1", "headers": {"X-Token": "new"}}
    altered = forge.webhook(now=now, path="/?token=1", format="coregit", headers={"X-Token": "open sesame"})
    intact = forge.webhook(now=now)
    value = bytes(getattr(altered, column))
    Webhook.objects.filter(pk=altered.pk).update(**{column: value[:-1] + bytes([value[-1] ^ 1])})

    assert complaint("reencrypt_secrets") == (
        "Nothing was changed: 1 of 2 webhooks have values that were altered, or copied from another webhook, so that "
        "no key opens them. To continue, set the URL, the secret and the headers of each webhook again, or delete it. "
        f"Webhooks: {altered.uid}"
    )

    changing.change(altered.pk, fields, now=now)
    assert run("reencrypt_secrets").splitlines()[-1].startswith("Re-encrypted the secrets of 0 webhooks.")
    altered.refresh_from_db()
    assert (altered.url, vault.headers_of(altered)) == (fields["url"], fields["headers"])
    assert [secret.text for secret in vault.secrets_of(altered)] == ["new-secret-1"]
    assert vault.secrets_of(intact)


def test_a_key_that_is_no_key_is_named_as_the_fault(forge: Forge, now: datetime, settings: Settings) -> None:
    forge.webhook(now=now)
    settings.HOOKHUB_ENCRYPTION_KEYS = ("change-me",)

    assert complaint("reencrypt_secrets").startswith("HOOKHUB_ENCRYPTION_KEYS contains an invalid key: ")


# create_api_key -----------------------------------------------------------------------------------------------------


def make_key(*options: str) -> tuple[ApiKey, str, str]:
    """Create a key; return its row, standard output, and standard error."""
    out, err = StringIO(), StringIO()
    call_command("create_api_key", *options, stdout=out, stderr=err, no_color=True)
    return ApiKey.objects.latest("pk"), out.getvalue(), err.getvalue()


def test_the_key_stands_alone_on_standard_output(db: None) -> None:
    acme = Organization.objects.create(slug="acme")

    key, out, err = make_key("--organization", "acme", "--scope", "publish", "--name", "ci")

    prefix, key_id, secret = out.removesuffix("\n").split("_")
    assert (prefix, key_id, digest(secret)) == ("hh", key.key_id, bytes(key.secret_hash))
    assert (key.organization, key.scope, key.name, key.revoked_at) == (acme, "publish", "ci", None)
    assert (
        err
        == "Created a key with scope publish (publish events only) for organization acme. It cannot be shown again.\n"
    )
    assert secret not in err


WHOSE = [
    ("the only organization", ["acme"], [], "acme", Scope.MANAGE),
    ("one of two", ["acme", "other"], ["--organization", "other"], "other", Scope.MANAGE),
    ("an operator", ["acme"], ["--operator"], None, Scope.MASTER),
    ("an operator who reads", [], ["--operator", "--scope", "read"], None, Scope.READ),
    ("a new one", ["acme"], ["--organization", "new", "--create-organization"], "new", Scope.MANAGE),
    ("not so new", ["acme"], ["--organization", "acme", "--create-organization"], "acme", Scope.MANAGE),
]


@pytest.mark.parametrize(("label", "there", "options", "slug", "scope"), WHOSE, ids=[row[0] for row in WHOSE])
def test_whose_the_key_is(
    label: str, there: list[str], options: list[str], slug: str | None, scope: Scope, db: None
) -> None:
    for each in there:
        Organization.objects.create(slug=each)

    key, _, _ = make_key(*options)

    assert (key.organization and key.organization.slug, key.scope) == (slug, scope)
    assert set(Organization.objects.values_list("slug", flat=True)) == {*there, *([slug] if slug else [])}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param([], ("native", None), id="HookHub's own"),
        pytest.param(["--dialect", "sigmagit"], ("sigmagit", None), id="a dialect"),
        pytest.param(["--dialect", "codmir", "--format", "github"], ("codmir", "github"), id="a dialect and a format"),
    ],
)
def test_an_organization_is_created_with_the_words_it_is_to_speak(
    db: None, options: list[str], expected: tuple[str, str | None]
) -> None:
    make_key("--organization", "new", "--create-organization", *options)

    created = Organization.objects.get()
    make_key("--organization", "new", "--create-organization", "--dialect", "coregit")

    assert (created.default_dialect, created.default_format) == expected
    assert Organization.objects.get().default_dialect == created.default_dialect


NOBODY = [
    ("none there", [], "", "Specify --organization SLUG or --operator. There are no organizations yet."),
    ("two there", ["b", "a"], "", "Specify --organization SLUG or --operator. Existing organizations: a, b."),
    ("unknown", ["acme"], "--organization nobody",
     "Organization 'nobody' does not exist. Existing organizations: acme. Use --create-organization to create it."),
    ("no UTF-8", ["acme"], "--organization \udce9",
     r"Organization '\udce9' does not exist. Existing organizations: acme. Use --create-organization to create it."),
    ("both", ["acme"], "--operator --organization acme",
     "--operator cannot be combined with --organization or --create-organization."),
    ("create which", ["acme"], "--create-organization", "--create-organization requires --organization SLUG."),
    ("bad slug", [], "--create-organization --organization a/b",
     "--organization: 'a/b' is invalid. Use 1 to 100 letters, digits, dots, hyphens and underscores."),
    ("a dialect for whom", ["acme"], "--dialect codmir",
     "--dialect and --format require --create-organization."),
    ("a dialect that is none", [], "--create-organization --organization a --dialect gitlab",
     f"Error: argument --dialect: invalid choice: 'gitlab' (choose from {', '.join(map(repr, SYSTEMS))})"),
    ("long name", ["acme"], f"--name {'x' * 201}", "--name: must be at most 200 characters."),
    ("bad scope", ["acme"], "--scope all",
     "Error: argument --scope: invalid choice: 'all' (choose from 'master', 'manage', 'publish', 'read')"),
]  # fmt: skip


@pytest.mark.parametrize(("label", "there", "options", "expected"), NOBODY, ids=[row[0] for row in NOBODY])
def test_without_a_clear_wish_no_key_is_made(
    label: str, there: list[str], options: str, expected: str, db: None
) -> None:
    for slug in there:
        Organization.objects.create(slug=slug)

    assert complaint("create_api_key", *options.split()) == expected
    assert not ApiKey.objects.exists()
    assert Organization.objects.count() == len(there)


def test_the_organizations_that_demos_left_behind_do_not_hide_the_only_other_one(db: None) -> None:
    for slug in ("demo-20260304-120000", "default", "demo-20260304-130000"):
        Organization.objects.create(slug=slug)

    make_key()

    assert str(ApiKey.objects.get().organization) == "default"


def test_a_long_list_of_organizations_is_cut_short(db: None) -> None:
    Organization.objects.bulk_create(Organization(slug=f"org-{number:02}") for number in range(30))

    for command in (["create_api_key"], ["redeliver", "--organization", "nobody"]):
        said = complaint(*command)
        assert said.endswith("org-18, org-19, ….")


# up -----------------------------------------------------------------------------------------------------------------


def test_the_first_start_gives_a_login_and_a_key_and_no_later_one_does(db: None) -> None:
    told = "\n".join(first_steps())

    key = ApiKey.objects.get()
    assert (User.objects.get().username, key.scope, str(key.organization)) == ("admin", Scope.MASTER, "default")
    assert f"hh_{key.key_id}_" in told
    assert first_steps() == []
    assert (User.objects.count(), ApiKey.objects.count()) == (1, 1)


def test_outside_development_mode_the_first_start_makes_no_secret_and_says_how_to(db: None, settings: Settings) -> None:
    settings.HOOKHUB_DEVELOPMENT = False

    [said] = first_steps()

    assert said.startswith("There is no login yet: create one with `manage.py createsuperuser`")
    assert (User.objects.count(), ApiKey.objects.count(), Organization.objects.count()) == (0, 0, 0)
    User.objects.create_superuser("op", "op@example.com", "op-password-1")
    assert first_steps() == []


@pytest.mark.parametrize(("slug", "is_first"), [("demo-20260304-120000", True), ("acme", False), ("demo-acme", False)])
def test_what_a_demo_left_behind_is_no_start_and_anything_else_is(db: None, slug: str, is_first: bool) -> None:
    Organization.objects.create(slug=slug)

    assert bool(first_steps()) == is_first
    assert User.objects.exists() == is_first


# changepassword -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        pytest.param([""], "aborted", id="nothing"),
        pytest.param(
            ["a long secret", "another secret"] * 3,
            "Aborting password change for user 'ada' after 3 attempts.",
            id="two different ones",
        ),
        pytest.param(
            ["short", "short"] * 3,
            "Aborting password change for user 'ada' after 3 attempts.",
            id="one that is too short",
        ),
    ],
)
def test_a_password_that_is_not_accepted_changes_nothing(
    typed: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User.objects.create_user("ada", password="the old passphrase")
    left = iter(typed)
    monkeypatch.setattr(changepassword.getpass, "getpass", lambda *_: next(left))

    assert complaint("changepassword", "ada") == message

    user.refresh_from_db()
    assert user.check_password("the old passphrase")
    assert list(left) == []


def test_the_password_of_no_user_cannot_be_changed() -> None:
    assert complaint("changepassword", "nobody-there") == "user 'nobody-there' does not exist"
