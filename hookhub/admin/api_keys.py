"""The admin's pages of API keys."""

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import pluralize
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries import timezone
from deliveries.webhooks.fields import InvalidFields
from hookhub import api_keys
from hookhub.admin import filters
from hookhub.admin.actions import ObjectActions, Skipped
from hookhub.admin.auditing import Audited
from hookhub.admin.forms.api_key import ApiKeyForm
from hookhub.admin.organizations import Undeletable
from hookhub.admin.tenancy import is_unrestricted
from hookhub.formatting import badge, span, when
from hookhub.http import authentication
from hookhub.models import ApiKey, Scope


class KeyStatusFilter(filters.LogFilter):
    title = "status"
    parameter_name = "use"
    options: ClassVar = {"valid": "Active", "unused": "Never used", "expired": "Expired", "revoked": "Revoked"}

    def narrow(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        has_expired = Q(expires_at__lte=timezone.now())
        match filters.require_known(value, self.options):
            case "valid":
                return rows.filter(revoked_at=None).exclude(has_expired)
            case "unused":
                return rows.filter(revoked_at=None, last_used_at=None)
            case "expired":
                return rows.filter(has_expired, revoked_at=None)
        return rows.filter(revoked_at__isnull=False)


@admin.register(ApiKey)
class ApiKeyAdmin(Audited, ObjectActions, Undeletable):
    organization_path = "organization"
    view_scope = change_scope = Scope.MASTER
    form = ApiKeyForm
    list_display = ("key", "organization", "scope", "condition", "expires", "last_used", "created")
    list_filter = (KeyStatusFilter, "scope", filters.OrganizationFilter)
    list_select_related = ("organization",)
    search_fields = ("name", "key_id")
    ordering = ("-id",)
    actions = ("roll", "revoke")
    autocomplete_fields = ("organization",)
    change_form_template = "hookhub/admin/api_key.html"

    @admin.display(description="Key", ordering="name")
    def key(self, obj: ApiKey) -> SafeString:
        return format_html("{} <code>hh_{}_…</code>", obj.name, obj.key_id)

    @admin.display(description="Status")
    def condition(self, obj: ApiKey) -> SafeString:
        return condition_badge(obj, now=timezone.now())

    @admin.display(description="Expires", ordering="expires_at")
    def expires(self, obj: ApiKey) -> SafeString | str:
        return when(obj.expires_at, now=timezone.now()) if obj.expires_at else "Never"

    @admin.display(description="Last used", ordering="last_used_at")
    def last_used(self, obj: ApiKey) -> SafeString | str:
        return when(obj.last_used_at, now=timezone.now()) if obj.last_used_at else badge("Never used", "quiet")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Return the fields to create a key with, or the settings and the history of an existing one."""
        if obj is None:
            everywhere = ("acts_for_all",) if is_unrestricted(request) else ()
            return ("name", "organization", *everywhere, "scope", "expires_at", "networks")
        may_change = obj.revoked_at is None and self.has_change_permission(request, obj)
        return (
            "name", "organization", "scope", "expires_at", "networks" if may_change else "allowed_networks", "key_id",
            "condition", "last_used_at", "rolled_at", "previous_secret_expires_at", "revoked_at", "created_at",
        )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Make organization and scope read-only: they are fixed when a key is issued."""
        if obj is None:
            return ()
        can_change = () if obj.revoked_at is not None else ("expires_at", "networks")
        return tuple(name for name in self.get_fields(request, obj) if name not in {"name", *can_change})

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form without those extra fields that this user, or this key, does not have."""
        form = super().get_form(request, obj, change, **kwargs)
        shown = set(self.get_fields(request, obj)) - set(self.get_readonly_fields(request, obj))
        for name in {"acts_for_all", "networks"} - shown:
            form.base_fields.pop(name, None)
        return form

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Issue a key and show its text once, or change an existing key."""
        now = timezone.now()
        if change:
            api_keys.change(obj, form.changes(), now=now)
            authentication.invalidate(obj.key_id)
            return
        issued, text = ApiKey.issue(
            organization=obj.organization,
            scope=Scope(obj.scope),
            name=obj.name,
            expires_at=obj.expires_at,
            allowed_networks=form.cleaned_data["networks"],
            now=now,
        )
        obj.pk, obj.key_id = issued.pk, issued.key_id
        self.show_once(request, "New API key", text)

    def record_saved(self, saved: ApiKey, form: Any, *, change: bool) -> None:
        """Do nothing: the functions that issue and change keys write the audit log themselves."""

    def context_of(self, request: HttpRequest, found: ApiKey) -> dict[str, Any]:
        """Return whether there are buttons to roll and revoke the key: while it is valid."""
        may_revoke = found.revoked_at is None and self.has_act_permission(request, found)
        return {
            "may_revoke": may_revoke,
            "may_roll": may_revoke and not found.has_expired(now=timezone.now()),
            "overlap": span(settings.HOOKHUB_SECRET_OVERLAP),
        }

    @admin.action(description="Roll selected API keys", permissions=["act"])
    def roll(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Replace the secret of each selected key, and show the new one once."""

        def roll(key: ApiKey) -> None:
            try:
                _, text = api_keys.roll(key, now=timezone.now())
            except InvalidFields as error:
                raise Skipped("revoked or expired") from error
            authentication.invalidate(key.key_id)
            self.show_once(request, "New API key", text)

        self.act_on_each(request, queryset.order_by("pk"), roll, record="Rolled.")

    @admin.action(description="Revoke selected API keys", permissions=["act"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke the selected keys with immediate effect."""
        now = timezone.now()

        def revoke(key: ApiKey) -> None:
            if not key.revoke(now=now):
                raise Skipped("already revoked")
            authentication.invalidate(key.key_id)

        def summary(done: list[ApiKey], _: list[None]) -> str:
            return f"{len(done)} key{pluralize(len(done))} revoked."

        keys = queryset.select_related("organization")
        self.act_on_each(request, keys, revoke, record="Revoked.", summary=summary)


def condition_badge(key: ApiKey, *, now: datetime) -> SafeString:
    """Return a colored label that says whether a key is accepted."""
    if key.revoked_at is not None:
        return badge("Revoked", "bad")
    if key.has_expired(now=now):
        return badge("Expired", "bad")
    if key.expires_at is not None and key.expires_at - now <= settings.HOOKHUB_KEY_EXPIRY_WARNING:
        return badge("Expires soon", "warning")
    return badge("Active", "good")
