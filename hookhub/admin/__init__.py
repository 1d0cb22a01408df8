"""The admin site: the state of the system, its logs, and actions on webhooks and deliveries."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from hookhub.admin import (
    alerts,
    api_keys,
    audit_log,
    dashboard,
    deliveries,
    event_types,
    events,
    organizations,
    replays,
    users,
    webhooks,
)

__all__ = [
    "alerts",
    "api_keys",
    "audit_log",
    "deliveries",
    "event_types",
    "events",
    "organizations",
    "replays",
    "users",
    "webhooks",
]

admin.site.site_header = admin.site.site_title = "HookHub"
admin.site.index_title = "Overview"
# The most used pages are linked in the header, and the lists need the width.
admin.site.enable_nav_sidebar = False
admin.site.index_template = "hookhub/admin/index.html"
admin.site.password_change = users.change_own_password  # type: ignore[method-assign, assignment]
_index = admin.site.index


def index(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Show the dashboard; its template loads the state only if the user may see it, so it costs nothing otherwise."""
    return _index(request, {"dashboard": partial(dashboard.load, request), **(extra_context or {})})


admin.site.index = index  # type: ignore[method-assign, assignment]
