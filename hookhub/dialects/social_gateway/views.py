"""The base of SocialGateway's views: their names, error format and rate limits."""

from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import timezone
from deliveries.rates import Standing
from hookhub.dialects.base import DialectView
from hookhub.dialects.social_gateway.errors import render_error
from hookhub.dialects.social_gateway.openapi import GitHubError
from hookhub.http.throttling import standings_of

# Shown where this deployment has no limit: GitHub's own limit per hour. Clients stop at 0.
UNLIMITED = 5000
HOUR_SECONDS = 3600
RATE_HEADERS = {
    "limit": "X-RateLimit-Limit",
    "remaining": "X-RateLimit-Remaining",
    "used": "X-RateLimit-Used",
    "reset": "X-RateLimit-Reset",
}


class SocialGatewayView(DialectView):
    """The base of this dialect's views."""

    slug = "social-gateway"
    title = "SocialGateway"
    error_serializer = GitHubError
    render_error = staticmethod(render_error)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Add the headers by which GitHub's clients learn how many requests are left, if the request was counted."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        standings = standings_of(request)
        if standings is not None:
            rate = rate_of(standings, now=int(timezone.now().timestamp()))
            for name, value in rate_headers(rate).items():
                answer.headers[name] = value
        return answer


def rate_of(standings: Sequence[Standing], *, now: int) -> dict[str, int]:
    """Return the limit with the fewest requests left, as GET /rate_limit shows it; `reset` is in seconds since 1970."""
    if not standings:
        return {"limit": UNLIMITED, "remaining": UNLIMITED, "used": 0, "reset": now + HOUR_SECONDS}
    nearest = min(standings, key=lambda standing: standing.remaining)
    used = nearest.quota - nearest.remaining
    return {"limit": nearest.quota, "remaining": nearest.remaining, "used": used, "reset": now + nearest.reset}


def rate_headers(row: Mapping[str, int]) -> dict[str, str]:
    """Return the headers by which GitHub's clients pace themselves and recognize that a limit is exceeded."""
    return {**{RATE_HEADERS[field]: str(value) for field, value in row.items()}, "X-RateLimit-Resource": "core"}
