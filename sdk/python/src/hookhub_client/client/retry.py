"""Decides whether a failed request is repeated, and after what pause."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

FIRST_BACKOFF = timedelta(seconds=0.5)
MAX_BACKOFF = timedelta(seconds=30)
RETRIED_STATUSES = frozenset({429, 502, 503, 504})


def backoff(attempt: int, *, jitter: float) -> timedelta:
    """Return the pause after the failed attempt number ``attempt`` (from 1): exponential, capped, with jitter.

    ``jitter`` is a random number from 0 to 1, which scales the pause to between half and all of its length.
    """
    # The exponent is bounded far above the cap, so that the product cannot overflow.
    whole: timedelta = min(FIRST_BACKOFF * (1 << min(attempt - 1, 16)), MAX_BACKOFF)
    return whole * (0.5 + jitter / 2)


def retry_after(header: str | None, *, now: datetime) -> timedelta:
    """Return the wait that a Retry-After header asks for (seconds or an HTTP date); zero if it cannot be parsed."""
    if not header:
        return timedelta(0)
    if header.isascii() and header.isdigit():
        # ``int`` rejects numbers of more than a few thousand digits; ten say the same, since the result is capped.
        digits = header.lstrip("0") or "0"
        return timedelta(seconds=min(int(digits[:10]), 10**9))
    try:
        at = parsedate_to_datetime(header)
        return max(timedelta(0), (at if at.tzinfo else at.replace(tzinfo=timezone.utc)) - now)
    # Python 3.9 raises TypeError or IndexError for an invalid date; a year out of range raises OverflowError.
    except (ValueError, TypeError, IndexError, OverflowError):
        return timedelta(0)
