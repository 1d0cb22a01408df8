"""E-mails to owners about disabled webhooks, retried until they are sent."""

import logging
from datetime import datetime
from functools import partial

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from deliveries.explanations import last_failure_of
from deliveries.models import Webhook
from deliveries.plain_text import on_one_line
from hookhub.models import Membership
from hookhub.notifications.mailer import BATCH, Mailer, Outcome

log = logging.getLogger("hookhub.notices")

_mailer = Mailer("webhook")


def notify_owners(*, now: datetime) -> int:
    """E-mail the owners of newly disabled webhooks; return how many webhooks were handled.

    What cannot be sent is retried at a later tick.
    """
    unnotified = Webhook.objects.kept().filter(disabled_at__isnull=False, owner_notified_at=None)
    unnotified = unnotified.exclude(pk__in=_mailer.deferred(now=now)).select_related("organization")
    notified = 0
    for webhook in unnotified.order_by("disabled_at")[:BATCH]:
        write = partial(_write_to, owners_of(webhook), webhook)
        outcome = _mailer.send(write, key=webhook.pk, about=webhook.uid, now=now)
        if outcome is Outcome.UNAVAILABLE:
            break
        if outcome is not Outcome.DEFERRED:
            # Only if the webhook has not been enabled and disabled again meanwhile: that needs another e-mail.
            same = Webhook.objects.filter(pk=webhook.pk, disabled_at=webhook.disabled_at)
            notified += same.update(owner_notified_at=now)
    return notified


def owners_of(webhook: Webhook) -> list[str]:
    """Return the e-mail addresses of the active owners of a webhook's organization."""
    members = Membership.objects.filter(
        organization=webhook.organization_id, role=Membership.Role.OWNER, user__is_active=True
    ).exclude(user__email="")
    return sorted(members.values_list("user__email", flat=True))


def _write_to(addresses: list[str], webhook: Webhook) -> None:
    if not addresses:
        log.warning(
            "Webhook %s is disabled, and no owner of %s has an e-mail address", webhook.uid, webhook.organization
        )
        return
    explanation = last_failure_of(webhook)
    subject = f"[HookHub] {on_one_line(str(webhook.organization))}: webhook disabled"
    text = render_to_string(
        "hookhub/webhook_disabled.txt",
        # A line break in a name would let its author inject lines into the e-mail.
        {
            "webhook": webhook,
            "name": on_one_line(webhook.name),
            "organization": on_one_line(str(webhook.organization)),
            "happened": on_one_line(explanation.what_happened) if explanation else "",
            "advice": on_one_line(explanation.what_to_do) if explanation else "",
            "public_url": settings.HOOKHUB_PUBLIC_URL,
        },
    )
    send_mail(subject, text, None, addresses)
