"""The admin's pages of registered event types."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from deliveries import timezone
from deliveries.models import Organization
from hookhub.admin.filters import OrganizationFilter
from hookhub.admin.forms.event_type import EventTypeForm
from hookhub.admin.saving import KnowsWhatWasLoaded
from hookhub.event_types import registry
from hookhub.models import CustomEventType


@admin.register(CustomEventType)
class EventTypeAdmin(KnowsWhatWasLoaded):
    organization_path = "organization"
    form = EventTypeForm
    list_display = ("type", "organization", "description", "changed_at")
    list_filter = (OrganizationFilter,)
    list_select_related = ("organization",)
    search_fields = ("type", "organization__slug")
    ordering = ("organization", "type")
    autocomplete_fields = ("organization",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Make the organization and the type of an existing event type read-only."""
        return () if obj is None else ("organization", "type", "created_at", "changed_at")

    def save_model(self, request: HttpRequest, obj: CustomEventType, form: Any, change: bool) -> None:
        """Register or change the event type as the API does."""
        now = timezone.now()
        if change:
            obj = registry.change(obj, form.submitted, now=now)
        else:
            organization: Organization = form.cleaned_data["organization"]
            obj.pk = registry.register(form.submitted, organization=organization, now=now).pk

    def late_error(self, error: Exception) -> str | None:
        """Return also why a type was not stored."""
        if isinstance(error, registry.AlreadyRegistered):
            return "This event type already exists."
        return super().late_error(error)

    def delete_model(self, request: HttpRequest, obj: CustomEventType) -> None:
        """Delete one event type as the API does."""
        registry.delete(obj, now=timezone.now())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete several event types as the API does."""
        for row in queryset:
            registry.delete(row, now=timezone.now())
