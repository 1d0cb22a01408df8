"""Limits the request rate of each key or person; the framework checks it before every view."""

from collections.abc import Sequence

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from deliveries.rates import Standing, TooMany
from hookhub.http import rate_limits
from hookhub.models import ApiKey

# The key of a request's META under which its rate limit standings are kept.
STANDINGS = "hookhub.standings"


class RequestRate(BaseThrottle):
    """Raises TooMany above the limit, and keeps the caller's standings with the request."""

    def allow_request(self, request: Request, view: object) -> bool:
        """Count the request, unless it is unauthenticated: those are limited by address only."""
        caller = caller_of(request)
        if caller is not None:
            organization = request.auth.organization if isinstance(request.auth, ApiKey) else None
            try:
                standings = rate_limits.take_request(caller, organization)
            except TooMany as error:
                request.META[STANDINGS] = [error.standing]
                raise
            request.META[STANDINGS] = standings
            request.META["hookhub.rates"] = rate_limits.headers_of(standings)
        return True


def standings_of(request: Request) -> Sequence[Standing] | None:
    """Return the caller's standings after this request, or None if it was not counted."""
    found: Sequence[Standing] | None = request.META.get(STANDINGS)
    return found


def caller_of(request: Request) -> str | None:
    """Return the name under which a caller's requests are counted, or None for an unauthenticated one."""
    if isinstance(request.auth, ApiKey):
        return request.auth.key_id
    return None if request.user is None or request.user.pk is None else f"person-{request.user.pk}"
