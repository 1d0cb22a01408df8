"""What every page of the portal needs: its frame, its chart, and the rows that its session may see."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from deliveries.db.lookups import find_one
from deliveries.models import Delivery, Webhook
from hookhub import charts, portal_sessions
from hookhub.models import PortalSession
from hookhub.portal.access import frame_of


def page(
    request: HttpRequest, session: PortalSession, template: str, context: Mapping[str, object], *, status: int = 200
) -> HttpResponse:
    """Return a page of a session; ``template`` is the name of a file in templates/hookhub/portal."""
    return render(request, f"hookhub/portal/{template}", {**context, **frame_of(session)}, status=status)


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
