"""Rate-limits login attempts before a password is hashed, and logs each with its address and user name."""

import hashlib
import logging
import secrets
import time
import unicodedata
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from deliveries import rates, secret_text
from deliveries.rates import Policy, TooMany
from hookhub.http import rate_limits
from hookhub.http.client_address import address_of, subject_of

log = logging.getLogger("hookhub.logins")

WINDOW = timedelta(minutes=5)
BY_ADDRESS = Policy("logins-of-address", WINDOW)
BY_NAME = Policy("logins-of-name", WINDOW)
VIEWS = frozenset({"admin:login", "rest_framework:login", "account_login"})
# Attempts from a browser in which the user has logged in before are counted separately, so that strangers who try the
# user's name cannot lock the user out.
KNOWN_DEVICE = timedelta(days=90)
SALT = "hookhub.logins.device"
# The maximum length of Django's user names. The form rejects a longer one before it looks up the user.
MAX_NAME_LENGTH = 150


class LimitLogins:
    """Middleware that rejects login attempts beyond the limits; successful ones do not count."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Call the view, and log how a login attempt ended."""
        response = self.get_response(request)
        attempt: Attempt | None = request.META.get("hookhub.login")
        if attempt is not None:
            attempt.finish(request, response)
        return response

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: Mapping[str, Any]
    ) -> HttpResponse | None:
        """Count an attempt before the view hashes its password; return a 429 response beyond the limits."""
        matched = request.resolver_match
        if request.method != "POST" or matched is None or matched.view_name not in VIEWS:
            return None
        attempt = Attempt(request)
        try:
            attempt.count()
        except TooMany as error:
            log.warning("login throttled: name %r, address %s", secret_text.masked(attempt.name), attempt.address)
            wait = error.standing.reset
            text = f"Too many login attempts. Try again in {wait} seconds.\n"
            headers = rate_limits.refusal_headers(error.standing)
            return HttpResponse(text, status=429, content_type="text/plain; charset=utf-8", headers=headers)
        request.META["hookhub.login"] = attempt
        return None


class Attempt:
    """One login attempt."""

    def __init__(self, request: HttpRequest) -> None:
        self.name = looked_up_name(request.POST.get("username") or request.POST.get("login", ""))
        self.address = address_of(request.META)
        digest = hashlib.sha256(self.name.lower().encode(errors="replace")).hexdigest()[:24]
        device = device_of(request, digest)
        self.digest = digest
        self.counted = (
            (BY_ADDRESS, subject_of(self.address), settings.HOOKHUB_LOGINS_PER_ADDRESS),
            (BY_NAME, f"{digest}:{device}" if device else digest, settings.HOOKHUB_LOGINS_PER_NAME),
        )

    def count(self) -> None:
        """Count the attempt, which is taken back if it succeeds; raise TooMany."""
        for policy, subject, quota in self.counted:
            rates.take(policy, subject, quota=quota, now=time.time())

    def finish(self, request: HttpRequest, response: HttpResponse) -> None:
        """Log how the attempt ended; if it succeeded, take back its count and mark the browser as known."""
        if response.status_code != 302 or not request.user.is_authenticated:
            log.warning("login failed: name %r, address %s", secret_text.masked(self.name), self.address)
            return
        log.info("login succeeded: name %r, address %s", self.name, self.address)
        for policy, subject, quota in self.counted:
            if quota:
                rates.counters().spend(policy, subject, -1, now=time.time())
        value = signing.dumps([self.digest, secrets.token_hex(8)], salt=SALT)
        response.set_cookie(
            settings.HOOKHUB_DEVICE_COOKIE,
            value,
            max_age=KNOWN_DEVICE,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Strict",
        )


def looked_up_name(given: str) -> str:
    """Return the name that Django's form looks up: stripped, normalized to NFKC, and cut if it is too long to exist.

    If names were counted as sent, one user's password could be tried under each Unicode spelling of the user's name.
    """
    name = given.strip()
    return name[:MAX_NAME_LENGTH] if len(name) > MAX_NAME_LENGTH else unicodedata.normalize("NFKC", name)


def device_of(request: HttpRequest, digest: str) -> str | None:
    """Return the id of a browser in which this name has logged in before, or None."""
    try:
        known = signing.loads(request.COOKIES.get(settings.HOOKHUB_DEVICE_COOKIE, ""), salt=SALT, max_age=KNOWN_DEVICE)
    except signing.BadSignature:
        return None
    return str(known[1]) if known[0] == digest else None
