"""The operator's view: what the system owes, what it has done, and the levers to change both."""

from functools import partial

from django.contrib import admin

from hookhub.admin import access, audit_log, event_types, events, log, organizations, people, webhooks
from hookhub.admin.state import at_a_glance

__all__ = ["access", "audit_log", "event_types", "events", "log", "organizations", "people", "webhooks"]

admin.site.site_header = admin.site.site_title = "HookHub"
admin.site.index_title = "At a glance"
# The few pages that matter are in the header, and the lists need the room.
admin.site.enable_nav_sidebar = False
admin.site.index_template = "hookhub/admin/index.html"
admin.site.password_change = people.change_own_password  # type: ignore[method-assign, assignment]
# The template asks for the state while it is rendered, so that nobody who may not see it costs the queries.
admin.site.index = partial(admin.site.index, extra_context={"at_a_glance": at_a_glance})  # type: ignore[method-assign]
