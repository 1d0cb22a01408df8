"""The admin's pages of events, with their exact payload and their deliveries."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries import timezone
from deliveries.models import Delivery, Event, is_pending
from deliveries.plain_text import printable
from hookhub.admin import filters
from hookhub.admin.logs import LogAdmin, LogIndex
from hookhub.admin.presenters import (
    ATTEMPTS_SHOWN,
    WITH_ORGANIZATION,
    WITH_REPOSITORY,
    WITH_WEBHOOK,
    delivery_row,
    payload_context,
)
from hookhub.formatting import badge, timestamp, when


@admin.register(Event)
class EventAdmin(LogAdmin):
    organization_path = "organization"
    list_display = ("event", "type", "organization", "repository", "fanned_out", "accepted")
    list_filter = (
        filters.PeriodFilter, filters.AfterFilter, filters.BeforeFilter, filters.OrganizationFilter,
        filters.TypeOfEventFilter,
    )  # fmt: skip
    search_fields = ("id",)
    search_help_text = "Enter a full event ID."
    columns = ("id", "type", "organization_id", "repository_id", "accepted_at")
    prefetches = (WITH_ORGANIZATION, WITH_REPOSITORY)
    indexes = (LogIndex("event_log", ("organization",)),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """Return the events that the user may see, annotated with whether they are still to be fanned out."""
        events: QuerySet[Event] = super().get_queryset(request)
        return events.annotate(is_pending=is_pending())

    @admin.display(description="Event")
    def event(self, obj: Event) -> SafeString:
        return format_html('<code class="hh-id">{}</code>', obj.id)

    @admin.display(description="Fan-out")
    def fanned_out(self, obj: Event) -> SafeString | str:
        return badge("Pending", "waiting") if vars(obj)["is_pending"] else "Done"

    @admin.display(description="Accepted")
    def accepted(self, obj: Event) -> SafeString | str:
        return when(obj.accepted_at, now=timezone.now())

    def get_urls(self) -> list[URLPattern]:
        """Add the URL of the exact payload."""
        mine = path(
            "<path:object_id>/payload/", self.admin_site.admin_view(self.payload_view), name="deliveries_event_payload"
        )
        return [mine, *super().get_urls()]

    def payload_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the exact payload as a download, which the browser must not render."""
        event: Event = self.find(request, object_id)
        answer = HttpResponse(bytes(event.payload), content_type="application/octet-stream")
        answer["Content-Disposition"] = f'attachment; filename="{event.pk}.json"'
        return answer

    def show(self, request: HttpRequest, event: Event) -> HttpResponse:
        """Show one event with its payload and its deliveries."""
        now = timezone.now()
        log = Delivery.objects.filter(event=event).order_by("id").prefetch_related(WITH_WEBHOOK)
        facts = [
            ("Event type", event.type),
            ("Organization", event.organization.slug),
            ("Repository", event.repository.full_name if event.repository else "–"),
            ("Occurred", timestamp(event.occurred_at, now=now)),
            ("Accepted", timestamp(event.accepted_at, now=now)),
            ("Fan-out", "Pending" if vars(event)["is_pending"] else "Done"),
            ("Idempotency key", printable(event.idempotency_key or "–")),
            ("Matches subscriptions to", ", ".join(event.topics)),
            ("Size", f"{len(bytes(event.payload)):,} bytes"),
        ]
        return self.render(
            request,
            "hookhub/admin/event.html",
            event,
            event=event,
            facts=facts,
            payload=payload_context(event),
            rows=[delivery_row(delivery, now=now) for delivery in log[:ATTEMPTS_SHOWN]],
            limit=ATTEMPTS_SHOWN,
        )
