"""The page on which an owner tries a webhook: the payload and the request are shown before anything is sent."""

import json
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext

from deliveries import previews, redelivery, timezone
from deliveries.models import Webhook
from deliveries.plain_text import printable, printable_json
from deliveries.rates import TooMany
from deliveries.webhooks.fields import InvalidFields
from hookhub.event_types import examples
from hookhub.event_types.examples import Example
from hookhub.formatting import truncated
from hookhub.http import test_events
from hookhub.models import PortalSession
from hookhub.portal.access import for_manager, page, require_safe_or_post
from hookhub.portal.engine_errors import translated
from hookhub.portal.finding import webhook_of
from hookhub.portal.showing import webhook_row
from hookhub.portal.words import in_words, too_many

# Indented, a payload may be so many times as long as it is sent; more is not even parsed.
INDENTED = 4
# It reaches any webhook, whatever it subscribes to.
PING = "ping"


@require_safe_or_post
@for_manager
def test(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show a test event and the request that carries it; send it when it is asked for."""
    webhook, now = webhook_of(session, uid), timezone.now()
    offered = {**examples.offered(webhook), PING: Example(PING, PING, redelivery.data_of_ping(webhook))}
    chosen = offered.get(request.POST.get("type") or request.GET.get("type", ""))
    blocked, status, error = blocked_reason(webhook, now=now), 200, ""
    sample = _first(webhook, offered) if chosen is None else chosen
    text = printable_json(sample.data)
    if request.method == "POST":
        text = request.POST.get("payload", "").replace("\r\n", "\n")
        try:
            sample = _typed(webhook, sample, text)
            if "send" in request.POST and not blocked:
                delivery = test_events.send(webhook, sample, now=now)
                # What a polling webhook has in its queue has no page.
                leads_to = ("webhook", uid) if webhook.is_polled else ("delivery", delivery.pk)
                return redirect(f"portal:{leads_to[0]}", uid=leads_to[1])
        except InvalidFields as found:
            said = [in_words(f"{path}: {translated(message)}") for path, message in found.errors.items()]
            status, error = 422, "\n".join(said)
        except TooMany as found:
            status, error = 429, too_many(found)
    context = {
        "webhook": webhook_row(webhook, now=now),
        "types": [(name, name == sample.name) for name in sorted(offered)],
        "chosen": sample.name,
        "payload": text,
        "error": error,
        "blocked": blocked,
        "request_text": None if status == 422 else request_shown(webhook, sample, now=now),
    }
    return page(request, session, "test_event.html", context, status=status)


def _first(webhook: Webhook, offered: dict[str, Example]) -> Example:
    """Return the example with which the page begins: of the first type that the webhook subscribes to, or a ping."""
    try:
        return examples.pick(webhook)
    except InvalidFields:
        return next(iter(offered.values()))


def _typed(webhook: Webhook, sample: Example, text: str) -> Example:
    """Return the test event with the payload that was typed; raise InvalidFields if it is invalid."""
    if len(text) > INDENTED * settings.HOOKHUB_PAYLOAD_LIMIT:
        raise InvalidFields({"data": f"must be at most {settings.HOOKHUB_PAYLOAD_LIMIT:,} characters long as JSON"})
    try:
        data = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidFields({gettext("This is not JSON"): str(error)}) from error
    if data == sample.data:
        return sample
    if sample.type == PING:
        raise InvalidFields({gettext("The payload of a ping"): gettext("cannot be changed")})
    return test_events.with_data(webhook, sample.name, data)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def request_shown(webhook: Webhook, sample: Example, *, now: datetime) -> dict[str, Any] | None:
    """Return the request that would be sent, as text; None if the format cannot send this payload."""
    try:
        preview = previews.preview(webhook, sample.type, sample.data, now=now)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    body, is_cut = truncated(printable(preview.body))
    return {
        "url": printable(preview.url),
        "headers": printable("\n".join(f"{name}: {value}" for name, value in preview.headers)),
        "body": body,
        "is_cut": is_cut,
    }


def blocked_reason(webhook: Webhook, *, now: datetime) -> str:
    """Return why nothing can be sent to a webhook now; "" if it receives."""
    match webhook.status(now=now):
        case Webhook.Status.DISABLED:
            return gettext("The webhook is disabled: enable it to send a test event.")
        case Webhook.Status.UNVERIFIED:
            return gettext("The receiver has yet to prove that it wants the requests; nothing is sent to it before.")
        case Webhook.Status.ENDED:
            return gettext("The webhook has ended: set another end in its settings to send a test event.")
    return ""
