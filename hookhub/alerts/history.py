"""The alerts that were sent, or are to be: those of a portal session, and what retention deletes."""

from datetime import datetime

from django.conf import settings
from django.db.models import Exists, OuterRef

from deliveries.db.ids import first_id_at
from hookhub import portal_sessions
from hookhub.alerts import queue
from hookhub.models import Alert, AlertChannel, PortalSession

# How many alerts one tick of retention deletes.
PRUNE_BATCH = 1000


def recent_of(session: PortalSession, *, most: int = 50) -> list[Alert]:
    """Return the latest alerts about the webhooks of a portal session, newest first; ``webhook`` is loaded.

    Only a session of the whole organization gets tests, and the names of channels: others have none of its channels,
    so ``channel_name`` is empty for them. By the index alert_of_organization, or alert_of_webhook.
    """
    found = Alert.objects.filter(organization=session.organization_id).select_related("webhook")
    if session.repository_id is None and session.webhooks is None:
        return list(found.order_by("-id")[:most])
    own = list(portal_sessions.webhooks_of(session).values_list("pk", flat=True))
    alerts = list(found.filter(webhook__in=own).order_by("-id")[:most])
    for alert in alerts:
        alert.channel_name = ""
    return alerts


def prune(*, now: datetime) -> int:
    """Delete alerts past the retention period, and give up those whose channel is gone; return how many are deleted."""
    channels = AlertChannel.objects.filter(pk=OuterRef("channel"))
    lost = Alert.objects.filter(~Exists(channels), state=Alert.State.PENDING, channel__isnull=False)
    queue.supersede(lost, now=now)
    old = Alert.objects.filter(id__lt=first_id_at(now - settings.HOOKHUB_RETENTION)).order_by("id")
    ids = list(old.values_list("pk", flat=True)[:PRUNE_BATCH])
    return Alert.objects.filter(pk__in=ids).delete()[0] if ids else 0
