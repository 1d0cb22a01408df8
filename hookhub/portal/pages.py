"""What many pages of the portal need: the chart, and the rows that their session may see."""

from datetime import datetime
from uuid import UUID

from django.http import Http404, HttpRequest

from deliveries.db.lookups import find_one
from deliveries.models import Delivery, Webhook
from hookhub import charts, portal_sessions
from hookhub.models import PortalSession


def chart(request: HttpRequest, series: charts.Series, *, now: datetime) -> dict[str, object]:
    """Return the context of the chart of attempts for the period in the address."""
    return charts.context_of(request.GET.get("period"), series, now=now)


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
