"""How a delivery, its attempts and its event are set out for reading: plain values for the templates."""

from datetime import datetime

from django.conf import settings
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries.models import Attempt, Delivery, Event, Organization, Repository, Webhook
from hookhub.admin.base import page_of
from hookhub.admin.showing import beginning, exact, pretty, printable, relative, span, state_badge, when

# A delivery that was sent again a thousand times has as many attempts; the page shows the latest.
ATTEMPTS_SHOWN = 100

NAMED_WEBHOOK = Webhook.objects.only("id", "uid", "name", "stored_url", "format", "disabled_at", "deleted_at")
NAMED_ORGANIZATION = Organization.objects.only("id", "slug")
NAMED_REPOSITORY = Repository.objects.select_related("organization").only("id", "name", "organization__slug")


def moment(at: datetime | None, *, now: datetime) -> SafeString | str:
    """Show a moment in full: the exact one and how far off it is."""
    return "–" if at is None else format_html("{} <small>({})</small>", exact(at), relative(at, now=now))


def facts_of(delivery: Delivery, webhook: Webhook, *, now: datetime) -> list[tuple[str, object]]:
    """Give what a delivery's page says about it, by title."""
    facts: list[tuple[str, object]] = [
        ("Event", format_html('{} <a href="{}"><code>{}</code></a>', delivery.event_type,
                              reverse("admin:deliveries_event_change", args=[delivery.event_id]), delivery.event_id)),
        ("Webhook", format_html('<a href="{}">{}</a>', page_of(webhook), str(webhook))),
        ("Organization", webhook.organization.slug),
        ("Repository", delivery.repository.full_name if delivery.repository else "–"),
        ("Format", webhook.get_format_display()),
        ("Created", moment(delivery.created_at, now=now)),
        ("Next due", moment(delivery.due_at, now=now)),
        ("Finished", moment(delivery.finished_at, now=now)),
        ("Ending", delivery.get_ending_display() or "–"),
        ("Attempts made", delivery.attempts_made),
        ("Steps of the schedule used", delivery.failures),
        ("Sent again by hand", delivery.redeliveries),
    ]  # fmt: skip
    if delivery.leased_until is not None:
        facts.append(("With a worker until", moment(delivery.leased_until, now=now)))
    if delivery.lease_losses:
        facts.append(("Leases lost", delivery.lease_losses))
    return facts


def shown_attempt(attempt: Attempt) -> dict[str, object]:
    """Give an attempt as its section of the page shows it, all of the receiver's words as harmless text."""
    body = bytes(attempt.response_body)
    return {
        "number": attempt.number,
        "outcome": state_badge(attempt.outcome),
        "status": attempt.status,
        "started": exact(attempt.started_at),
        "took": "–" if attempt.duration is None else span(attempt.duration),
        "url": printable(attempt.url),
        "request_headers": printable(attempt.request_headers),
        "response_headers": printable(attempt.response_headers),
        "body": printable(body),
        "size": len(body),
        "is_truncated": len(body) >= settings.HOOKHUB_RESPONSE_KEPT,
        "error": printable(attempt.error),
        # Those that say why something went wrong are opened for the reader.
        "is_open": attempt.outcome != Attempt.Outcome.DELIVERED,
    }


def shown_payload(event: Event | None) -> dict[str, object] | None:
    """Give an event's payload set out for reading and as it is, both cut to what one page shows."""
    if event is None:
        return None
    raw = bytes(event.payload)
    set_out = pretty(raw)
    for_reading, was_long = beginning(printable(set_out)) if set_out is not None else ("", False)
    as_it_is, is_long = beginning(printable(raw))
    return {
        "pretty": for_reading,
        "raw": as_it_is,
        "is_cut": was_long or is_long,
        "size": len(raw),
        "address": reverse("admin:deliveries_event_payload", args=[event.pk]),
    }


def row_of(delivery: Delivery, *, now: datetime) -> dict[str, object]:
    """Give one line of a short list of deliveries."""
    return {
        "page": page_of(delivery),
        "id": delivery.pk,
        "state": state_badge(delivery.state),
        "type": delivery.event_type,
        "webhook": delivery.webhook,
        "attempts": delivery.attempts_made,
        "status": "–" if delivery.last_status is None else delivery.last_status,
        "due": when(delivery.due_at, now=now),
        "created": when(delivery.created_at, now=now),
    }
