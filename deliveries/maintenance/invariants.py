"""Check the invariants that hold between events, deliveries and attempts at all times, with one query each.

Each query reads one snapshot, and each step of the pipeline is one transaction, so a violation is real even while
workers are busy. ``invariant_checks`` lists the queries.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from deliveries.db import sql
from deliveries.maintenance.check import Check, Verdict
from deliveries.maintenance.invariant_checks import CHECKS
from deliveries.pipeline.filtering import PAYLOADS
from deliveries.policy import filters

MAX_EXAMPLES = 20
MAX_COUNT = 10_000
# How long an event may wait for fan-out, and an expired lease for rescue: the scheduler checks for both once a second.
GRACE = timedelta(minutes=1)
# A change of a webhook is dated when it was requested but commits a little later, after a DNS lookup. An event fanned
# out in between is matched against the old subscription.
SETTLING = timedelta(seconds=10)
# Pruning continues while the checks run.
RETENTION_MARGIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check: the number of violations, counted up to MAX_COUNT, and the first of them."""

    check: Check
    count: int
    is_at_least: bool
    sample: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Return ``ok``, or the severity of a violation of this check."""
        return self.check.broken if self.count else "ok"


@dataclass(frozen=True, slots=True)
class Totals:
    """The number of rows in each table, and of deliveries by state."""

    events: int
    deliveries: int
    attempts: int
    states: dict[str, int]


def check_all(
    *, now: datetime, grace: timedelta = GRACE, settling: timedelta = SETTLING, within: timedelta | None = None
) -> Iterator[CheckResult]:
    """Run CHECKS one after another and yield the result of each.

    ``grace`` is how long an event or an expired lease may wait before it counts as a violation. Missing deliveries are
    only reported for events accepted ``within`` that time before ``now`` (default: the retention period), since those
    of older events may have been pruned. They are reported as doubtful, not as lost, if the webhook was changed less
    than ``settling`` before the event.
    """
    horizon = now - (settings.HOOKHUB_RETENTION if within is None else within) + RETENTION_MARGIN
    parameters = {
        "now": now,
        "overdue": now - grace,
        "settling": settling,
        "horizon": horizon,
        "count_most": MAX_COUNT + 1,
        "sample_most": MAX_EXAMPLES,
    }
    for check in CHECKS:
        count, sample = _run_without_timeout(COUNT_VIOLATIONS.format(sql=check.sql), parameters)[0]
        if check.of_filtered and _run_without_timeout(HAS_FILTERED, {})[0][0]:
            more = list(islice(_accepted(check.of_filtered, parameters), MAX_COUNT + 1))
            count, sample = count + len(more), sorted([*sample, *more])[:MAX_EXAMPLES]
        yield CheckResult(check, min(count, MAX_COUNT), is_at_least=count > MAX_COUNT, sample=tuple(sample))


def count_all() -> Totals:
    """Return the totals; reads whole tables."""
    events, attempts = _run_without_timeout(COUNT_EVENTS_AND_ATTEMPTS, {})[0]
    states: dict[str, int] = dict(_run_without_timeout(COUNT_STATES, {}))
    return Totals(events=events, deliveries=sum(states.values()), attempts=attempts, states=states)


def _run_without_timeout(query: str, parameters: dict[str, object]) -> list[sql.Row]:
    """Run a statement that may take long, because it reads whole tables."""
    with transaction.atomic():
        sql.run(sql.ALLOW_ANY_TIME, {})
        return sql.run(query, parameters)


def _accepted(query: str, parameters: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a query whose data passes the filter beside it, with a few rows in memory at a time."""
    with transaction.atomic():
        sql.run(sql.ALLOW_ANY_TIME, {})
        with connection.chunked_cursor() as cursor:
            cursor.execute(query, parameters)
            while rows := cursor.fetchmany(PAYLOADS):
                for line, payload_filter, payload in rows:
                    if filters.accepts(json.loads(payload_filter), filters.fields_of(bytes(payload))):
                        yield line


HAS_FILTERED = "SELECT EXISTS (SELECT FROM hookhub_webhook WHERE payload_filter IS NOT NULL AND deleted_at IS NULL)"

# Bounds the result to a count and a few lines, however many violations there are.
COUNT_VIOLATIONS = """
WITH found (line) AS MATERIALIZED ({sql} LIMIT %(count_most)s)
SELECT (SELECT count(*) FROM found), ARRAY(SELECT line FROM found ORDER BY line LIMIT %(sample_most)s)
"""

COUNT_EVENTS_AND_ATTEMPTS = """
SELECT (SELECT count(*) FROM hookhub_event), (SELECT count(*) FROM hookhub_attempt)
"""

COUNT_STATES = "SELECT state, count(*) FROM hookhub_delivery GROUP BY state ORDER BY state"
