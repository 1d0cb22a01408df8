"""Prepares a delivery, its attempts and its event for the templates."""

from datetime import datetime

from django.conf import settings
from django.db.models import Prefetch
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import capfirst

from deliveries.models import Attempt, Delivery, Event, Organization, Repository, Webhook
from deliveries.plain_text import printable
from hookhub.admin.base import page_of
from hookhub.attempt_facts import facts_of
from hookhub.formatting import pretty, state_badge, timestamp, truncated, when

# A delivery that was redelivered a thousand times has as many attempts; its page shows the latest.
ATTEMPTS_SHOWN = 100

# Load the names of a row's webhook, organization and repository.
WITH_WEBHOOK = Prefetch(
    "webhook", Webhook.objects.only("id", "uid", "name", "stored_url", "format", "disabled_at", "deleted_at")
)
WITH_ORGANIZATION = Prefetch("organization", Organization.objects.only("id", "slug"))
WITH_REPOSITORY = Prefetch(
    "repository", Repository.objects.select_related("organization").only("id", "name", "organization__slug")
)


def delivery_facts(delivery: Delivery, webhook: Webhook, *, now: datetime) -> list[tuple[str, object]]:
    """Return the facts on a delivery's page as (title, value) pairs."""
    facts: list[tuple[str, object]] = [
        ("Event", format_html('{} <a href="{}"><code>{}</code></a>', delivery.event_type,
                              reverse("admin:deliveries_event_change", args=[delivery.event_id]), delivery.event_id)),
        ("Webhook", format_html('<a href="{}">{}</a>', page_of(webhook), str(webhook))),
        ("Organization", webhook.organization.slug),
        ("Repository", delivery.repository.full_name if delivery.repository else "–"),
        ("Format", webhook.get_format_display()),
        ("Created", timestamp(delivery.created_at, now=now)),
        ("Next attempt", timestamp(delivery.due_at, now=now)),
        ("Finished", timestamp(delivery.finished_at, now=now)),
        ("Reason", capfirst(delivery.get_finish_reason_display() or "–")),
        ("Attempts", delivery.attempts_made),
        ("Failures in the current schedule", delivery.failures),
        ("Redeliveries", delivery.redeliveries),
    ]  # fmt: skip
    if delivery.leased_until is not None:
        facts.append(("Leased until", timestamp(delivery.leased_until, now=now)))
    if delivery.lease_losses:
        facts.append(("Lost leases", delivery.lease_losses))
    return facts


def attempt_context(attempt: Attempt, *, wire_format: str) -> dict[str, object]:
    """Return the context of an attempt's section, with everything from the receiver as printable text."""
    size = len(attempt.response_body)
    return {
        **facts_of(attempt, wire_format=wire_format),
        "outcome": state_badge(attempt.outcome, attempt.get_outcome_display()),
        "size": size,
        "is_truncated": size >= settings.HOOKHUB_RESPONSE_KEPT,
        # Attempts that did not succeed are expanded.
        "is_open": attempt.outcome != Attempt.Outcome.DELIVERED,
    }


def payload_context(event: Event | None) -> dict[str, object] | None:
    """Return an event's payload, indented and as published, both cut to what one page shows; None without an event."""
    if event is None:
        return None
    raw = bytes(event.payload)
    set_out = pretty(raw)
    for_reading, was_long = truncated(printable(set_out)) if set_out is not None else ("", False)
    as_it_is, is_long = truncated(printable(raw))
    return {
        "pretty": for_reading,
        "raw": as_it_is,
        "is_cut": was_long or is_long,
        "size": len(raw),
        "address": reverse("admin:deliveries_event_payload", args=[event.pk]),
    }


def delivery_row(delivery: Delivery, *, now: datetime) -> dict[str, object]:
    """Return the context of one row in a short list of deliveries."""
    return {
        "page": page_of(delivery),
        "id": delivery.pk,
        "state": state_badge(delivery.state, delivery.get_state_display()),
        "type": delivery.event_type,
        "webhook": delivery.webhook,
        "attempts": delivery.attempts_made,
        "status": "–" if delivery.last_status is None else delivery.last_status,
        "due": when(delivery.due_at, now=now),
        "created": when(delivery.created_at, now=now),
    }
