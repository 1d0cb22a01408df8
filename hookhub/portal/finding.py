"""The rows that the pages of a session may see."""

from uuid import UUID

from django.http import Http404

from deliveries.db.lookups import find_one
from deliveries.models import Delivery, Webhook
from hookhub import portal_sessions
from hookhub.models import PortalSession


def webhook_of(session: PortalSession, uid: UUID) -> Webhook:
    """Return a webhook of the session; raise Http404 for any other."""
    own = portal_sessions.webhooks_of(session).select_related("organization", "repository")
    found = find_one(own.filter(uid=uid))
    if found is None:
        raise Http404
    return found


def delivery_of(session: PortalSession, uid: UUID) -> Delivery:
    """Return a delivery to a webhook of the session; raise Http404 for any other."""
    own = Delivery.objects.filter(organization=session.organization_id).select_related("webhook")
    found = find_one(own.filter(pk=uid))
    if found is None or not portal_sessions.webhooks_of(session).filter(pk=found.webhook_id).exists():
        raise Http404
    return found
