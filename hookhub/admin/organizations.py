"""The admin's pages of organizations and their repositories."""

from typing import Any

from django.contrib import admin
from django.db import IntegrityError
from django.db.models import Model
from django.http import HttpRequest

from deliveries import names, timezone
from deliveries.models import Organization, Repository
from deliveries.webhooks import subscribing
from hookhub import branding
from hookhub.admin.auditing import Audited
from hookhub.admin.filters import OrganizationFilter
from hookhub.admin.forms.named import NamedForm
from hookhub.admin.forms.organization import OF_PORTAL, OrganizationForm
from hookhub.admin.saving import SavesChangedFieldsOnly
from hookhub.admin.tenancy import is_unrestricted
from hookhub.models import Scope


class Undeletable(SavesChangedFieldsOnly):
    """Rows that cannot be deleted here: all that belongs to them would be deleted too, the log included."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False


class Named(Undeletable):
    """Rows with a name that is unique regardless of case."""

    def late_error(self, error: Exception) -> str | None:
        """Return also that another request took the name after the form compared it."""
        if isinstance(error, IntegrityError) and names.violated_field(error) is not None:
            return "This name is already taken; choose another."
        return super().late_error(error)


@admin.register(Organization)
class OrganizationAdmin(Audited, Named):
    organization_path = "pk"
    change_scope = Scope.MASTER
    form = OrganizationForm
    list_display = ("slug", "name", "default_dialect", "default_format", "validate_events", "created_at")
    search_fields = ("slug", "name")
    ordering = ("slug",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Allow only superusers to change an organization's limits."""
        return ("created_at",) if is_unrestricted(request) else ("created_at", "limits")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow only superusers to create organizations, as the API allows only the operator."""
        return super().has_add_permission(request) and is_unrestricted(request)

    def get_fieldsets(self, request: HttpRequest, obj: Organization | None = None) -> Any:
        """Show the settings of the portal below the others, to those who may change them."""
        own = [name for name in self.get_fields(request, obj) if name not in OF_PORTAL]
        portal = [("Portal", {"fields": OF_PORTAL})] if self.has_change_permission(request, obj) else []
        return [(None, {"fields": own}), *portal]

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        """Save the organization, and the settings of its portal if they were changed."""
        changed = form.changed_data
        form.changed_data = [name for name in changed if name not in OF_PORTAL]
        super().save_model(request, obj, form, change)
        form.changed_data = changed
        if form.of_portal:
            branding.change(obj, form.of_portal, now=timezone.now())


@admin.register(Repository)
class RepositoryAdmin(Audited, Named):
    form = NamedForm
    organization_path = "organization"
    list_display = ("name", "organization", "private", "created_at")
    list_filter = (OrganizationFilter, "private")
    list_select_related = ("organization",)
    search_fields = ("name", "organization__slug")
    ordering = ("-id",)
    autocomplete_fields = ("organization",)

    def save_model(self, request: HttpRequest, obj: Repository, form: Any, change: bool) -> None:
        """Save the repository; if it is private now, end the subscriptions of those who must not see it."""
        super().save_model(request, obj, form, change)
        subscribing.revoke_unseen(obj.pk, now=timezone.now())

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Make the organization of an existing repository read-only: its webhooks and its log belong to it too."""
        return ("created_at",) if obj is None else ("organization", "created_at")
