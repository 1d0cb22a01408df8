"""Webhooks as an operator sees them: who is ill, why, and the levers."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ShowFacets
from django.db import transaction
from django.db.models import Case, F, Func, Model, QuerySet, TextField, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries import replay, terms, vault, webhooks
from deliveries.formats import FORMATS
from deliveries.models import Delivery, Organization, Webhook
from deliveries.rates import TooMany
from hookhub import samples
from hookhub.admin.base import Acting, Titled, page_of, tally
from hookhub.admin.filters import ConditionFilter, FormatFilter, OrganizationFilter
from hookhub.admin.reading import row_of
from hookhub.admin.showing import when
from hookhub.admin.tenancy import is_unrestricted, organizations_of
from hookhub.admin.webhook_form import WebhookForm
from hookhub.admin.webhook_overview import figures, headers_of, health, secrets_of, signs
from hookhub.api.permissions import MASTER_ONLY
from hookhub.models import Scope

LATEST = 20
ONE_PAGE = 100

# The formats whose URLs everybody may see.
SHOWN = [slug for slug, wire_format in FORMATS.items() if not wire_format.url_is_secret]

# What a button says, and of which webhooks it makes sense.
BUTTONS: tuple[tuple[str, str, Callable[[Webhook], bool]], ...] = (
    ("enable", "Enable", lambda webhook: not webhook.active),
    ("enable_and_release", "Enable and send what is held", lambda webhook: not webhook.active),
    ("enable_and_release", "Send what is held", lambda webhook: webhook.active and holds(webhook)),
    ("ping", "Send a ping", lambda webhook: webhook.active),
    ("rotate_secret", "Rotate the secret", lambda webhook: webhook.deleted_at is None and signs(webhook)),
    ("disable", "Disable", lambda webhook: webhook.active),
)


@admin.register(Webhook)
class WebhookAdmin(Titled, Acting):
    organization_path = "organization"
    form = WebhookForm
    list_display = (
        "webhook",
        "health",
        "organization",
        "repository",
        "wire_format",
        "asks_for",
        "last_delivery",
        "failures",
    )
    list_filter = (ConditionFilter, OrganizationFilter, FormatFilter)
    list_select_related = ("organization", "repository__organization")
    list_per_page = ONE_PAGE
    show_facets = ShowFacets.NEVER
    search_fields = ("name", "seen_url", "uid")
    search_help_text = "Part of a name, a URL or an id."
    ordering = ("-id",)
    actions = ("enable", "enable_and_release", "disable", "ping", "send_test", "rotate_secret")
    autocomplete_fields = ("organization", "repository")
    change_form_template = "hookhub/admin/webhook.html"
    delete_confirmation_template = "hookhub/admin/webhook_delete.html"
    delete_selected_confirmation_template = "hookhub/admin/webhook_delete_selected.html"

    def own_rows(self, request: HttpRequest, rows: QuerySet[Any], *, scope: Scope) -> QuerySet[Any]:
        """Return the webhooks of the person's organizations; where only master keys may see them, of the owned ones."""
        own = super().own_rows(request, rows, scope=scope)
        return own.exclude(organization__in=self._closed_to(request))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Let nobody create a webhook in an organization, or for a repository of one, where they may see none."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None:
            own = "pk" if db_field.name == "organization" else "organization"
            field.queryset = field.queryset.exclude(**{f"{own}__in": self._closed_to(request)})
        return field

    def _closed_to(self, request: HttpRequest) -> QuerySet[Organization]:
        """Return the organizations whose webhooks only master keys and owners may touch, and this person not."""
        if is_unrestricted(request):
            return Organization.objects.none()
        owned = organizations_of(request, scope=Scope.MASTER)
        return Organization.objects.filter(default_dialect__in=MASTER_ONLY).exclude(pk__in=owned)

    # The list --------------------------------------------------------------------------------------------------------

    @admin.display(description="Webhook", ordering="name")
    def webhook(self, obj: Webhook) -> SafeString:
        if not obj.name:
            return format_html('<span class="hh-cut">{}</span>', obj.shown_url)
        return format_html('{}<br><small class="hh-cut hh-dim">{}</small>', obj.name, obj.shown_url)

    @admin.display(description="Health")
    def health(self, obj: Webhook) -> SafeString:
        return health(obj, now=timezone.now())

    @admin.display(description="Format", ordering="format")
    def wire_format(self, obj: Webhook) -> str:
        return obj.get_format_display()

    @admin.display(description="Events")
    def asks_for(self, obj: Webhook) -> str:
        shown = ", ".join(obj.events[:3])
        return f"{shown} and {len(obj.events) - 3} more" if len(obj.events) > 3 else shown

    @admin.display(description="Last delivery", ordering="last_delivery_at")
    def last_delivery(self, obj: Webhook) -> SafeString | str:
        if obj.last_delivery_at is None:
            return "–"
        return format_html("{} {}", obj.last_delivery_status or "–", when(obj.last_delivery_at, now=timezone.now()))

    @admin.display(description="Failures", ordering="failure_count")
    def failures(self, obj: Webhook) -> int:
        return obj.failure_count

    @admin.display(description="URL")
    def shown_url(self, obj: Webhook) -> str:
        return obj.shown_url

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """Search the URLs that are shown; in the others a secret could be guessed letter by letter."""
        # An earlier version stored queries in the clear.
        before_query = Func(F("stored_url"), Value("?"), Value(1), function="split_part", output_field=TextField())
        seen = Case(When(format__in=SHOWN, then=before_query), default=Value(""), output_field=TextField())
        return super().get_search_results(request, queryset.annotate(seen_url=seen), search_term)

    # The form --------------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Webhook | None = None) -> Any:
        """Give the form's parts; who may not change a webhook sees no field to type into."""
        if obj is None:
            where: tuple[str, ...] = ("organization", "repository", "name")
            what: tuple[str, ...] = ("url", "events", "format", "content_type", "headers", "secret")
        elif self.has_change_permission(request, obj):
            where = ("organization", "repository", "name")
            what = ("url", "events", "format", "content_type", "headers", "drop_headers")
        else:
            where, what = ("organization", "repository", "name"), ("shown_url", "events", "format", "content_type")
        how = ("verify_ssl", "auto_disable", "retry_schedule", "timeout", "max_in_flight")
        return [(None, {"fields": where}), ("What is sent", {"fields": what}), ("How", {"fields": how})]

    def get_readonly_fields(self, request: HttpRequest, obj: Webhook | None = None) -> tuple[str, ...]:
        """Keep a webhook in the organization and the repository it was made for."""
        del request
        return () if obj is None else ("organization", "repository")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let nobody change what is deleted."""
        return super().has_change_permission(request, obj) and not is_deleted(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let nobody delete twice."""
        return super().has_delete_permission(request, obj) and not is_deleted(obj)

    def save_model(self, request: HttpRequest, obj: Webhook, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Create or change it through the engine, and show a new secret this once."""
        now, secret = timezone.now(), None
        if change:
            if form.wanted:
                _, secret = webhooks.change(obj.pk, form.wanted, now=now)
        else:
            cleaned = form.cleaned_data
            created, secret = webhooks.create(
                form.wanted, organization=cleaned["organization"], repository=cleaned["repository"], now=now
            )
            obj.pk = created.pk
        obj.refresh_from_db()
        if secret is not None:
            self.show_secret(request, obj, secret)

    def show_secret(self, request: HttpRequest, webhook: Webhook, secret: str) -> None:
        """Tell a new secret; there is no second time."""
        shown = format_html("The secret of {} is now <code>{}</code> It is not shown again.", str(webhook), secret)
        self.message_user(request, shown, messages.WARNING)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Take a fault that the form did not find, such as a name that has just stopped resolving, to the person."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except (terms.BadTerms, TooMany, vault.Unreadable) as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show one webhook's health above its form."""
        found = self.get_object(request, object_id)
        context = {} if found is None else overview(found, may_act=self.has_act_permission(request, found))
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    # Deleting --------------------------------------------------------------------------------------------------------

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name the webhooks themselves: their log stays, and nothing else goes with them."""
        names = [str(webhook) for webhook in objs]
        lacking = set() if self.has_delete_permission(request) else {"webhook"}
        return names, {"webhooks": len(names)}, lacking, []

    def delete_model(self, request: HttpRequest, obj: Webhook) -> None:
        """Delete one as its owner would."""
        self.delete_queryset(request, Webhook.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Delete each as its owner would: the log stays, what it was still owed is cancelled."""
        cancelled, now = 0, timezone.now()
        for webhook_id in ids_of(queryset):
            with transaction.atomic():
                webhook = webhooks.lock(webhook_id)
                if webhook is not None and webhook.deleted_at is None:
                    cancelled += webhooks.delete(webhook, now=now)
        self.message_user(request, f"{cancelled:,} waiting or held deliveries were cancelled.", messages.INFO)

    # Actions ---------------------------------------------------------------------------------------------------------

    @admin.action(description="Enable", permissions=["act"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Enable those that are disabled; what is held for them stays held."""
        self._enable(request, queryset, release_held=False)

    @admin.action(description="Enable and send what is held", permissions=["act"])
    def enable_and_release(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Enable those that are disabled, and make due what is held for any of them."""
        self._enable(request, queryset, release_held=True)

    def _enable(self, request: HttpRequest, queryset: QuerySet[Webhook], *, release_held: bool) -> None:
        done, left_alone, released = [], [], 0
        for webhook in chosen_of(queryset):
            if webhook.deleted_at is not None:
                left_alone.append("deleted")
            elif webhook.disabled_at is None and not (release_held and holds(webhook)):
                left_alone.append("active already")
            else:
                _, count = replay.enable(webhook.pk, release_held=release_held, now=timezone.now())
                released += count
                done.append(webhook)
        more = f" {released:,} held deliveries are due now." if release_held else ""
        self.note(request, done, "Enabled.")
        self.tell(request, f"{named(done)} enabled.{more}" if done else "", tally(left_alone))

    @admin.action(description="Disable", permissions=["act"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Disable those that are active, and hold what they are owed."""
        done, left_alone, held = [], [], 0
        for webhook in chosen_of(queryset):
            if not webhook.active:
                left_alone.append("not active")
                continue
            _, count = replay.disable(webhook.pk, now=timezone.now())
            held += count
            done.append(webhook)
        self.note(request, done, "Disabled.")
        self.tell(
            request, f"{named(done)} disabled. {held:,} deliveries are held now." if done else "", tally(left_alone)
        )

    @admin.action(description="Send a ping", permissions=["act"])
    def ping(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Send a test event to those that are active, with links to watch it arrive."""
        done, left_alone = [], []
        for webhook in chosen_of(queryset):
            if not webhook.active:
                left_alone.append("not active")
                continue
            delivery = replay.ping(webhook, now=timezone.now())
            shown = format_html(
                'A ping is on its way to {}: <a href="{}">watch it</a>.', str(webhook), page_of(delivery)
            )
            self.message_user(request, shown, messages.SUCCESS)
            done.append(webhook)
        self.note(request, done, "Pinged.")
        self.tell(request, "", tally(left_alone))

    @admin.action(description="Send a test event", permissions=["act"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Send each an example of what it asks for: of the type that is posted, or else of the first."""
        done, left_alone = [], []
        for webhook in chosen_of(queryset.select_related("organization")):
            if not webhook.active:
                left_alone.append("not active")
                continue
            try:
                sample = samples.choose(webhook, request.POST.get("type") or None)
            except terms.BadTerms as error:
                left_alone.append(error.faults["type"])
                continue
            delivery = replay.send_to(webhook, sample.type, sample.data, now=timezone.now())
            shown = format_html(
                'A test of {} is on its way to {}: <a href="{}">watch it</a>.',
                sample.name,
                str(webhook),
                page_of(delivery),
            )
            self.message_user(request, shown, messages.SUCCESS)
            done.append(webhook)
        self.note(request, done, "Sent a test event.")
        self.tell(request, "", tally(left_alone))

    @admin.action(description="Rotate the secret", permissions=["act"])
    def rotate_secret(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Give each a new secret, shown this once; the old one goes on signing for a while."""
        done, left_alone = [], []
        for webhook in chosen_of(queryset):
            if webhook.deleted_at is not None:
                left_alone.append("deleted")
                continue
            if not signs(webhook):
                left_alone.append("signs nothing")
                continue
            try:
                _, secret = webhooks.rotate_secret(webhook.pk, now=timezone.now())
            except vault.Unreadable as error:
                left_alone.append(str(error))
                continue
            self.show_secret(request, webhook, secret)
            done.append(webhook)
        self.note(request, done, "Secret rotated.")
        self.tell(request, "", tally(left_alone))


def overview(webhook: Webhook, *, may_act: bool) -> dict[str, Any]:
    """Give what stands above a webhook's form."""
    now = timezone.now()
    latest = Delivery.objects.filter(webhook=webhook).order_by("-id").prefetch_related("webhook")[:LATEST]
    able = may_act and webhook.deleted_at is None
    return {
        "health": health(webhook, now=now),
        "figures": figures(webhook, now=now),
        "last_delivery": webhook.last_delivery_status,
        "last_delivery_at": when(webhook.last_delivery_at, now=now),
        "disabled_at": when(webhook.disabled_at, now=now) if webhook.disabled_at else None,
        "secrets": secrets_of(webhook, now=now),
        "own_headers": headers_of(webhook),
        "rows": [row_of(delivery, now=now) for delivery in latest],
        "tests": sorted(samples.samples_for(webhook)) if able and webhook.active else [],
        "buttons": [(name, text) for name, text, fits in BUTTONS if able and fits(webhook)],
    }


def chosen_of(queryset: QuerySet[Webhook]) -> list[Webhook]:
    """Give the webhooks an action is about, never more than a page of them."""
    return list(queryset.order_by("id")[:ONE_PAGE])


def ids_of(queryset: QuerySet[Webhook]) -> list[int]:
    """Give the ids in the order in which webhooks are locked."""
    return sorted(queryset.values_list("pk", flat=True))


def holds(webhook: Webhook) -> bool:
    """Tell whether deliveries are held for it."""
    return Delivery.objects.filter(webhook=webhook, state="held").exists()


def is_deleted(found: Model | None) -> bool:
    """Tell whether it is a webhook that is deleted."""
    return isinstance(found, Webhook) and found.deleted_at is not None


def named(chosen: list[Webhook]) -> str:
    """Write how many webhooks, or which one."""
    return str(chosen[0]) if len(chosen) == 1 else f"{len(chosen)} webhooks"
