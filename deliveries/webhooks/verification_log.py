"""The log of a verification: one entry for each of its latest requests, kept in its row and deleted with it."""

from datetime import datetime, timedelta
from typing import TypedDict

# The schedule has fewer requests; more are those whose outcome is unknown, and those after "ask again".
MAX_KEPT = 10

VERIFIED, FAILED, NO_RESPONSE, UNKNOWN = "verified", "failed", "no_response", "unknown"
OUTCOMES = (VERIFIED, FAILED, NO_RESPONSE, UNKNOWN)


class Entry(TypedDict):
    """One request; ``started_at`` is in ISO form and ``duration`` in seconds. ``status`` is null without a response."""

    number: int
    started_at: str
    duration: float | None
    outcome: str
    status: int | None
    excerpt: str
    error: str


def with_entry(
    log: list[Entry],
    *,
    started_at: datetime,
    duration: timedelta,
    status: int | None,
    excerpt: str,
    error: str,
    is_proved: bool,
) -> list[Entry]:
    """Return a log with one more entry, and without its oldest if there are too many."""
    entry: Entry = {
        "number": log[-1]["number"] + 1 if log else 1,
        "started_at": started_at.isoformat(),
        "duration": round(duration.total_seconds(), 6),
        "outcome": VERIFIED if is_proved else NO_RESPONSE if status is None else FAILED,
        "status": status,
        "excerpt": excerpt,
        "error": error,
    }
    return [*log, entry][-MAX_KEPT:]


# The same in SQL, for a request whose process died. Only the end of its lease is known, so its beginning is computed.
WITH_LOST = f"""
(CASE WHEN jsonb_array_length(requests) >= {MAX_KEPT} THEN requests - 0 ELSE requests END) || jsonb_build_array(
    jsonb_build_object(
        'number', coalesce((requests -> -1 ->> 'number')::int, 0) + 1,
        'started_at', to_jsonb(leased_until - %(lasts)s::interval), 'duration', NULL, 'outcome', '{UNKNOWN}',
        'status', NULL, 'excerpt', '',
        'error', 'The worker that sent the request ended before the outcome was recorded; it is repeated.'
    )
)
"""
