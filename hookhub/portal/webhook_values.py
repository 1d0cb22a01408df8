"""A webhook's values as its form begins with them, and the version that a form carries."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from deliveries import proofs
from deliveries.event_types.topics import EVERYTHING
from deliveries.models import Organization, Webhook
from hookhub.portal import waits

# How a failed delivery is repeated: as by default, not at all, or after waits of its own.
DEFAULT, NONE, OWN = "default", "none", "own"


def events_in(cleaned: Mapping[str, Any]) -> list[str]:
    """Return the event types that are chosen and typed, in this order, each once."""
    typed = str(cleaned.get("patterns", "")).replace(",", " ").split()
    every = [EVERYTHING] if cleaned.get("everything") else []
    return list(dict.fromkeys([*every, *cleaned.get("types", ()), *typed]))


def rate_limit_in(cleaned: Mapping[str, Any]) -> dict[str, object] | None:
    """Return the limit of the rate that is typed; None for none."""
    if cleaned.get("rate_requests") is None:
        return None
    return {"requests": cleaned["rate_requests"], "per": cleaned.get("rate_per")}


def initial_for_new(organization: Organization) -> dict[str, object]:
    """Return what the form of a new webhook begins with."""
    return {
        "events": [],
        "format": organization.wire_format,
        "retries": DEFAULT,
        "rate_per": 1,
        "auto_disable": True,
        "verify_ssl": True,
        "verify": proofs.DEFAULT if organization.verify_webhooks else "",
    }


def initial_of(webhook: Webhook) -> dict[str, object]:
    """Return a webhook's fields as an owner would type them."""
    schedule = webhook.retry_schedule
    return {
        "name": webhook.name,
        "url": webhook.shown_url,
        "events": webhook.events,
        "format": webhook.format,
        "content_type": webhook.content_type,
        "retries": DEFAULT if schedule is None else OWN if schedule else NONE,
        "waits": waits.written(schedule or ()),
        "timeout": None if webhook.timeout is None else webhook.timeout / timedelta(seconds=1),
        "max_in_flight": webhook.max_in_flight,
        "rate_requests": webhook.rate_requests,
        "rate_per": webhook.rate_per or 1,
        "auto_disable": webhook.auto_disable,
        "verify_ssl": webhook.verify_ssl,
        "verify": webhook.proof or "",
        "filter": "" if webhook.own_filter is None else json.dumps(webhook.own_filter, ensure_ascii=False, indent=2),
        # Without a time zone, so that it is shown as it is: in UTC, as the label says.
        "expires_at": None if webhook.expires_at is None else webhook.expires_at.replace(tzinfo=None),
    }


def version_of(webhook: Webhook) -> str:
    """Return the version of a webhook that a form carries, so that it does not undo a change that it has not seen."""
    return webhook.changed_at.isoformat()


def read_version(text: str) -> datetime:
    """Return the time in a form's version; one that is none differs from every webhook's."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo is not None else datetime.min.replace(tzinfo=UTC)
