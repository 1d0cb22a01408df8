"""Attempts to log in: counted before a password is hashed, and recorded with address and name."""

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
from hookhub import rate_limits
from hookhub.client_address import address_of, subject_of

log = logging.getLogger("hookhub.logins")

WINDOW = timedelta(minutes=5)
BY_ADDRESS = Policy("logins-of-address", WINDOW)
BY_NAME = Policy("logins-of-name", WINDOW)
VIEWS = frozenset({"admin:login", "rest_framework:login"})
# A browser in which a person has logged in before is counted apart, so that strangers who try the person's name do not
# keep the person out.
KNOWN_DEVICE = timedelta(days=90)
SALT = "hookhub.logins.device"
# Of Django's users. The form refuses a longer one before it looks for anybody.
MAX_NAME_LENGTH = 150


class LimitLogins:
    """Refuse attempts beyond the limits; what succeeds is not counted."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and record how an attempt ended."""
        answered = self.get_response(request)
        attempt: Attempt | None = request.META.get("hookhub.login")
        if attempt is not None:
            attempt.conclude(request, answered)
        return answered

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: Mapping[str, Any]
    ) -> HttpResponse | None:
        """Count an attempt before the view hashes its password."""
        del view, args, kwargs
        matched = request.resolver_match
        if request.method != "POST" or matched is None or matched.view_name not in VIEWS:
            return None
        attempt = Attempt(request)
        try:
            attempt.count()
        except TooMany as error:
            log.warning("login throttled: name %r, address %s", secret_text.masked(attempt.name), attempt.address)
            wait = error.standing.reset
            text = f"Too many attempts to log in. Try again in {wait} seconds.\n"
            headers = rate_limits.refusal_headers(error.standing)
            return HttpResponse(text, status=429, content_type="text/plain; charset=utf-8", headers=headers)
        request.META["hookhub.login"] = attempt
        return None


class Attempt:
    """One attempt to log in."""

    def __init__(self, request: HttpRequest) -> None:
        self.name = name_in(request.POST.get("username", ""))
        self.address = address_of(request.META)
        digest = hashlib.sha256(self.name.lower().encode(errors="replace")).hexdigest()[:24]
        device = device_of(request, digest)
        self.digest = digest
        self.counted = (
            (BY_ADDRESS, subject_of(self.address), settings.HOOKHUB_LOGINS_PER_ADDRESS),
            (BY_NAME, f"{digest}:{device}" if device else digest, settings.HOOKHUB_LOGINS_PER_NAME),
        )

    def count(self) -> None:
        """Count it, as long as it is not known to succeed; raises TooMany."""
        for policy, subject, quota in self.counted:
            rates.take(policy, subject, quota=quota, now=time.time())

    def conclude(self, request: HttpRequest, answered: HttpResponse) -> None:
        """Record how it ended; one that succeeded is taken back, and the browser is known from then on."""
        if answered.status_code != 302 or not request.user.is_authenticated:
            log.warning("login failed: name %r, address %s", secret_text.masked(self.name), self.address)
            return
        log.info("login succeeded: name %r, address %s", self.name, self.address)
        for policy, subject, quota in self.counted:
            if quota:
                rates.counters().spend(policy, subject, -1, now=time.time())
        value = signing.dumps([self.digest, secrets.token_hex(8)], salt=SALT)
        answered.set_cookie(
            settings.HOOKHUB_DEVICE_COOKIE,
            value,
            max_age=KNOWN_DEVICE,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Strict",
        )


def name_in(given: str) -> str:
    """Return the name that Django's form looks up: without space around it, in one spelling, cut where none is so long.

    By the name as it is sent, one person's password could be tried under as many names as Unicode has spellings of it.
    """
    name = given.strip()
    return name[:MAX_NAME_LENGTH] if len(name) > MAX_NAME_LENGTH else unicodedata.normalize("NFKC", name)


def device_of(request: HttpRequest, digest: str) -> str | None:
    """Return what a browser in which this name has logged in before is called, or None."""
    try:
        known = signing.loads(request.COOKIES.get(settings.HOOKHUB_DEVICE_COOKIE, ""), salt=SALT, max_age=KNOWN_DEVICE)
    except signing.BadSignature:
        return None
    return str(known[1]) if known[0] == digest else None
