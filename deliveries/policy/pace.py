"""The pace at which a webhook's requests start: at even intervals, so that no window has more than a limit allows.

Two may hold: the rate limit that its owner has set, and the requests a minute that its receiver allows.
"""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from deliveries.policy.rate_limits import RateLimit

MINUTE = timedelta(minutes=1)
# Requests start a little late, and need a while to reach the receiver. So the intervals are such that not only a window
# has no more than the limit, but also a longer one: by this share of it, and at most by MAX_SLACK.
SLACK = 1 / 8
MAX_SLACK = timedelta(seconds=2)
# The part of the slack by which a request may start late. The rest is for the network, and for the clocks of workers.
LATE_PART = 3 / 5


class Pace(NamedTuple):
    """At least ``interval`` from one request to the next, each started within ``lag`` of its time.

    ``window`` is the longest of the limits' windows.
    """

    interval: timedelta
    lag: timedelta
    window: timedelta


def pace_of(owners: RateLimit | None, *, allowed_rate: int | None) -> Pace | None:
    """Return the pace that keeps to an owner's limit and to what a receiver allows a minute; None without a limit."""
    paces = []
    if owners is not None:
        paces.append(_owners_pace(owners))
    if allowed_rate is not None:
        paces.append(_pace(allowed_rate, MINUTE))
    if not paces:
        return None
    intervals, lags, windows = zip(*paces, strict=True)
    return Pace(max(intervals), min(lags), max(windows))


def stricter(owners: RateLimit | None, *, allowed_rate: int | None) -> Literal["owner", "receiver"] | None:
    """Return whose limit holds, because it asks for the longer intervals; None without a limit."""
    if owners is None:
        return None if allowed_rate is None else "receiver"
    if allowed_rate is None:
        return "owner"
    return "owner" if _owners_pace(owners).interval >= _pace(allowed_rate, MINUTE).interval else "receiver"


def _owners_pace(limit: RateLimit) -> Pace:
    window = timedelta(seconds=limit.per)
    pace = _pace(limit.requests + limit.requests // 10, window)
    # The tenth is for bunches of requests, not for more of them.
    return pace._replace(interval=max(pace.interval, _divided(window, limit.requests)))


def _pace(most: int, window: timedelta) -> Pace:
    """Return the pace at which each window has ``most`` requests, however late these start within its lag."""
    slack = min(window * SLACK, MAX_SLACK)
    return Pace(_divided(window + slack, most), slack * LATE_PART, window)


def _divided(span: timedelta, parts: int) -> timedelta:
    """Return a part of a span, rounded up to whole microseconds, which is what PostgreSQL stores."""
    return -(-span // parts)


def next_request_at(
    interval: timedelta | None, after: Pace | None, *, next_at: datetime | None, in_flight: int, now: datetime
) -> datetime | None:
    """Return when the next request may start after a change of the pace; None for at once, or without a limit.

    ``interval`` was that of the pace before, and ``next_at`` the next turn. Requests that were claimed before count
    against the new limit, for one window at most: those whose turn is yet to come, the last of which comes one interval
    before ``next_at``; without a pace before, those ``in_flight``.
    """
    if after is None:
        return None
    if interval is None:
        return now + min(in_flight * after.interval, after.window) if in_flight else None
    if next_at is None or next_at <= now:
        return next_at
    counted = (next_at - now) * (after.interval / interval)
    return max(now + min(counted, after.window), next_at - interval + after.interval)
