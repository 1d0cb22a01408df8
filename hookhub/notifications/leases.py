"""E-mails to owners about webhooks whose lease ends soon, retried until they are sent, once per lease."""

import logging
from datetime import datetime
from functools import partial

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from deliveries.models import Webhook
from deliveries.plain_text import on_one_line
from hookhub.notifications.mailer import BATCH, Mailer, Outcome
from hookhub.notifications.webhooks import owners_of

log = logging.getLogger("hookhub.notices")

_mailer = Mailer("lease")


def notify_owners(*, now: datetime) -> int:
    """E-mail the owners of webhooks that end soon; return how many webhooks were handled.

    What cannot be sent is retried at a later tick, also after the end.
    """
    due = Webhook.objects.kept().filter(expiry_mail_at__lte=now)
    due = due.exclude(pk__in=_mailer.deferred(now=now)).select_related("organization")
    notified = 0
    for webhook in due.order_by("expiry_mail_at")[:BATCH]:
        write = partial(_write_to, owners_of(webhook), webhook)
        outcome = _mailer.send(write, key=webhook.pk, about=webhook.uid, now=now)
        if outcome is Outcome.UNAVAILABLE:
            break
        if outcome is not Outcome.DEFERRED:
            # Only if the lease is the same: a new one gets its own e-mail.
            same = Webhook.objects.filter(pk=webhook.pk, expires_at=webhook.expires_at)
            notified += same.update(expiry_mail_at=None)
    return notified


def _write_to(addresses: list[str], webhook: Webhook) -> None:
    if not addresses:
        log.warning("Webhook %s ends, and no owner of %s has an e-mail address", webhook.uid, webhook.organization)
        return
    # A line break in a name would let its author inject lines into the e-mail.
    organization = on_one_line(str(webhook.organization))
    context = {
        "webhook": webhook,
        "name": on_one_line(webhook.name),
        "organization": organization,
        "public_url": settings.HOOKHUB_PUBLIC_URL,
    }
    text = render_to_string("hookhub/webhook_expires.txt", context)
    send_mail(f"[HookHub] {organization}: webhook ends soon", text, None, addresses)
