"""An organization's limits: the deployment's defaults and the operator's per-organization overrides."""

from collections.abc import Mapping
from typing import Any, Protocol

from django.conf import settings
from django.core.exceptions import ValidationError

# The name of each limit and the setting that holds its default.
LIMITS: Mapping[str, str] = {
    "events_per_minute": "HOOKHUB_EVENTS_PER_ORGANIZATION",
    "requests_per_minute": "HOOKHUB_REQUESTS_PER_ORGANIZATION",
    "webhook_changes_per_minute": "HOOKHUB_WEBHOOK_CHANGES",
    "webhooks": "HOOKHUB_WEBHOOKS_PER_ORGANIZATION",
    "hub_subscriptions": "HOOKHUB_HUB_SUBSCRIPTIONS",
    "mcp_subscriptions": "HOOKHUB_MCP_SUBSCRIPTIONS",
    "webhooks_per_url": "HOOKHUB_WEBHOOKS_PER_URL",
}
MAX_LIMIT = 1_000_000_000


class Limited(Protocol):
    """The attribute of an organization that is needed to read its limits."""

    limits: Any


def limit_of(organization: Limited, name: str) -> int:
    """Return an organization's limit; 0 means unlimited."""
    own = organization.limits
    if own and name in own:
        return int(own[name])
    return int(getattr(settings, LIMITS[name]))


def validate(value: object) -> None:
    """Raise Django's ValidationError unless ``value`` maps names of limits to integers from 0 to MAX_LIMIT."""
    if not isinstance(value, dict):
        raise ValidationError(f"must be an object with any of the keys: {', '.join(LIMITS)}")
    for name, limit in value.items():
        if name not in LIMITS:
            raise ValidationError(f"{str(name)[:100]!r} is not a known limit; known limits: {', '.join(LIMITS)}")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT:
            raise ValidationError(f"{name} must be an integer from 0 (unlimited) to {MAX_LIMIT}")
