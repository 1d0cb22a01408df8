"""The operator's view: what the system owes, what it has done, and the levers to change both."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from hookhub.admin import access, audit_log, event_types, events, log, organizations, people, webhooks
from hookhub.admin.state import at_a_glance

__all__ = ["access", "audit_log", "event_types", "events", "log", "organizations", "people", "webhooks"]

admin.site.site_header = admin.site.site_title = "HookHub"
admin.site.index_title = "At a glance"
# The few pages that matter are in the header, and the lists need the room.
admin.site.enable_nav_sidebar = False
admin.site.index_template = "hookhub/admin/index.html"
admin.site.password_change = people.change_own_password  # type: ignore[method-assign, assignment]
_index = admin.site.index


def index(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Show the front page; its template asks for the state, which costs nothing where it may not be seen."""
    return _index(request, {"at_a_glance": partial(at_a_glance, request), **(extra_context or {})})


admin.site.index = index  # type: ignore[method-assign, assignment]
