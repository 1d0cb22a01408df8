"""Admits long bodies: the caller must be known by API key or session before more of the body is read."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError, OperationalError, close_old_connections
from django.http import parse_cookie
from rest_framework.exceptions import AuthenticationFailed

from deliveries import timezone
from hookhub.http import authentication
from hookhub.http.early_refusals import EarlyRefusal


def refusal_of_caller(environ: Mapping[str, Any]) -> EarlyRefusal | None:
    """Return the refusal of a caller that must not send a long body, or None."""
    # As Django does before each request: discard a connection that PostgreSQL has closed, or the request would fail on
    # it.
    close_old_connections()
    try:
        return None if _is_logged_in(environ) else _refusal_of_key(environ)
    except (OperationalError, InterfaceError):
        return EarlyRefusal(503, "unavailable", "The database is unavailable. Retry the request in a moment.")


def _refusal_of_key(environ: Mapping[str, Any]) -> EarlyRefusal | None:
    header = environ.get("HTTP_AUTHORIZATION") or f"Bearer {environ.get('HTTP_X_API_KEY', '')}"
    try:
        now = timezone.now()
        key_id, secret = authentication.read_header(header)
        key = authentication.cached_key(key_id, now=now)
        # The address is checked once the request has been read completely.
        authentication.verified(key, secret, environ=None, now=now)
    except AuthenticationFailed as error:
        return EarlyRefusal(401, "unauthenticated", str(error.detail))
    return None


def _is_logged_in(environ: Mapping[str, Any]) -> bool:
    """Return whether a request without an API key carries the session cookie of a logged-in user."""
    if "HTTP_AUTHORIZATION" in environ or "HTTP_X_API_KEY" in environ:
        return False
    session = parse_cookie(environ.get("HTTP_COOKIE", "")).get(settings.SESSION_COOKIE_NAME, "")
    return bool(session) and "\0" not in session and SESSION_KEY in SessionStore(session)
