"""The pages of the portal: the webhooks of a session, one of them, and one delivery."""

from datetime import timedelta
from functools import partial
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from deliveries import log_search, polling, redelivery, timeseries, timezone
from deliveries.log_search import Log, LogFilter
from deliveries.models import Attempt, Delivery, Event, Webhook
from deliveries.webhooks import lifecycle
from hookhub import charts, portal_sessions
from hookhub.explanations import explain
from hookhub.models import PortalSession
from hookhub.portal.access import for_manager, for_session, page
from hookhub.portal.delivery_lists import rows_of
from hookhub.portal.finding import delivery_of, webhook_of
from hookhub.portal.replay_pages import SINCE
from hookhub.portal.showing import attempt_shown, consumer_row, delivery_row, webhook_row

WEBHOOKS_SHOWN = 50
# The chart of a list of webhooks is about this many of them at most.
WEBHOOKS_IN_CHART = 50
DAY = timedelta(days=1)
MAX_DIGITS = 6
ATTEMPTS_SHOWN = 50
LATEST_SHOWN = 20


@require_safe
@for_session
def overview(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """Show the webhooks of the session with their health, and their attempts together."""
    now, number = timezone.now(), _page_number(request)
    webhooks = portal_sessions.webhooks_of(session).order_by("id")
    first = (number - 1) * WEBHOOKS_SHOWN
    found = list(webhooks.select_related("repository")[first : first + WEBHOOKS_SHOWN + 1])
    shown = found[:WEBHOOKS_SHOWN]
    if session.is_of_organization:
        series: charts.Series = partial(timeseries.of_organizations, [session.organization_id])
    elif session.repository is not None:
        series = partial(timeseries.of_repository, session.repository)
    else:
        series = partial(timeseries.of_webhooks, list(webhooks.only("organization_id")[:WEBHOOKS_IN_CHART]))
    counts = timeseries.hourly_counts(shown, after=now - DAY, before=now)
    context = {
        "webhooks": [
            {**webhook_row(webhook, now=now), "line": charts.draw_sparkline(counts[webhook.pk])} for webhook in shown
        ],
        "previous": number - 1,
        "next": number + 1 if len(found) > WEBHOOKS_SHOWN else 0,
        **charts.context_of(request, series, now=now),
    }
    return page(request, session, "overview.html", context)


def _page_number(request: HttpRequest) -> int:
    """Return the number of the page in the address, 1 for the first and for any other text."""
    text = request.GET.get("page", "")
    return max(1, int(text)) if text.isdecimal() and len(text) <= MAX_DIGITS else 1


@require_safe
@for_session
def webhook(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show one webhook: its health, its attempts over time, and its latest deliveries."""
    now, found = timezone.now(), webhook_of(session, uid)
    # By a search: the planner may read all newer deliveries for the latest of a webhook that has had none for long.
    latest = log_search.search(LogFilter(), Log(session.organization_id, [found.pk]), most=LATEST_SHOWN)
    context = {
        "webhook": webhook_row(found, now=now),
        "consumers": [consumer_row(found, each, now=now) for each in polling.consumers(found)],
        "rows": rows_of(latest.ids),
        "has_held": session.may_manage and lifecycle.has_held(found),
        "since": list(SINCE),
        "may_redeliver": session.may_manage and found.status(now=now) == Webhook.Status.ACTIVE,
        **charts.context_of(request, partial(timeseries.of_webhooks, [found]), now=now),
    }
    return page(request, session, "webhook.html", context)


@require_safe
@for_session
def delivery(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show one delivery, with what was sent, what came back, and why it failed."""
    now, found = timezone.now(), delivery_of(session, uid)
    attempts = Attempt.objects.filter(delivery_id=found.pk).order_by("-number")[:ATTEMPTS_SHOWN]
    context = {
        "delivery": delivery_row(found, found.webhook, now=now),
        "webhook": webhook_row(found.webhook, now=now),
        "explanation": explain(found, found.webhook, to_owner=True, now=now),
        "attempts": [attempt_shown(attempt, wire_format=found.webhook.format) for attempt in attempts],
        "may_redeliver": session.may_manage and redelivery.blocked_reason(found) is None,
        "is_live": found.state in {Delivery.State.PENDING, Delivery.State.SENDING},
        "is_test": Event.objects.filter(pk=found.event_id, webhook__isnull=False).exists(),
    }
    return page(request, session, "delivery.html", context)


@require_POST
@for_manager
def redeliver(_request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Send a delivery again, and lead back to its page, which says why if that is not possible."""
    redelivery.redeliver([delivery_of(session, uid).pk], now=timezone.now())
    return redirect("portal:delivery", uid=uid)
