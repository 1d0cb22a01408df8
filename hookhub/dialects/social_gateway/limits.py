"""A key's rate limits in GitHub's shape."""

from collections.abc import Mapping, Sequence

from deliveries.rates import Standing

# Shown where this deployment has no limit: GitHub's own limit per hour. Clients stop at 0.
UNLIMITED = 5000
HOUR_SECONDS = 3600
NAMES = {
    "limit": "X-RateLimit-Limit",
    "remaining": "X-RateLimit-Remaining",
    "used": "X-RateLimit-Used",
    "reset": "X-RateLimit-Reset",
}


def row_of(standings: Sequence[Standing], *, now: int) -> dict[str, int]:
    """Return the limit with the fewest requests left, as GET /rate_limit shows it; `reset` is in seconds since 1970."""
    if not standings:
        return {"limit": UNLIMITED, "remaining": UNLIMITED, "used": 0, "reset": now + HOUR_SECONDS}
    nearest = min(standings, key=lambda standing: standing.remaining)
    used = nearest.quota - nearest.remaining
    return {"limit": nearest.quota, "remaining": nearest.remaining, "used": used, "reset": now + nearest.reset}


def headers_of(row: Mapping[str, int]) -> dict[str, str]:
    """Return the headers by which GitHub's clients pace themselves and recognize that a limit is exceeded."""
    return {**{NAMES[field]: str(value) for field, value in row.items()}, "X-RateLimit-Resource": "core"}
