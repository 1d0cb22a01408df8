"""The admin's pages of second factors and of accounts at a provider, in place of django-allauth's own.

With those, staff could give a superuser their own account at the provider, and log in as that superuser.
"""

from typing import Any

from allauth.account.admin import EmailAddress
from allauth.mfa.admin import Authenticator
from allauth.socialaccount.admin import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.http import HttpRequest

from deliveries import audit, timezone
from hookhub.admin.auditing import Audited
from hookhub.admin.base import OrganizationScoped, ReadOnly
from hookhub.audited import audited

for model in (EmailAddress, SocialApp, SocialToken, SocialAccount, Authenticator):
    admin.site.unregister(model)


class LoginRecords(Audited, ReadOnly):
    """What a person logs in with: superusers see it, without what is secret, and delete it, which is recorded."""

    # No path to an organization: only superusers see them.
    list_select_related = ("user",)
    search_fields = ("user__username",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow it, unlike other changes."""
        return OrganizationScoped.has_delete_permission(self, request, obj)


@admin.register(Authenticator)
class SecondFactorAdmin(LoginRecords):
    list_display = fields = ("user", "type", "created_at", "last_used_at")

    def record_deletion(self, lost: Any) -> None:
        """Record that a person loses a second factor, or the recovery codes."""
        target, before = audited(lost.user)[0], {"type": lost.type}
        audit.record("user.second_factor_removed", target=target, before=before, now=timezone.now())


@admin.register(SocialAccount)
class AccountAdmin(LoginRecords):
    list_display = fields = ("user", "provider", "uid", "date_joined", "last_login")

    def record_deletion(self, lost: Any) -> None:
        """Record that a person no longer logs in by an account at the provider."""
        target, before = audited(lost.user)[0], {"provider": lost.provider, "uid": lost.uid}
        audit.record("user.account_unlinked", target=target, before=before, now=timezone.now())
