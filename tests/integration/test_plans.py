"""PostgreSQL's plans for the pipeline's statements, planned while all tables are almost empty."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.backends.signals import connection_created

from deliveries import pipeline
from deliveries.db import arrays, sql
from deliveries.models import Delivery
from deliveries.pipeline import claiming
from deliveries.pipeline.capacity import Capacity
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from tests.receiver import Answer
from tests.story import Forge, attempt_all, forget_statistics

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("new_files")]

SCAN = re.compile(r"(?P<how>Seq|Index|Index Only|Bitmap Heap) Scan (using \w+ )?on (?P<table>hookhub_\w+)")

# Matches a scan of the whole log, or of all of a webhook's log, but not lookups by id in the same index.
WHOLE_LOG = re.compile(r"Seq Scan|delivery_log\w* on [\w ]+\n +Index Cond: \(webhook_id")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> dict[str, Mapping[str, object]]:
    """Record the statements that the pipeline executes from here on, each with the parameters of one execution."""
    asked: dict[str, Mapping[str, object]] = {}
    run, change = sql.run, sql.change

    def noting_run(statement: str, parameters: Mapping[str, object], **how: bool) -> list[sql.Row]:
        asked[statement] = parameters
        return run(statement, parameters, **how)

    def noting_change(statement: str, parameters: Mapping[str, object]) -> int:
        asked[statement] = parameters
        return change(statement, parameters)

    monkeypatch.setattr(sql, "run", noting_run)
    monkeypatch.setattr(sql, "change", noting_change)
    return asked


def plan_of(statement: str, parameters: Mapping[str, object]) -> list[str]:
    with transaction.atomic():
        sql.run(sql.PREFER_INDEXES.replace("false", "true"), {})
        return [line for (line,) in sql.run(f"EXPLAIN (COSTS OFF) {statement}", parameters)]


def whole_scans(plan: list[str]) -> list[str]:
    """Return the steps of a plan that read a whole table."""
    found = []
    for place, line in enumerate(plan):
        if scan := SCAN.search(line):
            following = plan[place + 1] if place + 1 < len(plan) else ""
            is_sought = "Index Cond" in following or "Recheck Cond" in following
            if not is_sought and "Limit" not in plan[place - 1]:
                found.append(scan.group())
    return found


def test_no_statement_of_the_pipeline_reads_a_whole_table(
    forge: Forge, sender: Sender, now: datetime, statements: dict[str, Mapping[str, object]]
) -> None:
    forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(status=500)
    later = now + timedelta(hours=1)

    pipeline.accept([forge.event(now=now)], now=now)
    claims = pipeline.fan_out(capacity=Capacity(10), now=now).claims
    pipeline.settle(attempt_all(claims, sender, now=now), now=now)
    claiming.promote_due(now=later)
    pipeline.settle(attempt_all(pipeline.claim(10, now=later), sender, now=later), now=later)
    pipeline.review(now=later)

    forget_statistics()
    assert len(statements) >= 9
    scans = {
        statement: found
        for statement, parameters in list(statements.items())
        if (found := whole_scans(plan_of(statement, parameters)))
    }
    assert scans == {}


def test_the_unfinished_deliveries_of_a_webhook_are_found_without_reading_its_log(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(2000, now=now)
    Delivery.objects.update(state="delivered", finish_reason="delivered", due_at=None, finished_at=now)
    asked: list[tuple[str, tuple[object, ...]]] = []

    def note(execute: Callable[..., object], statement: str, parameters: tuple[object, ...], *others: object) -> object:
        if statement.startswith("SELECT") and "hookhub_delivery" in statement:
            asked.append((statement, parameters))
        return execute(statement, parameters, *others)

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE hookhub_delivery")
    with connection.execute_wrapper(note):
        lifecycle.disable(webhook.pk, now=now)
        lifecycle.enable(webhook.pk, release_held=True, now=now)
        lifecycle.delete(webhook.pk, now=now)

    plans = []
    with connection.cursor() as cursor:
        for statement, parameters in asked:
            cursor.execute(f"EXPLAIN (COSTS OFF) {statement}", parameters)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
    hold = {"webhooks": arrays.bigints([webhook.pk]), "limit": sql.BATCH}
    plans.append("\n".join(plan_of(claiming.HOLD_DISABLED, hold)))
    assert len(plans) == 7
    assert [plan for plan in plans if WHOLE_LOG.search(plan)] == []


def test_a_workers_connections_prefer_indexes_and_compile_no_statement() -> None:
    sql.prefer_indexes()
    opened = connection.copy()
    try:
        with opened.cursor() as cursor:
            cursor.execute("SELECT current_setting('enable_seqscan'), current_setting('jit')")
            assert cursor.fetchone() == ("off", "off")
    finally:
        opened.close()
        connection_created.disconnect(dispatch_uid=sql.__name__)
