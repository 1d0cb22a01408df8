"""The outage: when the worker loop tries an unavailable database again, and since when it could not settle."""

from datetime import timedelta

from deliveries.worker.outage import Outage

SPAN = timedelta(seconds=5)


def test_at_first_the_database_is_taken_for_available() -> None:
    outage = Outage()

    assert not outage.is_waiting(now=0)
    assert not outage.is_unsettled
    assert not outage.has_lasted(timedelta(0), now=10)


def test_after_a_failure_the_database_is_left_alone_for_half_a_second() -> None:
    outage = Outage()

    outage.failed(now=10)

    assert outage.is_waiting(now=10.499)
    assert not outage.is_waiting(now=10.5)
    # A poll that failed says nothing about the results.
    assert not outage.is_unsettled
    assert not outage.has_lasted(SPAN, now=60)


def test_when_settling_fails_the_outage_lasts_from_the_first_failure_until_results_are_settled() -> None:
    outage = Outage()

    for now in (10, 10.5, 14):
        outage.settling_failed(now=now)

    assert outage.is_waiting(now=14.499)
    assert not outage.is_waiting(now=14.5)
    assert outage.is_unsettled
    assert not outage.has_lasted(SPAN, now=14.999)
    assert outage.has_lasted(SPAN, now=15)

    outage.settled()
    assert not outage.is_unsettled
    assert not outage.has_lasted(SPAN, now=60)
    outage.settling_failed(now=100)
    assert not outage.has_lasted(SPAN, now=104.999)
