"""The health that a batch of results gives each webhook: counted in order, each webhook separately."""

from datetime import datetime, timedelta

import pytest

from deliveries.pipeline.health import Health, health_of
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Response
from tests.unit.made_up import NOW, a_reply, a_result

OK, OOPS, GONE = a_reply(200), a_reply(500), a_reply(410)
SLOW, BROKEN = NoResponse("timeout", ""), NoResponse("protocol", "")


def at(second: int) -> datetime:
    return NOW + timedelta(seconds=second)


def health_after(*came: Response | NoResponse) -> Health:
    """Return the health after outcomes one second apart, whose results are passed in another order."""
    results = [a_result(one, at=at(second)) for second, one in enumerate(came)]
    [health] = health_of(results[::-2] + results[-2::-2])
    return health


# label: (outcomes, (succeeded, failures since the last success, timeouts in a row at the end, only timeouts))
COUNTED = {
    "one success": ([OK], (True, 0, 0, False)),
    "one failure": ([OOPS], (False, 1, 0, False)),
    "one timeout": ([SLOW], (False, 1, 1, True)),
    "only failures": ([OOPS, BROKEN, GONE], (False, 3, 0, False)),
    "only timeouts": ([SLOW, SLOW, SLOW], (False, 3, 3, True)),
    "success first": ([OK, OOPS, OOPS], (True, 2, 0, False)),
    "success in the middle": ([OOPS, OOPS, OK, OOPS], (True, 1, 0, False)),
    "success last": ([OOPS, OOPS, OK], (True, 0, 0, False)),
    "timeouts around a success": ([SLOW, SLOW, OK, SLOW], (True, 1, 1, False)),
    "timeouts around a refusal": ([SLOW, SLOW, OOPS, SLOW], (False, 4, 1, False)),
    "timeouts before a refusal": ([SLOW, SLOW, OOPS], (False, 3, 0, False)),
    "another kind of loss is no timeout": ([SLOW, BROKEN], (False, 2, 0, False)),
}


@pytest.mark.parametrize(("came", "counted"), COUNTED.values(), ids=COUNTED)
def test_failures_and_timeouts_are_counted_in_the_order_in_which_the_attempts_ended(
    came: list[Response | NoResponse], counted: tuple[bool, int, int, bool]
) -> None:
    health = health_after(*came)

    assert (health.succeeded, health.failures, health.timeouts, health.timed_out_only) == counted


def test_the_last_attempt_gives_the_status_and_the_time() -> None:
    health = health_after(OK, OOPS, SLOW)

    assert (health.last_at, health.last_status, health.success_at) == (at(2), "timeout", at(0))


def test_each_webhook_is_counted_separately() -> None:
    results = [a_result(OK, webhook_id=2), a_result(OOPS, webhook_id=1), a_result(SLOW, webhook_id=1)]

    found = {health.webhook_id: (health.succeeded, health.failures) for health in health_of(results)}

    assert found == {1: (False, 2), 2: (True, 0)}


def test_no_results_make_no_health() -> None:
    assert health_of([]) == []


def patience(seconds: int, status: int = 429) -> Response:
    return a_reply(status, headers={"Retry-After": str(seconds)})


RESTS = {
    "nobody asked": ([OOPS], None),
    "429": ([patience(60)], at(60)),
    "503": ([patience(60, 503)], at(60)),
    "502 cannot ask": ([patience(60, 502)], None),
    "the longest holds": ([patience(60), patience(5)], at(60)),
    "each counts from its own end": ([patience(60), patience(60)], at(61)),
    "a success does not lift it": ([patience(60), OK], at(60)),
    "at once": ([patience(0)], at(0)),
}


@pytest.mark.parametrize(("came", "until"), RESTS.values(), ids=RESTS)
def test_retry_after_backs_off_the_whole_webhook(came: list[Response | NoResponse], until: datetime | None) -> None:
    assert health_after(*came).backoff_until == until


def test_gone_is_kept_whatever_follows() -> None:
    assert health_after(GONE, OK, OOPS).gone_at == at(0)


MINUTE = [timedelta(minutes=1)]
REVIEWED = {
    "used up": ({"failures": 1, "retry_schedule": MINUTE}, OOPS, NOW),
    "used up by a timeout": ({"failures": 1, "retry_schedule": MINUTE}, SLOW, NOW),
    "not used up": ({"failures": 0, "retry_schedule": MINUTE}, OOPS, None),
    "succeeded at last": ({"failures": 1, "retry_schedule": MINUTE}, OK, None),
    "gone is no giving up": ({"failures": 1, "retry_schedule": MINUTE}, GONE, None),
    "no retries, nothing to use up": ({"failures": 0, "retry_schedule": []}, OOPS, None),
    "a format without retries": ({"failures": 0, "retry_schedule": None, "format": "coregit"}, OOPS, None),
}


@pytest.mark.parametrize(("facts", "came", "since"), REVIEWED.values(), ids=REVIEWED)
def test_an_exhausted_schedule_marks_the_webhook_for_review(
    facts: dict[str, object], came: Response | NoResponse, since: datetime | None
) -> None:
    [health] = health_of([a_result(came, at=at(5), **facts)])

    assert health.review_since == since


def test_of_two_exhausted_deliveries_the_later_first_attempt_counts() -> None:
    late = a_result(OOPS, at=at(9), failures=1, first_attempt_at=at(5))
    early = a_result(OOPS, at=at(10), failures=1, first_attempt_at=at(1))

    [health] = health_of([late, early])

    assert health.review_since == at(5)


def test_a_rejected_message_does_not_mark_its_webhook_for_review_but_an_exhausted_schedule_does() -> None:
    [bad_message] = health_of([a_result(a_reply(403), format="slack")])
    [bad_day] = health_of([a_result(a_reply(500), format="slack", failures=1)])

    assert (bad_message.failures, bad_message.review_since, bad_message.gone_at) == (1, None, None)
    assert (bad_day.failures, bad_day.review_since, bad_day.gone_at) == (1, NOW, None)
