"""What django-allauth asks HookHub: who may have an account, and what to do when a login arrives."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.base.constants import AuthProcess
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponseForbidden

from deliveries import audit, timezone
from hookhub.audited import audited
from hookhub.http.client_address import address_of
from hookhub.sso.claims import Granted, decide, values_of
from hookhub.sso.granting import grant

NOT_LINKED = "An account at the provider is a login of its own. Log out, and log in with it.\n"
JUST_NOW = timedelta(minutes=5)


class Accounts(DefaultAccountAdapter):  # type: ignore[misc] # allauth has no types
    """Accounts with a password are made by an operator, not by a form."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002 - allauth's signature
        """Return that it is not."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's address as HookHub understands it."""
        return address_of(request.META)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count a password that is asked for again; those of logins are counted before their view.

        allauth's own limit for them would let a stranger lock a person out of every browser.
        """
        if request.resolver_match is None or request.resolver_match.view_name != "account_login":
            super().pre_authenticate(request, **credentials)

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """Return the user, or None, and let the middleware that counts logins know which."""
        user = super().authenticate(request, **credentials)
        request.META["hookhub.password_is_right"] = user is not None
        return user

    def is_reauthentication_required(self, *, app: str) -> bool:  # noqa: ARG002 - allauth's signature
        """Return whether a password is asked for again before a second factor is changed: not after a recent login."""
        records = get_authentication_records(self.request, self.request.user)
        is_recent = bool(records) and time.time() - records[-1]["at"] < JUST_NOW.total_seconds()
        return not is_recent


class SingleSignOn(DefaultSocialAccountAdapter):  # type: ignore[misc] # allauth has no types
    """Logins of the provider: the first one of a person makes an account, and each sets what its claims give."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:  # noqa: ARG002 - allauth's signature
        """Return that the provider decides who has an account; without a role it may do nothing."""
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:  # noqa: ARG002 - allauth's signature
        """Set what the claims of a known person give; refuse to link an account to the person that is logged in.

        The owner of the account could then log in as that person, without the second factor.
        """
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            raise ImmediateHttpResponse(HttpResponseForbidden(NOT_LINKED, content_type="text/plain; charset=utf-8"))
        if sociallogin.is_existing:
            grant(sociallogin.user, granted_to(sociallogin.account.extra_data), now=timezone.now())

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        """Store a new person, with an entry in the audit log, and set what the claims give."""
        now = timezone.now()
        with transaction.atomic():
            user: User = super().save_user(request, sociallogin, form)
            target, state = audited(user)
            audit.record("user.created", target=target, after=state, now=now)
            grant(user, granted_to(sociallogin.account.extra_data), now=now)
        return user


def granted_to(data: Mapping[str, Any]) -> Granted:
    """Return what a login's claims give, those of the userinfo endpoint and of the id token together."""
    values: frozenset[str] = frozenset()
    for claims in (data, data.get("userinfo"), data.get("id_token")):
        if isinstance(claims, Mapping):
            values |= values_of(claims, settings.HOOKHUB_OIDC_CLAIM)
    return decide(values, settings.HOOKHUB_OIDC_ROLES)
