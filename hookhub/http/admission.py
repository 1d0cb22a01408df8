"""Who may send a long body: only a caller that is known by its API key or session, before more of the body is read."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError, OperationalError, close_old_connections
from django.http import parse_cookie
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from hookhub.api import authentication
from hookhub.http.limits import Refusal


def refusal_of_caller(environ: Mapping[str, Any]) -> Refusal | None:
    """Return why the caller of a request may not send a long body, or None."""
    # As before each request: a connection that the server has ended is no reason to refuse one.
    close_old_connections()
    try:
        return None if _is_logged_in(environ) else _refusal_of_key(environ)
    except (OperationalError, InterfaceError):
        return Refusal(503, "unavailable", "The database does not answer. Repeat the request in a moment.")


def _refusal_of_key(environ: Mapping[str, Any]) -> Refusal | None:
    header = environ.get("HTTP_AUTHORIZATION") or f"Bearer {environ.get('HTTP_X_API_KEY', '')}"
    try:
        now = timezone.now()
        key_id, secret = authentication.read_header(header)
        key = authentication.find_or_recall(key_id, now=now)
        # Where it comes from is asked when the request is whole.
        authentication.verified(key, secret, request=None, now=now)
    except AuthenticationFailed as error:
        return Refusal(401, "unauthenticated", str(error.detail))
    return None


def _is_logged_in(environ: Mapping[str, Any]) -> bool:
    """Return whether a request without a key comes from a browser in which somebody has logged in."""
    if "HTTP_AUTHORIZATION" in environ or "HTTP_X_API_KEY" in environ:
        return False
    session = parse_cookie(environ.get("HTTP_COOKIE", "")).get(settings.SESSION_COOKIE_NAME, "")
    return bool(session) and "\0" not in session and SESSION_KEY in SessionStore(session)
