"""The rate of requests of a key or a person, asked by the framework before every view."""

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from hookhub import rate_limits
from hookhub.models import ApiKey


class RequestRate(BaseThrottle):
    """Raises TooMany beyond the limit, and leaves where the caller stands with the request."""

    def allow_request(self, request: Request, view: object) -> bool:
        """Count the request; strangers are counted by their address only."""
        del view
        caller = caller_of(request)
        if caller is not None:
            organization = request.auth.organization if isinstance(request.auth, ApiKey) else None
            standings = rate_limits.take_request(caller, organization)
            request.META["hookhub.rates"] = rate_limits.headers_of(standings)
        return True


def caller_of(request: Request) -> str | None:
    """Return what a caller is counted as, or None for a stranger."""
    if isinstance(request.auth, ApiKey):
        return request.auth.key_id
    return None if request.user is None or request.user.pk is None else f"person-{request.user.pk}"
