"""Who may send a long body: only a caller whose API key is known, looked up before more of the body is read."""

from django.db import InterfaceError, OperationalError
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from hookhub.api import authentication
from hookhub.http.limits import Refusal


def refusal_of_key(header: str) -> Refusal | None:
    """Return why a caller with this Authorization header may not send a long body, or None."""
    try:
        now = timezone.now()
        key_id, secret = authentication.read_header(header)
        key = authentication.find_or_recall(key_id, now=now)
        # Where it comes from is asked when the request is whole.
        authentication.verified(key, secret, request=None, now=now)
    except AuthenticationFailed as error:
        return Refusal(401, "unauthenticated", str(error.detail))
    except (OperationalError, InterfaceError):
        return Refusal(503, "unavailable", "The database does not answer. Repeat the request in a moment.")
    return None
