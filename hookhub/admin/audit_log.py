"""The audit log: who changed what. It is read-only."""

import json

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries import timezone
from deliveries.models import AuditEntry
from deliveries.plain_text import printable
from hookhub.admin import filters
from hookhub.admin.logs import LogAdmin, LogIndex
from hookhub.formatting import timestamp, when
from hookhub.models import Scope


class ActionFilter(filters.TextFilter):
    title = "action"
    parameter_name = "action"
    column = "action"
    placeholder = "webhook.updated"


class ActorFilter(filters.TextFilter):
    title = "actor"
    parameter_name = "actor"
    column = "actor_id"
    placeholder = "username, key ID or command"


class TargetFilter(filters.TextFilter):
    title = "target"
    parameter_name = "target"
    column = "target_id"
    placeholder = "ID"


@admin.register(AuditEntry)
class AuditAdmin(LogAdmin):
    organization_path = "organization"
    view_scope = Scope.MASTER
    list_display = ("entry", "actor", "target", "organization_slug", "recorded")
    list_filter = (
        ActionFilter, ActorFilter, TargetFilter, filters.OrganizationFilter, filters.PeriodFilter, filters.AfterFilter,
        filters.BeforeFilter,
    )  # fmt: skip
    columns = (
        "id", "recorded_at", "action", "actor_kind", "actor_id", "actor_name", "target_kind", "target_label",
        "organization_id", "organization_slug",
    )  # fmt: skip
    search_fields = ("id",)
    search_help_text = "Enter a full entry ID."
    indexes = (
        LogIndex("audit_by_target", ("target",)),
        LogIndex("audit_by_actor", ("actor",)),
        LogIndex("audit_of_org_by_action", ("organization", "action")),
        LogIndex("audit_by_action", ("action",)),
        LogIndex("audit_of_organization", ("organization",)),
    )

    @admin.display(description="Action")
    def entry(self, obj: AuditEntry) -> str:
        return obj.action

    @admin.display(description="Actor")
    def actor(self, obj: AuditEntry) -> SafeString:
        return format_html(
            '{} <small class="hh-dim">{}</small>', printable(obj.actor_name or obj.actor_id), obj.actor_kind
        )

    @admin.display(description="Target")
    def target(self, obj: AuditEntry) -> SafeString:
        return format_html(
            '<span class="hh-cut">{}</span> <small class="hh-dim">{}</small>',
            printable(obj.target_label),
            obj.target_kind,
        )

    @admin.display(description="Recorded")
    def recorded(self, obj: AuditEntry) -> SafeString | str:
        return when(obj.recorded_at, now=timezone.now())

    def show(self, request: HttpRequest, entry: AuditEntry) -> HttpResponse:
        """Show one entry in full."""
        facts = [
            ("Action", entry.action),
            ("Actor", f"{entry.actor_kind} {printable(entry.actor_id)} {printable(entry.actor_name)}".strip()),
            ("IP address", entry.address or "–"),
            ("Request ID", entry.request_id or "–"),
            ("Target", f"{entry.target_kind} {printable(entry.target_label)}"),
            ("Target ID", printable(entry.target_id) or "–"),
            ("Organization", entry.organization_slug or "–"),
            ("Recorded", timestamp(entry.recorded_at, now=timezone.now())),
        ]
        before, after = (None if text is None else indented(text) for text in (entry.before, entry.after))
        return self.render(request, "hookhub/admin/audit_entry.html", entry, facts=facts, before=before, after=after)


def indented(text: str) -> str:
    """Return a state as indented JSON."""
    return printable(json.dumps(json.loads(text), indent=2))
