"""The admin's pages of alert channels, and of the alerts that were sent."""

from contextlib import suppress
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries import timezone, vault
from deliveries.rates import TooMany
from deliveries.webhooks.fields import InvalidFields
from hookhub.admin import filters
from hookhub.admin.about_webhooks import AboutWebhooks
from hookhub.admin.actions import ObjectActions, Skipped
from hookhub.admin.base import PluralTitle
from hookhub.admin.forms.alert_channel import AlertChannelForm
from hookhub.admin.logs import LogAdmin, LogIndex
from hookhub.admin.presenters import WITH_ORGANIZATION, WITH_WEBHOOK
from hookhub.admin.saving import KnowsWhatWasLoaded
from hookhub.alerts import channels
from hookhub.formatting import TONES, badge, timestamp, when
from hookhub.models import Alert, AlertChannel


@admin.register(AlertChannel)
class AlertChannelAdmin(AboutWebhooks, KnowsWhatWasLoaded, ObjectActions, PluralTitle):
    organization_path = "organization"
    form = AlertChannelForm
    list_display = ("channel", "organization", "type", "told", "condition", "last_sent")
    list_filter = (filters.OrganizationFilter, "type")
    list_select_related = ("organization", "repository")
    search_fields = ("name", "organization__slug")
    ordering = ("-id",)
    actions = ("send_test", "rotate_secret")
    autocomplete_fields = ("organization", "repository")
    change_form_template = "hookhub/admin/alert_channel.html"

    @admin.display(description="Channel", ordering="name")
    def channel(self, obj: AlertChannel) -> str:
        return str(obj)

    @admin.display(description="Told of")
    def told(self, obj: AlertChannel) -> str:
        return ", ".join(obj.kinds)

    @admin.display(description="Status")
    def condition(self, obj: AlertChannel) -> SafeString:
        if obj.paused_at is not None:
            return badge("Paused", "quiet")
        if obj.failing_since is not None:
            return format_html("{} <small>{}</small>", badge("Failing", "bad"), obj.last_error)
        return badge("Works", "good") if obj.last_sent_at is not None else badge("Nothing sent yet", "quiet")

    @admin.display(description="Last sent", ordering="last_sent_at")
    def last_sent(self, obj: AlertChannel) -> SafeString | str:
        return when(obj.last_sent_at, now=timezone.now())

    def get_fields(self, request: HttpRequest, obj: AlertChannel | None = None) -> tuple[str, ...]:
        """Return the fields that its owner sets, and of an existing channel how it does."""
        own = (
            "organization", "type", "name", "kinds", "from_percent", "repository", "recipients", "url", "enabled",
        )  # fmt: skip
        return own if obj is None else (*own, "condition", "last_sent_at", "created_at", "changed_at")

    def get_readonly_fields(self, request: HttpRequest, obj: AlertChannel | None = None) -> tuple[str, ...]:
        """Make the organization and the type of an existing channel read-only."""
        fixed = ("organization", "type", "condition", "last_sent_at", "created_at", "changed_at")
        return () if obj is None else fixed

    def save_model(self, request: HttpRequest, obj: AlertChannel, form: Any, change: bool) -> None:
        """Create or change the channel as the API does, and show a new secret once."""
        if change:
            channels.change(obj, form.submitted, now=timezone.now())
            return
        made = channels.create(form.submitted, organization=obj.organization, now=timezone.now())
        obj.pk = made.channel.pk
        if made.secret is not None:
            self.show_once(request, f"Signing secret of {made.channel}", made.secret)

    def delete_model(self, request: HttpRequest, obj: AlertChannel) -> None:
        """Delete one channel as the API does."""
        # It may have been deleted since the page was shown.
        with suppress(AlertChannel.DoesNotExist):
            channels.delete(obj, now=timezone.now())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete several channels as the API does."""
        for channel in queryset:
            self.delete_model(request, channel)

    def context_of(self, request: HttpRequest, found: AlertChannel) -> dict[str, Any]:
        """Return whether there are buttons that send a test and rotate the secret."""
        may_act = self.has_act_permission(request, found)
        return {"may_test": may_act, "may_rotate": may_act and found.type == AlertChannel.Type.WEBHOOK}

    @admin.action(description="Send a test alert to selected alert channels", permissions=["act"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[AlertChannel]) -> None:
        """Send a test to the selected channels."""

        def send(channel: AlertChannel) -> Alert:
            try:
                return channels.send_test(channel, now=timezone.now())
            except TooMany as error:
                raise Skipped("because there are too many tests at the moment") from error

        def summary(_: list[AlertChannel], sent: list[Alert]) -> str:
            return f"{len(sent)} test alert{pluralize(len(sent))} will be sent within seconds."

        self.act_on_each(request, queryset, send, record="Sent a test.", summary=summary)

    @admin.action(description="Rotate secrets of selected alert channels", permissions=["act"])
    def rotate_secret(self, request: HttpRequest, queryset: QuerySet[AlertChannel]) -> None:
        """Replace the secret of each selected channel and show it once; the old one signs until the overlap ends."""

        def rotate(channel: AlertChannel) -> None:
            try:
                secret = channels.rotate_secret(channel, now=timezone.now())
            except InvalidFields as error:
                raise Skipped("that sign nothing") from error
            except vault.Unreadable as error:
                raise Skipped(f"({error})") from error
            self.show_once(request, f"Signing secret of {channel}", secret)

        self.act_on_each(request, queryset, rotate, record="Secret rotated.")


@admin.register(Alert)
class AlertAdmin(AboutWebhooks, LogAdmin):
    organization_path = "organization"
    list_display = ("alert", "webhook", "sent_to", "organization", "state_label", "created")
    list_filter = (filters.OrganizationFilter, filters.PeriodFilter, filters.AfterFilter, filters.BeforeFilter)
    columns = (
        "id", "kind", "percent", "webhook_id", "channel_type", "channel_name", "organization_id", "state", "error",
        "created_at",
    )  # fmt: skip
    prefetches = (WITH_ORGANIZATION, WITH_WEBHOOK)
    indexes = (LogIndex("alert_of_organization", ("organization",)),)

    @admin.display(description="Alert")
    def alert(self, obj: Alert) -> str:
        percent = "" if obj.percent is None else f", {obj.percent} %"
        return f"{obj.get_kind_display()}{percent}"

    @admin.display(description="Sent to")
    def sent_to(self, obj: Alert) -> str:
        return "owners" if obj.channel_type == Alert.OWNERS else obj.channel_name

    @admin.display(description="State")
    def state_label(self, obj: Alert) -> SafeString:
        tone = "good" if obj.state == Alert.State.SENT else TONES.get(obj.state, "quiet")
        return format_html("{} <small>{}</small>", badge(obj.get_state_display(), tone), obj.error)

    def show(self, request: HttpRequest, found: Alert) -> HttpResponse:
        """Show one alert."""
        now = timezone.now()
        facts = [
            ("Alert", self.alert(found)),
            ("State", self.state_label(found)),
            ("Organization", found.organization.slug),
            ("Webhook", "–" if found.webhook is None else str(found.webhook)),
            ("Sent to", self.sent_to(found)),
            ("Attempts", found.attempts),
            ("Created", timestamp(found.created_at, now=now)),
            ("Finished", timestamp(found.finished_at, now=now)),
        ]
        return self.render(request, "hookhub/admin/alert.html", found, facts=facts)
