"""The admin's pages of webhooks: their health, its causes, and actions."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ShowFacets
from django.db.models import Case, F, Func, Model, QuerySet, TextField, Value, When
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries import polling, timezone, vault
from deliveries.formats import FORMATS
from deliveries.models import Webhook
from deliveries.webhooks import changing, creating, lifecycle
from hookhub.admin.about_webhooks import AboutWebhooks
from hookhub.admin.base import PluralTitle
from hookhub.admin.filters import ConditionFilter, FormatFilter, OrganizationFilter
from hookhub.admin.forms.webhook import WebhookForm
from hookhub.admin.saving import ShowsLateErrors
from hookhub.admin.webhook_actions import ONE_PAGE, WebhookActions
from hookhub.admin.webhook_overview import health, overview
from hookhub.formatting import deliveries, when

# The formats whose URLs are not secret.
SHOWN = [slug for slug, wire_format in FORMATS.items() if not wire_format.url_is_secret]


@admin.register(Webhook)
class WebhookAdmin(AboutWebhooks, ShowsLateErrors, PluralTitle, WebhookActions):
    organization_path = "organization"
    form = WebhookForm
    list_display = (
        "webhook",
        "health",
        "organization",
        "repository",
        "wire_format",
        "event_types",
        "last_delivery",
        "failures",
    )
    list_filter = (ConditionFilter, OrganizationFilter, FormatFilter)
    list_select_related = ("organization", "repository__organization")
    list_per_page = ONE_PAGE
    show_facets = ShowFacets.NEVER
    search_fields = ("name", "seen_url", "uid")
    search_help_text = "Search by name, URL or ID."
    ordering = ("-id",)
    autocomplete_fields = ("organization", "repository")
    change_form_template = "hookhub/admin/webhook.html"
    delete_confirmation_template = "hookhub/admin/webhook_delete.html"
    delete_selected_confirmation_template = "hookhub/admin/webhook_delete_selected.html"

    # The list --------------------------------------------------------------------------------------------------------

    @admin.display(description="Webhook", ordering="name")
    def webhook(self, obj: Webhook) -> SafeString:
        if not obj.name:
            return format_html('<span class="hh-cut">{}</span>', obj.shown_url)
        return format_html('{}<br><small class="hh-cut hh-dim">{}</small>', obj.name, obj.shown_url)

    @admin.display(description="Status")
    def health(self, obj: Webhook) -> SafeString:
        return health(obj, now=timezone.now())

    @admin.display(description="Format", ordering="format")
    def wire_format(self, obj: Webhook) -> str:
        return obj.get_format_display()

    @admin.display(description="Events")
    def event_types(self, obj: Webhook) -> str:
        shown = ", ".join(obj.events[:3])
        return f"{shown} and {len(obj.events) - 3} more" if len(obj.events) > 3 else shown

    @admin.display(description="Last delivery", ordering="last_delivery_at")
    def last_delivery(self, obj: Webhook) -> SafeString | str:
        if obj.last_delivery_at is None:
            return "–"
        return format_html("{} {}", obj.last_delivery_status or "–", when(obj.last_delivery_at, now=timezone.now()))

    @admin.display(description="Consecutive failures", ordering="failure_count")
    def failures(self, obj: Webhook) -> int:
        return obj.failure_count

    @admin.display(description="Consumers")
    def consumers(self, obj: Webhook) -> str:
        """Return each consumer of a polling webhook, and how far it is behind."""
        found = [f"{each.name}: {polling.behind(obj, each)} events to process" for each in polling.consumers(obj)]
        return ", ".join(found) or "–"

    @admin.display(description="URL")
    def shown_url(self, obj: Webhook) -> str:
        return obj.shown_url

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """Search only URLs that are shown: in the others a secret could be guessed letter by letter."""
        # Rows from an earlier version have the query string in plain text.
        before_query = Func(F("stored_url"), Value("?"), Value(1), function="split_part", output_field=TextField())
        seen = Case(When(format__in=SHOWN, then=before_query), default=Value(""), output_field=TextField())
        return super().get_search_results(request, queryset.annotate(seen_url=seen), search_term)

    # The form --------------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Webhook | None = None) -> Any:
        """Return the sections of the form; a user who may not change the webhook gets no URL to edit."""
        if obj is None:
            where: tuple[str, ...] = ("organization", "repository", "name")
            what: tuple[str, ...] = ("url", "events", "filter", "format", "content_type", "headers", "secret")
        elif self.has_change_permission(request, obj):
            where = ("organization", "repository", "name", "version")
            # What a subscriber has asked for is not its owner's to change.
            filters = () if obj.subscription is not None else ("filter",)
            what = ("url", "events", *filters, "format", "content_type", "headers", "drop_headers")
        else:
            where, what = ("organization", "repository", "name"), ("shown_url", "events", "format", "content_type")
        may_edit = obj is None or self.has_change_permission(request, obj)
        # Only the form has a field for it.
        verify = "verify" if may_edit else "proof"
        how: tuple[str, ...] = (
            "verify_ssl",
            verify,
            "expires_at",
            "auto_disable",
            "retry_schedule",
            "timeout",
            "max_in_flight",
            "rate_requests",
            "rate_per",
        )
        if obj is not None and obj.is_polled:
            what = ("kind", *[name for name in what if name not in {"url", "shown_url"}], "consumers")
            how = ("expires_at",)
        return [(None, {"fields": where}), ("Request", {"fields": what}), ("Delivery", {"fields": how})]

    def get_readonly_fields(self, request: HttpRequest, obj: Webhook | None = None) -> tuple[str, ...]:
        """Make the organization and the repository of an existing webhook read-only."""
        return () if obj is None else ("organization", "repository", "kind", "consumers")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow no change to a deleted webhook."""
        return super().has_change_permission(request, obj) and not is_deleted(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow no second deletion of a webhook."""
        return super().has_delete_permission(request, obj) and not is_deleted(obj)

    def save_model(self, request: HttpRequest, obj: Webhook, form: Any, change: bool) -> None:
        """Create or change the webhook through the engine, and show a new secret once."""
        now, secret = timezone.now(), None
        if change:
            if form.submitted:
                # Changes since the page was loaded are shown by the form; these are since it was validated.
                _, secret = changing.change(obj.pk, form.submitted, unchanged_since=obj.changed_at, now=now)
        else:
            cleaned = form.cleaned_data
            created, secret = creating.create(
                form.submitted, organization=cleaned["organization"], repository=cleaned["repository"], now=now
            )
            obj.pk = created.pk
        obj.refresh_from_db()
        if secret is not None:
            self.show_once(request, f"New signing secret of {obj}", secret)

    def late_error(self, error: Exception) -> str | None:
        """Return also why a secret could not be read, and that another change came first."""
        if isinstance(error, changing.ChangedMeanwhile):
            return "The webhook has been changed by somebody else in this moment. Nothing was saved."
        return str(error) if isinstance(error, vault.Unreadable) else super().late_error(error)

    def context_of(self, request: HttpRequest, found: Webhook) -> dict[str, Any]:
        """Return the webhook's health, which its page shows above the form."""
        return overview(request, found, may_act=self.has_act_permission(request, found), now=timezone.now())

    # Deleting --------------------------------------------------------------------------------------------------------

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Return only the webhooks themselves: their log stays, and nothing else is deleted with them."""
        names = [str(webhook) for webhook in objs]
        lacking = set() if self.has_delete_permission(request) else {"webhook"}
        return names, {"webhooks": len(names)}, lacking, []

    def delete_model(self, request: HttpRequest, obj: Webhook) -> None:
        """Delete one webhook through the engine."""
        self.delete_queryset(request, Webhook.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Delete webhooks through the engine: their log stays, and their pending and held deliveries are cancelled."""
        cancelled, now = 0, timezone.now()
        # In the order in which webhooks are locked.
        for webhook_id in sorted(queryset.values_list("pk", flat=True)):
            # It may have been deleted since the page was shown.
            with suppress(Webhook.DoesNotExist):
                cancelled += lifecycle.delete(webhook_id, now=now)
        self.message_user(request, f"{deliveries(cancelled)} cancelled.", messages.INFO)


def is_deleted(found: Model | None) -> bool:
    """Return whether ``found`` is a deleted webhook."""
    return isinstance(found, Webhook) and found.deleted_at is not None
