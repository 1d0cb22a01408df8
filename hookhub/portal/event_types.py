"""The portal's catalogue of event types: what each means and looks like, and which webhooks of a session get it."""

from collections.abc import Iterable

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from deliveries.event_types.catalogue import EventType
from deliveries.event_types.topics import EVERYTHING, families_of, is_reserved, system_topics
from deliveries.models import Webhook
from deliveries.plain_text import printable_json
from hookhub import portal_sessions
from hookhub.event_types import registry
from hookhub.http.query import whole_number
from hookhub.models import PortalSession
from hookhub.portal.access import for_session, page

ROWS = 50
# Of a session with more webhooks, these are looked at.
MAX_WEBHOOKS = 200
MAX_PAGES = 1000


@require_safe
@for_session
def event_types(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """List the event types of the organization, or those that have a text in their name or description."""
    text = request.GET.get("text", "").strip()
    number = whole_number(request.GET.get("page", "1"), most=MAX_PAGES) or 1
    found = matching(registry.types_of(session.organization).values(), text)
    webhooks, is_cut = _webhooks(session)
    part = found[(number - 1) * ROWS : number * ROWS]
    context = {
        "text": text,
        "types": [
            {
                "name": each.type,
                "description": gettext(each.description),
                "webhooks": sum(gets(webhook, each) for webhook in webhooks),
            }
            for each in part
        ],
        "is_cut": is_cut,
        "previous": urlencode({"text": text, "page": str(number - 1)}) if number > 1 else "",
        "next": urlencode({"text": text, "page": str(number + 1)}) if number * ROWS < len(found) else "",
    }
    return page(request, session, "event_types.html", context)


@require_safe
@for_session
def event_type(request: HttpRequest, session: PortalSession, name: str) -> HttpResponse:
    """Show one event type with its schema, an example, and the webhooks that get it."""
    found = registry.types_of(session.organization).get(name)
    if found is None:
        raise Http404
    webhooks, is_cut = _webhooks(session)
    context = {
        "type": found,
        "description": gettext(found.description),
        "schema": "" if found.schema is None else printable_json(found.schema),
        "example": "" if found.example is None else printable_json(found.example),
        "webhooks": [(webhook.uid, str(webhook)) for webhook in webhooks if gets(webhook, found)],
        "is_cut": is_cut,
    }
    return page(request, session, "event_type.html", context)


def matching(types: Iterable[EventType], text: str) -> list[EventType]:
    """Return the types that have a text in their name or description, in any case."""
    needle = text.lower()
    return [each for each in types if needle in each.type.lower() or needle in gettext(each.description).lower()]


def gets(webhook: Webhook, event_type: EventType) -> bool:
    """Return whether a webhook gets events of a type, at least those with some action."""
    name = event_type.type
    if is_reserved(name):
        return not set(system_topics(name)).isdisjoint(webhook.events)
    topics = {EVERYTHING, name, *families_of(name), *(f"{name}.{action}" for action in event_type.actions)}
    return not topics.isdisjoint(webhook.events)


def _webhooks(session: PortalSession) -> tuple[list[Webhook], bool]:
    """Return the session's first webhooks, and whether there are more."""
    rows = portal_sessions.webhooks_of(session).only("uid", "name", "stored_url", "format", "events").order_by("id")
    found = list(rows[: MAX_WEBHOOKS + 1])
    return found[:MAX_WEBHOOKS], len(found) > MAX_WEBHOOKS
