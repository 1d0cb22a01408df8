"""The alerts that were sent, or are to be: those of a portal session, and what retention deletes."""

from datetime import datetime

from django.conf import settings
from django.db.models import Exists, OuterRef

from deliveries.db import arrays, sql
from deliveries.db.ids import first_id_at
from hookhub import portal_sessions
from hookhub.alerts import queue
from hookhub.models import Alert, AlertChannel, PortalSession

# How many alerts one tick of retention deletes.
PRUNE_BATCH = 1000
# How many webhooks of a session are looked at, the newest first.
MAX_WEBHOOKS = 200


def recent_of(session: PortalSession, *, most: int = 50) -> list[Alert]:
    """Return the latest alerts about the webhooks of a portal session, newest first; ``webhook`` is loaded.

    Only a session of the whole organization gets tests, and the names of channels: others have none of its channels,
    so ``channel_name`` is empty for them. By the index alert_of_organization, or alert_of_webhook.
    """
    if session.is_of_organization:
        rows = sql.run(FIND_OF_ORGANIZATION, {"organization": session.organization_id, "most": most})
    else:
        own = portal_sessions.webhooks_of(session).order_by("-id").values_list("pk", flat=True)[:MAX_WEBHOOKS]
        rows = sql.run(FIND_OF_WEBHOOKS, {"webhooks": arrays.bigints(own), "most": most})
    found = Alert.objects.filter(pk__in=[alert_id for (alert_id,) in rows]).select_related("webhook")
    alerts = list(found.order_by("-id"))
    if not session.is_of_organization:
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


# In the order of the columns of their indexes, and by arrays, which the planner does not know to be constant: it would
# otherwise read all alerts by their ids, because few are wanted.
FIND_OF_ORGANIZATION = """
SELECT id FROM hookhub_alert
WHERE organization_id = ANY(ARRAY[%(organization)s::bigint])
ORDER BY organization_id, id DESC LIMIT %(most)s
"""

FIND_OF_WEBHOOKS = """
SELECT found.id FROM unnest(%(webhooks)s::bigint[]) AS w (id) CROSS JOIN LATERAL (
    SELECT id FROM hookhub_alert
    WHERE webhook_id = ANY(ARRAY[w.id])
    ORDER BY webhook_id, id DESC LIMIT %(most)s
) AS found
ORDER BY found.id DESC LIMIT %(most)s
"""
