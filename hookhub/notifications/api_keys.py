"""E-mails about API keys that are about to expire, sent once per key and expiry."""

import logging
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from deliveries.plain_text import on_one_line
from hookhub.models import ApiKey
from hookhub.notifications.mailer import BATCH, Mailer, Outcome
from hookhub.notifications.recipients import owners_of

log = logging.getLogger("hookhub.notices")

# Longer than a mail server may take. If the worker dies while it sends, another sends the e-mail after this.
LEASE = timedelta(minutes=5)

_mailer = Mailer("API key")


def warn_of_expiring_keys(*, now: datetime) -> int:
    """E-mail the owners of keys that expire within HOOKHUB_KEY_EXPIRY_WARNING; return how many keys were handled.

    What cannot be sent is retried at a later tick. A key that expired before any e-mail was sent is included. Each is
    leased first: while one leader is replaced by another, both may be at this.
    """
    soon = now + settings.HOOKHUB_KEY_EXPIRY_WARNING
    keys = ApiKey.objects.filter(revoked_at=None, expiry_warned_at=None, expires_at__lte=soon)
    keys = keys.exclude(pk__in=_mailer.deferred(now=now)).exclude(expiry_mail_leased_until__gt=now)
    keys = keys.select_related("organization")
    warned = 0
    for key in keys.order_by("expires_at")[:BATCH]:
        if not _lease(key, now=now):
            continue
        write = partial(_write_to, owners_of(key.organization_id), key)
        outcome = _mailer.send(write, key=key.pk, about=key.key_id, now=now)
        if outcome not in {Outcome.UNAVAILABLE, Outcome.DEFERRED}:
            # Only if the expiry is unchanged: a new one gets its own e-mail.
            warned += ApiKey.objects.filter(pk=key.pk, expires_at=key.expires_at).update(expiry_warned_at=now)
        ApiKey.objects.filter(pk=key.pk, expiry_mail_leased_until=now + LEASE).update(expiry_mail_leased_until=None)
        if outcome is Outcome.UNAVAILABLE:
            break
    return warned


def _lease(key: ApiKey, *, now: datetime) -> bool:
    """Return whether this process may send the e-mail about a key: it is still due, and no other is sending it."""
    due = ApiKey.objects.filter(pk=key.pk, expires_at=key.expires_at, revoked_at=None, expiry_warned_at=None)
    due = due.exclude(expiry_mail_leased_until__gt=now)
    return bool(due.update(expiry_mail_leased_until=now + LEASE))


def _write_to(addresses: list[str], key: ApiKey) -> None:
    log.warning("API key %s of %s expires at %s", key.key_id, key.organization or "the operator", key.expires_at)
    if not addresses:
        return
    owner = on_one_line(str(key.organization)) if key.organization else "operator"
    # A line break in a name would let its author inject lines into the e-mail.
    name = on_one_line(key.name)
    context = {"key": key, "name": name, "whose": owner, "public_url": settings.HOOKHUB_PUBLIC_URL}
    text = render_to_string("hookhub/api_key_expires.txt", context)
    send_mail(f"[HookHub] {owner}: API key {key.key_id} expires soon", text, None, addresses)
