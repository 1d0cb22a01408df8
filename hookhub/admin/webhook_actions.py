"""The actions on webhooks: on those selected in the list, and as buttons on the page of one."""

from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from deliveries import rates, redelivery, timezone, vault
from deliveries.formats import format_of
from deliveries.models import Delivery, Webhook
from deliveries.webhooks import fields, lifecycle, secrets, verifying
from hookhub.admin.actions import ObjectActions, Skipped
from hookhub.admin.base import page_of
from hookhub.event_types import examples
from hookhub.formatting import deliveries

ONE_PAGE = 100

# Each button's action and label, and to which webhooks it applies.
OBJECT_ACTIONS: tuple[tuple[str, str, Callable[[Webhook], bool]], ...] = (
    ("enable", "Enable", lambda webhook: not webhook.active),
    ("enable_and_release", "Enable and send held deliveries", lambda webhook: not webhook.active),
    ("enable_and_release", "Send held deliveries", lambda webhook: webhook.active and lifecycle.has_held(webhook)),
    ("ping", "Send ping", lambda webhook: webhook.active and not webhook.unverified),
    ("verify_url", "Verify URL", lambda webhook: webhook.deleted_at is None and can_echo(webhook)),
    ("rotate_secret", "Rotate secret", lambda webhook: webhook.deleted_at is None and can_sign(webhook)),
    ("disable", "Disable", lambda webhook: webhook.active),
)


class WebhookActions(ObjectActions):
    actions = ("enable", "enable_and_release", "disable", "ping", "send_test", "verify_url", "rotate_secret")

    @admin.action(description="Enable selected webhooks", permissions=["act"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Enable the disabled ones of the selected webhooks; their held deliveries stay held."""
        self._enable(request, queryset, release_held=False)

    @admin.action(description="Enable selected webhooks and send held deliveries", permissions=["act"])
    def enable_and_release(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Enable the disabled ones of the selected webhooks, and make the held deliveries of all of them due."""
        self._enable(request, queryset, release_held=True)

    def _enable(self, request: HttpRequest, queryset: QuerySet[Webhook], *, release_held: bool) -> None:
        def enable(webhook: Webhook) -> int:
            if webhook.deleted_at is not None:
                raise Skipped("deleted")
            if webhook.disabled_at is None and not (release_held and lifecycle.has_held(webhook)):
                raise Skipped("already enabled")
            _, count = lifecycle.enable(webhook.pk, release_held=release_held, now=timezone.now())
            return count

        def summary(done: list[Webhook], released: list[int]) -> str:
            more = f" {deliveries(sum(released))} queued." if release_held else ""
            return f"{named(done)} enabled.{more}"

        self.act_on_each(request, selected(queryset), enable, record="Enabled.", summary=summary)

    @admin.action(description="Disable selected webhooks", permissions=["act"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Disable the active ones of the selected webhooks, and hold their deliveries."""

        def disable(webhook: Webhook) -> int:
            require_active(webhook)
            _, count = lifecycle.disable(webhook.pk, now=timezone.now())
            return count

        def summary(done: list[Webhook], held: list[int]) -> str:
            return f"{named(done)} disabled. {deliveries(sum(held))} held."

        self.act_on_each(request, selected(queryset), disable, record="Disabled.", summary=summary)

    @admin.action(description="Send ping to selected webhooks", permissions=["act"])
    def ping(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Send a ping to the active ones of the selected webhooks, and link to the deliveries."""

        def ping(webhook: Webhook) -> None:
            require_receiving(webhook)
            self._show_sent(request, "Ping", webhook, redelivery.ping(webhook, now=timezone.now()))

        self.act_on_each(request, selected(queryset), ping, record="Ping sent.")

    @admin.action(description="Send test event to selected webhooks", permissions=["act"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Send each selected webhook an example of the posted type, or of the first type it subscribes to."""

        def send_test(webhook: Webhook) -> None:
            require_receiving(webhook)
            try:
                sample = examples.pick(webhook, request.POST.get("type") or None)
            except fields.InvalidFields as error:
                raise Skipped(f"({error.errors['type']})") from error
            delivery = redelivery.send_to(webhook, sample.type, sample.data, now=timezone.now())
            self._show_sent(request, f"Test event {sample.name}", webhook, delivery)

        webhooks = selected(queryset.select_related("organization"))
        self.act_on_each(request, webhooks, send_test, record="Test event sent.")

    @admin.action(description="Verify URLs of selected webhooks", permissions=["act"])
    def verify_url(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Start to verify the URL of each selected webhook; until it has answered, the webhook stays as it is."""

        def verify(webhook: Webhook) -> None:
            if webhook.deleted_at is not None:
                raise Skipped("deleted")
            try:
                verifying.verify(webhook.pk, now=timezone.now())
            except (fields.InvalidFields, rates.TooMany, vault.Unreadable) as error:
                raise Skipped(f"({error})") from error

        def summary(done: list[Webhook], _: list[None]) -> str:
            return f"{named(done)} being verified."

        self.act_on_each(request, selected(queryset), verify, record="Verification started.", summary=summary)

    @admin.action(description="Rotate secrets of selected webhooks", permissions=["act"])
    def rotate_secret(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Replace the secret of each selected webhook and show it once; the old one signs until the overlap ends."""

        def rotate(webhook: Webhook) -> None:
            if webhook.deleted_at is not None:
                raise Skipped("deleted")
            if not can_sign(webhook):
                raise Skipped("whose format does not sign requests")
            try:
                _, secret = secrets.rotate_secret(webhook.pk, now=timezone.now())
            except vault.Unreadable as error:
                raise Skipped(f"({error})") from error
            self.show_once(request, f"New signing secret of {webhook}", secret)

        self.act_on_each(request, selected(queryset), rotate, record="Secret rotated.")

    def _show_sent(self, request: HttpRequest, what: str, webhook: Webhook, delivery: Delivery) -> None:
        if webhook.is_polled:
            shown = format_html("{} put into the queue of {}.", what, str(webhook))
        else:
            shown = format_html('{} sent to {}. <a href="{}">View delivery</a>', what, str(webhook), page_of(delivery))
        self.message_user(request, shown, messages.SUCCESS)


def selected(queryset: QuerySet[Webhook]) -> list[Webhook]:
    """Return the webhooks that an action applies to, one page at most."""
    return list(queryset.order_by("id")[:ONE_PAGE])


def require_active(webhook: Webhook) -> None:
    """Raise Skipped for a disabled or deleted webhook."""
    if not webhook.active:
        raise Skipped("not enabled")


def require_receiving(webhook: Webhook) -> None:
    """Raise Skipped for a webhook to which nothing is sent."""
    require_active(webhook)
    if webhook.has_ended(now=timezone.now()):
        raise Skipped("ended")
    if webhook.unverified:
        raise Skipped("not verified")


def can_sign(webhook: Webhook) -> bool:
    """Return whether the webhook's format uses secrets at all."""
    return format_of(webhook.format).secret_policy.allows_secret


def can_echo(webhook: Webhook) -> bool:
    """Return whether receivers of the webhook's format can answer a verification."""
    return not format_of(webhook.format).url_is_secret


def named(chosen: list[Webhook]) -> str:
    """Return the name of a single webhook, or the number of several."""
    return str(chosen[0]) if len(chosen) == 1 else f"{len(chosen)} webhooks"
