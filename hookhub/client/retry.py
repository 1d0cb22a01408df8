"""Decides whether a failed request is repeated, and after what pause."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

FIRST_BACKOFF = timedelta(seconds=0.5)
MAX_BACKOFF = timedelta(seconds=30)
# When Retry-After asks for more than this, raise the error and let the caller decide.
MAX_RETRY_AFTER = timedelta(minutes=2)

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


def is_transient(error: Exception) -> bool:
    """Return whether an error may pass: a network error, but not an invalid certificate or request."""
    transient = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, transient) and not isinstance(error, requests.exceptions.SSLError)


def never_arrived(error: Exception) -> bool:
    """Return whether the connection was never established, so that no byte can have reached the server."""
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, (NewConnectionError, ConnectTimeoutError))
