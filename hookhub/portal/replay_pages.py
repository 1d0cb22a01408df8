"""The portal's bulk deliveries: all that failed, or all that a webhook never got, with their progress."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from deliveries import missing, timezone
from deliveries.db.ids import time_of
from deliveries.db.lookups import find_one
from deliveries.models import Webhook
from deliveries.redelivery import Selection
from hookhub import portal_sessions, replays
from hookhub.models import PortalSession, Replay
from hookhub.portal.access import for_manager, for_session, page, require_safe_or_post
from hookhub.portal.finding import webhook_of
from hookhub.portal.showing import webhook_row

# How far back they may reach.
SINCE = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}

CANCELLED: Mapping[str, Promise] = {
    Replay.CancelReason.REQUESTED: gettext_lazy("Cancelled."),
    Replay.CancelReason.WEBHOOK_DELETED: gettext_lazy("Cancelled, because the webhook was deleted."),
    Replay.CancelReason.WEBHOOK_DISABLED: gettext_lazy("Cancelled, because the webhook was disabled."),
    Replay.CancelReason.WEBHOOK_UNVERIFIED: gettext_lazy("Cancelled, because the webhook is not verified."),
    Replay.CancelReason.WEBHOOK_ENDED: gettext_lazy("Cancelled, because the lease of the webhook ended."),
}


@require_POST
@for_manager
def redeliver_failed(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Send again what failed at a webhook within the chosen time, and lead to the page with the progress."""
    now, found = timezone.now(), webhook_of(session, uid)
    selection = Selection(session.organization_id, webhook_id=found.pk, states=("failed",), after=now - _since(request))
    replay = replays.start(session.organization, selection=selection, now=now)
    return redirect("portal:replay", uid=replay.pk)


@require_safe_or_post
@for_manager
def never_sent(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show how many events of a period a webhook never got; send them when it is asked for."""
    now, found = timezone.now(), webhook_of(session, uid)
    is_active = found.status(now=now) == Webhook.Status.ACTIVE
    since = _since(request)
    if request.method == "POST" and is_active:
        replay = replays.start_missing(found, after=now - since, before=now, now=now)
        return redirect("portal:replay", uid=replay.pk)
    counted = missing.count(found, replays.span_of(now - since, now, now=now))
    context = {
        "webhook": webhook_row(found, now=now),
        "periods": [(name, length == since) for name, length in SINCE.items()],
        "since": next(name for name, length in SINCE.items() if length == since),
        "count": counted.events,
        "is_at_least": counted.is_at_least,
        "has_filter": found.payload_filter is not None,
        "is_active": is_active,
    }
    return page(request, session, "never_sent.html", context)


def _since(request: HttpRequest) -> timedelta:
    """Return the chosen length of time; a page begins with a day, and a form must have one of them."""
    chosen = SINCE.get(request.POST.get("since", "") if request.method == "POST" else request.GET.get("since", "24h"))
    if chosen is None:
        raise Http404
    return chosen


@require_safe
@for_session
def replay(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show the progress of a bulk delivery; the page is refreshed until it is done."""
    started, found = _replay_of(session, uid)
    is_running = started.state == Replay.State.RUNNING
    context = {
        "replay": started,
        "webhook": webhook_row(found, now=timezone.now()),
        "is_running": is_running,
        "cancelled": CANCELLED.get(started.cancel_reason or ""),
        "is_missing": started.kind == Replay.Kind.MISSING,
        "percent": percent_done(started),
    }
    return page(request, session, "replay.html", context)


@require_POST
@for_manager
def cancel(_request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Cancel a bulk delivery, and lead back to its page."""
    started, _webhook = _replay_of(session, uid)
    replays.cancel(started, now=timezone.now())
    return redirect("portal:replay", uid=started.pk)


def _replay_of(session: PortalSession, uid: UUID) -> tuple[Replay, Webhook]:
    """Return a replay and its webhook, which the session sees; raise Http404 for any other."""
    started = find_one(Replay.objects.filter(pk=uid, organization=session.organization_id))
    if started is None:
        raise Http404
    of_session = portal_sessions.webhooks_of(session).select_related("repository")
    # A replay of more than one webhook was not started here.
    found = find_one(of_session.filter(pk__in=[replays.selection_of(started).webhook_id or 0]))
    if found is None:
        raise Http404
    return started, found


def percent_done(replay: Replay) -> int:
    """Return how far a replay has come: of what it goes through or, if there is too much to count, of its period."""
    if replay.state == Replay.State.FINISHED:
        return 100
    if not replay.total_is_at_least:
        return min(99, 100 * replay.examined // max(replay.total, 1))
    selection, upto = replays.selection_of(replay), time_of(replay.upto)
    asked = datetime.fromisoformat(replay.asked["after"]) if replay.kind == Replay.Kind.MISSING else selection.after
    kept_from = replay.created_at - settings.HOOKHUB_RETENTION
    begin, end = max(asked or kept_from, kept_from), min(selection.before or upto, upto)
    here = begin if replay.done_upto is None else time_of(replay.done_upto)
    return max(0, min(99, round(100 * (here - begin) / max(end - begin, timedelta(milliseconds=1)))))
