"""When to retry: the schedule, its jitter, Retry-After, and the backoff of webhooks that time out."""

from datetime import UTC, datetime, timedelta

import pytest

from deliveries.policy.outcomes import Delivered, Failed, Gone, NoResponse, Outcome
from deliveries.policy.retry import Decision, Finish, GiveUp, RetryAt, backoff_for, decide, delay_before_retry

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SCHEDULE = (MINUTE, timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=6))
FAILED = Failed(500)
NO_RESPONSE = NoResponse("timeout", "")


def decided(
    outcome: Outcome, *, failures: int = 0, schedule: tuple[timedelta, ...] = SCHEDULE, jitter: float = 0.0
) -> Decision:
    return decide(outcome, failures=failures, schedule=schedule, now=NOW, jitter=jitter)


@pytest.mark.parametrize("failures", [0, 3, 5, 99])
@pytest.mark.parametrize(
    ("outcome", "decision"), [(Delivered(200), Finish()), (Gone(410), GiveUp("gone"))], ids=["delivered", "gone"]
)
def test_success_and_gone_finish_at_any_step(outcome: Outcome, decision: Decision, failures: int) -> None:
    assert decided(outcome, failures=failures) == decision


@pytest.mark.parametrize("outcome", [FAILED, NO_RESPONSE, NoResponse("unrenderable", ""), Failed(302)], ids=repr)
def test_any_other_outcome_follows_the_schedule_and_then_gives_up(outcome: Outcome) -> None:
    assert [decided(outcome, failures=failures) for failures in range(7)] == [
        *(RetryAt(NOW + step) for step in SCHEDULE),
        GiveUp("exhausted"),
        GiveUp("exhausted"),
    ]


def test_an_empty_schedule_is_one_attempt() -> None:
    assert decided(FAILED, schedule=()) == GiveUp("exhausted")
    assert decided(Delivered(200), schedule=()) == Finish()


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [(0.0, timedelta(minutes=5)), (0.5, timedelta(minutes=5, seconds=15)), (1.0, timedelta(minutes=5, seconds=30))],
)
def test_jitter_lengthens_a_wait_by_up_to_a_tenth_and_never_shortens_it(jitter: float, expected: timedelta) -> None:
    assert decided(FAILED, failures=1, jitter=jitter) == RetryAt(NOW + expected)


ASKED = {
    "nothing": (None, 0.0, MINUTE),
    "at once": (timedelta(0), 0.0, MINUTE),
    "less than promised": (timedelta(seconds=59), 0.0, MINUTE),
    "more than promised": (timedelta(seconds=61), 0.0, timedelta(seconds=61)),
    "less than promised with jitter": (timedelta(seconds=61), 1.0, timedelta(seconds=66)),
    "a day": (timedelta(hours=24), 1.0, timedelta(hours=24)),
}


@pytest.mark.parametrize(("asked", "jitter", "expected"), ASKED.values(), ids=ASKED)
def test_retry_after_can_only_lengthen_a_wait(asked: timedelta | None, jitter: float, expected: timedelta) -> None:
    assert delay_before_retry(Failed(429, asked), step=MINUTE, jitter=jitter) == expected


def test_retry_after_gives_no_attempt_beyond_the_schedule() -> None:
    assert decided(Failed(503, MINUTE), failures=5) == GiveUp("exhausted")


RESTS = {0: None, 1: None, 9: None, 10: 10, 11: 20, 12: 40, 13: 80, 14: 160, 15: 300, 16: 300, 10_000: 300, 2**31: 300}


@pytest.mark.parametrize(("timeouts", "seconds"), RESTS.items())
def test_repeated_timeouts_double_the_backoff_up_to_five_minutes(timeouts: int, seconds: int | None) -> None:
    assert backoff_for(timeouts, in_flight_limit=10) == (None if seconds is None else timedelta(seconds=seconds))


RESTS_OF_MANY = {9: None, 10: 10, 49: 10, 50: 10, 51: 20, 52: 40}


@pytest.mark.parametrize(("timeouts", "seconds"), RESTS_OF_MANY.items())
def test_requests_that_time_out_together_count_as_one_cause(timeouts: int, seconds: int | None) -> None:
    assert backoff_for(timeouts, in_flight_limit=50) == (None if seconds is None else timedelta(seconds=seconds))


def test_a_rejected_message_is_not_retried_at_any_step() -> None:
    assert decided(Failed(400, is_final=True)) == GiveUp("exhausted")
