"""When a webhook has failed for too long: the complete truth table."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from deliveries.policy.disabling import Reason, should_disable

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
BEFORE, AFTER = NOON - timedelta(microseconds=1), NOON + timedelta(microseconds=1)

# label: (first attempt of the latest exhausted delivery, last success, is the webhook failing)
FAILING = {
    "never gave up, never succeeded": (None, None, False),
    "never gave up, succeeded": (None, AFTER, False),
    "gave up, never succeeded": (NOON, None, True),
    "gave up, succeeded before": (NOON, BEFORE, True),
    "gave up, succeeded with its first attempt": (NOON, NOON, False),
    "gave up, succeeded since": (NOON, AFTER, False),
}
# label: (number of failures, allowed number, are there too many)
COUNTS = {
    "no strict count, no failure": (0, 0, False),
    "no strict count, many failures": (10_000, 0, False),
    "strict count, below": (2, 3, False),
    "strict count, reached": (3, 3, True),
    "strict count, beyond": (4, 3, True),
}


@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone"])
@pytest.mark.parametrize("auto_disable", [False, True], ids=["never by itself", "by itself"])
@pytest.mark.parametrize(("failing", "counted"), list(product(FAILING, COUNTS)))
def test_gone_comes_before_auto_disable_then_the_failure_limit_then_the_schedule(
    failing: str, counted: str, *, auto_disable: bool, gone: bool
) -> None:
    gave_up_since, last_success_at, is_failing = FAILING[failing]
    failure_count, failures_allowed, is_too_many = COUNTS[counted]

    reason = should_disable(
        auto_disable=auto_disable,
        gone=gone,
        gave_up_since=gave_up_since,
        last_success_at=last_success_at,
        failure_count=failure_count,
        failures_allowed=failures_allowed,
    )

    expected: Reason | None = None
    if gone:
        expected = "gone"
    elif auto_disable and is_too_many:
        expected = "too_many_failures"
    elif auto_disable and is_failing:
        expected = "failing"
    assert reason == expected
