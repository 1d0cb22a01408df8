"""The admin's page of memberships, with every change in the audit log."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest

from hookhub import people
from hookhub.admin import filters
from hookhub.admin.auditing import Audited
from hookhub.admin.saving import SavesChangedFieldsOnly
from hookhub.models import Membership, Scope


@admin.register(Membership)
class MembershipAdmin(Audited, SavesChangedFieldsOnly):
    organization_path = "organization"
    change_scope = Scope.MASTER
    list_display = ("user", "organization", "role")
    list_filter = ("role", filters.OrganizationFilter)
    list_select_related = ("user", "organization")

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Search by the fields that people have in this project."""
        found = dict.fromkeys(name for name in (people.name_field(), people.email_field()) if name)
        return (*(f"user__{name}" for name in found), "organization__slug")

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Complete the user's name where the project's own page of users can search for it."""
        page = self.admin_site._registry.get(get_user_model())  # noqa: SLF001 - as Django's own widgets do
        return ("user", "organization") if page is not None and page.search_fields else ("organization",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Make user and organization read-only: the old organization's audit log would not show a move to another."""
        return () if obj is None else ("user", "organization")
