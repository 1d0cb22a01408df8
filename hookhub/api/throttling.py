"""The rate of requests of a key or a person, asked by the framework before every view."""

from collections.abc import Sequence

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from deliveries.rates import Standing, TooMany
from hookhub import rate_limits
from hookhub.models import ApiKey

# Where a request remembers what was counted for it.
STANDINGS = "hookhub.standings"


class RequestRate(BaseThrottle):
    """Raises TooMany beyond the limit, and leaves where the caller stands with the request."""

    def allow_request(self, request: Request, view: object) -> bool:
        """Count the request; strangers are counted by their address only."""
        del view
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
    """Return where the caller stands after this request, or None where none was counted."""
    found: Sequence[Standing] | None = request.META.get(STANDINGS)
    return found


def caller_of(request: Request) -> str | None:
    """Return what a caller is counted as, or None for a stranger."""
    if isinstance(request.auth, ApiKey):
        return request.auth.key_id
    return None if request.user is None or request.user.pk is None else f"person-{request.user.pk}"
