"""The portal's lists of deliveries, of one webhook or of all of a session, and redelivery of those selected."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST, require_safe

from deliveries import log_search, redelivery, timezone
from deliveries.db.ids import time_of
from deliveries.log_search import MAX_WEBHOOKS, Found, Log
from deliveries.models import Delivery
from deliveries.redelivery import BlockedReason
from hookhub import portal_sessions
from hookhub.formatting import exact
from hookhub.models import PortalSession
from hookhub.portal import delivery_filters
from hookhub.portal.access import for_manager, for_session, page
from hookhub.portal.delivery_filters import STATE_NAMES, Filters, Position
from hookhub.portal.finding import webhook_of
from hookhub.portal.showing import delivery_row, webhook_row

ROWS = 50
# More than a page has.
MAX_SELECTED = 100
REASONS: Mapping[BlockedReason, Promise] = {
    BlockedReason.SENDING: gettext_lazy("being sent"),
    BlockedReason.WEBHOOK_DELETED: gettext_lazy("of a deleted webhook"),
    BlockedReason.WEBHOOK_DISABLED: gettext_lazy("of a disabled webhook"),
    BlockedReason.WEBHOOK_UNVERIFIED: gettext_lazy("of an unverified webhook"),
    BlockedReason.WEBHOOK_ENDED: gettext_lazy("of a webhook whose lease has ended"),
}


@require_safe
@for_session
def of_webhook(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """List the deliveries of one webhook, newest first."""
    found = webhook_of(session, uid)
    filters = delivery_filters.read({**request.GET.dict(), "webhook": ""})
    context = {
        **_list(request, session, filters, Log(session.organization_id, [found.pk])),
        "webhook": webhook_row(found, now=timezone.now()),
        "reset": reverse("portal:deliveries", args=[uid]),
    }
    return page(request, session, "deliveries.html", context)


@require_safe
@for_session
def of_session(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """List the deliveries of all webhooks of the session, or of one of them, newest first."""
    filters = delivery_filters.read(request.GET)
    latest_first = portal_sessions.webhooks_of(session).order_by(F("last_delivery_at").desc(nulls_last=True), "-id")
    webhooks = list(latest_first.only("uid", "name", "stored_url", "format")[: MAX_WEBHOOKS + 1])
    is_many = len(webhooks) > MAX_WEBHOOKS
    log = Log(
        session.organization_id,
        None if is_many and session.is_of_organization else [webhook.pk for webhook in webhooks[:MAX_WEBHOOKS]],
    )
    if (uid := filters.given.get("webhook")) and "webhook" not in filters.errors:
        chosen = list(portal_sessions.webhooks_of(session).filter(uid=uid))
        log = Log(session.organization_id, [webhook.pk for webhook in chosen])
        webhooks += [webhook for webhook in chosen if webhook not in webhooks]
        if not chosen:
            filters.errors["webhook"] = _("There is no such webhook.")
    context = {
        **_list(request, session, filters, log),
        "webhooks": sorted(((str(each.uid), str(each)) for each in webhooks), key=lambda pair: pair[1].lower()),
        "is_limited": is_many and not session.is_of_organization,
        "reset": reverse("portal:all-deliveries"),
    }
    return page(request, session, "deliveries.html", context)


def _list(request: HttpRequest, session: PortalSession, filters: Filters, log: Log) -> dict[str, object]:
    """Return the context of a list, without rows if a filter is wrong."""
    position = delivery_filters.read_position(request.GET)
    found = Found([], None)
    if not filters.errors:
        found = log_search.search(filters.log_filter, log, most=ROWS, start=position.start, to_newer=position.to_newer)
        if position.to_newer and found.onward is None:
            # At the beginning of the list, a full page says more than the few rows before the last one.
            position = Position()
            found = log_search.search(filters.log_filter, log, most=ROWS)
    return {
        "rows": rows_of(found.ids),
        "filters": filters.fields(),
        "query": filters.link(),
        "states": [(state, name, state == filters.given.get("state")) for state, name in STATE_NAMES.items()],
        "may_redeliver": session.may_manage,
        # The browser loads it again from time to time, but not a page that one has turned to.
        "is_newest": position.start is None and not filters.errors,
        "searched_until": exact(time_of(found.onward)) if found.is_cut and found.onward else "",
        **_links(filters, found, position),
    }


def _links(filters: Filters, found: Found, position: Position) -> dict[str, str]:
    """Return the queries of the pages with older and with newer deliveries; "" if there is none."""
    start, onward = position.start, found.onward
    onward_link = "" if onward is None else filters.link(**{"newer" if position.to_newer else "older": onward})
    if position.to_newer:
        return {"newer": onward_link, "older": filters.link(older=min(found.ids, default=start))}
    return {"older": onward_link, "newer": "" if start is None else filters.link(newer=max(found.ids, default=start))}


def rows_of(ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Return what a list shows of some deliveries, newest first."""
    now = timezone.now()
    rows = Delivery.objects.filter(pk__in=ids).select_related("webhook").order_by("-id")
    return [delivery_row(row, row.webhook, now=now) for row in rows]


