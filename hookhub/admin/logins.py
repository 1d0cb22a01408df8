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
# The field of each login page that has the user's name: a name in another field must not be counted in its place.
NAME_FIELDS = {"admin:login": "username", "rest_framework:login": "username", "account_login": "login"}
# allauth's page for the second factor, and where the session has the name meanwhile. allauth counts wrong codes itself.
SECOND_STEP, WAITING = "mfa_authenticate", "hookhub.login"
# Attempts from a browser in which the user has logged in before are counted separately, so that strangers who try the
# user's name cannot lock the user out.
KNOWN_DEVICE = timedelta(days=90)
SALT = "hookhub.logins.device"
# Where allauth's adapter writes whether the password was right: by the response alone it cannot be told.
IS_RIGHT = "hookhub.password_is_right"
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
        elif request.method == "POST" and view_of(request) == SECOND_STEP:
            finish_second_step(request, response)
        return response

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: Mapping[str, Any]
    ) -> HttpResponse | None:
        """Count an attempt before the view hashes its password; return a 429 response beyond the limits."""
        field = NAME_FIELDS.get(view_of(request))
        if request.method != "POST" or field is None:
            return None
        attempt = Attempt(request, request.POST.get(field, ""))
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

    def __init__(self, request: HttpRequest, name: str) -> None:
        self.name = looked_up_name(name)
        self.address = address_of(request.META)
        digest = digest_of(self.name)
        device = device_of(request, digest)
        self.counted = (
            (BY_ADDRESS, subject_of(self.address), settings.HOOKHUB_LOGINS_PER_ADDRESS),
            (BY_NAME, f"{digest}:{device}" if device else digest, settings.HOOKHUB_LOGINS_PER_NAME),
        )

    def count(self) -> None:
        """Count the attempt, which is taken back if it succeeds; raise TooMany."""
        for policy, subject, quota in self.counted:
            rates.take(policy, subject, quota=quota, now=time.time())

    def finish(self, request: HttpRequest, response: HttpResponse) -> None:
        """Log how the attempt ended; if the password was right, take back its count."""
        if view_of(request) == "account_login":
            # It leads a person on that is logged in, or waits for a second factor, and looks at no password.
            is_right = request.META.get(IS_RIGHT, False)
        else:
            is_right = response.status_code == 302 and request.user.is_authenticated
        if not is_right:
            log.warning("login failed: name %r, address %s", secret_text.masked(self.name), self.address)
            return
        for policy, subject, quota in self.counted:
            if quota:
                rates.counters().spend(policy, subject, -1, now=time.time())
        if request.user.is_authenticated:
            succeed(self.name, request, response)
        else:
            log.info("login waits for a second factor: name %r, address %s", self.name, self.address)
            request.session[WAITING] = self.name


def finish_second_step(request: HttpRequest, response: HttpResponse) -> None:
    """Log how the second step of a login ended, and mark the browser as known if it succeeded."""
    name = request.session.pop(WAITING, "") if response.status_code == 302 else request.session.get(WAITING, "")
    if response.status_code != 302:
        log.warning("login failed at the second factor: name %r, address %s", name, address_of(request.META))
    elif request.user.is_authenticated:
        succeed(looked_up_name(request.user.get_username()), request, response)


def succeed(name: str, request: HttpRequest, response: HttpResponse) -> None:
    """Log that a login succeeded, and mark the browser as known."""
    log.info("login succeeded: name %r, address %s", name, address_of(request.META))
    response.set_cookie(
        settings.HOOKHUB_DEVICE_COOKIE,
        signing.dumps([digest_of(name), secrets.token_hex(8)], salt=SALT),
        max_age=KNOWN_DEVICE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )


def view_of(request: HttpRequest) -> str:
    """Return the name of the request's view, or "" without one."""
    return request.resolver_match.view_name if request.resolver_match else ""


def digest_of(name: str) -> str:
    """Return what attempts for a name are counted under."""
    return hashlib.sha256(name.lower().encode(errors="replace")).hexdigest()[:24]


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
