"""Attempts are counted by hour: each once, whatever dies in between, and for charts of webhooks and organizations."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

from deliveries import timeseries
from deliveries.db.ids import first_id_at, time_of, uuid7
from deliveries.maintenance import hourly_stats
from deliveries.maintenance.hourly_stats import COUNTERS, LAG, HourlyCounting, kind_of
from deliveries.models import Attempt, HourlyStats, StatsProgress, Webhook
from deliveries.policy.outcomes import CAUSES
from deliveries.sending.sender import Sender
from tests.api import Caller
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
CAUSES_BY_KIND = {
    "timeouts": "response_timed_out", "unreachable": "name_not_resolved", "tls_errors": "certificate_expired",
    "blocked": "address_blocked", "other": "unrenderable",
}  # fmt: skip


@pytest.fixture
def webhook(forge: Forge, now: datetime) -> Webhook:
    return forge.webhook(now=now)


def add(webhook: Webhook, *, at: datetime, **facts: Any) -> Attempt:
    """Record an attempt that ended at ``at``; delivered in 10 ms unless the facts say otherwise."""
    usual = {
        "outcome": "delivered", "status": 200, "duration": timedelta(milliseconds=10), "url": "https://x.example/",
        "request_headers": "", "response_headers": "", "response_body": b"", "error": "",
    }  # fmt: skip
    made = uuid7(at)
    return Attempt.objects.create(id=made, delivery_id=made, webhook=webhook, number=1, started_at=at, **usual | facts)


def count(*, now: datetime) -> int:
    """Count all that can be counted."""
    counting, total = HourlyCounting(), 0
    while found := counting.tick(now=now):
        total += found
    return total


def rows(webhook: Webhook | None = None) -> list[tuple[datetime, int]]:
    """Return the hours of a webhook, or those of all, and how many attempts each has."""
    which = {"webhook_id": webhook.pk} if webhook else {"organization_id": HourlyStats.ALL_ORGANIZATIONS}
    found = HourlyStats.objects.filter(**which).order_by("hour")
    return [(row.hour, sum(getattr(row, name) for name in COUNTERS)) for row in found]


def test_each_attempt_is_counted_in_the_hour_in_which_it_ended(webhook: Webhook, now: datetime) -> None:
    for minutes in (0, 59, 60, 61, 60 * 24 * 3):
        add(webhook, at=now + timedelta(minutes=minutes))
    late = now + timedelta(days=4)

    assert count(now=late) == 5
    assert count(now=late) == 0

    expected = [(now, 2), (now + HOUR, 2), (now + timedelta(days=3), 1)]
    assert rows(webhook) == expected
    assert rows() == expected


def test_what_has_just_ended_waits_because_an_earlier_one_may_not_be_committed(webhook: Webhook, now: datetime) -> None:
    add(webhook, at=now)
    add(webhook, at=now + LAG)

    assert count(now=now + LAG + SECOND) == 1
    assert timeseries.counted_until() == now + SECOND
    add(webhook, at=now + 2 * SECOND)
    assert count(now=now + 3 * LAG) == 2
    assert rows(webhook) == [(now, 3)]


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_small_batches_count_the_same(
    webhook: Webhook, now: datetime, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hourly_stats, "BATCH", batch)
    for n in range(7):
        add(webhook, at=now, duration=timedelta(milliseconds=2**n))
        add(webhook, at=now + HOUR, outcome="failed", status=500)

    assert count(now=now + 3 * HOUR) == 14

    assert rows(webhook) == [(now, 7), (now + HOUR, 7)]
    first, second = HourlyStats.objects.filter(webhook_id=webhook.pk).order_by("hour")
    assert [n for n, times in enumerate(first.latencies) if times] == [0, 4, 8, 12, 16, 20, 24]
    assert (first.delivered, second.server_errors, sum(second.latencies)) == (7, 7, 7)


def test_every_kind_of_failure_has_its_column(webhook: Webhook, now: datetime) -> None:
    for status in (301, 404, 503, 299):
        add(webhook, at=now, outcome="failed", status=status)
    for cause in CAUSES_BY_KIND.values():
        add(webhook, at=now, outcome="no_response", status=None, cause=cause)
    add(webhook, at=now, outcome="unknown", status=None, duration=None)
    add(webhook, at=now, outcome="gone", status=410)

    count(now=now + HOUR)

    row = HourlyStats.objects.get(webhook_id=webhook.pk)
    assert {name: getattr(row, name) for name in COUNTERS} == {
        "delivered": 0, "redirects": 1, "client_errors": 2, "server_errors": 1, "timeouts": 1, "unreachable": 1,
        "tls_errors": 1, "blocked": 1, "other": 3,
    }  # fmt: skip
    # Only responses have a latency.
    assert sum(row.latencies) == 5


def test_every_cause_belongs_to_a_kind() -> None:
    assert {kind_of("no_response", status=None, cause=cause) for cause in CAUSES} <= set(COUNTERS)
    listed = frozenset().union(*hourly_stats.KINDS.values())
    assert {cause for cause in CAUSES if cause not in listed} == {
        "response_not_http", "response_headers_too_long", "unrenderable",
    }  # fmt: skip


def test_the_organizations_row_adds_up_its_webhooks(forge: Forge, now: datetime) -> None:
    other = Forge.make(forge.receiver, "globex").webhook(now=now)
    for one in (forge.webhook(now=now), forge.webhook(now=now), other):
        add(one, at=now)

    count(now=now + HOUR)

    every = HourlyStats.objects.filter(webhook_id=HourlyStats.ALL_WEBHOOKS)
    assert dict(every.values_list("organization_id", "delivered")) == {
        forge.organization.pk: 2, other.organization_id: 1, HourlyStats.ALL_ORGANIZATIONS: 3,
    }  # fmt: skip


def test_an_attempt_without_a_webhook_is_left_out(webhook: Webhook, now: datetime) -> None:
    add(webhook, at=now)
    Attempt.objects.update(webhook_id=987_654_321)

    assert count(now=now + HOUR) == 1
    assert rows() == []


def test_what_dies_before_its_commit_is_counted_again(
    webhook: Webhook, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(webhook, at=now)
    run, statements = hourly_stats.sql.run, []

    def die_at_the_end(statement: str, parameters: Any) -> Any:
        statements.append(statement)
        if statement == hourly_stats.NOTE_PROGRESS:
            raise RuntimeError("killed")
        return run(statement, parameters)

    with monkeypatch.context() as patched:
        patched.setattr(hourly_stats.sql, "run", die_at_the_end)
        with pytest.raises(RuntimeError, match="killed"):
            count(now=now + HOUR)
    assert hourly_stats.ADD_TO_HOURS in statements
    assert rows(webhook) == []

    assert count(now=now + HOUR) == 1
    assert rows(webhook) == [(now, 1)]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_counted_past_a_transaction_that_is_still_writing(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    at = datetime.now(UTC)
    settings = connection.get_connection_params()
    with psycopg.connect(
        **{key: settings[key] for key in ("dbname", "user", "password", "host", "port") if key in settings}
    ) as slow:
        slow.execute("UPDATE hookhub_webhook SET name = 'slow' WHERE id = %s", [webhook.pk])
        begun = slow.execute("SELECT xact_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone()
        assert begun is not None

        assert hourly_stats.countable_until(now=at + HOUR) == begun[0] - LAG
        slow.rollback()
    assert hourly_stats.countable_until(now=at + HOUR) == at + HOUR - LAG


def test_the_first_time_counts_from_the_oldest_attempt_on(webhook: Webhook, now: datetime) -> None:
    add(webhook, at=now - timedelta(days=20))

    assert count(now=now) == 1
    assert StatsProgress.objects.get().next_attempt == first_id_at(now - LAG)


def test_it_counts_seldom_when_there_is_nothing_left(
    webhook: Webhook, now: datetime, django_assert_num_queries: Any
) -> None:
    counting = HourlyCounting()
    counting.tick(now=now)
    add(webhook, at=now)

    with django_assert_num_queries(0):
        assert counting.tick(now=now + HOUR) == 0


def test_hours_past_the_retention_are_deleted(
    webhook: Webhook, now: datetime, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hourly_stats, "PRUNE_BATCH", 2)
    for days in range(6):
        add(webhook, at=now + timedelta(days=days))
    count(now=now + timedelta(days=6))
    settings.HOOKHUB_RETENTION = timedelta(days=2)
    later = now + timedelta(days=6)

    while hourly_stats.prune(now=later):
        pass

    kept = [now + timedelta(days=4), now + timedelta(days=5)]
    assert [hour for hour, _ in rows(webhook)] == [hour for hour, _ in rows()] == kept


def test_what_the_pipeline_settles_is_what_is_counted(
    forge: Forge, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(500), Answer(302), Answer(200)]
    forge.accept(3, now=now)
    deliver_due(sender, now=now)

    count(now=now + HOUR)

    row = HourlyStats.objects.get(webhook_id=webhook.pk)
    assert (row.delivered, row.server_errors, row.redirects) == (1, 1, 1)
    assert sum(row.latencies) == Attempt.objects.count() == 3


# The API -------------------------------------------------------------------------------------------------------------


def test_the_series_has_a_point_for_every_hour(forge: Forge, webhook: Webhook, now: datetime) -> None:
    caller = Caller.of(forge.organization)
    add(webhook, at=now)
    add(webhook, at=now, outcome="failed", status=500, duration=timedelta(milliseconds=100))
    add(webhook, at=now + 2 * HOUR, outcome="no_response", status=None, cause="response_timed_out")
    count(now=now + 4 * HOUR)
    query = "after=2026-03-04T11:30:00Z&before=2026-03-04T15:00:00Z"

    for path in (f"/v1/webhooks/{webhook.uid}", f"/v1/organizations/{forge.organization.slug}"):
        found = caller.get(f"{path}/timeseries?{query}").json()

        assert (found["step"], found["counted_until"]) == ("hour", "2026-03-04T15:59:00Z")
        assert [point["at"][11:13] for point in found["points"]] == ["11", "12", "13", "14"]
        empty, busy, _, slow = found["points"]
        assert (busy["attempts"], busy["delivered"], busy["failed"]["server_errors"]) == (2, 1, 1)
        assert 8 <= busy["p50_ms"] <= 12
        assert 90 <= busy["p99_ms"] <= 130
        assert (slow["attempts"], slow["failed"]["timeouts"], slow["p50_ms"]) == (1, 1, None)
        assert (empty["attempts"], empty["p50_ms"], set(empty["failed"].values())) == (0, None, {0})

    [day] = caller.get(f"{path}/timeseries?step=day&{query}").json()["points"]
    assert (day["at"], day["attempts"], day["delivered"]) == ("2026-03-04T00:00:00Z", 3, 1)


def test_before_anything_is_counted_every_point_is_zero(forge: Forge, webhook: Webhook) -> None:
    caller = Caller.of(forge.organization)

    found = caller.get(f"/v1/webhooks/{webhook.uid}/timeseries").json()

    assert found["counted_until"] is None
    assert len(found["points"]) in {24, 25}
    assert len(caller.get(f"/v1/webhooks/{webhook.uid}/timeseries?step=day").json()["points"]) in {30, 31}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("step=week", "step"),
        ("after=yesterday", "after"),
        ("before=2026-03-04", "before"),
        ("after=2026-03-04T12:00:00Z&before=2026-03-04T12:00:00Z", "after"),
        ("after=2020-03-04T12:00:00Z&before=2026-03-04T12:00:00Z", "after"),
        ("after=2020-03-04T12:00:00Z&before=2026-03-04T12:00:00Z&step=day", "after"),
        ("hours=3", "hours"),
    ],
)
def test_a_bad_period_names_the_parameter(forge: Forge, webhook: Webhook, query: str, field: str) -> None:
    found = Caller.of(forge.organization).get(f"/v1/webhooks/{webhook.uid}/timeseries?{query}")

    assert found.status_code == 422
    assert field in str(found.json())


def test_a_stranger_finds_nothing(forge: Forge, webhook: Webhook) -> None:
    stranger = Caller.of(Forge.make(forge.receiver, "globex").organization)

    assert stranger.get(f"/v1/webhooks/{webhook.uid}/timeseries").status_code == 404
    assert stranger.get(f"/v1/organizations/{forge.organization.slug}/timeseries").status_code == 404


def test_the_time_of_an_id_is_the_time_it_was_made_for(now: datetime) -> None:
    assert time_of(uuid7(now)) == now
    assert time_of(first_id_at(now + HOUR)) == now + HOUR
