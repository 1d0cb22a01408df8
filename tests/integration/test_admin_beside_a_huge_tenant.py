"""The admin's front page for staff of one small organization costs the same however large another organization is."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse

from deliveries import pipeline
from deliveries.models import Attempt, AuditEntry, Delivery, Organization, Webhook
from hookhub.admin import dashboard
from hookhub.admin.logs import LogAdmin
from hookhub.models import Membership
from tests.integration.test_admin_access import staff
from tests.receiver import Receiver
from tests.story import Forge

pytestmark = pytest.mark.django_db

MANY = 3000
# No statement may read more than a few index entries of other organizations' rows.
MAX_ROWS = 300


@pytest.fixture(scope="module")
def small(rows_of_the_module: None, now: datetime) -> Iterator[Forge]:
    """Create an organization with one webhook and few rows, next to one with thousands of rows."""
    with Receiver() as receiver:
        yield fill(receiver, now=now)


def fill(receiver: Receiver, *, now: datetime) -> Forge:
    small, huge = Forge.make(receiver, "small"), Forge.make(receiver, "huge")
    for forge, count in ((small, 3), (huge, MANY)):
        forge.webhook(now=now)
        for _ in range(0, count, 1000):
            pipeline.accept([forge.event(now=now) for _ in range(min(count, 1000))], now=now)
    while pipeline.fan_out(now=now).events:
        pass
    Webhook.objects.update(last_delivery_at=now)
    for forge in (small, huge):
        deliveries = Delivery.objects.filter(organization=forge.organization)
        ids = list(deliveries.order_by("id").values_list("id", flat=True))
        third, [webhook] = len(ids) // 3, deliveries.values_list("webhook", flat=True).distinct()
        deliveries.filter(id__in=ids[:third]).update(
            state="failed", finish_reason="exhausted", finished_at=now, due_at=None, readiness=0
        )
        deliveries.filter(id__in=ids[third : 2 * third]).update(state="held", due_at=None, readiness=0)
        Attempt.objects.bulk_create(
            Attempt(
                delivery_id=pk, webhook_id=webhook, number=1, started_at=now,
                url="", request_headers="", outcome="no_response", response_headers="", response_body=b"", error="",
            )
            for pk in (ids[:1] if forge is small else ids)
        )  # fmt: skip
        pipeline.accept([forge.event(now=now) for _ in range(1 if forge is small else 1000)], now=now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE hookhub_delivery, hookhub_attempt, hookhub_outbox, hookhub_event, hookhub_webhook")
    return small


def index_scans(plan: dict[str, Any], table: str) -> list[str]:
    """Return the indexes of a table that a query plan scans, and the steps that sort or filter what they return."""
    own = ["Sort"] if "Sort" in plan["Node Type"] else []
    if plan.get("Relation Name") == table:
        own += [plan.get("Index Name", plan["Node Type"])]
        own += [f"Filter: {plan['Filter']}"] if "Filter" in plan else []
    return [*own, *(found for inner in plan.get("Plans", ()) for found in index_scans(inner, table))]


def rows_read(plan: dict[str, Any]) -> int:
    """Return how many rows the scans of a query plan read, including rows that were filtered out."""
    removed = sum(plan.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
    own = (plan["Actual Rows"] + removed) * plan["Actual Loops"] if "Relation Name" in plan else 0
    return int(own) + sum(rows_read(inner) for inner in plan.get("Plans", ()))


@contextmanager
def explained() -> Iterator[dict[str, dict[str, Any]]]:
    """Collect the executed plan of each SELECT during the block."""
    plans: dict[str, dict[str, Any]] = {}

    def explain(execute: Callable[..., object], sql: str, parameters: Any, *others: Any) -> object:
        if sql.startswith("SELECT") and "hookhub_" in sql:
            with connection.cursor() as cursor:
                cursor.cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {sql}", parameters)
                [(found,)] = cursor.cursor.fetchall()
            [plan] = json.loads(found) if isinstance(found, str) else found
            plans[sql] = plan["Plan"]
        return execute(sql, parameters, *others)

    with connection.execute_wrapper(explain):
        yield plans


@contextmanager
def measured() -> Iterator[dict[str, int]]:
    """Collect how many rows each SELECT reads during the block."""
    read: dict[str, int] = {}
    with explained() as plans:
        yield read
        read.update({sql: rows_read(plan) for sql, plan in plans.items()})


def test_no_statement_of_the_front_page_reads_what_another_organization_has(small: Forge, now: datetime) -> None:
    person = User.objects.create_user("sam", is_staff=True)
    Membership.objects.create(user=person, organization=small.organization)
    request = RequestFactory().get("/admin/")
    request.user = person

    with measured() as read:
        own = [small.organization.pk]
        metrics = {metric.title: metric.value for metric in dashboard.metrics(own, now=now)}
        oldest = dashboard.oldest_due(own, now=now + timedelta(hours=1))
        last = dashboard.latest_attempt_at(own)
        shown = dashboard.load(request)

    assert metrics == {
        "Ready": "1", "Sending": "0", "Scheduled": "0", "Held": "1", "Failed (last 24 hours)": "1",
        "Events awaiting fan-out": "1", "Failing webhooks": "0", "Unverified webhooks": "0", "Disabled webhooks": "0",
    }  # fmt: skip
    assert oldest is not None
    assert (oldest.organization, last) == (small.organization, now)
    assert shown.oldest is not None
    assert len(read) >= 10
    huge = [Organization.objects.get(slug="huge").pk]
    of_huge = {metric.title: metric.value for metric in dashboard.metrics(huge, now=now)}
    titles = ("Ready", "Held", "Failed (last 24 hours)", "Events awaiting fan-out")
    assert [of_huge[title] for title in titles] == ["1,000"] * 4
    assert {sql: rows for sql, rows in read.items() if rows > MAX_ROWS} == {}


def test_no_list_of_the_log_reads_what_another_organization_has(small: Forge) -> None:
    client = staff(small.organization)
    counts = {
        "delivery/": 3, "delivery/?state=failed": 1, "delivery/?state=held": 1, "delivery/?state=due": 1,
        "delivery/?state=later": 0, "event/": 4, "attempt/": 1, "attempt/?outcome=no_response": 1, "webhook/": 1,
    }  # fmt: skip
    found, read = {}, {}

    for page in counts:
        with measured() as rows:
            answer = client.get(f"/admin/deliveries/{page}")
        found[page], read[page] = len(answer.context["cl"].result_list), max(rows.values())

    assert found == counts
    assert {page: most for page, most in read.items() if most > MAX_ROWS} == {}


def test_every_index_of_a_log_serves_the_filters_that_it_is_declared_for(
    admin_client: Client, small: Forge, now: datetime
) -> None:
    # Each filter finds few rows, so that to filter the whole log is never the cheapest plan.
    AuditEntry.objects.bulk_create(
        AuditEntry(
            recorded_at=now, action=f"webhook.{number % 199}", actor_kind="user", actor_id=str(number % 201),
            target_kind="webhook", target_id=str(number % 202),
            organization=None if number % 203 else small.organization,
        )
        for number in range(3 * MANY)
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE hookhub_audit_entry")
        # So few rows would be sorted, whatever order the index has.
        cursor.execute("SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off")
    values = {
        "webhook": str(small.organization.webhooks.get().uid), "organization": "small",
        "target": "1", "actor": "1", "action": "webhook.1",
    }  # fmt: skip
    found, expected = {}, {}

    for log in (page for page in admin.site._registry.values() if isinstance(page, LogAdmin)):
        for index in log.indexes:
            query = {name: value or values[name] for name, _, value in (each.partition("=") for each in index.filters)}
            # There are no more deliveries in this state than requests in flight.
            is_short = index.filters == ("state=sending",)
            with explained() as plans, connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL enable_sort = {'on' if is_short else 'off'}")
                admin_client.get(reverse(f"admin:{log.opts.app_label}_{log.opts.model_name}_changelist"), query)
            [found[str(index)]] = [
                index_scans(plan, log.opts.db_table)
                for sql, plan in plans.items()
                if f'FROM "{log.opts.db_table}"' in sql and " LIMIT " in sql
            ]
            expected[str(index)] = ["Sort", index.name] if is_short else [index.name]

    assert len(found) == 18
    assert found == expected
