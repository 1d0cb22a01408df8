"""The pace of a webhook's requests: no window has more than a limit allows, however late requests start within it."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

import pytest

from deliveries.policy.pace import MINUTE, Pace, next_request_at, pace_of, stricter
from deliveries.policy.rate_limits import RateLimit

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)

LIMITS = [
    RateLimit(requests, per)
    for requests, per in product((1, 2, 9, 10, 11, 19, 20, 99, 100, 1234, 10_000), (1, 2, 7, 10, 16, 17, 60, 3600))
    if per <= 10 * requests and requests <= 10_000 * per
]


def test_a_webhook_without_a_limit_has_no_pace() -> None:
    assert pace_of(None, allowed_rate=None) is None


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.requests} in {limit.per} s")
def test_no_window_has_more_than_a_tenth_above_the_limit_and_the_pace_is_close_to_it(limit: RateLimit) -> None:
    pace = pace_of(limit, allowed_rate=None)
    assert pace is not None
    window, most = timedelta(seconds=limit.per), limit.requests + limit.requests // 10

    # One more than allowed, the first of which starts as late as it may, and the last at once.
    assert most * pace.interval - pace.lag > window
    # Something is left for the network.
    assert most * pace.interval - pace.lag - window >= pace.lag / 2
    # Never faster than the limit says, and at seven eighths of it or more.
    assert window / limit.requests <= pace.interval <= window / limit.requests * 1.126
    # Worth more than half of a window's slots, even of the slowest.
    assert pace.lag >= timedelta(milliseconds=75)


@pytest.mark.parametrize("allowed", [1, 2, 30, 60, 600, 100_000])
def test_no_minute_has_more_than_a_receiver_allows(allowed: int) -> None:
    pace = pace_of(None, allowed_rate=allowed)
    assert pace is not None

    assert allowed * pace.interval >= MINUTE + 2 * SECOND
    assert pace == Pace(pace.interval, 1.2 * SECOND, MINUTE)


# The owner's limit, what the receiver allows a minute, and whose limit holds.
BOTH = {
    "none": (None, None, None),
    "the owner's alone": (RateLimit(10, 1), None, "owner"),
    "the receiver's alone": (None, 60, "receiver"),
    "the owner's is lower": (RateLimit(1, 2), 60, "owner"),
    "the receiver's is lower": (RateLimit(10, 1), 60, "receiver"),
    "much the same": (RateLimit(60, 60), 60, "receiver"),
}


@pytest.mark.parametrize(("limit", "allowed", "whose"), BOTH.values(), ids=BOTH)
def test_the_stricter_of_two_limits_holds(limit: RateLimit | None, allowed: int | None, whose: str | None) -> None:
    assert stricter(limit, allowed_rate=allowed) == whose

    both = pace_of(limit, allowed_rate=allowed)
    alone = [pace for pace in (pace_of(limit, allowed_rate=None), pace_of(None, allowed_rate=allowed)) if pace]
    if both is None:
        assert alone == []
    else:
        assert both.interval == max(pace.interval for pace in alone)
        assert both.lag == min(pace.lag for pace in alone)
        assert both.window == max(pace.window for pace in alone)


TENTH, TEN = timedelta(seconds=0.1), timedelta(seconds=10)
# The interval before and after (None: no limit), the window of the new limit, the next turn before, requests in flight,
# and the next turn after; in seconds from now.
CHANGES = {
    "a limit for an idle webhook": (None, 0.1, 1, None, 0, None),
    "requests in flight count": (None, 0.1, 1, None, 4, 0.4),
    "for one window at most": (None, 0.1, 1, None, 500, 1),
    "the limit is removed": (0.1, None, None, 0.3, 9, None),
    "nothing was sent yet": (0.1, 1, 1, None, 0, None),
    "its turn has come": (0.1, 1, 1, -5, 0, -5),
    "a lower limit counts the turns that are taken": (0.1, 0.5, 9, 0.3, 0, 1.5),
    "for one window": (0.1, 0.5, 1, 0.3, 0, 1),
    "a higher limit takes effect at once": (10, 0.1, 1, 9, 0, 0.09),
    "after the last turn that is taken": (0.5, 0.1, 1, 0.7, 0, 0.3),
}


@pytest.mark.parametrize(("before", "after", "window", "turn", "in_flight", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_a_change_does_to_the_next_turn(
    before: float | None, after: float | None, window: float | None, turn: float | None, in_flight: int,
    expected: float | None,
) -> None:  # fmt: skip
    pace = None if after is None or window is None else Pace(after * SECOND, TENTH, window * SECOND)

    found = next_request_at(
        None if before is None else before * SECOND,
        pace,
        next_at=None if turn is None else NOW + turn * SECOND,
        in_flight=in_flight,
        now=NOW,
    )

    assert found == (None if expected is None else NOW + expected * SECOND)


@pytest.mark.parametrize(("slow", "fast"), [((1, 10), (10_000, 1)), ((5, 1), (10, 1)), ((60, 60), (100, 60))])
def test_changing_a_limit_to_and_fro_does_not_raise_it(slow: tuple[int, int], fast: tuple[int, int]) -> None:
    paces = [pace for limit in (slow, fast) if (pace := pace_of(RateLimit(*limit), allowed_rate=None))]
    now, next_at = NOW, NOW
    turns = []
    for change in range(200):
        before, after = paces[change % 2], paces[(change + 1) % 2]
        # One turn if it has come, and a change right after it.
        if next_at <= now:
            turns.append(now)
            next_at = now + before.interval
        next_at = next_request_at(before.interval, after, next_at=next_at, in_flight=0, now=now) or now
        now += timedelta(milliseconds=1)

    assert all(later - earlier >= paces[1].interval for earlier, later in pairwise(turns))