@require_POST
@for_manager
def redeliver_selected(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """Send the selected deliveries again, and say which of them could not be sent."""
    now, ids = timezone.now(), _selected(request)
    if ids is None:
        said = [_("At most %(count)d deliveries can be selected at a time.") % {"count": MAX_SELECTED}]
    elif not ids:
        said = [_("No delivery was selected.")]
    else:
        chosen = _of_session(session, ids)
        blocked = Counter(reason for each in chosen if (reason := redelivery.blocked_reason(each)))
        sent = redelivery.redeliver([each.pk for each in chosen], now=now)
        changed = len(chosen) - sum(blocked.values()) - sent
        said = _result(sent, blocked, changed=changed, missing=len(ids) - len(chosen))
    return page(request, session, "redelivered.html", {"said": said, "back": _back(request, session)})


def _back(request: HttpRequest, session: PortalSession) -> str:
    """Return the address of the list that a form was sent from."""
    query = request.POST.get("query", "")
    try:
        uid = UUID(request.POST["webhook"])
    except (KeyError, ValueError):
        return f"{reverse('portal:all-deliveries')}?{query}"
    return f"{reverse('portal:deliveries', args=[webhook_of(session, uid).uid])}?{query}"


def _selected(request: HttpRequest) -> set[UUID] | None:
    """Return the ids that a form has sent, without those that are none; None if there are too many."""
    texts = request.POST.getlist("delivery")
    if len(texts) > MAX_SELECTED:
        return None
    found = set()
    for text in texts:
        try:
            found.add(UUID(text))
        except ValueError:
            continue
    return found


def _of_session(session: PortalSession, ids: set[UUID]) -> list[Delivery]:
    found = Delivery.objects.filter(pk__in=ids, organization=session.organization_id).select_related("webhook")
    own = portal_sessions.webhooks_of(session).filter(pk__in={each.webhook_id for each in found})
    kept = set(own.values_list("pk", flat=True))
    return [each for each in found if each.webhook_id in kept]


def _result(sent: int, blocked: Mapping[BlockedReason, int], *, changed: int, missing: int) -> list[str]:
    """Return in words what has become of a selection."""
    said = [
        ngettext("%(count)d delivery is sent again.", "%(count)d deliveries are sent again.", sent) % {"count": sent}
    ]
    left = [(REASONS[reason], count) for reason, count in blocked.items()]
    left += [(gettext_lazy("changed in the meantime"), changed)] if changed > 0 else []
    for reason, count in left:
        text = ngettext(
            "%(count)d was left as it is: %(reason)s.", "%(count)d were left as they are: %(reason)s.", count
        )
        said.append(text % {"count": count, "reason": reason})
    if missing:
        text = ngettext("%(count)d was not found.", "%(count)d were not found.", missing)
        said.append(text % {"count": missing})
    return said
