"""The pages about a webhook's signing secret: a new one is shown once, in the response to the form that made it."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, gettext_lazy

from deliveries import timezone, vault
from deliveries.formats import format_of
from deliveries.models import Verification, Webhook
from deliveries.webhooks import changing, secrets, verifying
from deliveries.webhooks.fields import InvalidFields
from deliveries.webhooks.locking import lock
from deliveries.webhooks.secrets import RotatedMeanwhile
from hookhub.formatting import exact
from hookhub.models import PortalSession
from hookhub.portal.access import for_manager, page, require_safe_or_post
from hookhub.portal.finding import webhook_of
from hookhub.portal.showing import webhook_row
from hookhub.portal.words import in_words

# A verification that has neither succeeded nor failed.
OPEN = (Verification.State.PENDING, Verification.State.SENDING)
# For how many seconds the previous secrets keep signing.
OVERLAPS = {
    "86400": gettext_lazy("for one more day"),
    "3600": gettext_lazy("for one more hour"),
    "604800": gettext_lazy("for one more week"),
    "0": gettext_lazy("no longer"),
}


def show_once(
    request: HttpRequest, session: PortalSession, webhook: Webhook, secret: str | None, *, title: str
) -> HttpResponse:
    """Return the page that shows a new secret; no page and no address shows it again."""
    now = timezone.now()
    context = {
        "title": title,
        "webhook": webhook_row(webhook, now=now),
        "secret": secret or "",
        "verification": pending_verification(webhook),
        "may_test": webhook.status(now=now) == Webhook.Status.ACTIVE,
    }
    return page(request, session, "secret_once.html", context)


@require_safe_or_post
@for_manager
def secret(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show how requests are signed; rotate or remove the secret."""
    webhook = webhook_of(session, uid)
    status, error = 200, ""
    if request.method == "POST":
        try:
            return _rotated(request, session, webhook)
        except InvalidFields as found:
            status, error = 422, " ".join(in_words(message) for message in found.errors.values())
        except RotatedMeanwhile:
            status, error = (
                409,
                gettext("The secret has been changed since this page was loaded. Nothing was changed now."),
            )
        except vault.Unreadable:
            status, error = 409, gettext("The stored secrets cannot be decrypted. Change the URL to get a new one.")
    webhook = webhook_of(session, uid)
    context = {
        "webhook": webhook_row(webhook, now=timezone.now()),
        "error": error,
        "version": secrets.version_of(webhook),
        "overlaps": list(OVERLAPS.items()),
        **signing_of(webhook, now=timezone.now()),
    }
    return page(request, session, "secret.html", context, status=status)


def _rotated(request: HttpRequest, session: PortalSession, webhook: Webhook) -> HttpResponse:
    """Rotate or remove the secret as the form says, and return the page that says so."""
    version, now = request.POST.get("version", ""), timezone.now()
    if "remove" in request.POST:
        with transaction.atomic():
            # Locked, so that a new secret, which another page shows at this moment, is not removed.
            if secrets.version_of(lock(webhook.pk)) != version:
                raise RotatedMeanwhile
            changed, _new = changing.change(webhook.pk, {"secret": ""}, now=now)
        return show_once(request, session, changed, None, title=gettext("The secret is removed"))
    overlap = request.POST.get("overlap", "")
    rotated, new = secrets.rotate_secret(
        webhook.pk,
        secret=request.POST.get("secret") or None,
        overlap=timedelta(seconds=int(overlap)) if overlap in OVERLAPS else None,
        version=version,
        now=now,
    )
    return show_once(request, session, rotated, new, title=gettext("The secret is rotated"))


def signing_of(webhook: Webhook, *, now: datetime) -> dict[str, Any]:
    """Return how a webhook's requests are signed, and what can be done about it."""
    policy = format_of(webhook.format).secret_policy
    try:
        live = [each for each in vault.secrets_of(webhook) if each.is_live(now)]
    except vault.Unreadable:
        live = []
    ends = [each.expires_at for each in live if each.expires_at is not None]
    return {
        "signs": policy.allows_secret,
        "has_secret": vault.has_secret(webhook),
        "may_remove": policy.allows_none and policy.allows_secret and vault.has_secret(webhook),
        "previous": len(ends),
        "previous_until": exact(max(ends)) if ends else "",
    }


def pending_verification(webhook: Webhook) -> Verification | None:
    """Return the verification that a webhook's URL, or its next one, has yet to answer; None if there is none."""
    latest = verifying.latest_of(webhook)
    return latest if latest is not None and latest.state in OPEN else None
