"""The read-only log of deliveries and their attempts."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries import redelivery, timezone
from deliveries.db.lookups import find_one
from deliveries.models import Attempt, Delivery, Event, Webhook
from hookhub.admin import filters
from hookhub.admin.actions import ObjectActions, count_reasons
from hookhub.admin.base import page_of
from hookhub.admin.keyset import Order
from hookhub.admin.logs import LogAdmin, LogIndex
from hookhub.admin.presenters import (
    ATTEMPTS_SHOWN,
    WITH_ORGANIZATION,
    WITH_REPOSITORY,
    WITH_WEBHOOK,
    attempt_context,
    delivery_facts,
    payload_context,
)
from hookhub.admin.tenancy import is_unrestricted, organizations_of
from hookhub.explanations import cancel_blocked_reason, explain
from hookhub.formatting import deliveries, span, state_badge, when
from hookhub.models import Scope

# The orders of the indexes of queued deliveries; in the order of ids a page could scan the whole log and find none.
READY_ORDER = Order(("webhook_id", "readiness", "due_at", "id"), descending=False)
SCHEDULED_ORDER = Order(("due_at", "id"), descending=False)


@admin.register(Delivery)
class DeliveryAdmin(LogAdmin, ObjectActions):
    organization_path = "organization"
    list_display = (
        "delivery",
        "state_label",
        "event_type",
        "webhook_link",
        "scope",
        "attempts",
        "http_status",
        "next_attempt",
        "created",
    )
    list_filter = (
        filters.StateFilter, filters.PeriodFilter, filters.AfterFilter, filters.BeforeFilter, filters.WebhookFilter,
        filters.OrganizationFilter, filters.TypeFilter,
    )  # fmt: skip
    search_fields = ("id", "event_id")
    search_help_text = "Enter a full delivery ID or event ID."
    actions = ("redeliver", "cancel")
    columns = (
        "id", "event_id", "webhook_id", "organization_id", "repository_id", "event_type", "state", "attempts_made",
        "last_status", "readiness", "due_at", "created_at",
    )  # fmt: skip

    prefetches = (WITH_WEBHOOK, WITH_ORGANIZATION, WITH_REPOSITORY)
    indexes = (
        LogIndex("delivery_ready", ("state=due", "webhook"), order=READY_ORDER),
        LogIndex("delivery_ready", ("state=due",), order=READY_ORDER),
        LogIndex("delivery_scheduled", ("state=later",), order=SCHEDULED_ORDER),
        LogIndex("delivery_held", ("state=held", "webhook")),
        LogIndex("delivery_failed_of_webhook", ("state=failed", "webhook")),
        LogIndex("delivery_log_of_webhook", ("webhook",)),
        LogIndex("delivery_failed_or_held", ("state=failed",)),
        LogIndex("delivery_failed_or_held", ("state=held",)),
        # Not in the order of ids, but no more rows than requests in flight.
        LogIndex("delivery_leased", ("state=sending",)),
        LogIndex("delivery_log", ("organization",)),
    )

    @admin.display(description="Delivery")
    def delivery(self, obj: Delivery) -> SafeString:
        return format_html('<code class="hh-id">{}</code>', obj.id)

    @admin.display(description="State")
    def state_label(self, obj: Delivery) -> SafeString:
        return state_badge(obj.state, obj.get_state_display())

    @admin.display(description="Webhook")
    def webhook_link(self, obj: Delivery) -> SafeString:
        return format_html('<a class="hh-cut" href="{}">{}</a>', page_of(obj.webhook), str(obj.webhook))

    @admin.display(description="Organization / repository")
    def scope(self, obj: Delivery) -> str:
        return obj.repository.full_name if obj.repository else obj.organization.slug

    @admin.display(description="Attempts")
    def attempts(self, obj: Delivery) -> int:
        return obj.attempts_made

    @admin.display(description="HTTP status", empty_value="–")
    def http_status(self, obj: Delivery) -> int | None:
        return obj.last_status

    @admin.display(description="Next attempt")
    def next_attempt(self, obj: Delivery) -> SafeString | str:
        return when(obj.due_at, now=timezone.now())

    @admin.action(description="Redeliver selected deliveries", permissions=["act"])
    def redeliver(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Make the selected deliveries due immediately."""
        chosen = selected(queryset)
        reasons = [redelivery.blocked_reason(delivery) for delivery in chosen]
        count = redelivery.redeliver([delivery.pk for delivery in chosen], now=timezone.now())
        self._conclude(request, chosen, reasons, count, record="Redelivered.", summary="queued for redelivery")

    @admin.action(description="Cancel selected deliveries…", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> HttpResponse | None:
        """Cancel the selected deliveries after a confirmation."""
        chosen = selected(queryset)
        reasons = [cancel_blocked_reason(delivery) for delivery in chosen]
        if "confirmed" not in request.POST:
            return TemplateResponse(
                request,
                "hookhub/admin/cancel_confirmation.html",
                {
                    **self.admin_site.each_context(request),
                    "title": "Cancel deliveries?",
                    "opts": self.opts,
                    "chosen": chosen,
                    "cancellable": reasons.count(None),
                    "skipped": count_reasons([reason for reason in reasons if reason is not None]),
                    "action_checkbox_name": ACTION_CHECKBOX_NAME,
                },
            )
        count = redelivery.cancel([delivery.pk for delivery in chosen], now=timezone.now())
        self._conclude(request, chosen, reasons, count, record="Cancelled.", summary="cancelled")
        return None

    def _conclude(
        self,
        request: HttpRequest,
        chosen: list[Delivery],
        reasons: Sequence[str | None],
        count: int,
        *,
        record: str,
        summary: str,
    ) -> None:
        """Record and show what an action did; ``reasons`` say why it could not apply to a delivery, None if it could.

        It may have applied to fewer than those, if some have changed since they were read.
        """
        self.record_action(request, [each for each, why in zip(chosen, reasons, strict=True) if why is None], record)
        skipped = [str(reason) for reason in reasons if reason is not None]
        skipped += ["changed in the meantime"] * (len(chosen) - count - len(skipped))
        self.report(request, f"{deliveries(count)} {summary}." if count else "", skipped)

    def show(self, request: HttpRequest, delivery: Delivery) -> HttpResponse:
        """Show everything about one delivery."""
        now = timezone.now()
        event = find_one(Event.objects.filter(pk=delivery.event_id))
        webhook = Webhook.objects.select_related("organization", "repository").get(pk=delivery.webhook_id)
        latest = Attempt.objects.filter(delivery=delivery).order_by("-number")[:ATTEMPTS_SHOWN]
        attempts = [attempt_context(attempt, wire_format=webhook.format) for attempt in reversed(latest)]
        return self.render(
            request,
            "hookhub/admin/delivery.html",
            delivery,
            state=state_badge(delivery.state, delivery.get_state_display()),
            explanation=explain(delivery, webhook, now=now),
            facts=delivery_facts(delivery, webhook, now=now),
            webhook=webhook,
            webhook_page=page_of(webhook),
            attempts=attempts,
            attempts_left_out=max(0, delivery.attempts_made - len(attempts)),
            event=event,
            payload=payload_context(event),
            may_act=self.has_act_permission(request, delivery),
            may_redeliver=redelivery.blocked_reason(delivery) is None,
            may_cancel=cancel_blocked_reason(delivery) is None,
        )


@admin.register(Attempt)
class AttemptAdmin(LogAdmin):
    organization_path = "webhook__organization"
    list_display = ("attempt", "outcome_label", "http_status", "tried_url", "duration_text", "started")
    list_filter = (
        filters.OutcomeFilter, filters.PeriodFilter, filters.AfterFilter, filters.BeforeFilter, filters.WebhookFilter,
    )  # fmt: skip
    search_fields = ("id", "delivery_id")
    search_help_text = "Enter a full attempt ID or delivery ID."
    indexes = (LogIndex("attempt_log_of_webhook", ("webhook",)),)
    columns = ("id", "delivery_id", "number", "outcome", "status", "url", "duration", "started_at")

    def rows_with_scope(self, request: HttpRequest, rows: QuerySet[Any], *, scope: Scope) -> QuerySet[Any]:
        """Return the attempts for webhooks of the organizations in which the user has ``scope``."""
        if is_unrestricted(request):
            return rows
        organizations = organizations_of(request, scope=scope)
        # Load the ids first: the planner knows how many attempts each webhook has, but with a subquery it would scan
        # the attempts of all organizations.
        webhooks = list(Webhook.objects.filter(organization__in=organizations).values_list("pk", flat=True))
        return rows.filter(webhook__in=webhooks)

    @admin.display(description="Attempt")
    def attempt(self, obj: Attempt) -> SafeString:
        return format_html('<code class="hh-id">{}</code> <b>#{}</b>', obj.delivery_id, obj.number)

    @admin.display(description="Outcome")
    def outcome_label(self, obj: Attempt) -> SafeString:
        return state_badge(obj.outcome, obj.get_outcome_display())

    @admin.display(description="HTTP status", empty_value="–")
    def http_status(self, obj: Attempt) -> int | None:
        return obj.status

    @admin.display(description="URL")
    def tried_url(self, obj: Attempt) -> SafeString:
        return format_html('<span class="hh-cut">{}</span>', obj.url)

    @admin.display(description="Duration", empty_value="–")
    def duration_text(self, obj: Attempt) -> str | None:
        return None if obj.duration is None else span(obj.duration)

    @admin.display(description="Started")
    def started(self, obj: Attempt) -> SafeString | str:
        return when(obj.started_at, now=timezone.now())

    def show(self, request: HttpRequest, attempt: Attempt) -> HttpResponse:
        """Redirect to the attempt's section on its delivery's page."""
        page = reverse("admin:deliveries_delivery_change", args=[attempt.delivery_id])
        return HttpResponseRedirect(f"{page}#attempt-{attempt.number}")


def selected(queryset: QuerySet[Delivery]) -> list[Delivery]:
    """Return the deliveries that an action applies to, with their webhooks: one page at most.

    Everything that a filter selects is redelivered by a replay instead, which works in batches.
    """
    return list(queryset.prefetch_related("webhook")[: LogAdmin.list_per_page])
