"""The admin's pages of replays, with their progress."""

import json

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries import timezone
from hookhub.admin import filters
from hookhub.admin.logs import LogAdmin
from hookhub.admin.presenters import WITH_ORGANIZATION
from hookhub.formatting import state_badge, timestamp
from hookhub.models import Replay


@admin.register(Replay)
class ReplayAdmin(LogAdmin):
    organization_path = "organization"
    list_display = ("replay", "organization", "state_label", "progress", "redelivered", "created")
    list_filter = (filters.OrganizationFilter,)
    columns = (
        "id", "organization_id", "state", "total", "total_is_at_least", "examined", "redelivered", "created_at",
    )  # fmt: skip
    prefetches = (WITH_ORGANIZATION,)

    @admin.display(description="Replay")
    def replay(self, obj: Replay) -> SafeString:
        return format_html('<code class="hh-id">{}</code>', obj.id)

    @admin.display(description="State")
    def state_label(self, obj: Replay) -> SafeString:
        return state_badge(obj.state, obj.get_state_display())

    @admin.display(description="Progress")
    def progress(self, obj: Replay) -> SafeString:
        return format_html(
            '<progress max="{}" value="{}"></progress> {} of {}{}',
            max(obj.total, 1),
            obj.examined,
            obj.examined,
            "at least " if obj.total_is_at_least else "",
            obj.total,
        )

    def show(self, request: HttpRequest, replay: Replay) -> HttpResponse:
        """Show one replay and its progress."""
        now = timezone.now()
        facts = [
            ("Kind", replay.get_kind_display()),
            ("State", state_badge(replay.state, replay.get_state_display())),
            ("Cancelled because", replay.get_cancel_reason_display() if replay.cancel_reason else "–"),
            ("Organization", replay.organization.slug),
            ("Progress", self.progress(replay)),
            ("Redelivered", replay.redelivered),
            ("Created", timestamp(replay.created_at, now=now)),
            ("Finished", timestamp(replay.finished_at, now=now)),
        ]
        selection = json.dumps(replay.asked, indent=2, ensure_ascii=False)
        return self.render(request, "hookhub/admin/replay.html", replay, facts=facts, selection=selection)
