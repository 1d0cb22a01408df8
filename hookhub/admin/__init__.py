"""The admin's pages: logs, and actions on webhooks and deliveries, in whatever admin site the project has."""

from hookhub.admin import (
    alerts,
    api_keys,
    audit_log,
    deliveries,
    event_types,
    events,
    memberships,
    organizations,
    replays,
    webhooks,
)

__all__ = [
    "alerts",
    "api_keys",
    "audit_log",
    "deliveries",
    "event_types",
    "events",
    "memberships",
    "organizations",
    "replays",
    "webhooks",
]
