"""The pages that disable, enable and delete a webhook; each says first what happens with its deliveries."""

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext

from deliveries import redelivery, timezone
from deliveries.db import sql
from deliveries.models import Webhook
from deliveries.webhooks import lifecycle
from hookhub.formatting import MAX_COUNTED, at_most, exact
from hookhub.models import PortalSession
from hookhub.portal.access import for_manager, page, require_safe_or_post
from hookhub.portal.finding import webhook_of
from hookhub.portal.showing import webhook_row

# What happens with held deliveries when a webhook is enabled.
SEND, KEEP, CANCEL = "send", "keep", "cancel"
# Held deliveries that one request cancels, in batches of their own transactions.
CANCELLED_AT_ONCE = 2 * sql.BATCH


@require_safe_or_post
@for_manager
def disable(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Ask whether to disable a webhook; do it."""
    webhook = webhook_of(session, uid)
    if request.method == "POST":
        lifecycle.disable(webhook.pk, now=timezone.now())
        return redirect("portal:webhook", uid=uid)
    context = {"webhook": webhook_row(webhook, now=timezone.now()), "waiting": waiting_of(webhook)}
    return page(request, session, "disable.html", context)


@require_safe_or_post
@for_manager
def enable(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Ask what happens with the deliveries that a webhook has held, and enable it."""
    webhook, now = webhook_of(session, uid), timezone.now()
    choice, error = request.POST.get("held", ""), ""
    if request.method == "POST" and choice in {SEND, KEEP, CANCEL}:
        if choice != CANCEL or _cancel_held(webhook):
            if choice == SEND or not webhook.active:
                lifecycle.enable(webhook.pk, release_held=choice == SEND, now=now)
            return redirect("portal:webhook", uid=uid)
        error = gettext("Many are cancelled, and there are more. Press the button again.")
    held = held_of(webhook)
    context = {
        "webhook": webhook_row(webhook, now=now),
        "is_active": webhook.active,
        "reason": gettext(str(webhook.get_disabled_reason_display())) if webhook.disabled_reason else "",
        "since": "" if webhook.disabled_at is None else exact(webhook.disabled_at),
        "held": held,
        "any_held": held != "0",
        "choice": choice,
        "error": error,
    }
    return page(request, session, "enable.html", context)


def _cancel_held(webhook: Webhook) -> bool:
    """Cancel the held deliveries of a webhook, as many as one request may; return whether that were all of them."""
    part = lifecycle.HELD.of(webhook).reverse().values_list("id", flat=True)
    for _ in range(CANCELLED_AT_ONCE // sql.BATCH):
        ids = list(part[: sql.BATCH])
        redelivery.cancel(ids, now=timezone.now())
        if len(ids) < sql.BATCH:
            return True
    return not lifecycle.has_held(webhook)


@require_safe_or_post
@for_manager
def delete(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show what is lost with a webhook; delete it."""
    webhook = webhook_of(session, uid)
    if request.method == "POST":
        lifecycle.delete(webhook.pk, now=timezone.now())
        return redirect("portal:overview")
    context = {
        "webhook": webhook_row(webhook, now=timezone.now()),
        "waiting": waiting_of(webhook),
        "held": held_of(webhook),
        "days": settings.HOOKHUB_RETENTION.days,
        "is_subscription": webhook.subscription is not None,
    }
    return page(request, session, "delete.html", context)


def waiting_of(webhook: Webhook) -> str:
    """Return how many deliveries wait for their first or next attempt; counted by the index of each kind."""
    count = 0
    for part in (lifecycle.READY, lifecycle.SCHEDULED):
        count += part.of(webhook)[: MAX_COUNTED + 1 - count].count()
    return at_most(count)


def held_of(webhook: Webhook) -> str:
    """Return how many deliveries are held."""
    return at_most(lifecycle.HELD.of(webhook)[: MAX_COUNTED + 1].count())
